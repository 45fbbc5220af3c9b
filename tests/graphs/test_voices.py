"""Several SMs in one run, and who speaks with which."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from understudy.corpus import RunFolder
from understudy.errors import ModelError, PromptError, RunFolderError
from understudy.graphs import Outcome, generate
from understudy.models import Reply, Request, Scripted
from understudy.nouns import Call
from understudy.recipe_file import load_recipe

STRONG = "sms={strong: {backend: scripted, price_in: 100, price_out: 1000}}"


class Recording(Scripted):
    """Remembers every request."""

    requests: list[Request] = Field(default_factory=list)

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.requests.append(request)
        return await super().complete(request)


async def run(project: Path, out: str, voices: dict[str, Any], *sets: str, sm: Any = None) -> Outcome:
    recipe = load_recipe(project / "recipe.yaml", (f"voices={json.dumps(voices)}", *sets))
    return await generate(recipe, project / out, sm=sm)


def calls(project: Path, out: str) -> list[Call]:
    with RunFolder.read(project / out) as folder:
        keys = [key for status in ("accepted", "rejected", "duplicate", "failed") for example in folder.examples(status)
                for key in example.calls]  # fmt: skip
        return [call for key in keys if (call := folder.call(key))]


def rows(project: Path, out: str) -> list[str]:
    with RunFolder.read(project / out) as folder:
        kinds = ("accepted", "rejected", "duplicate", "failed")
        return [json.dumps(row, sort_keys=True) for kind in kinds for row in folder.rows(kind)]


async def test_judges_can_speak_with_another_sm_and_each_is_paid_its_own_price(project: Path) -> None:
    books = (await run(project, "out", {"judge": {"sm": "strong"}}, STRONG, "sm.price_in=1", "sm.price_out=2")).books
    spoken = Counter((call.agent.split("/")[0], call.sm) for call in calls(project, "out"))
    assert {sm for family, sm in spoken if family == "judge"} == {"strong"}
    assert {sm for family, sm in spoken if family != "judge"} == {"sm"}
    weak, strong = books.sms["sm"], books.sms["strong"]
    assert strong.calls == sum(cost.calls for name, cost in books.agents.items() if name.startswith("judge/")) > 0
    assert strong.cost == pytest.approx((strong.prompt_tokens * 100 + strong.completion_tokens * 1000) / 1e6)
    assert weak.cost == pytest.approx((weak.prompt_tokens * 1 + weak.completion_tokens * 2) / 1e6)
    assert books.cost == pytest.approx(weak.cost + strong.cost)
    assert books.tokens == sum(one.prompt_tokens + one.completion_tokens for one in books.sms.values())


async def test_an_agent_s_own_voice_goes_before_that_of_its_family(project: Path) -> None:
    await run(project, "out", {"judge": {"sm": "strong"}, "judge/clear": {}}, STRONG, "accept=8")
    judges = ("judge/clear", "judge/faithful", "judge/relevant", "judge/self-contained")
    spoken = {(call.agent, call.sm) for call in calls(project, "out") if call.agent in judges}
    assert spoken == {("judge/clear", "sm"), ("judge/faithful", "strong"), ("judge/relevant", "strong"),
                      ("judge/self-contained", "strong")}  # fmt: skip


async def test_of_several_voices_each_draft_draws_one_and_draws_it_again_in_another_run(project: Path) -> None:
    voices = {"answer": [{}, {"sm": "strong"}], "instruct": [{"temperature": 0.2}, {"temperature": 1.2}]}
    await run(project, "one", voices, STRONG, "in_flight=1", "accept=10")
    await run(project, "many", voices, STRONG, "in_flight=16", "accept=10")
    assert rows(project, "one") == rows(project, "many")
    one, many = calls(project, "one"), calls(project, "many")
    assert [(call.key, call.sm) for call in one] == [(call.key, call.sm) for call in many]
    drawn = Counter(call.sm for call in one if call.agent.startswith("answer/"))
    assert drawn["sm"] >= 3 and drawn["strong"] >= 3
    heats = Counter(call.sampling["temperature"] for call in one if call.agent.startswith("instruct/"))
    assert set(heats) == {0.2, 1.2} and min(heats.values()) >= 3


async def test_how_a_voice_draws_reaches_the_engine_and_the_journal(project: Path) -> None:
    own = {"temperature": 0.11, "top_p": 0.22, "max_tokens": 33, "repetition_penalty": 1.44}
    engine = Recording()
    await run(project, "out", {"judge": own, "answer": {"max_tokens": 44}}, sm=engine)
    made = calls(project, "out")
    judged = [call for call in made if call.agent.startswith("judge/")]
    assert judged and all(call.sampling.items() >= own.items() for call in judged)
    asked = [request for request in engine.requests if request.sampling.temperature == 0.11]
    assert {request.sampling.model_dump_json() for request in asked} == {json.dumps(own, separators=(",", ":"))}
    assert len(asked) >= len(judged)
    answers = [call.sampling for call in made if call.agent.startswith("answer/")]
    assert {sampling["max_tokens"] for sampling in answers} == {44}
    others = [call for call in made if call.agent.split("/")[0] not in ("judge", "answer")]
    assert all(call.sampling["max_tokens"] not in (33, 44) for call in others)


async def test_the_earliest_drafts_go_first_at_the_engine(project: Path) -> None:
    engine = Recording()
    await run(project, "out", {}, "accept=4", sm=engine)
    turns = {request.priority for request in engine.requests}
    assert turns == set(range(len(turns))) and len(turns) >= 4


async def test_a_voice_for_nobody_names_the_agent_that_was_meant_before_anything_is_written(project: Path) -> None:
    with pytest.raises(PromptError, match="no agent of this run has that name") as caught:
        await run(project, "out", {"judge/faithfull": {}})
    assert caught.value.where == "voices.judge/faithfull"
    assert caught.value.remedy == "did you mean `judge/faithful`?"
    assert not (project / "out").exists()


async def test_an_agent_that_the_recipe_leaves_out_has_no_voice(project: Path) -> None:
    with pytest.raises(PromptError, match="no agent of this run"):
        await run(project, "out", {"judge/clear": {}}, "agents.judge=[faithful]")


@pytest.mark.parametrize("speaker", ["judge", "judge/clear"])
async def test_an_adapter_that_the_sm_has_not_is_told_before_anything_is_written(project: Path, speaker: str) -> None:
    with pytest.raises(ModelError, match="runs no LoRA adapters") as caught:
        await run(project, "out", {speaker: [{}, {"sm": "strong", "adapter": "legal"}]}, STRONG)
    assert "`vllm-server`" in str(caught.value.remedy)
    assert not (project / "out").exists()


async def test_a_corpus_is_not_resumed_with_other_voices(project: Path) -> None:
    await run(project, "out", {"judge": {"sm": "strong"}}, STRONG, "accept=2")
    with pytest.raises(RunFolderError, match=r"voices|recipe"):
        await run(project, "out", {"judge": {"sm": "strong", "temperature": 0.1}}, STRONG)
    assert (await run(project, "out", {"judge": {"sm": "strong"}}, STRONG, "accept=2")).calls_made == 0


async def test_what_an_sm_of_the_recipe_never_said_costs_nothing_and_is_in_the_books(project: Path) -> None:
    books = (await run(project, "out", {}, STRONG, "accept=2")).books
    assert (books.sms["strong"].calls, books.sms["strong"].cost) == (0, 0)
