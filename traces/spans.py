"""One example's way as OpenTelemetry spans, by the semantic conventions for generative AI.

    invoke_workflow understudy          the example
    ├── invoke_agent instruct/why       a step of the graph; asking again belongs to it
    │   ├── chat SmolLM2-135M           a call, with its tokens
    │   └── chat SmolLM2-135M
    └── invoke_agent judge/clear

Verdicts are events on the first. Everything comes from the corpus and the journal, so the same example gives the same
ids each time. Spans are made as they are sent and not by a tracer, whose limits, set in the environment, would cut
attributes and drop spans.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from understudy import __version__
from understudy.nouns import Call, Example, Verdict, address
from understudy.sms import OpenAISM, SMSpec
from understudy.traces import gen_ai
from understudy.traces.story import Step, Story

Attributes = dict[str, str | bool | int | float | Sequence[str]]

# Of OpenInference, which Phoenix reads before the names above: its table of examples has columns for these.
_KIND, _INPUT, _OUTPUT, _METADATA = "openinference.span.kind", "input.value", "output.value", "metadata"
_SCOPE = InstrumentationScope("understudy", __version__, gen_ai.SCHEMA_URL)
# OTLP's whole numbers are signed.
_LARGEST = 2**63 - 1
_REMOTE = {"openai", "langchain", "vllm-server"}
_REQUEST = {
    "temperature": gen_ai.REQUEST_TEMPERATURE,
    "top_p": gen_ai.REQUEST_TOP_P,
    "max_tokens": gen_ai.REQUEST_MAX_TOKENS,
    "seed": gen_ai.REQUEST_SEED,
}


@dataclass(frozen=True, slots=True)
class _Timed:
    """A step, and from when to when it was under way, in Unix seconds."""

    place: int
    step: Step
    begin: float
    end: float


def spans(
    story: Story, engines: Mapping[str, SMSpec], project: str, *, now: float, content: bool = False
) -> list[ReadableSpan]:
    """The spans of one example, each after the one that it is part of.

    Args:
        story: the example.
        engines: the recipe's SMs by name, as `Recipe.engines` gives them.
        project: what the corpus is called; viewers that know projects put the spans there.
        now: where no call says when it was asked, the last is laid out to end here, in Unix seconds.
        content: with prompts, replies, and all else that holds words of the seeds or of the SM.
    """
    # Drafts that failed with nothing written have the same id in every corpus of these seeds, but not the same calls.
    trace = address("trace", project, story.example.id, *(step.call.key for step in story.steps))
    make = _Maker(trace, _resource(project))
    timed = list(_timed(story.steps, now))
    begin = min((one.begin for one in timed), default=now)
    end = max((one.end for one in timed), default=now)
    root = make.span(
        "invoke_workflow understudy",
        ("example",),
        None,
        (begin, end),
        _of_example(story, content) | _laid_out(timed),
        status=_failed(story.example.reason) if story.example.status == "failed" else None,
        events=[_event(verdict, end, content) for verdict in story.example.verdicts],
    )
    found = [root]
    for tries in _agents(timed):
        first = tries[0]
        agent = make.span(
            f"invoke_agent {first.step.call.agent}",
            ("agent", first.place),
            root,
            (min(one.begin for one in tries), max(one.end for one in tries)),
            {gen_ai.OPERATION: "invoke_agent", gen_ai.AGENT: first.step.call.agent},
            status=_failed(story.example.reason) if _ended(story.example, tries[-1], timed) else None,
        )
        found.append(agent)
        found += [_chat(make, one, agent, engines, content) for one in tries]
    return found


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the spans of one example."""

    trace: str
    resource: Resource

    def span(
        self,
        name: str,
        what: tuple[str | int, ...],
        parent: ReadableSpan | None,
        time: tuple[float, float],
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        status: Status | None = None,
        events: Sequence[Event] = (),
    ) -> ReadableSpan:
        """A span whose id hashes the trace and `what` it is in it."""
        trace, own = int(self.trace, 16), int(address("span", self.trace, *what)[:16], 16)
        return ReadableSpan(
            name,
            SpanContext(trace, own, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
            parent.context if parent else None,
            self.resource,
            attributes,
            events,
            kind=kind,
            status=status or Status(),
            start_time=_nanoseconds(time[0]),
            end_time=_nanoseconds(time[1]),
            instrumentation_scope=_SCOPE,
        )


@cache
def _resource(project: str) -> Resource:
    """What sends the spans; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word."""
    ours = Resource(
        {"service.name": "understudy", "service.version": __version__, "openinference.project.name": project}
    )
    return ours.merge(OTELResourceDetector().detect())


def _timed(steps: Sequence[Step], now: float) -> Iterator[_Timed]:
    """When each call was under way: where it does not say, right after the one before it.

    Those before the first that says are laid end to end up to it, or up to `now` where none does.
    """
    first = next((place for place, step in enumerate(steps) if step.call.at is not None), len(steps))
    known = steps[first].call.at if first < len(steps) else None
    at = (now if known is None else known) - sum(step.call.seconds for step in steps[:first])
    for place, step in enumerate(steps):
        begin = at if step.call.at is None else step.call.at
        at = begin + step.call.seconds
        yield _Timed(place, step, begin, at)


def _laid_out(timed: Sequence[_Timed]) -> Attributes:
    return {"understudy.times": "laid out"} if any(one.step.call.at is None for one in timed) else {}


def _agents(timed: Sequence[_Timed]) -> Iterator[list[_Timed]]:
    """The calls of each step of the graph: one, or two where the first reply could not be read."""
    tries: list[_Timed] = []
    for one in timed:
        if tries and not one.step.again:
            yield tries
            tries = []
        tries.append(one)
    if tries:
        yield tries


def _ended(example: Example, last: _Timed, timed: Sequence[_Timed]) -> bool:
    """Whether the draft failed at this agent, whose replies could not be used."""
    at_fault = (example.reason or "").endswith(f": {last.step.call.agent}")
    return example.status == "failed" and at_fault and last.place == timed[-1].place


def _of_example(story: Story, content: bool) -> Attributes:
    example, seed, persona = story.example, story.seed, story.example.persona
    fate = {"status": example.status, "reason": example.reason, "seed": seed.source}
    found: Attributes = {
        gen_ai.OPERATION: "invoke_workflow",
        gen_ai.WORKFLOW: "understudy",
        gen_ai.CONVERSATION: seed.id,
        _KIND: "CHAIN",
        _METADATA: _json({name: value for name, value in fate.items() if value is not None}),
        "understudy.example.id": example.id,
        "understudy.example.kind": example.kind,
        "understudy.status": example.status,
        "understudy.draw": example.draw,
        "understudy.path": example.path,
        "understudy.tokens": story.tokens,
        "understudy.seed.kind": seed.kind,
        "understudy.seed.source": seed.source,
    }
    if example.reason is not None:
        found["understudy.reason"] = example.reason
    if example.status == "failed":
        found[gen_ai.ERROR_TYPE] = (example.reason or "failed").partition(":")[0]
    if persona:
        found |= {"understudy.persona.id": persona.id, "understudy.persona.origin": persona.origin}
    if content:
        found["understudy.seed.content"] = seed.content
        if persona:
            found["understudy.persona.text"] = persona.text
        turns = example.payload.get("messages") or []
        # A draft that ended early may end with what a tool gave back.
        asked, said = (turns[:-1], turns[-1]) if turns and turns[-1]["role"] == "assistant" else (turns, None)
        found[_INPUT] = next((turn["content"] for turn in asked if turn["role"] == "user"), seed.content)
        if asked:
            found[gen_ai.INPUT_MESSAGES] = _json([_message(turn) for turn in asked])
        if said:
            found[_OUTPUT] = said["content"]
            found[gen_ai.OUTPUT_MESSAGES] = _json([_message(said) | {"finish_reason": "stop"}])
    return found


def _event(verdict: Verdict, at: float, content: bool) -> Event:
    attributes: Attributes = {
        gen_ai.EVALUATION_NAME: verdict.by,
        gen_ai.EVALUATION_LABEL: "passed" if verdict.passed else "failed",
    }
    if verdict.score is not None:
        attributes[gen_ai.EVALUATION_SCORE] = verdict.score
    if content and verdict.evidence is not None:
        attributes[gen_ai.EVALUATION_EXPLANATION] = verdict.evidence
    return Event(gen_ai.EVALUATION, attributes, _nanoseconds(at))


def _chat(
    make: _Maker, timed: _Timed, agent: ReadableSpan, engines: Mapping[str, SMSpec], content: bool
) -> ReadableSpan:
    call = timed.step.call
    spec = engines.get(call.sm)
    who = _engine(call, spec)
    failed = None if call.reply is not None and call.error in (None, "truncated") else call.error or "no reply"
    return make.span(
        f"chat {who[gen_ai.REQUEST_MODEL]}",
        ("call", timed.place, call.key),
        agent,
        (timed.begin, timed.end),
        who | _of_call(timed.step, content) | ({gen_ai.ERROR_TYPE: failed} if failed else {}) | _laid_out([timed]),
        kind=SpanKind.CLIENT if spec and spec.backend in _REMOTE else SpanKind.INTERNAL,
        status=_failed(failed) if failed else None,
    )


def _engine(call: Call, spec: SMSpec | None) -> Attributes:
    """Who was asked, by the recipe and by the name that the SM gave itself.

    A call taken over from another corpus may name an SM that this recipe does not have.
    """
    backend = spec.backend if spec else "unknown"
    provider, model = backend.removesuffix("-server"), call.model
    found: Attributes = {}
    if backend in ("openai", "langchain") and ":" in model:
        provider, _, model = model.partition(":")
    elif "@" in model:
        found[gen_ai.RESPONSE_MODEL] = model  # with the fingerprint of its files: these weights and no others
        model = model.partition("@")[0]
    found |= {gen_ai.PROVIDER: provider, gen_ai.REQUEST_MODEL: model}
    if isinstance(spec, OpenAISM) and len(spec.served) == 1:  # of several, the journal does not say which it was
        url = urlsplit(spec.served[0].base_url)
        found[gen_ai.SERVER_ADDRESS] = url.hostname or ""
        found[gen_ai.SERVER_PORT] = url.port or {"https": 443}.get(url.scheme, 80)
    return found


def _of_call(step: Step, content: bool) -> Attributes:
    call = step.call
    found: Attributes = {
        gen_ai.OPERATION: "chat",
        gen_ai.PROMPT: call.agent,
        gen_ai.INPUT_TOKENS: call.usage.get("prompt", 0),
        gen_ai.OUTPUT_TOKENS: call.usage.get("completion", 0),
        gen_ai.CACHE_READ_TOKENS: call.usage.get("cached", 0),
        "understudy.call.key": call.key,
        "understudy.sm": call.sm,
        "understudy.again": step.again,
        "understudy.reused": call.reused or step.shared,
    }
    for name, value in call.sampling.items():
        # The sampler's seed is the start of the key, so one that is too large for OTLP is not lost.
        if value is not None and not (isinstance(value, int) and value > _LARGEST):
            found[_REQUEST.get(name, f"understudy.request.{name}")] = value
    if call.reply is not None:
        finish = "length" if call.error == "truncated" else "stop"
        found[gen_ai.FINISH_REASONS] = [finish]
        if content:
            said = _message({"role": "assistant", "content": call.reply})
            found[gen_ai.OUTPUT_MESSAGES] = _json([said | {"finish_reason": finish}])
    if content:
        found[gen_ai.INPUT_MESSAGES] = _json([_message(turn) for turn in call.messages])
    return found


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A message in the conventions' form, as parts."""
    parts: list[dict[str, Any]] = []
    if turn["role"] == "tool":
        parts.append({"type": "tool_call_response", "id": turn.get("tool_call_id"), "response": turn["content"]})
    elif turn["content"]:
        parts.append({"type": "text", "content": turn["content"]})
    for called in turn.get("tool_calls") or ():
        made = called["function"]
        parts.append(
            {"type": "tool_call", "id": called.get("id"), "name": made["name"], "arguments": made["arguments"]}
        )
    return {"role": turn["role"], "parts": parts}


def _failed(why: str | None) -> Status:
    return Status(StatusCode.ERROR, why)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
