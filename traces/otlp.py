"""Sending spans to a collector by OTLP over HTTP, one batch after the other, each answered before the next.

OpenTelemetry's own batch processor drops spans when its queue is full, and its exporter takes a redirect for a success
and does not read how many spans a collector rejected. Here the first thing that does not arrive ends the sending.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan

from understudy.errors import UserError
from understudy.sms import SMSpec
from understudy.traces.spans import spans
from understudy.traces.story import Story

_BATCH = 256
"""Spans in a request, or a few more: an example is not divided."""
_TIMEOUT_S = 60.0
"""Where the environment does not say: some collectors take half a minute over their first request."""
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_PATH = "/v1/traces"
_REMEDIES = {
    401: "give the key that it wants in OTEL_EXPORTER_OTLP_HEADERS, such as `authorization=Bearer%20…`",
    403: "give the key that it wants in OTEL_EXPORTER_OTLP_HEADERS, such as `authorization=Bearer%20…`",
    404: f"give the address at which it takes OTLP over HTTP; most end in {_PATH}",
    405: f"give the address at which it takes OTLP over HTTP; most end in {_PATH}",
    415: "give the address of a collector that takes OTLP over HTTP as protobuf",
}
_AGAIN = "see what the collector's own log says, then send again"


@dataclass(slots=True)
class Sent:
    """What has arrived."""

    examples: int = 0
    spans: int = 0


def endpoint(url: str) -> str:
    """The address that spans are posted to; a URL without a path is a collector's, which has its traces in /v1/traces.

    Raises:
        UserError: when it is no http or https URL, or holds a password.
    """
    expected = f"an http or https URL such as http://localhost:6006 or https://collector.example{_PATH}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        valid = False
    if not valid:
        raise UserError(f"--otlp {url}", expected=expected)
    if "@" in parts.netloc:
        raise UserError(
            "--otlp with a password in the URL",
            expected=expected,
            remedy="give the password in OTEL_EXPORTER_OTLP_HEADERS, such as `authorization=Basic%20…`",
        )
    return urlunsplit(parts._replace(path=_PATH)) if parts.path in ("", "/") else url


def send(
    stories: Iterable[Story],
    url: str,
    engines: Mapping[str, SMSpec],
    project: str,
    *,
    content: bool = False,
    tell: Callable[[Sent], None] = lambda _: None,
) -> Sent:
    """Send the spans of examples, and say after each batch what has arrived.

    Headers, certificates, compression and timeout are those of OpenTelemetry's OTEL_EXPORTER_OTLP_* variables.

    Raises:
        UserError: when the collector cannot be reached or refuses a batch; what was sent before it stays there.
    """
    sent, now = Sent(), time.time()
    collector = _Collector(endpoint(url))
    waiting: list[ReadableSpan] = []
    examples = 0

    def flush() -> None:
        nonlocal waiting, examples
        collector.send(waiting, sent)
        sent.examples += examples
        sent.spans += len(waiting)
        waiting, examples = [], 0
        tell(sent)

    try:
        for story in stories:
            waiting += spans(story, engines, project, now=now, content=content)
            examples += 1
            if len(waiting) >= _BATCH:
                flush()
        if waiting:
            flush()
    finally:
        collector.close()
    return sent


class _Session(requests.Session):
    """Remembers how the last request ended, which the exporter tells only its log."""

    answer: requests.Response | None = None
    failure: Exception | None = None
    reached = False

    def request(self, *args: Any, **options: Any) -> requests.Response:
        self.answer = self.failure = None
        try:
            self.answer = super().request(*args, **options)
        except Exception as error:
            self.failure = error
            if self.reached:
                raise
            # What has never answered is not waited for; the exporter tries again after errors of connection.
            raise RuntimeError("out of reach") from error
        self.reached = True
        return self.answer


class _Said(logging.Handler):
    """Keeps what the exporter says, which would else be printed beside our own words."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


class _Collector:
    """One endpoint."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = _Session()
        timeout = None if any(map(os.environ.get, _TIMEOUTS)) else _TIMEOUT_S
        self._exporter = OTLPSpanExporter(endpoint=url, session=self._session, timeout=timeout)
        self._said = _Said()
        self._log = logging.getLogger(OTLPSpanExporter.__module__)
        self._log.addHandler(self._said)

    def close(self) -> None:
        self._session.close()
        self._log.removeHandler(self._said)

    def send(self, batch: list[ReadableSpan], before: Sent) -> None:
        self._session.answer = self._session.failure = None
        self._exporter.export(batch)
        if (problem := self._problem()) is not None:
            what, remedy = problem
            arrived = f"{before.examples:,} examples ({before.spans:,} spans) had arrived before"
            raise UserError(
                f"{what}; {arrived if before.examples else 'nothing had arrived before'}",
                where=self._url,
                remedy=remedy + ("; what is sent twice has the same ids" if before.examples else ""),
            )

    def _problem(self) -> tuple[str, str] | None:
        """What kept the batch from arriving, and what to do; None if nothing did."""
        answer = self._session.answer
        if self._session.failure is not None:
            return _unreached(self._session.failure)
        if answer is None:  # it was not even sent: too large, say
            return self._said.last, _AGAIN
        kind = answer.headers.get("content-type", "")
        if not 200 <= answer.status_code < 300:
            what = f"the collector refused spans: HTTP {answer.status_code} {answer.reason or ''}".rstrip()
            said = answer.text.strip() if kind.startswith(("text/plain", "application/json")) else ""
            more = f", {_short(said)}" if said and said != answer.reason else ""
            return what + more, _REMEDIES.get(answer.status_code, _AGAIN)
        if kind.startswith("text/html"):
            return "a web page answered, not a collector", _REMEDIES[404]
        if kind.startswith("application/x-protobuf"):
            partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
            if partial.rejected_spans:
                return (
                    f"the collector rejected {partial.rejected_spans:,} spans: {_short(partial.error_message)}",
                    _AGAIN,
                )
        return None


def _unreached(error: Exception) -> tuple[str, str]:
    if isinstance(error, requests.Timeout):
        return (
            "the collector did not answer in time",
            "see that it is up, and give it more seconds in OTEL_EXPORTER_OTLP_TIMEOUT",
        )
    root: BaseException = error
    while root.__context__ is not None:
        root = root.__context__
    why = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return f"the collector cannot be reached: {_short(why)}", "start it, or give the address at which it listens"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:200] + " …"
