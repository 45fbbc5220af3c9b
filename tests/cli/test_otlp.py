"""`understudy traces --otlp`, as a user meets it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.traces import stories

Understudy = Callable[..., Any]


def values(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_corpus_is_sent_whole_by_status_or_one_example(understudy: Understudy, project: Path, collector: Any) -> None:
    assert understudy("run", project / "recipe.yaml", "--out", "out").code == 0
    with RunFolder.read(Path("out")) as folder:
        told = list(stories(folder))
        accounting = folder.accounting()
        assert [one.example.id for one in stories(folder, "accepted")] == [one.id for one in folder.examples()]
    said = understudy("traces", "out", "--otlp", collector.url)
    assert said.code == 0
    assert f"{len(told)} examples ({len(collector.spans)} spans) are at {collector.url}/v1/traces" in said.out
    assert "--content sends them too" in said.out
    roots = [values(one) for one in collector.spans if not one.parent_span_id]
    assert {one["understudy.example.id"] for one in roots} == {one.example.id for one in told}
    chats = [values(one) for one in collector.spans if one.name == "chat scripted"]
    assert sum(
        one["gen_ai.usage.input_tokens"] + one["gen_ai.usage.output_tokens"]
        for one in chats
        if not one["understudy.reused"]
    ) == sum(tokens for status, tokens in accounting.tokens_by_status.items() if status != "unfinished")
    assert not any("understudy.times" in one for one in roots)
    assert "gen_ai.input.messages" not in chats[0]
    first = {one.span_id for one in collector.spans}
    collector.requests.clear()
    said = understudy("traces", "out", "--otlp", collector.url, "--status", "accepted", "--content", "--json")
    assert json.loads(said.out) == {
        "examples": 8, "spans": len(collector.spans), "to": f"{collector.url}/v1/traces",
    }  # fmt: skip
    assert {one.span_id for one in collector.spans} < first
    assert any("gen_ai.input.messages" in values(one) for one in collector.spans)
    collector.requests.clear()
    some = told[0].example.id
    assert understudy("traces", "out", some[:12], "--otlp", collector.url).code == 0
    assert [values(one)["understudy.example.id"] for one in collector.spans if not one.parent_span_id] == [some]


def test_what_cannot_be_sent_is_an_error_with_a_remedy(
    understudy: Understudy, project: Path, collector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert understudy("run", project / "recipe.yaml", "--out", "out").code == 0
    collector.answers.append((500, "text/plain", b"full"))
    said = understudy("traces", "out", "--otlp", collector.url)
    assert said.code == 2 and "HTTP 500 Internal Server Error, full; nothing had arrived before" in said.err
    assert "to fix it:" in said.err and "Traceback" not in said.err
    assert understudy("traces", "out", "--otlp", "localhost:6006").code == 2
    alone = understudy("traces", "out", "--content")
    assert alone.code == 2 and "--content without --otlp" in alone.err
    monkeypatch.delitem(sys.modules, "understudy.traces.otlp")
    monkeypatch.delattr("understudy.traces.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    bare = understudy("traces", "out", "--otlp", collector.url)
    assert bare.code == 2 and "pip install 'understudy[otel]'" in bare.err
