"""The embedded model for real: seeded, constrained, batched. About 1,500 SM tokens."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

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
