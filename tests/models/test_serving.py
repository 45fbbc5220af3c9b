"""The OpenAI-compatible server, over SMs that need no model."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from pydantic import Field
from starlette.testclient import TestClient

from understudy.errors import EngineError, EngineRefused, EngineTransient, UserError
from understudy.models import SM, Capabilities, Reply, Request, Scripted
from understudy.models.access import MOST_BYTES
from understudy.models.serving import build_app

PORT = 8000
HELLO = [{"role": "user", "content": "Hello there"}]


class Recorder(Scripted):
    """Remembers whole requests, and fails when it is told to."""

    name_: str = "base@1"
    error: Any = None
    capable: bool = True
    requests: list[Request] = Field(default_factory=list)
    context: int | None = None

    @property
    def identity(self) -> str:
        return self.name_

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(schema=self.capable, seeded=True, context_tokens=self.context)

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return await super().complete(request)


Open = Callable[..., TestClient]


@pytest.fixture
def client() -> Iterator[Open]:
    with contextlib.ExitStack() as stack:

        def open_(models: dict[str, SM] | None = None, host: str = "127.0.0.1", key: str | None = None) -> TestClient:
            app = build_app(models or {"tutor": Recorder()}, host, PORT, key)
            return stack.enter_context(
                TestClient(app, base_url=f"http://127.0.0.1:{PORT}", raise_server_exceptions=False)
            )

        yield open_


def ask(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "tutor", "messages": HELLO} | body)


def test_a_chat_is_answered_in_the_protocol_s_form(client: Open) -> None:
    sm = Recorder(script=["It flows downhill."])
    answer = ask(client({"tutor": sm}), temperature=0.3, top_p=0.8, max_tokens=9, seed=11, n=1)
    body = answer.json()
    assert answer.status_code == 200 and body["object"] == "chat.completion" and body["model"] == "tutor"
    assert body["system_fingerprint"] == "base@1"
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "It flows downhill." and choice["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"] > 4
    (request,) = sm.requests
    assert request.messages == tuple(HELLO) and request.seed == 11 and request.n == 1
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.max_tokens) == (0.3, 0.8, 9)


def test_what_a_request_leaves_out_is_as_the_protocol_has_it(client: Open) -> None:
    sm = Recorder(context=300)
    ask(client({"tutor": sm}), temperature=None, top_p=None, n=None, stop=None, stream=None, tools=[])
    sampling = sm.requests[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (1, 1, 150)
    assert ask(client({"tutor": sm}), max_completion_tokens=7, max_tokens=9).status_code == 200
    assert sm.requests[1].sampling.max_tokens == 7
    assert sm.requests[0].seed != sm.requests[1].seed


def test_several_replies_come_in_order_and_are_counted_once(client: Open) -> None:
    body = ask(client({"tutor": Recorder(script=["One.", "Two.", "Three."])}), n=3).json()
    assert [choice["message"]["content"] for choice in body["choices"]] == ["One.", "Two.", "Three."]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]


def test_a_reply_ends_before_the_first_stop_text(client: Open) -> None:
    served = client({"tutor": Recorder(script=["One. Two. Three."] * 3)})
    texts = [ask(served, stop=stop).json()["choices"][0]["message"]["content"] for stop in ("Two", ["Three", " Two"])]
    assert texts == ["One. ", "One."]
    assert ask(served, stop=["Four"]).json()["choices"][0]["message"]["content"] == "One. Two. Three."


def test_content_in_parts_and_the_developer_s_role_are_understood(client: Open) -> None:
    sm = Recorder()
    parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    assert ask(client({"tutor": sm}), messages=messages).status_code == 200
    assert sm.requests[0].messages == ({"role": "system", "content": "Be brief."}, HELLO[0])


SCHEMA = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}


def test_a_schema_becomes_a_constraint(client: Open) -> None:
    sm = Recorder()
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    body = ask(client({"tutor": sm}), response_format=form).json()
    assert isinstance(json.loads(body["choices"][0]["message"]["content"])["sure"], bool)
    assert sm.requests[0].constraint is not None and sm.requests[0].constraint.value == SCHEMA
    refused = ask(client({"tutor": Recorder(capable=False)}), response_format=form)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "response_format"


def test_each_model_answers_under_its_own_name_and_is_listed_with_its_parent(client: Open) -> None:
    base, other = Recorder(script=["base"]), Recorder(script=["adapter"], name_="base@1+tutor@2")
    served = client({"base": base, "tutor": other})
    assert ask(served, model="tutor").json()["choices"][0]["message"]["content"] == "adapter"
    assert ask(served, model="base").json()["choices"][0]["message"]["content"] == "base"
    cards = served.get("/v1/models").json()["data"]
    assert [(card["id"], card["parent"], card["root"]) for card in cards] == [
        ("base", None, "base@1"), ("tutor", "base", "base@1+tutor@2"),
    ]  # fmt: skip
    assert served.get("/v1/models/tutor").json() == cards[1]
    assert served.get("/health").status_code == 200


def test_a_stream_is_the_same_reply_in_pieces(client: Open) -> None:
    text = "  One word\nafter  another. "
    answer = ask(client({"tutor": Recorder(script=[text])}), stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    *chunks, counted = map(json.loads, lines)
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == text and len(pieces) > 5
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
    assert counted["choices"] == [] and counted["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"model": "nobody"}, 404, "no model is called `nobody`; there are: tutor"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0.content"),
        ({"temperature": 9}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"n": 99}, 400, "n:"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"response_format": {"type": "json_schema"}}, 400, "json_schema"),
        ({"response_format": {"type": "xml"}}, 400, "response_format.type"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_cannot_be_done_is_told_in_the_protocol_s_form(
    client: Open, body: dict[str, Any], status: int, told: str
) -> None:
    answer = ask(client(), **body)
    error = answer.json()["error"]
    assert answer.status_code == status and told in error["message"] and error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'{"model": "tutor"}', b"[" * 100_000, b'{"model": "\xff"}']
)
def test_what_is_no_request_is_a_400(client: Open, raw: bytes) -> None:
    answer = client().post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineRefused("context overflow: 9 prompt tokens", remedy="secret advice"), 400, "context_length_exceeded"),
        (EngineRefused("no grammar"), 400, None),
        (EngineTransient("busy"), 503, None),
        (EngineError("stopped"), 500, None),
    ],
    ids=["overflow", "refused", "transient", "broken"],
)
def test_what_an_engine_says_keeps_its_kind(client: Open, error: Exception, status: int, code: str | None) -> None:
    answer = ask(client({"tutor": Recorder(error=error)}))
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (status, code) and "advice" not in told["message"]


def test_an_error_nobody_foresaw_tells_nothing_of_the_inside(client: Open) -> None:
    answer = ask(client({"tutor": Recorder(error=ZeroDivisionError("/secret/path"))}))
    assert answer.status_code == 500 and "secret" not in answer.text


def test_other_addresses_and_methods_are_told_in_the_same_form(client: Open) -> None:
    served = client()
    assert served.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert served.get("/v1/chat/completions").status_code == 405
    assert served.get("/v1/models/nobody").json()["error"]["code"] == "model_not_found"


def test_only_this_machine_s_names_and_no_page_of_another_site_are_let_in(client: Open) -> None:
    served = client()
    assert served.get("/health", headers={"host": f"evil.example:{PORT}"}).status_code == 421
    assert served.get("/health", headers={"host": f"localhost:{PORT}"}).status_code == 200
    assert served.get("/v1/models", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    plain = served.post("/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert plain.status_code == 415


def test_a_body_over_the_limit_is_refused_with_and_without_a_length(client: Open) -> None:
    served, long = client(), b" " * (MOST_BYTES + 1)
    kind = {"content-type": "application/json"}
    assert served.post("/v1/chat/completions", content=long, headers=kind).status_code == 413
    parts = iter([long[: MOST_BYTES // 2]] * 3)
    assert served.post("/v1/chat/completions", content=parts, headers=kind).status_code == 413


def test_with_a_key_every_request_but_health_must_carry_it(client: Open) -> None:
    served = client(key="s3cret")
    assert served.get("/health").status_code == 200
    for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer s3cre\u00e9"}):
        refused = served.get("/v1/models", headers={k: v.encode("latin-1") for k, v in given.items()})
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
    assert served.get("/v1/models", headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_an_address_others_can_reach_wants_a_key(client: Open) -> None:
    with pytest.raises(UserError, match=r"0\.0\.0\.0 can be reached from elsewhere"):
        build_app({"tutor": Scripted()}, "0.0.0.0", PORT)
    served = client(host="0.0.0.0", key="s3cret")
    headers = {"host": "box.example", "authorization": "Bearer s3cret"}
    assert served.get("/v1/models", headers=headers).status_code == 200


@pytest.fixture
def address() -> Iterator[Callable[[dict[str, SM]], str]]:
    """Serve on a real port."""
    import socket

    with contextlib.ExitStack() as stack:

        def start(models: dict[str, SM]) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listening.getsockname()[1]
            config = uvicorn.Config(build_app(models, "127.0.0.1", port), log_level="warning", ws="none")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join()

            stack.callback(stop)
            return f"http://127.0.0.1:{port}/v1"

        yield start


def test_openai_s_client_talks_streams_and_reads_errors(address: Callable[[dict[str, SM]], str]) -> None:
    served = {"base": Recorder(), "tutor": Recorder(name_="base@1+tutor@2", script=["Downhill.", "It flows downhill."])}
    with openai.OpenAI(base_url=address(served), api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["base", "tutor"]
        answer = client.chat.completions.create(model="tutor", messages=HELLO, seed=1)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "Downhill." and answer.usage is not None
        with client.chat.completions.create(model="tutor", messages=HELLO, stream=True) as pieces:  # type: ignore[arg-type]
            assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "It flows downhill."
        with pytest.raises(openai.NotFoundError, match="nobody"):
            client.chat.completions.create(model="nobody", messages=HELLO)  # type: ignore[arg-type]
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="base", messages=HELLO, temperature=9)  # type: ignore[arg-type]


class Slow(Recorder):
    """Never answers; notes when it is given up."""

    begun: Any = None
    given_up: Any = None

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.begun.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        return ()


def test_a_request_whose_client_hangs_up_is_given_up(address: Callable[[dict[str, SM]], str]) -> None:
    sm = Slow(begun=threading.Event(), given_up=threading.Event())
    with (
        openai.OpenAI(base_url=address({"tutor": sm}), api_key="none", max_retries=0, timeout=1) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model="tutor", messages=HELLO)  # type: ignore[arg-type]
    assert sm.begun.is_set() and sm.given_up.wait(10)


def test_ctrl_c_ends_the_server_and_closes_its_models() -> None:
    program = """
import sys
from understudy.models import Scripted
from understudy.models.serving import serve
class Closing(Scripted):
    async def aclose(self):
        print("closed", flush=True)
serve({"tutor": Closing()}, "127.0.0.1", 0, None, lambda address: print(address, flush=True))
"""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        address = run.stdout.readline().strip()
        with httpx.Client() as client:
            assert client.get(f"{address}/health").status_code == 200
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=20)
    assert out == "closed\n"
    assert run.returncode not in (0, None)  # the signal goes on to whoever called
