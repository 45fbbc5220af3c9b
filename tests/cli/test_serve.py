"""Serving VMs of a small random model: which are taken, and what they answer to OpenAI's client."""

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from understudy.models.folders import fingerprint

Call = Callable[..., Any]
UNDERSTUDY = str(Path(sys.executable).with_name("understudy"))
ASKED: list[Any] = [{"role": "user", "content": "ba de fi go ku"}]


def lineage(vm: Path, base: Path) -> None:
    known = {
        "corpus": "c", "corpus_digest": "d", "recipe": "r", "recipe_version": "v", "method": "lora", "rows": 3,
        "base": f"{base.name}@{fingerprint(base)}", "base_path": str(base), "too_long": 0, "steps": 1,
        "learning_rate": 1e-4, "seed": 0, "losses": [],
    }  # fmt: skip
    (vm / "understudy.json").write_text(json.dumps(known))


@pytest.fixture(scope="module")
def vms(tmp_path_factory: pytest.TempPathFactory, small_models: Any) -> Path:
    """A folder with a base, `tutor` and `judge` on it, another base, and `stranger` on that."""
    home = tmp_path_factory.mktemp("vms")
    for base, names in (("small", ("tutor", "judge")), ("other", ("stranger",))):
        small_models.base(home / base, seed=ord(base[0]))
        for name in names:
            lineage(small_models.lora(home / name, home / base, len(name) + ord(name[0]), scale=0.6), home / base)
    return home


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[str]]]]:
    """Start `understudy serve` and wait for what it prints; it is ended with Ctrl-C."""
    with ExitStack() as stack:

        def start(*arguments: object, **environment: str) -> tuple[subprocess.Popen[str], list[str]]:
            run = stack.enter_context(
                subprocess.Popen(
                    [UNDERSTUDY, "serve", *map(str, arguments), "--port", "0"], stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, cwd=tmp_path,
                )
            )  # fmt: skip
            stack.callback(lambda: run.poll() is None and run.kill())
            said: list[str] = []
            assert run.stdout is not None and run.stderr is not None
            while not said or "Ctrl-C" not in said[-1]:
                line = run.stdout.readline()
                assert line, run.stderr.read()
                said.append(line)
            return run, said

        yield start


def address(said: list[str]) -> str:
    found = re.search(r"Serving at (\S+)", "".join(said))
    assert found
    return found[1]


def test_adapters_of_one_base_answer_at_once_what_they_answer_alone(serving: Any, vms: Path) -> None:
    run, said = serving(vms / "tutor", vms / "judge", "--backend", "transformers", "--dtype", "float32")
    assert "Models: small, tutor, judge\n" in said
    names = ["small", "tutor", "judge"]

    async def ask(client: openai.AsyncOpenAI, name: str) -> str:
        answer = await client.chat.completions.create(
            model=name, messages=ASKED, temperature=0.7, seed=3, max_tokens=16
        )
        assert answer.model == name and answer.usage is not None and answer.usage.completion_tokens > 0
        return str(answer.choices[0].message.content)

    async def talk() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=address(said), api_key="none", max_retries=0) as client:
            alone = [await ask(client, name) for name in names]
            return alone, await asyncio.gather(*(ask(client, name) for name in names * 2))

    alone, together = asyncio.run(talk())
    assert together == alone * 2 and len(set(alone)) == 3
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 130 and "Stopped." in err and "Traceback" not in err


def test_the_command_that_is_printed_gets_an_answer(serving: Any, vms: Path) -> None:
    import shlex

    _, said = serving(vms / "tutor", "--name", "it's mine", "--backend", "transformers", "--api-key-env", "MY_KEY", MY_KEY="s3cret")  # fmt: skip
    command = shlex.split(next(line for line in said if "curl" in line))
    assert command[0] == "curl" and command[command.index("-d") - 1] == "Authorization: Bearer $MY_KEY"
    headers = [word.partition(": ") for before, word in itertools.pairwise(command) if before == "-H"]
    given = {name: value.replace("$MY_KEY", "s3cret") for name, _, value in headers}
    body = command[command.index("-d") + 1]
    with httpx.Client() as client:
        answer = client.post(command[1], headers=given, content=body, timeout=60)
        assert answer.status_code == 200 and answer.json()["model"] == "it's mine"
        assert client.post(command[1], headers={"content-type": "application/json"}, content=body).status_code == 401


def test_a_prompt_longer_than_the_context_is_a_400_of_its_kind(serving: Any, vms: Path) -> None:
    _, said = serving(vms / "tutor", "--backend", "transformers")
    with (
        openai.OpenAI(base_url=address(said), api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match="context overflow") as caught,
    ):
        client.chat.completions.create(model="tutor", messages=[{"role": "user", "content": "ba " * 900}])
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.slow
def test_vms_of_the_embedded_model_keep_to_schemas_side_by_side(
    serving: Any, tmp_path: Path, small_models: Any
) -> None:
    from understudy.models.embedded import NAME, embedded_path

    base = embedded_path()
    for seed, name in enumerate(("tutor", "judge")):
        vm = small_models.lora(tmp_path / name, base, seed)
        lineage(vm, base)
        known = json.loads((vm / "understudy.json").read_text())
        # As it comes back from the Hub: without the folder of the machine that it was trained on.
        known |= {"base": f"{NAME}@{fingerprint(base)}", "base_path": base.name}
        (vm / "understudy.json").write_text(json.dumps(known))
    _, said = serving(tmp_path / "tutor", tmp_path / "judge", "--backend", "transformers", "--dtype", "float32")
    schema = {
        "type": "object", "properties": {"river": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
        "required": ["river", "sure"], "additionalProperties": False,
    }  # fmt: skip
    form: Any = {"type": "json_schema", "json_schema": {"name": "river", "schema": schema, "strict": True}}
    free: Any = {"type": "text"}
    asked: list[Any] = [{"role": "user", "content": "Name a river as JSON."}]

    async def talk() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=address(said), api_key="none", max_retries=0) as client:

            async def ask(name: str, shape: Any) -> str:
                answer = await client.chat.completions.create(
                    model=name, messages=asked, response_format=shape, max_tokens=32, seed=5, temperature=0.7
                )
                return str(answer.choices[0].message.content)

            wanted = [(name, shape) for name in (NAME, "tutor", "judge") for shape in (form, free)]
            return [await ask(*one) for one in wanted], await asyncio.gather(*(ask(*one) for one in wanted))

    alone, together = asyncio.run(talk())
    assert together == alone and len({*alone[1::2]}) == 3
    for text in alone[::2]:
        assert json.loads(text).keys() == {"river", "sure"}


def test_vms_of_different_bases_are_refused_with_both_names(understudy: Call, vms: Path) -> None:
    said = understudy("serve", vms / "tutor", vms / "stranger")
    assert said.code == 2 and "`tutor` and `stranger` have different bases: small@" in said.err
    assert "and other@" in said.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "no such folder"),
        (("tutor", "small"), "`small` has weights of its own"),
        (("tutor", "tutor"), "two models are called `tutor`"),
        (("tutor", "--name", "small"), "two models are called `small`"),
        (("tutor", "judge", "--name", "one"), "1 names for 2 VMs"),
        (("tutor", "--host", "0.0.0.0"), "--host 0.0.0.0 can be reached from elsewhere"),
        (("tutor", "--host", "0.0.0.0", "--api-key-env", "NO_SUCH_KEY"), "NO_SUCH_KEY is not set"),
        (("tutor", "--backend", "magic"), "--backend magic"),
        (("tutor", "--dtype", "int4"), "--dtype int4"),
        (("tutor", "--backend", "vllm"), "no such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_served_is_told_before_weights_are_read(
    understudy: Call, vms: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("UNDERSTUDY_VLLM", "/no/such/vllm")
    monkeypatch.chdir(vms)
    said = understudy("serve", *arguments)
    assert said.code == 2 and told in said.err and "Loading" not in said.out


FAKE_VLLM = """#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
asked = sys.argv[1:]
with open({file!r}, "w") as out:
    json.dump({{"arguments": asked, "key": os.environ.get("VLLM_API_KEY")}}, out)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(asked[asked.index("--port") + 1])), Handler).serve_forever()
"""


def test_where_vllm_is_found_it_serves_base_and_adapters_and_ends_with_ctrl_c(
    serving: Any, vms: Path, tmp_path: Path
) -> None:
    fake, told = tmp_path / "vllm", tmp_path / "told.json"
    fake.write_text(FAKE_VLLM.format(python=sys.executable, file=str(told)))
    fake.chmod(0o755)
    run, said = serving(vms / "tutor", vms / "judge", UNDERSTUDY_VLLM=str(fake))
    assert "Models: small, tutor, judge\n" in said
    asked = json.loads(told.read_text())
    words = asked["arguments"]
    assert words[:2] == ["serve", str(vms / "small")] and asked["key"] is None
    assert words[words.index("--served-model-name") + 1] == "small"
    place = words.index("--lora-modules")
    assert words[place + 1 : place + 3] == [f"tutor={vms / 'tutor'}", f"judge={vms / 'judge'}"]
    assert "--enable-lora" in words and words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--max-loras") + 1] == "2" and words[words.index("--allowed-origins") + 1] == "[]"
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 130 and "Traceback" not in err
    deadline = time.monotonic() + 20
    with httpx.Client() as client:
        while time.monotonic() < deadline:
            try:
                client.get(address(said).removesuffix("/v1") + "/health")
            except httpx.ConnectError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("vLLM outlived the command")
