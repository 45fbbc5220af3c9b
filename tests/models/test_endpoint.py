import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from understudy.errors import EngineError, EngineRefused, EngineTransient, ModelError
from understudy.models import Constraint, Reply, Request, open_sm, throttle
from understudy.models.endpoint import Endpoint
from understudy.prompt import Sampling
from understudy.recipe import OpenAISM, Recipe

ASK = ({"role": "system", "content": "Be true."}, {"role": "user", "content": "Why?"})
SCHEMA = {"type": "object", "properties": {"passes": {"type": "boolean"}}, "required": ["passes"]}


def chat(text: str | None = "Water flows downhill.", finish: str = "stop", **usage: int) -> str:
    return json.dumps(
        {
            "id": "1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17} | usage,
        }
    )  # fmt: skip


class Stub:
    """An OpenAI-compatible server on 127.0.0.1: replies are (status, body), the last one for good."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, str]] = [(200, chat())]
        self.models: tuple[int, str] = (200, json.dumps({"object": "list", "data": [{"id": "m"}, {"id": "n"}]}))
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.delay_s = 0.0
        self.busy = self.busiest = 0
        self.url = ""
        self.serving: set[asyncio.Task[None]] = set()

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(lambda _: writer.close())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(h.split(":")[1]) for h in head.splitlines() if h.lower().startswith("content-length")), 0)
        body = await reader.readexactly(length)
        self.headers.append(head)
        status, text = self.models
        if body:
            self.asked.append(json.loads(body))
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
            await asyncio.sleep(self.delay_s)
            self.busy -= 1
            status, text = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        kind = "application/json" if text.startswith("{") else "text/html"
        if status:
            raw = text.encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n".encode())
            writer.write(b"Connection: close\r\n\r\n" + raw)


@pytest.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stub]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(throttle, "_FIRST_PAUSE_S", 0.001)
    made = Stub()
    server = await asyncio.start_server(made.connect, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield made
    for task in made.serving:
        task.cancel()
    await asyncio.gather(*made.serving, return_exceptions=True)
    server.close()
    await server.wait_closed()


@pytest.fixture
async def sm(stub: Stub) -> AsyncIterator[Callable[..., Endpoint]]:
    opened: list[Endpoint] = []

    def open_(**settings: Any) -> Endpoint:
        base = {"backend": "openai", "base_url": stub.url, "model": "m", "retries": 2, "timeout_s": 5}
        opened.append(Endpoint.open(OpenAISM.model_validate(base | settings)))
        return opened[-1]

    yield open_
    for engine in opened:
        await engine.aclose()


Open = Callable[..., Endpoint]


async def ask(sm: Endpoint, **changes: Any) -> Reply:
    (reply,) = await sm.complete(Request(ASK, **changes))
    return reply


async def test_a_reply_comes_with_its_usage(stub: Stub, sm: Open):
    message = await ask(sm(), sampling=Sampling(temperature=0.3, max_tokens=40), seed=2**63 + 5)
    assert message.text == "Water flows downhill."
    assert (message.prompt_tokens, message.completion_tokens, message.cached_tokens) == (12, 5, 0)
    (asked,) = stub.asked
    assert asked["messages"] == list(ASK)
    assert (asked["model"], asked["temperature"], asked["top_p"], asked["seed"]) == ("m", 0.3, 0.95, 5)
    assert asked.get("max_tokens", asked.get("max_completion_tokens")) == 40
    assert "response_format" not in asked


async def test_a_schema_is_passed_on_where_the_endpoint_honours_it(stub: Stub, sm: Open):
    stub.replies = [(200, chat('{"passes": true}'))]
    message = await ask(sm(), seed=0, constraint=Constraint("schema", SCHEMA))
    assert message.text == '{"passes": true}'
    assert stub.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    await ask(sm(structured=False), seed=0, constraint=Constraint("schema", SCHEMA))
    assert "response_format" not in stub.asked[1]
    assert not sm(structured=False).capabilities.schema and not sm().capabilities.regex


@pytest.mark.parametrize("constraint", [None, Constraint("schema", SCHEMA)], ids=["text", "schema"])
async def test_a_reply_that_was_cut_off_says_so(stub: Stub, sm: Open, constraint: Constraint | None):
    stub.replies = [(200, chat('{"pass', finish="length"))]
    message = await ask(sm(), seed=0, constraint=constraint)
    assert (message.text, message.truncated) == ('{"pass', True)


async def test_an_empty_reply_is_an_empty_text(stub: Stub, sm: Open):
    stub.replies = [(200, chat(None))]
    assert (await ask(sm(), seed=0)).text == ""


@pytest.mark.parametrize("status", [500, 503, 429, 408, 0], ids=["500", "503", "429", "408", "hung up"])
async def test_a_failure_that_may_pass_is_tried_again(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, "{}"), (status, "{}"), (200, chat())]
    assert (await ask(sm(retries=2), seed=0)).text == "Water flows downhill."
    assert len(stub.asked) == 3


async def test_an_endpoint_where_nothing_succeeds_is_given_up_after_the_patience(stub: Stub, sm: Open):
    stub.replies = [(500, '{"error": {"message": "out of memory"}}')]
    with pytest.raises(EngineTransient, match="out of memory") as caught:
        await ask(sm(patience_s=0.2), seed=0)
    assert len(stub.asked) > 3
    assert caught.value.where == stub.url


async def test_a_reply_that_takes_too_long_is_a_failure_that_may_pass(stub: Stub, sm: Open):
    stub.delay_s = 1
    with pytest.raises(EngineTransient):
        await ask(sm(timeout_s=0.1, patience_s=0.2), seed=0)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_request_that_the_endpoint_refuses_is_not_repeated(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, '{"error": {"message": "context length exceeded"}}')]
    with pytest.raises(EngineRefused, match="context length exceeded"):
        await ask(sm(), seed=0)
    assert len(stub.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_for_the_user_to_mend(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, "{}")]
    with pytest.raises(ModelError, match="refused the key"):
        await ask(sm(), seed=0)
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    "body",
    ["<html>Sign in</html>", "{}", '{"choices": null}', '{"choices": []}', '{"error": {"message": "busy"}}'],
    ids=["HTML", "empty", "null", "no choices", "error in a 200"],
)
async def test_a_reply_that_is_no_completion_is_an_engine_error(stub: Stub, sm: Open, body: str):
    stub.replies = [(200, body)]
    with pytest.raises(EngineError):
        await ask(sm(retries=0), seed=0)


async def test_no_more_requests_are_under_way_than_allowed(stub: Stub, sm: Open):
    stub.delay_s = 0.05
    engine = sm(max_concurrency=2)
    await asyncio.gather(*(ask(engine, seed=n) for n in range(6)))
    assert stub.busiest == 2


async def test_an_endpoint_can_be_opened_again_after_it_was_closed(stub: Stub, sm: Open):
    first = sm()
    await ask(first, seed=0)
    await first.aclose()
    assert (await ask(sm(), seed=0)).text == "Water flows downhill."


async def test_an_endpoint_that_serves_the_model_passes_the_check(stub: Stub):
    recipe = Recipe.model_validate(
        {"name": "x", "accept": 1, "seeds": [{"path": "a"}],
         "sm": {"backend": "openai", "base_url": stub.url, "model": "n", "structured": False}}
    )  # fmt: skip
    engine = await open_sm(recipe)
    assert engine.identity == "openai:n"
    await engine.aclose()


async def test_a_server_without_a_list_of_models_passes_the_check(stub: Stub, sm: Open):
    stub.models = (404, "{}")
    await sm().check()


async def test_a_model_that_is_not_served_lists_those_that_are(sm: Open):
    with pytest.raises(ModelError, match="does not serve `gpt`") as caught:
        await sm(model="gpt").check()
    assert caught.value.expected == "one of: m, n"
    assert "`model`" in str(caught.value.remedy)


async def test_an_endpoint_that_is_down_says_how_to_start_it(stub: Stub, sm: Open):
    with pytest.raises(ModelError, match="endpoint down") as caught:
        await sm(base_url="http://127.0.0.1:9/v1").check()
    assert caught.value.where == "http://127.0.0.1:9/v1"
    assert "vllm serve m" in str(caught.value.remedy) and "`base_url`" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "reply", [(500, "{}"), (200, "<html>Sign in</html>"), (200, '{"data": null}')], ids=["500", "HTML", "no data"]
)
async def test_an_address_that_is_no_endpoint_fails_the_check(stub: Stub, sm: Open, reply: tuple[int, str]):
    stub.models = reply
    with pytest.raises(ModelError) as caught:
        await sm().check()
    assert caught.value.where == stub.url


async def test_a_refused_key_names_its_variable(stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "secret-value")
    stub.models = (401, "{}")
    with pytest.raises(ModelError, match="refused the key") as caught:
        await sm(api_key_env="MY_KEY").check()
    assert caught.value.remedy == "check MY_KEY"
    assert "secret-value" not in str(caught.value)
    assert "authorization: bearer secret-value" in stub.headers[0].lower()


async def test_a_key_that_is_not_set_is_told_before_anything_is_sent(
    stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ModelError, match="environment variable MY_KEY is not set") as caught:
        sm(api_key_env="MY_KEY")
    assert "export MY_KEY" in str(caught.value.remedy)
    assert stub.headers == []
