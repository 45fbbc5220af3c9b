import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from understudy.recipe import Recipe
from understudy.traces import spans as module
from understudy.traces.spans import spans
from understudy.traces.story import Story

Make = Callable[..., Any]
ENGINES = Recipe.model_validate(
    {
        "name": "x", "accept": 1, "seeds": [{"path": "docs"}], "sm": {"backend": "transformers", "path": "tiny"},
        "sms": {
            "far": {"backend": "openai", "model": "large", "base_url": "https://sm.example/v1"},
            "near": {"backend": "openai", "model": "large", "base_url": "http://127.0.0.1:8000/v1"},
            "two": {"backend": "openai", "model": "large",
                    "endpoints": [{"base_url": "http://a/v1"}, {"base_url": "http://b/v1"}]},
            "hosted": {"backend": "langchain", "model": "anthropic:claude:5"},
            "served": {"backend": "vllm-server", "path": "tiny"},
        },
    }
).engines  # fmt: skip


def told(story: Story, **options: Any) -> list[ReadableSpan]:
    return spans(story, ENGINES, "x", **{"now": 9_000.0} | options)


def drawn(found: list[ReadableSpan]) -> list[str]:
    """Names of spans, indented by what they are part of."""
    depth: dict[int, int] = {}
    lines = []
    for one in found:
        depth[one.context.span_id] = depth[one.parent.span_id] + 1 if one.parent else 0
        lines.append("  " * depth[one.context.span_id] + one.name)
    return lines


def test_an_example_is_a_workflow_of_agents_that_chat(call: Make, tale: Make):
    again = call("b").messages + call("b").messages
    found = told(tale(call("a"), call("b", messages=again), call("c"), call("d", "judge/clear")))
    assert drawn(found) == [
        "invoke_workflow understudy",
        "  invoke_agent instruct/why",
        "    chat tiny",
        "    chat tiny",
        "  invoke_agent instruct/why",
        "    chat tiny",
        "  invoke_agent judge/clear",
        "    chat tiny",
    ]
    chats = [one.attributes for one in found if one.name.startswith("chat")]
    assert [one["understudy.again"] for one in chats] == [False, True, False, False]
    assert [one["understudy.call.key"] for one in chats] == ["a", "b", "c", "d"]
    assert len({one.context.trace_id for one in found}) == 1
    assert len({one.context.span_id for one in found}) == len(found)


def test_names_and_attributes_are_those_of_the_conventions(call: Make, tale: Make):
    story = tale(call("a"))
    root, agent, chat = told(story)
    assert dict(root.attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "understudy",
        "gen_ai.conversation.id": story.seed.id,
        "openinference.span.kind": "CHAIN",
        "metadata": '{"status": "accepted", "seed": "docs/a.md:3"}',
        "understudy.example.id": story.example.id,
        "understudy.example.kind": "chat",
        "understudy.status": "accepted",
        "understudy.draw": 0,
        "understudy.path": ("instruct/why",),
        "understudy.tokens": 240,
        "understudy.seed.kind": "text",
        "understudy.seed.source": "docs/a.md:3",
        "understudy.persona.id": story.example.persona.id,
        "understudy.persona.origin": "text",
    }
    assert dict(agent.attributes) == {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "instruct/why"}
    assert dict(chat.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "transformers",
        "gen_ai.prompt.name": "instruct/why",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny@0f1e",
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.seed": 5,
        "understudy.request.repetition_penalty": 1.05,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "understudy.call.key": "a",
        "understudy.sm": "sm",
        "understudy.again": False,
        "understudy.reused": False,
    }
    assert chat.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"


@pytest.mark.parametrize(
    ("sm", "model", "kind", "expected"),
    [
        ("far", "openai:large", SpanKind.CLIENT, ("openai", "large", None, "sm.example", 443)),
        ("near", "openai:large", SpanKind.CLIENT, ("openai", "large", None, "127.0.0.1", 8000)),
        ("two", "openai:large", SpanKind.CLIENT, ("openai", "large", None, None, None)),
        ("hosted", "anthropic:claude:5", SpanKind.CLIENT, ("anthropic", "claude:5", None, None, None)),
        ("served", "tiny@0f1e", SpanKind.CLIENT, ("vllm", "tiny", "tiny@0f1e", None, None)),
        ("sm", "a:b@0f1e+voice@77", SpanKind.INTERNAL, ("transformers", "a:b", "a:b@0f1e+voice@77", None, None)),
        ("gone", "tiny@0f1e", SpanKind.INTERNAL, ("unknown", "tiny", "tiny@0f1e", None, None)),
    ],
)
def test_a_call_says_who_was_asked(
    call: Make, tale: Make, sm: str, model: str, kind: SpanKind, expected: tuple[Any, ...]
):
    chat = told(tale(call("a", sm=sm, model=model)))[-1]
    names = ("gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "server.address", "server.port")
    assert (chat.kind, chat.name) == (kind, f"chat {expected[1]}")
    assert tuple(chat.attributes.get(name) for name in names) == expected


def test_verdicts_are_events(call: Make, tale: Make):
    root = told(tale(call("a")))[0]
    assert [(event.name, dict(event.attributes), event.timestamp) for event in root.events] == [
        (
            "gen_ai.evaluation.result",
            {
                "gen_ai.evaluation.name": "rule/length",
                "gen_ai.evaluation.score.label": "passed",
                "gen_ai.evaluation.score.value": 0.75,
            },
            root.end_time,
        ),
        (
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": "judge/clear", "gen_ai.evaluation.score.label": "failed"},
            root.end_time,
        ),
    ]


def test_no_words_of_seeds_prompts_or_replies_are_sent_unless_asked_for(call: Make, tale: Make):
    story = tale(call("a", reply="A secret reply."), status="rejected", reason="judge/clear")

    def text(**options: Any) -> str:
        return "\n".join(one.to_json() for one in told(story, **options))

    assert "ecret" not in text()
    for part in ("Secret rules", "Secret ask a", "A secret reply", "Secret words of the seed", "A secret baker",
                 "Secret question", "Secret answer", "secret evidence"):  # fmt: skip
        assert part in text(content=True), part


def test_content_is_in_the_conventions_form(call: Make, tale: Make):
    root, _, chat = told(tale(call("a", error="truncated")), content=True)
    assert json.loads(chat.attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Secret rules."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Secret ask a."}]},
    ]
    assert json.loads(chat.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Reply a."}], "finish_reason": "length"}
    ]
    assert root.attributes["input.value"] == "Secret question?"
    assert root.attributes["output.value"] == "Secret answer."
    assert root.events[0].attributes["gen_ai.evaluation.explanation"] == "secret evidence"


def test_calls_of_tools_are_parts_of_messages(call: Make, tale: Make):
    called = {"id": "1", "type": "function", "function": {"name": "level", "arguments": '{"at": "lock"}'}}
    turns = [
        {"role": "user", "content": "How high?"},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "1.2", "tool_call_id": "1", "name": "level"},
        {"role": "assistant", "content": "1.2 metres."},
    ]
    root = told(tale(call("a"), payload={"messages": turns}), content=True)[0]
    _, asked, result = json.loads(root.attributes["gen_ai.input.messages"])
    assert asked == {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "1", "name": "level", "arguments": '{"at": "lock"}'}],
    }
    assert result == {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "1.2"}]}
    assert (root.attributes["input.value"], root.attributes["output.value"]) == ("How high?", "1.2 metres.")
    ended = told(tale(call("a"), payload={"messages": turns[:3]}, status="rejected"), content=True)[0]
    assert len(json.loads(ended.attributes["gen_ai.input.messages"])) == 3
    assert not {"output.value", "gen_ai.output.messages"} & set(ended.attributes)


def test_a_draft_without_a_message_is_told_by_its_seed(call: Make, tale: Make):
    root = told(tale(call("a"), payload={}, status="rejected", reason="rule/passage", persona=None), content=True)[0]
    assert root.attributes["input.value"] == "Secret words of the seed."
    assert not {"output.value", "gen_ai.output.messages", "understudy.persona.id"} & set(root.attributes)


def test_a_call_that_failed_says_so_and_one_that_was_cut_does_not(call: Make, tale: Make):
    found = told(tale(call("a", error="loop"), call("b", reply=None, error=None), call("c", error="truncated")))
    chats = [one for one in found if one.name.startswith("chat")]
    assert [one.attributes.get("error.type") for one in chats] == ["loop", "no reply", None]
    assert [one.status.status_code for one in chats] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert [one.attributes.get("gen_ai.response.finish_reasons") for one in chats] == [["stop"], None, ["length"]]
    assert {one.status.status_code for one in found if one not in chats} == {StatusCode.UNSET}


def test_a_draft_that_failed_says_so_and_at_whom(call: Make, tale: Make):
    story = tale(call("a", "persona/reader"), call("b"), status="failed", reason="parse: instruct/why", payload={})
    root, persona, _, instruct, _ = told(story)
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "parse: instruct/why")
    assert root.attributes["error.type"] == "parse"
    assert persona.status.status_code is StatusCode.UNSET
    assert instruct.status.status_code is StatusCode.ERROR


def test_a_rejected_draft_is_no_error(call: Make, tale: Make):
    root = told(tale(call("a"), status="rejected", reason="judge/clear"))[0]
    assert root.status.status_code is StatusCode.UNSET
    assert (root.attributes["understudy.status"], root.attributes["understudy.reason"]) == ("rejected", "judge/clear")


def test_ids_are_the_same_each_time_and_differ_where_anything_does(call: Make, tale: Make):
    def ids(story: Story, project: str = "x", **options: Any) -> list[tuple[int, int]]:
        found = spans(story, ENGINES, project, **{"now": 1.0} | options)
        return [(one.context.trace_id, one.context.span_id) for one in found]

    story = tale(call("a"), call("b"))
    assert ids(story) == ids(tale(call("a"), call("b")), now=2.0, content=True)
    # Drafts that failed with nothing written have one id in all corpora of their seeds.
    others = [ids(tale(call("a"), call("c"))), ids(tale(call("a"), call("b"), draw=1, id="0f" * 16)), ids(story, "y")]
    assert not {one for other in others for one in other} & set(ids(story))


def test_times_are_those_at_which_was_asked(call: Make, tale: Make):
    found = told(tale(call("a", at=1_000.5), call("b", "judge/clear", at=1_003.0, seconds=0.25)))
    second = 10**9
    assert [(one.start_time, one.end_time) for one in found] == [
        (1_000_500_000_000, 1_003_250_000_000),
        *[(1_000_500_000_000, 1_002_500_000_000)] * 2,
        *[(1_003 * second, 1_003_250_000_000)] * 2,
    ]
    assert not any("understudy.times" in one.attributes for one in found)


@pytest.mark.parametrize(
    ("ats", "begins"),
    [
        ((None, None, None), (8_994, 8_996, 8_998)),
        ((None, None, 500.0), (496, 498, 500)),
        ((500.0, None, None), (500, 502, 504)),
        ((None, 500.0, None), (498, 500, 502)),
    ],
)
def test_calls_without_a_time_are_laid_end_to_end(
    call: Make, tale: Make, ats: tuple[float | None, ...], begins: tuple[int, ...]
):
    calls = [call(str(place), "judge/clear", at=at) for place, at in enumerate(ats)]
    root, *others = told(tale(*calls))
    chats = [one for one in others if one.name.startswith("chat")]
    assert [one.start_time // 10**9 for one in chats] == list(begins)
    assert [one.attributes.get("understudy.times") for one in chats] == [
        "laid out" if at is None else None for at in ats
    ]
    assert root.attributes["understudy.times"] == "laid out"
    assert (root.start_time // 10**9, root.end_time // 10**9) == (begins[0], begins[-1] + 2)


def test_a_draft_that_asked_nobody_is_one_span(tale: Make):
    (root,) = told(tale(status="failed", reason="engine: too long"))
    assert root.start_time == root.end_time == 9_000 * 10**9


def test_a_call_that_was_paid_elsewhere_is_marked(call: Make, tale: Make):
    story = tale(call("a", reused=True), call("b"), call("c"))
    shared = replace(story, steps=(*story.steps[:2], replace(story.steps[2], shared=True)))
    chats = [one for one in told(shared) if one.name.startswith("chat")]
    assert [one.attributes["understudy.reused"] for one in chats] == [True, False, True]


def test_a_seed_of_64_bits_is_left_to_the_key(call: Make, tale: Make):
    """OTLP's whole numbers are signed: a larger one would be dropped, with a line in a log."""
    seeds = {}
    for seed in (2**63 - 1, 2**63):
        chat = told(tale(call("a", sampling={"seed": seed})))[-1]
        seeds[seed] = chat.attributes.get("gen_ai.request.seed")
    assert seeds == {2**63 - 1: 2**63 - 1, 2**63: None}


def test_the_environment_has_the_last_word_on_who_sends(call: Make, tale: Make, monkeypatch: pytest.MonkeyPatch):
    module._resource.cache_clear()
    assert told(tale(call("a")))[0].resource.attributes["openinference.project.name"] == "x"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "openinference.project.name=mine")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "lab")
    module._resource.cache_clear()
    found = told(tale(call("a")))[0].resource.attributes
    module._resource.cache_clear()
    assert (found["openinference.project.name"], found["service.name"]) == ("mine", "lab")
