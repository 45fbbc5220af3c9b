import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.agents import Agent, Unusable, load_catalog
from understudy.corpus import Journal, Ledger
from understudy.errors import EngineRefused
from understudy.models import Scripted
from understudy.models.caller import Budget, Caller
from understudy.nouns import Seed

SEED = Seed.of("text", "A lock lifts boats.", "a.md:1")


@pytest.fixture
async def journal(tmp_path: Path):
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    journal = Journal(ledger, tmp_path)
    yield journal
    await journal.aclose()
    ledger.close()


def caller(journal: Journal, *replies: str) -> Caller:
    return Caller({"sm": Scripted(script=list(replies))}, journal, Budget(), 0)


def agent(name: str = "why-question", family: str = "instruct") -> Agent:
    return next(agent for agent in load_catalog() if agent.name == f"{family}/{name}")


async def test_a_good_reply_takes_one_call(journal: Journal):
    said = await agent().ask(caller(journal, "Why does a lock lift boats?"), SEED, 0, persona="")
    assert said.value == "Why does a lock lift boats?"
    assert len(said.calls) == 1


async def test_a_bad_reply_is_shown_back_with_the_error_and_asked_again(journal: Journal):
    asked = caller(journal, "Why?", "Why does a lock lift boats?")
    said = await agent().ask(asked, SEED, 0, persona="")
    assert said.value == "Why does a lock lift boats?"
    first, second = asked.sms["sm"].asked  # type: ignore[attr-defined]
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": "Why?"}
    assert second[-1]["role"] == "user"
    assert "write at least 4 words" in second[-1]["content"]


async def test_the_second_call_builds_on_the_first_and_the_first_on_what_came_before(journal: Journal):
    said = await agent().ask(
        caller(journal, "Why?", "Why does a lock lift boats?"), SEED, 0, parent="before", persona=""
    )
    one, two = [await journal.find(key) for key in said.calls]
    assert (one.parent, two.parent) == ("before", one.key)  # type: ignore[union-attr]
    assert (one.agent, one.reply) == ("instruct/why-question", "Why?")  # type: ignore[union-attr]


async def test_two_bad_replies_make_the_agent_unusable_with_both_calls_on_record(journal: Journal):
    asked = caller(journal, "Why?", "How?", "never asked for")
    with pytest.raises(Unusable) as caught:
        await agent().ask(asked, SEED, 0, persona="")
    assert caught.value.agent == "instruct/why-question"
    assert "at least 4 words" in caught.value.why
    assert len(set(caught.value.calls)) == 2
    assert len(asked.sms["sm"].asked) == 2  # type: ignore[attr-defined]


async def test_a_judgement_comes_back_typed(journal: Journal):
    judge = agent("clear", "judge")
    reply = '{"passes": false, "reason": "vague"}'
    said = await judge.ask(caller(journal, reply), SEED, 0, instruction="Why?", answer="So.", persona="")
    assert (said.value.passes, said.value.reason) == (False, "vague")


async def test_an_engine_error_is_not_the_agent_s_fault(journal: Journal):
    with pytest.raises(EngineRefused):
        await agent().ask(caller(journal), SEED, 0, persona="")


async def test_another_draw_of_a_seed_is_another_call(journal: Journal):
    asked = caller(journal, "Why does a lock lift boats?", "Why does a lock have gates?")
    said = [await agent().ask(asked, SEED, draw, persona="") for draw in (0, 1, 0)]
    assert [s.value for s in said] == [
        "Why does a lock lift boats?",
        "Why does a lock have gates?",
        "Why does a lock lift boats?",
    ]
    assert said[0].calls == said[2].calls != said[1].calls


async def test_a_reply_that_misses_its_agent_s_form_is_shown_the_form_and_asked_again(journal: Journal):
    asked = caller(journal, "Tell me of boats and locks.", "Why does a lock lift boats?")
    said = await agent().ask(asked, SEED, 0, persona="")
    assert (said.value, len(said.calls)) == ("Why does a lock lift boats?", 2)
    assert "it must have the form /Why (" in asked.sms["sm"].asked[1][-1]["content"]  # type: ignore[attr-defined]


async def test_the_form_of_a_refine_pair_holds_for_its_editor_and_not_for_its_suggestion(journal: Journal):
    harder = agent("harder-question", "refine")
    asked = caller(
        journal, "Ask about the gates too.", "no question at all", "How do the gates of a lock hold the water?"
    )
    values = {
        "persona": "",
        "instruction": "Why does a lock lift boats?",
        "answer": "It fills.",
        "suggestion": "Gates.",
    }
    assert len((await harder.ask(asked, SEED, 0, **values)).calls) == 1
    assert len((await harder.ask(asked, SEED, 0, editor=True, **values)).calls) == 2


async def test_a_reply_that_goes_round_in_circles_is_asked_for_again_and_then_counted_as_such(journal: Journal):
    circle = "the boat goes up and the boat goes down and so on and on it goes again " * 6
    said = await agent().ask(caller(journal, circle, "Why does a lock lift boats?"), SEED, 0, persona="")
    assert said.value == "Why does a lock lift boats?"
    asked = caller(journal, circle, circle)
    with pytest.raises(Unusable) as caught:
        await agent().ask(asked, SEED, 1, persona="")
    assert (caught.value.kind, len(caught.value.calls)) == ("loop", 2)
    again = asked.sms["sm"].asked[-1]  # type: ignore[attr-defined]
    assert len(again[-2]["content"]) == 200 and "repeats itself" in again[-1]["content"]


async def test_a_pattern_that_goes_back_and_forth_for_ever_ends_with_its_name(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object]
):
    monkeypatch.setattr("understudy.agents.agent._MATCH_S", 0.1)
    one = agent()
    slow = replace(one, prompt=one.prompt.model_copy(update={"pattern": "(a|aa| )+"}))
    long = f"{'aaaa ' * 700}!"
    with pytest.raises(Unusable, match=r"the pattern /\(a\|aa\| \)\+/ could not be matched") as caught:
        await asyncio.wait_for(slow.ask(caller(journal, long, long), SEED, 0, persona=""), 10)
    fault("a pattern that takes for ever on a reply", 2, message=caught.value.why)
