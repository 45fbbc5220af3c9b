"""Sending to a collector that listens on this machine."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from understudy.errors import UserError
from understudy.traces import otlp
from understudy.traces.otlp import Sent, endpoint, send
from understudy.traces.story import Story

Make = Callable[..., Any]


@pytest.fixture
def many(call: Make, tale: Make) -> Callable[[int], Iterator[Story]]:
    """So many stories of three spans each."""

    def make(count: int) -> Iterator[Story]:
        return (tale(call(f"k{number}"), id=f"{number + 1:032x}") for number in range(count))

    return make


def sent(stories: Iterator[Story], url: str, **options: Any) -> Sent:
    return send(stories, url, {}, "x", **options)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:6006", "http://localhost:6006/v1/traces"),
        ("https://host/", "https://host/v1/traces"),
        ("https://host/api/otel/v1/traces?team=1", "https://host/api/otel/v1/traces?team=1"),
    ],
)
def test_a_url_without_a_path_is_a_collector_s(url: str, expected: str):
    assert endpoint(url) == expected


@pytest.mark.parametrize(
    "url", ["localhost:6006", "grpc://localhost:4317", "http://", "http://host:port", "http://host:0", "traces", ""]
)
def test_what_is_no_http_url_is_refused(url: str):
    with pytest.raises(UserError) as caught:
        endpoint(url)
    assert "http or https URL" in str(caught.value.expected)


def test_a_password_in_a_url_is_refused_and_not_shown():
    with pytest.raises(UserError) as caught:
        endpoint("https://me:hush@host")
    assert "hush" not in str(caught.value) and "OTEL_EXPORTER_OTLP_HEADERS" in str(caught.value.remedy)


def test_spans_arrive_as_they_were_made(
    collector: Any, call: Make, tale: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key")
    assert sent(iter([tale(call("a"), call("b", "judge/clear"))]), collector.url) == Sent(1, 5)
    assert collector.paths == ["/v1/traces"]
    assert collector.headers[0]["authorization"] == "Bearer key"
    assert collector.headers[0]["content-type"] == "application/x-protobuf"
    root, agent, chat, *_ = collector.spans
    assert [one.name for one in collector.spans] == [
        "invoke_workflow understudy", "invoke_agent instruct/why", "chat tiny", "invoke_agent judge/clear", "chat tiny",
    ]  # fmt: skip
    assert root.parent_span_id == b"" and agent.parent_span_id == root.span_id and chat.parent_span_id == agent.span_id
    assert len({one.trace_id for one in collector.spans}) == 1
    values = {one.key: one.value for one in chat.attributes}
    assert values["gen_ai.usage.input_tokens"].int_value == 100
    assert values["gen_ai.request.model"].string_value == "tiny"
    assert [event.name for event in root.events] == ["gen_ai.evaluation.result"] * 2
    (resource,) = collector.requests[0].resource_spans
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (named["service.name"], named["openinference.project.name"]) == ("understudy", "x")
    assert resource.scope_spans[0].schema_url.endswith("/1.41.0")


def test_many_examples_go_in_batches_and_one_is_not_divided(
    collector: Any, many: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_BATCH", 10)
    told: list[tuple[int, int]] = []
    assert sent(many(9), collector.url, tell=lambda now: told.append((now.examples, now.spans))) == Sent(9, 27)
    assert told == [(4, 12), (8, 24), (9, 27)]
    for request in collector.requests:
        spans = [one for resource in request.resource_spans for scope in resource.scope_spans for one in scope.spans]
        traces = [one.trace_id for one in spans]
        assert len(traces) == 3 * len(set(traces))
    assert len({one.span_id for one in collector.spans}) == 27


def test_no_more_stories_are_taken_than_a_batch_holds(collector: Any, many: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(otlp, "_BATCH", 10)
    taken = 0

    def counted() -> Iterator[Story]:
        nonlocal taken
        for story in many(12):
            assert taken - 3 * len(collector.requests) // 3 * 4 <= 4
            taken += 1
            yield story

    sent(counted(), collector.url)
    assert taken == 12 and len(collector.requests) == 3


def test_nothing_to_send_asks_nobody(many: Make):
    assert sent(many(0), "http://127.0.0.1:1") == Sent(0, 0)


@pytest.mark.parametrize(
    ("answer", "said", "remedy"),
    [
        ((500, "text/plain", b"disk full"), "HTTP 500 Internal Server Error, disk full", "collector's own log"),
        ((400, "application/json", b'{"no": 1}'), 'HTTP 400 Bad Request, {"no": 1}', "collector's own log"),
        ((401, "text/html", b"<html>"), "HTTP 401 Unauthorized;", "OTEL_EXPORTER_OTLP_HEADERS"),
        ((404, "text/plain", b"Not Found"), "HTTP 404 Not Found;", "/v1/traces"),
        # OpenTelemetry's exporter takes these two for successes.
        ((302, "text/plain", b""), "HTTP 302 Found;", "collector's own log"),
        ((200, "text/html; charset=utf-8", b"<html>"), "a web page answered", "/v1/traces"),
    ],
)
def test_what_a_collector_refuses_ends_the_sending_and_says_what_arrived(
    collector: Any, many: Make, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str, bytes], said: str, remedy: str
) -> None:
    monkeypatch.setattr(otlp, "_BATCH", 6)
    collector.answers += [(200, "application/x-protobuf", b""), answer]
    with pytest.raises(UserError) as caught:
        sent(many(9), collector.url)
    assert said in str(caught.value)
    assert "2 examples (6 spans) had arrived before" in caught.value.message
    assert remedy in str(caught.value.remedy) and "same ids" in str(caught.value.remedy)
    assert caught.value.where == f"{collector.url}/v1/traces"
    assert len(collector.paths) == 2


def test_spans_that_a_collector_rejects_while_it_takes_others_are_told(collector: Any, many: Make):
    collector.rejects(2, "no room")
    with pytest.raises(UserError, match="rejected 2 spans: no room; nothing had arrived before"):
        sent(many(3), collector.url)


def test_a_collector_that_is_not_there_is_told_at_once(many: Make, monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    request = requests.Session.request
    monkeypatch.setattr(requests.Session, "request", lambda *a, **o: asked.append(a) or request(*a, **o))
    with pytest.raises(UserError, match="cannot be reached: Connection refused; nothing had arrived") as caught:
        sent(many(1), "http://127.0.0.1:1")
    assert "same ids" not in str(caught.value.remedy)
    assert len(asked) == 1


def test_a_collector_that_is_busy_is_tried_again(collector: Any, many: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("random.uniform", lambda *_: 0.01)
    collector.answers += [(503, "text/plain", b"busy")] * 2
    assert sent(many(1), collector.url) == Sent(1, 3)
    assert len(collector.paths) == 3


def test_a_collector_that_stays_busy_is_told(collector: Any, many: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    collector.answers += [(429, "text/plain", b"later")] * 9
    with pytest.raises(UserError, match="HTTP 429 Too Many Requests, later"):
        sent(many(1), collector.url)


def test_a_batch_that_cannot_even_be_sent_is_told(collector: Any, many: Make, monkeypatch: pytest.MonkeyPatch):
    class Small(OTLPSpanExporter):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options, max_request_size=10)

    Small.__module__ = OTLPSpanExporter.__module__
    monkeypatch.setattr(otlp, "OTLPSpanExporter", Small)
    with pytest.raises(UserError, match="exceeds max_request_size"):
        sent(many(1), collector.url)
    assert collector.paths == []
