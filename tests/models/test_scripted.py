import json
import re
from typing import get_args

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, convert_to_messages

from understudy.agents import REPLIES, load_catalog
from understudy.corpus.tokens import count_tokens
from understudy.errors import EngineRefused
from understudy.models import Constraint, Scripted
from understudy.models.improvise import improvise
from understudy.prompt import Granularity

ASK = ({"role": "system", "content": "Be true."}, {"role": "user", "content": "Why does a lock need no pump?"})
LONG = (
    {
        "role": "user",
        "content": "Considerable infrastructure maintenance of neighbouring municipalities. Ask about it.",
    },
)
AGENTS = [agent for agent in load_catalog() if agent.prompt.pattern]


async def said(sm: Scripted, seed: int) -> AIMessage:
    return await sm.ainvoke(convert_to_messages(list(ASK)), seed=seed)


async def test_a_list_is_answered_in_its_order_and_then_runs_out():
    sm = Scripted(script=["one", "two"])
    assert [(await said(sm, seed)).text for seed in (9, 9)] == ["one", "two"]
    with pytest.raises(EngineRefused, match="ran out at request 3"):
        await said(sm, 0)


async def test_a_function_answers_from_the_messages():
    sm = Scripted(script=lambda messages: messages[-1]["content"].upper())
    assert (await said(sm, 0)).text == "WHY DOES A LOCK NEED NO PUMP?"


async def test_what_was_asked_is_remembered():
    sm = Scripted(script=["one", "two"])
    await said(sm, 0)
    assert sm.asked == [ASK]
    assert Scripted().asked == []


async def test_a_reply_says_what_it_used_and_why_it_ended():
    message = await said(Scripted(script=["Water flows downhill."]), 0)
    assert message.usage_metadata == {"input_tokens": 11, "output_tokens": 4, "total_tokens": 15,
                                      "input_token_details": {"cache_read": 0}}  # fmt: skip
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["model_name"] == "scripted"


async def test_any_langchain_caller_can_ask_it():
    sm = Scripted(script=lambda messages: f"{messages[0]['role']} {messages[1]['role']}: {messages[1]['content']}")
    message = await sm.ainvoke([SystemMessage("Be true."), HumanMessage([{"type": "text", "text": "Why?"}])])
    assert message.text == "system user: Why?"
    assert message.usage_metadata is not None and message.usage_metadata["output_tokens"] == count_tokens(message.text)


def test_it_can_be_asked_without_an_event_loop():
    assert Scripted(script=["one"]).invoke("Why?").text == "one"


async def test_an_option_it_does_not_know_is_refused_by_name():
    with pytest.raises(EngineRefused, match="does not take best_of"):
        await Scripted(script=["one"]).ainvoke("Why?", best_of=3)
    with pytest.raises(EngineRefused, match="does not take stop"):
        await Scripted(script=["one"]).ainvoke("Why?", stop=["."])


async def test_without_a_script_the_seed_alone_decides():
    async def text(seed: int) -> str:
        return (await said(Scripted(), seed)).text

    assert await text(1) == await text(1)
    assert len({await text(seed) for seed in range(10)}) > 5


def test_an_improvised_reply_is_made_of_the_request_s_own_words():
    words = set(re.findall(r"[a-z]+", improvise(ASK, 3, None).lower()))
    assert words <= {"why", "does", "lock", "need", "pump"}


def test_an_improvised_reply_needs_no_words_to_start_from():
    assert improvise(({"role": "user", "content": "?"},), 0, None)


@pytest.mark.parametrize(
    ("agent", "granularity"),
    [
        (agent, granularity)
        for agent in AGENTS
        for granularity in (get_args(Granularity) if isinstance(agent.prompt.pattern, dict) else ["specific"])
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_an_improvised_reply_has_the_form_that_the_agent_asks_for(agent, granularity):
    form = agent.prompt.form(granularity)
    for seed in range(15):
        for messages in (ASK, LONG):
            text = improvise(messages, seed, Constraint("regex", form))
            assert re.fullmatch(form, text), text
            assert REPLIES[agent.prompt.reply].read(text, False) == text


@pytest.mark.parametrize("name", [name for name, reply in REPLIES.items() if reply.constraint])
def test_an_improvised_reply_can_be_read_as_the_type_asked_for(name: str):
    reply = REPLIES[name]
    for seed in range(30):
        for messages in (ASK, LONG):
            reply.read(improvise(messages, seed, reply.constraint), False)


def test_an_improvised_judge_sometimes_says_no():
    constraint = REPLIES["Judgement"].constraint
    verdicts = [json.loads(improvise(ASK, seed, constraint))["passes"] for seed in range(100)]
    assert 0 < verdicts.count(False) < 50
