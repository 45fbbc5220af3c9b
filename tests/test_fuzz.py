"""Bytes that nobody meant: whatever stands in a recipe, a seed file, a prompt file or a reply, the errors are ours.

How many examples are tried is Hypothesis' setting; `HYPOTHESIS_PROFILE=fuzz` tries 5,000 of each.
"""

import json
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.agents import REPLIES
from understudy.agents.replies import Mismatch
from understudy.corpus.readers import read_source
from understudy.errors import PersonaError, PromptError, RecipeError, SeedError, UnderstudyError
from understudy.models.endpoint import _replies
from understudy.models.throttle import Trouble, parse_retry_after
from understudy.personas import load_set
from understudy.prompt import Prompt
from understudy.recipe import Source
from understudy.recipe_file import load_recipe

RECIPE = b"""name: x
seeds:
  - {path: docs, kind: text, chunk_tokens: 60}
accept: 8
sm: {backend: openai, base_url: "http://127.0.0.1:1/v1", model: m}
voices: {judge: [{temperature: 0.2}]}
budget: {tokens: 1000, money: 0.5}
dedup: {minhash: 0.9, embedding: null}
"""
PERSONAS = b"name: x\ndescription: y\nlicense: MIT\npersonas:\n  - A miller who reads.\n  - A baker, at night.\n"
PROMPT = b"""---
name: ask
family: instruct
summary: Asks.
kinds: [text]
reply: Instruction
pattern: 'Why [a-z]+\\?'
---
Ask about {{ kind }}, as {{ persona }} would.
"""
SEEDS = {
    "a.md": b"# A\n\nText with a [link](b).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\n",
    "a.txt": b"Plain text.\n\nMore of it.",
    "a.html": b"<html><body><h1>A</h1><p>Text &amp; more</p><table><tr><td>1</td></tr></table></body></html>",
    "a.csv": b'a,b\n1,"two, three"\n4,5\n',
    "a.tsv": b"a\tb\n1\t2\n",
    "a.jsonl": b'{"a": 1, "b": "x"}\n{"a": [1, 2], "b": null}\n',
    "a.py": b"def f(x):\n    return x\n\nclass A:\n    pass\n",
    "a.js": b"function f(x) { return x }\n",
    "a.pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
}  # fmt: skip


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), sink)
    return sink.getvalue().to_pybytes()


SEEDS["a.parquet"] = parquet()


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """A good file with pieces cut out, doubled, or written over; or bytes out of nowhere."""
    body = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        put = draw(st.one_of(st.binary(max_size=12), st.sampled_from([b"", bytes(body[start:end]) * 2, b"\x00", b"&a *a",
                             b"\xff\xfe", b"!!python/object:os.system", b"{{", b"%}", b"1e999", b"- " * 30, b"\xed\xa0\x80"])))  # fmt: skip
        body[start:end] = put
    return bytes(body)


@given(broken(RECIPE))
def test_a_recipe_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_bytes(body)
    try:
        load_recipe(path)
    except RecipeError as error:
        assert str(path) in str(error.where)


@given(broken(PERSONAS))
def test_a_persona_set_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "set.yaml"
    path.write_bytes(body)
    try:
        load_set(str(path))
    except PersonaError as error:
        assert str(path) in str(error.where)


@given(broken(PROMPT))
def test_a_prompt_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "instruct"
    folder.mkdir(exist_ok=True)
    path = folder / "ask.md"
    path.write_bytes(body)
    try:
        prompt = Prompt.load(path)
        prompt.render("S", "M", {"kind": "text", "persona": "P"})
    except PromptError as error:
        assert str(path) in str(error.where)


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_file_is_read_or_refused(tmp_path: Path, name: str) -> None:
    @given(broken(SEEDS[name]))
    def check(body: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(body)
        try:
            for seed in read_source(Source(path=name), path):
                seed.content.encode("utf-8")
        except SeedError as error:
            assert name in str(error.where)

    check()


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_read_or_a_mismatch(name: str) -> None:
    @given(st.one_of(st.text(), st.just('{"passes": true, "reason": "x"}').flatmap(_cut)), st.booleans())
    def check(text: str, truncated: bool) -> None:
        with suppress(Mismatch):
            REPLIES[name].read(text, truncated)

    check()


def _cut(text: str) -> st.SearchStrategy[str]:
    return st.tuples(st.integers(0, len(text)), st.text(max_size=5)).map(
        lambda at: text[: at[0]] + at[1] + text[at[0] :]
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "usage", "prompt_tokens", "completion_tokens", "index",
                         "finish_reason", "refusal", "prompt_tokens_details", "cached_tokens"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_a_completion_is_read_or_trouble(answer: object) -> None:
    try:
        for reply in _replies(answer, "http://x"):
            assert isinstance(reply.text, str) and reply.prompt_tokens >= 0 and reply.completion_tokens >= 0
            json.dumps(reply.text)
    except (Trouble, UnderstudyError):
        pass


@given(st.text(max_size=40))
def test_a_retry_after_header_is_seconds_or_nothing(value: str) -> None:
    found = parse_retry_after(value)
    assert found is None or 0 <= found < float("inf")
