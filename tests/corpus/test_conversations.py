"""Conversations that others wrote: three forms, three kinds of file, and each malformed row with its reason."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.corpus.conversations import conversation, read_conversations
from understudy.corpus.sharegpt import from_sharegpt, to_sharegpt
from understudy.errors import UserError

ASKED = {"role": "user", "content": "How warm is the oven?"}
SAID = {"role": "assistant", "content": "240 degrees."}
GOOD: dict[str, Any] = {"messages": [ASKED, SAID]}
TOOL = {"type": "function", "function": {"name": "level", "description": "…", "parameters": {"type": "object"}}}


def human(text: Any) -> dict[str, Any]:
    return {"from": "human", "value": text}


def gpt(text: Any) -> dict[str, Any]:
    return {"from": "gpt", "value": text}


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"conversations": [human("a"), {"from": "narrator", "value": "b"}]}, "nobody speaks as 'narrator'"),
    ({"conversations": [human("a"), human("b"), gpt("c")]}, "two user turns in a row"),
    ({"conversations": [human("a"), gpt(" ")]}, "the content of the assistant turn is empty"),
    ({"conversations": [human("a"), gpt("b"), {"from": "system", "value": "c"}, human("d"), gpt("e")]}, "a system message after"),
    ({"conversations": [human("a")]}, "has no assistant turn"),
    ({"conversations": [human("a"), gpt(7)]}, "of type int, not a string"),
    ({"conversations": [human("a"), gpt(None)]}, "is missing"),
    ({"conversations": [gpt("a"), human("b"), gpt("c")]}, "begins with an assistant turn"),
    ({"conversations": [human("a"), gpt("b"), human("c")]}, "the last turn is of the user"),
    ({"conversations": "a"}, "of type str, not a list"),
    ({"conversations": ["a"]}, "a turn is of type str"),
    ({"conversations": []}, "has no turns"),
    ({"conversations": [human("a"), {"from": "function_call", "value": "{"}]}, "not JSON"),
    ({"conversations": [human("a"), {"from": "observation", "value": "1"}, gpt("b")]}, "that no call asked for"),
    ({"messages": [ASKED, {"role": "human", "content": "b"}]}, "nobody speaks as 'human'"),
    ({"messages": [ASKED, {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]}, "of type list, not a string"),
    ({"messages": [ASKED, SAID, SAID]}, "two assistant turns in a row"),
    ({"messages": [ASKED | {"tool_calls": [{"function": {"name": "f"}}]}, SAID]}, "the user turn calls tools"),
    ({"messages": [ASKED, SAID | {"tool_calls": ["f"]}]}, "a call of a tool is not an object"),
    ({"messages": [ASKED, SAID], "tools": "["}, "`tools`: not valid JSON"),
    ({"messages": [ASKED, SAID], "tools": ["level"]}, "`tools`: not valid JSON"),
    ({"messages": [ASKED, SAID], "tools": {"name": "level"}}, "`tools`: not a list of functions"),
    ({"conversations": [human("a"), {"from": "function_call", "value": "[" * 100_000}]}, "not JSON"),
    ({"conversations": [human("a"), {"from": "function_call", "value": '{"name": "\\ud800"}'}]}, "surrogates not allowed"),
    ({"prompt": "a", "completion": [SAID]}, "not both strings or both lists"),
    ({"prompt": "a", "completion": ""}, "is empty"),
    ({"text": "a"}, "has none of"),
]  # fmt: skip


def test_exactly_the_malformed_rows_are_refused_each_with_its_line_and_reason(tmp_path: Path) -> None:
    lines = [line for bad, _ in MALFORMED for line in (json.dumps(GOOD), json.dumps(bad))]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, "", "{", "[1]", json.dumps(GOOD)]), encoding="utf-8")
    rows, refused = read_conversations(tmp_path / "rows.jsonl")
    assert rows == [GOOD] * (len(MALFORMED) + 1)
    last = 2 * len(MALFORMED)
    assert [line for line, _ in refused] == [*range(2, last + 1, 2), last + 2, last + 3]
    for (_, expected), (_, reason) in zip(MALFORMED, refused, strict=False):
        assert expected in reason
    assert "not valid JSON" in refused[-2][1] and "a JSON list" in refused[-1][1]


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"conversations": [human(ASKED["content"]), gpt(SAID["content"])]},
        {"prompt": [ASKED], "completion": [SAID]},
        {"prompt": ASKED["content"], "completion": SAID["content"]},
    ],
    ids=["messages", "ShareGPT", "prompt and completion as messages", "as strings"],
)
def test_each_form_means_the_same_in_each_kind_of_file(row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps([row]), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    for suffix in (".jsonl", ".json", ".parquet"):
        assert read_conversations(tmp_path / f"a{suffix}") == ([GOOD], [])


def test_nulls_that_arrow_puts_in_are_no_part_of_a_turn(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "level", "arguments": '{"at": "Heron Lock"}'}}
    talk = [
        ASKED,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1.2", "tool_call_id": "c1"},
        SAID,
    ]
    pq.write_table(
        pa.Table.from_pylist([{"messages": talk, "tools": json.dumps([TOOL])}, GOOD]), tmp_path / "a.parquet"
    )
    rows, refused = read_conversations(tmp_path / "a.parquet")
    assert not refused
    assert rows == [{"messages": talk, "tools": [TOOL]}, GOOD]


def test_a_system_column_becomes_the_first_message() -> None:
    row = {"conversations": [human("a"), gpt("b")], "system": "Be brief."}
    assert conversation(row)["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_file_that_cannot_be_read_as_a_whole_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n")
    (tmp_path / "a.json").write_text('{"messages": []}')
    (tmp_path / "b.json").write_text("[")
    (tmp_path / "a.jsonl").write_bytes(b"\xff\n")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for name, message in (
        ("a.csv", "cannot read conversations from a `.csv` file"),
        ("a.json", "a JSON dict"),
        ("b.json", "not valid JSON"),
        ("a.jsonl", "not UTF-8"),
        ("a.parquet", "unreadable"),
        ("none.jsonl", "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            read_conversations(tmp_path / name)


TEXT = st.text(min_size=1).filter(lambda text: bool(text.strip()))
NAME = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
CALL = st.builds(
    lambda name, arguments: {"name": name, "arguments": arguments},
    NAME,
    st.dictionaries(NAME, st.one_of(TEXT, st.integers(), st.none())),
)


@st.composite
def talks(draw: st.DrawFn) -> list[dict[str, str]]:
    turns = [{"from": "system", "value": draw(TEXT)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append(human(draw(TEXT)))
        for calls in draw(st.lists(st.lists(CALL, min_size=1, max_size=3), max_size=2)):
            value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
            turns.append({"from": "function_call", "value": value})
            turns += [{"from": "observation", "value": draw(TEXT)} for _ in calls]
        turns.append(gpt(draw(TEXT)))
    return turns


@given(talks())
def test_sharegpt_to_messages_and_back_loses_nothing(turns: list[dict[str, str]]) -> None:
    assert to_sharegpt(from_sharegpt(turns)) == turns
    assert to_sharegpt(conversation({"conversations": turns})["messages"]) == turns


def test_text_beside_calls_has_no_place_in_sharegpt() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    with pytest.raises(ValueError, match="text beside its calls"):
        to_sharegpt([ASKED, SAID | {"tool_calls": [call]}])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["user", "assistant", "tool", "{}", "["]),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(
        ["role", "content", "from", "value", "tool_calls", "function", "name", "arguments"]), inside, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["messages", "conversations", "prompt", "completion", "tools", "system"]), JSON))
def test_whatever_a_row_holds_it_is_a_conversation_or_refused_with_a_reason(row: dict[str, Any]) -> None:
    try:
        found = conversation(row)
    except ValueError as error:
        assert str(error)
    else:
        assert found["messages"][-1]["role"] == "assistant"
        assert conversation(found) == found
