"""The embedded model for real: seeded, constrained, batched, scoring, embedding. About 3,000 SM tokens."""

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from understudy.agents import REPLIES
from understudy.errors import EngineRefused
from understudy.models import SM, Constraint, Reply, Request, open_embedder, open_sm
from understudy.nouns import Messages
from understudy.prompt import Sampling
from understudy.recipe import Recipe, Source

pytestmark = pytest.mark.slow


def ask(text: str) -> Messages:
    return ({"role": "user", "content": text},)


async def one(sm: SM, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None = None) -> Reply:
    (reply,) = await sm.complete(Request(messages, sampling, seed, constraint))
    return reply


@pytest.fixture
async def sm() -> AsyncIterator[SM]:
    model = await open_sm(Recipe(name="x", seeds=(Source(path="."),), accept=1))
    yield model
    await model.aclose()


async def test_a_reply_depends_on_its_seed_and_not_on_its_neighbours(sm: SM) -> None:
    warm = Sampling(temperature=0.9, max_tokens=24)
    alone = await one(sm, ask("Name a river and say where it flows."), warm, 11)
    crowd = await asyncio.gather(
        one(sm, ask("What is bread made of? Answer in a long paragraph about flour."), warm, 5),
        one(sm, ask("Name a river and say where it flows."), warm, 11),
        one(sm, ask("Name a river and say where it flows."), warm, 12),
    )
    assert crowd[1].text == alone.text
    assert crowd[2].text != alone.text


async def test_constraints_hold_a_small_model_to_the_form(sm: SM) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=80)
    pattern = r"Why (do|does) [^\n?]{10,60}\?"
    judge = REPLIES["Judgement"]
    question, verdict = await asyncio.gather(
        one(sm, ask("Say something about yeast and dough."), sampling, 1, Constraint("regex", pattern)),
        one(sm, ask("Is yeast alive? Reply as JSON with `passes` and `reason`."), sampling, 2, judge.constraint),
    )
    assert re.fullmatch(pattern, question.text)
    assert set(json.loads(verdict.text)) == {"passes", "reason"}
    assert isinstance(judge.read(verdict.text, verdict.truncated).passes, bool)


async def test_a_reply_that_reaches_its_limit_says_so_and_is_counted(sm: SM) -> None:
    reply = await one(sm, ask("Count from one to one hundred in words."), Sampling(temperature=0, max_tokens=4), 0)
    assert reply.truncated
    assert reply.completion_tokens == 4
    assert reply.prompt_tokens > 10


async def test_a_prompt_longer_than_the_context_is_refused_before_it_is_sent(sm: SM) -> None:
    with pytest.raises(EngineRefused, match="context overflow"):
        await one(sm, ask("word " * 9000), Sampling(max_tokens=10), 0)


def test_the_embedder_puts_a_paraphrase_nearer_than_another_subject() -> None:
    vectors = open_embedder("embedded").embed(
        ["How does yeast make dough rise?", "In what way does yeast cause dough to rise?", "Which gauge reads highest?"]
    )
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.9 > 0.5 > vectors[0] @ vectors[2]


async def test_requests_that_arrive_while_a_batch_is_prepared_do_not_disturb_it(sm: SM) -> None:
    brief = Sampling(temperature=0.5, max_tokens=2)
    lengths = [1, 40, 3, 25, 7, 60, 2, 33]
    replies = await asyncio.gather(*(one(sm, ask("word " * lengths[turn % 8]), brief, turn) for turn in range(64)))
    assert len({reply.prompt_tokens for reply in replies}) == 8


async def test_several_replies_to_a_prompt_are_those_of_its_seed_and_the_next_ones(sm: SM) -> None:
    warm = Sampling(temperature=0.9, max_tokens=12)
    messages = ask("Name a river and say where it flows.")
    together = await sm.complete(Request(messages, warm, 2**64 - 2, n=4))
    alone = await asyncio.gather(*(one(sm, messages, warm, seed) for seed in (2**64 - 2, 2**64 - 1, 0, 1)))
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert len({reply.text for reply in together}) == 4
    assert [reply.prompt_tokens for reply in together] == [alone[0].prompt_tokens, 0, 0, 0]


async def test_a_score_is_the_log_probability_of_the_continuation_s_tokens_by_a_direct_pass(sm: SM) -> None:
    import torch

    likely = await sm.score(ask("What is the capital of France?"), "The capital of France is Paris.")
    unlikely = await sm.score(ask("What is the capital of France?"), "The capital of France is bread.")
    loaded = sm._loaded  # type: ignore[attr-defined]
    tokenizer, model = loaded.tokenizer, loaded.model
    prompt = tokenizer.apply_chat_template(
        list(ask("What is the capital of France?")), add_generation_prompt=True, return_dict=False
    )
    tail = tokenizer.encode("The capital of France is Paris.", add_special_tokens=False)
    with torch.inference_mode():
        chances = torch.log_softmax(model(torch.tensor([prompt + tail])).logits[0].float(), dim=-1)
    expected = [float(chances[len(prompt) - 1 + place, token]) for place, token in enumerate(tail)]
    assert likely.logprobs == pytest.approx(expected, abs=0.05 if model.dtype == torch.bfloat16 else 1e-3)
    assert len(likely.tokens) == len(tail) and all(chance < 0 for chance in likely.logprobs)
    assert likely.total > unlikely.total + 3
    # All but the last word are the same, and are found as likely.
    assert likely.logprobs[:4] == pytest.approx(unlikely.logprobs[:4], abs=0.05)
    assert (await sm.score(ask("Hi"), "")).total == 0


async def test_vectors_have_length_one_and_a_paraphrase_is_nearer_than_another_subject(sm: SM) -> None:
    texts = ["Yeast makes the dough rise.", "The dough rises because of yeast.", "The server listens on port 8080."]
    vectors = await sm.embed(texts)
    assert vectors.dtype == np.float32 and vectors.shape[0] == 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    np.testing.assert_array_equal(await sm.embed(texts[1:2]), vectors[1:2])


async def test_requests_that_are_cancelled_make_room_in_the_batch(sm: SM) -> None:
    endless = Sampling(temperature=1.0, max_tokens=1500)
    asked = [asyncio.create_task(one(sm, ask(f"Write a long story of {n}."), endless, n)) for n in range(20)]
    decoder = None
    while decoder is None or not all(row.written for row in decoder._live) or len(decoder._live) < 16:
        await asyncio.sleep(0.01)
        decoder = sm._loaded.decoder  # type: ignore[attr-defined]
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    started = time.monotonic()
    reply = await one(sm, ask("Hello!"), Sampling(temperature=0, max_tokens=2), 0)
    assert reply.completion_tokens <= 2 and time.monotonic() - started < 20
    assert decoder._live == [] and decoder._waiting == []


def shape(value: object) -> object:
    """What a reply is made of, without its words."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value[:1]] if isinstance(value, list) else type(value).__name__


async def test_replies_under_a_nested_schema_are_all_valid_and_compact(sm: SM) -> None:
    level = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}, "sure": {"type": "boolean"}},
             "required": ["n", "sure"], "additionalProperties": False}  # fmt: skip
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["lock", "weir"]},
            "gates": {"type": "array", "items": level, "minItems": 1, "maxItems": 2},
        },
        "required": ["kind", "gates"],
        "additionalProperties": False,
    }
    constraint, warm = Constraint("schema", schema), Sampling(temperature=1.3, max_tokens=64)
    replies = await asyncio.gather(
        *(one(sm, ask("Describe a lock as JSON."), warm, seed, constraint) for seed in range(48))
    )
    for reply in replies:
        assert not reply.truncated
        value = json.loads(reply.text)
        assert shape(value) == {"kind": "str", "gates": [{"n": "int", "sure": "bool"}]}
        assert value["kind"] in ("lock", "weir") and 1 <= len(value["gates"]) <= 2
        assert all(0 <= gate["n"] <= 9 for gate in value["gates"])
        assert not re.search(r"\s{2}|\n", reply.text)
        assert len(reply.text) < 80
    assert len({reply.text for reply in replies}) > 10


async def test_weights_in_half_precision_load_beside_an_embedder_and_leave_the_default_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sentence_transformers  # noqa: F401  # its import takes longer than the load below
    import torch
    from transformers import AutoModelForCausalLM

    from understudy.models.embedded import embedded_path
    from understudy.models.local import Local

    inside, read = threading.Event(), AutoModelForCausalLM.from_pretrained
    defaults = []

    def slowly(*args: object, **options: object) -> object:
        torch.set_default_dtype(torch.bfloat16)  # as transformers does
        inside.set()
        time.sleep(3)
        torch.set_default_dtype(torch.float32)
        return read(*args, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", slowly)
    embedder = open_embedder("embedded")
    model = Local.open(embedded_path(), dtype="bfloat16")

    def embedded() -> np.ndarray:
        inside.wait()
        vectors = embedder.embed(["Why does it float?"])
        defaults.append(torch.get_default_dtype())
        return vectors

    try:
        vectors, reply = await asyncio.gather(
            asyncio.to_thread(embedded), one(model, ask("Name a river."), Sampling(max_tokens=4), 1)
        )
    finally:
        await model.aclose()
    assert [*defaults, torch.get_default_dtype()] == [torch.float32, torch.float32]
    assert vectors.dtype == np.float32 and reply.completion_tokens > 0
    assert np.allclose(vectors, open_embedder("embedded").embed(["Why does it float?"]), atol=1e-5)
