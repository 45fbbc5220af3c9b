"""LangChain's own OpenAI integration against a stub: what holds for it holds for the other providers' classes."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from understudy.errors import EngineRefused, EngineTransient, ModelError
from understudy.models import Constraint, Reply, Request, open_sm
from understudy.models.langchain import LangChain
from understudy.prompt import Sampling
from understudy.recipe import Recipe
from understudy.sms import LangChainSM

from .stub import Stub, chat

pytest.importorskip("langchain_openai")

ASK = ({"role": "system", "content": "Be true."}, {"role": "user", "content": "Why?"})
SCHEMA = {"type": "object", "properties": {"passes": {"type": "boolean"}}, "required": ["passes"]}
Open = Callable[..., LangChain]


@pytest.fixture
async def sm(stub: Stub) -> AsyncIterator[Open]:
    opened: list[LangChain] = []

    def open_(**settings: Any) -> LangChain:
        base = {
            "backend": "langchain", "model": "openai:m", "retries": 2, "timeout_s": 5, "patience_s": 0.2,
            "options": {"base_url": stub.url, "api_key": "x"},
        }  # fmt: skip
        opened.append(LangChain.open(LangChainSM.model_validate(base | settings)))
        return opened[-1]

    yield open_
    for engine in opened:
        await engine.aclose()


async def ask(sm: LangChain, **changes: Any) -> Reply:
    (reply,) = await sm.complete(Request(ASK, **changes))
    return reply


async def test_a_reply_comes_with_its_usage(stub: Stub, sm: Open):
    stub.replies = [(200, chat(prompt_tokens_details={"cached_tokens": 4}))]
    reply = await ask(sm())
    assert reply == Reply("Water flows downhill.", 12, 5, False, 4)
    assert type(reply.text) is str
    assert stub.asked[0]["messages"] == list(ASK)


async def test_each_request_is_drawn_as_it_says(stub: Stub, sm: Open):
    engine = sm()
    for heat, most in ((0.0, 20), (1.3, 40), (0.0, 20)):
        await ask(engine, sampling=Sampling(temperature=heat, max_tokens=most))
    asked = [(one["temperature"], one.get("max_tokens", one.get("max_completion_tokens"))) for one in stub.asked]
    assert asked == [(0.0, 20), (1.3, 40), (0.0, 20)]


async def test_several_replies_are_several_requests(stub: Stub, sm: Open):
    stub.replies = [(200, chat(text)) for text in ("one", "two", "three")]
    replies = await sm().complete(Request(ASK, n=3))
    assert {reply.text for reply in replies} == {"one", "two", "three"}
    assert [reply.prompt_tokens for reply in replies] == [12, 12, 12]


async def test_a_schema_goes_to_the_provider_where_the_recipe_says_that_the_model_takes_one(stub: Stub, sm: Open):
    stub.replies = [(200, chat('{"passes": true}'))]
    constraint = Constraint("schema", SCHEMA)
    reply = await ask(sm(structured=True), constraint=constraint)
    assert json.loads(reply.text) == {"passes": True}
    assert (reply.prompt_tokens, reply.completion_tokens) == (12, 5)
    sent = stub.asked[0]["response_format"]["json_schema"]["schema"]
    assert (sent["properties"], sent["required"]) == (SCHEMA["properties"], SCHEMA["required"])
    await ask(sm(), constraint=constraint)
    await ask(sm(structured=True))
    assert "response_format" not in stub.asked[1] and "response_format" not in stub.asked[2]
    assert (sm(structured=True).capabilities.schema, sm().capabilities.schema) == (True, False)


@pytest.mark.parametrize("structured", [True, False])
async def test_a_reply_that_was_cut_off_says_so(stub: Stub, sm: Open, structured: bool):
    stub.replies = [(200, chat('{"pass', finish="length"))]
    reply = await ask(sm(structured=structured), constraint=Constraint("schema", SCHEMA))
    assert (reply.text, reply.truncated, reply.completion_tokens) == ('{"pass', True, 5)
    assert len(stub.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 408, 0], ids=["429", "500", "503", "408", "hung up"])
async def test_a_failure_that_may_pass_is_tried_again_by_us_and_not_by_the_provider_s_client(
    stub: Stub, sm: Open, status: int
):
    stub.replies = [(status, "{}"), (200, chat())]
    engine = sm()
    assert (await ask(engine)).text == "Water flows downhill."
    assert len(stub.asked) == 2
    assert [point.event is not None for point in engine.throttle.trace][:1] == [True]


async def test_a_provider_is_left_alone_for_as_long_as_it_asks(stub: Stub, sm: Open):
    stub.replies = [(429, "{}", "Retry-After: 1\r\n"), (200, chat())]
    started = time.monotonic()
    await ask(sm())
    assert time.monotonic() - started >= 1  # without the header it is asked again after a quarter of that


async def test_an_endpoint_where_nothing_succeeds_is_given_up_after_the_patience(stub: Stub, sm: Open):
    stub.replies = [(500, '{"error": {"message": "out of memory"}}')]
    with pytest.raises(EngineTransient, match="out of memory"):
        await ask(sm())


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_request_that_the_provider_refuses_is_not_repeated(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, '{"error": {"message": "context length exceeded"}}')]
    with pytest.raises(EngineRefused, match="context length exceeded") as caught:
        await ask(sm())
    assert caught.value.where == "openai:m"
    assert len(stub.asked) == 1


async def test_a_key_that_is_refused_is_for_the_user_to_mend(stub: Stub, sm: Open):
    stub.replies = [(401, "{}")]
    with pytest.raises(ModelError, match="HTTP 401"):
        await ask(sm())


async def test_a_reply_that_takes_too_long_is_a_failure_that_may_pass(stub: Stub, sm: Open):
    stub.delay_s = 1
    with pytest.raises(EngineTransient, match=r"no reply within 0.1 s"):
        await ask(sm(timeout_s=0.1, patience_s=0.05))


async def test_an_integration_that_cannot_do_what_it_is_asked_is_not_asked_for_ever(
    stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch
):
    def unable(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no structured output")

    engine = sm(structured=True, patience_s=60)
    monkeypatch.setattr(type(engine._drawing(Sampling())), "with_structured_output", unable)
    async with asyncio.timeout(5):
        with pytest.raises(EngineRefused, match="no structured output"):
            await ask(engine, constraint=Constraint("schema", SCHEMA))


async def test_no_more_requests_are_under_way_than_allowed(stub: Stub, sm: Open):
    stub.delay_s = 0.05
    engine = sm(max_concurrency=2)
    await asyncio.gather(*(ask(engine, seed=n) for n in range(5)))
    assert stub.busiest == 2
    assert engine.capabilities.slots == 2


async def test_a_recipe_opens_it_by_provider_and_model(stub: Stub):
    spec = {"backend": "langchain", "model": "openai:m", "options": {"base_url": stub.url, "api_key": "x"}}
    recipe = Recipe.model_validate({"name": "x", "accept": 1, "seeds": [{"path": "a"}], "sm": spec})
    engine = await open_sm(recipe)
    assert (engine.identity, stub.paths) == ("openai:m", [])
    await engine.aclose()


def refusal(model: str, **options: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        LangChain.open(LangChainSM(backend="langchain", model=model, options=options))
    return caught.value


def test_a_provider_without_its_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "langchain_anthropic", None)
    error = refusal("anthropic:claude")
    assert error.where == "sm.model: anthropic:claude"
    assert "langchain-anthropic" in error.message or "langchain_anthropic" in error.message
    assert "named above" in str(error.remedy)


def test_a_provider_that_nobody_knows_is_told():
    error = refusal("nobody:claude")
    assert error.where == "sm.model: nobody:claude"
    assert "nobody" in error.message


def test_arguments_that_the_provider_s_class_refuses_are_told():
    error = refusal("openai:m", api_key="x", n=-1)
    assert error.where == "sm.model: openai:m" and error.message.startswith("cannot be opened")


def test_without_langchain_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "langchain", None)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    error = refusal("openai:m", api_key="x")
    assert error.message == "`backend: langchain` needs langchain"
    assert "understudy[langchain]" in str(error.remedy)
