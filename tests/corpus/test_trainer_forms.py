"""The forms of other trainers, from a corpus with talks about tools, pairs and plain chats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from understudy.corpus import RunFolder, trainer_rows
from understudy.corpus.conversations import conversation, read_conversations
from understudy.corpus.export import FORMS, Form, export
from understudy.errors import UserError
from understudy.nouns import Example, Version
from understudy.recipe import Recipe

TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": "…", "parameters": {"type": "object", "properties": {field: {}}}},
    }
    for name, field in (("level", "lock"), ("rain", "valley"))
]
CALLS = [
    {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    for n, (name, arguments) in enumerate([("level", {"lock": "Heron"}), ("rain", {"valley": "Alder"})], start=1)
]
TALK = [
    {"role": "user", "content": "Level at Heron, rain at Alder?"},
    {"role": "assistant", "content": "", "tool_calls": CALLS},
    {"role": "tool", "content": "1.2", "tool_call_id": "call_1", "name": "level"},
    {"role": "tool", "content": "none", "tool_call_id": "call_2", "name": "rain"},
    {"role": "assistant", "content": "1.2 m, no rain."},
]
PLAIN = [{"role": "user", "content": "What is a lock?"}, {"role": "assistant", "content": "A gate for boats."}]


def example(payload: dict[str, Any], seed: str = "s", draw: int = 0, **more: Any) -> Example:
    fields = {
        "persona": None,
        "parents": (),
        "path": (),
        "calls": (),
        "scores": {},
        "verdicts": (),
        "status": "accepted",
    }
    kind = more.pop("kind", "chat")
    return Example(Example.address(kind, payload, seed, draw), kind, payload, seed, draw, **{**fields, **more})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One talk about tools, one chat, and one chat with an answer that lost."""
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "a.md").write_text("Locks are gates for boats.", encoding="utf-8")
    made = Recipe.model_validate(
        {"name": "x", "accept": 1, "draws_per_seed": 16, "seeds": [{"path": "seeds"}], "sm": {"backend": "scripted"}}
    ).at(tmp_path)
    with RunFolder.start(tmp_path / "corpus", made, "plan", {"index": "scheme hashing", "engines": "{}"}) as folder:
        seed, _ = folder.seeds[0]
        kept = Version("answer/answer", 0, "What is a weir?", "A low dam.", "kept")
        lost = Version("answer/answer", 0, "What is a weir?", "A fish.", "lost to another candidate")
        pair = [{"role": "user", "content": kept.instruction}, {"role": "assistant", "content": kept.answer}]
        payloads: list[tuple[dict[str, Any], tuple[Version, ...]]] = [
            ({"messages": TALK, "tools": TOOLS}, ()), ({"messages": PLAIN}, ()), ({"messages": pair}, (kept, lost)),
        ]  # fmt: skip
        made_of = [
            example(payload, seed.id, draw, versions=versions) for draw, (payload, versions) in enumerate(payloads)
        ]
        folder.commit(list(enumerate(made_of)), {seed.id: (seed, "train")}, [])
    return tmp_path / "corpus"


@pytest.fixture
def exported(corpus: Path, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def rows(form: Form, name: str = "rows.jsonl") -> list[dict[str, Any]]:
        with RunFolder.read(corpus) as folder:
            export(folder, tmp_path / name, form)
        return [json.loads(line) for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()]

    return rows


def talks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((conversation(row) for row in rows), key=str)


WRITTEN = sorted(
    [
        {"messages": TALK, "tools": TOOLS},
        {"messages": PLAIN},
        {"messages": [{"role": "user", "content": "What is a weir?"}, {"role": "assistant", "content": "A low dam."}]},
    ],
    key=str,
)


@pytest.mark.parametrize("form", ["chat", "prompt-completion", "axolotl", "openai"])
def test_what_is_exported_is_what_is_read_back(form: Form, exported: Callable[..., list[dict[str, Any]]]) -> None:
    assert talks(exported(form)) == WRITTEN


def test_sharegpt_is_read_back_without_the_names_of_results(exported: Callable[..., list[dict[str, Any]]]) -> None:
    rows = exported("sharegpt")
    nameless = [[{k: v for k, v in turn.items() if k != "name"} for turn in row["messages"]] for row in WRITTEN]
    assert sorted([row["messages"] for row in talks(rows)], key=str) == sorted(nameless, key=str)
    (talk,) = (row for row in rows if "tools" in row)
    speakers = ["human", "function_call", "observation", "observation", "gpt"]
    assert [turn["from"] for turn in talk["conversations"]] == speakers
    assert json.loads(talk["tools"]) == TOOLS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_no_row_holds_a_null_and_none_is_empty(form: Form, suffix: str, corpus: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    file = tmp_path / f"rows{suffix}"
    with RunFolder.read(corpus) as folder:
        try:
            count = export(folder, file, form)
        except UserError as error:
            assert "cannot write a" in str(error) or form in {"stepwise", "reviewed", "rows"}
            return
    kind = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}[suffix]
    found = list(datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")))
    assert len(found) == count

    def nulls(value: Any) -> bool:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return value is None or any(nulls(one) for one in inside)

    for row in found:
        for name in ("messages", "prompt", "completion", "conversations", "chosen", "rejected"):
            assert not nulls(row.get(name, "")), row[name]


def test_parquet_with_tools_is_read_back_by_understudy_too(corpus: Path, tmp_path: Path) -> None:
    with RunFolder.read(corpus) as folder:
        export(folder, tmp_path / "rows.parquet", "prompt-completion")
    rows, refused = read_conversations(tmp_path / "rows.parquet")
    assert not refused
    assert sorted(rows, key=str) == WRITTEN


def test_rows_are_what_trl_calls_conversational(corpus: Path, tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    datasets = pytest.importorskip("datasets")

    class Words:
        """A tokenizer of which only the template is asked."""

        def apply_chat_template(self, messages: Any, tools: Any = None, tokenize: bool = True, **options: Any) -> str:
            assert not tokenize
            start = f"[{len(tools)} tools]" if tools else ""
            said = "".join(f"<{turn['role']}>{turn['content']}</>" for turn in messages)
            return start + said + ("<assistant>" if options.get("add_generation_prompt") else "")

    with RunFolder.read(corpus) as folder:
        for form, columns in (
            ("chat", {"messages": "text"}),
            ("prompt-completion", {"prompt": "prompt", "completion": "completion"}),
            ("preference", {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
        ):
            file = tmp_path / f"{form}.parquet"
            export(folder, file, form)  # type: ignore[arg-type]
            rows = datasets.load_dataset("parquet", data_files=str(file), split="train", cache_dir=str(tmp_path / form))
            for row in rows:
                assert data_utils.is_conversational(row)
                tools = json.loads(row["tools"]) if row.get("tools") else None
                said = data_utils.apply_chat_template({name: row[name] for name in columns}, Words(), tools=tools)
                assert all(isinstance(said[name], str) and said[name] for name in columns.values())


def test_steps_become_completions_and_labels() -> None:
    steps = [{"text": "2 + 2 = 4", "ok": True}, {"text": "4 + 1 = 6", "ok": False}]
    row = next(trainer_rows.stepwise(None, example({"prompt": "2+2+1?", "steps": steps}, kind="steps"), None))  # type: ignore[arg-type]
    assert row == {"prompt": "2+2+1?", "completions": ["2 + 2 = 4", "4 + 1 = 6"], "labels": [True, False]}


def test_a_corpus_without_steps_says_what_would_have_some(corpus: Path, tmp_path: Path) -> None:
    with RunFolder.read(corpus) as folder, pytest.raises(UserError, match="no stepwise rows") as caught:
        export(folder, tmp_path / "a.jsonl", "stepwise")
    assert "`steps`" in str(caught.value.remedy)
    assert not (tmp_path / "a.jsonl").exists()


def test_openai_rows_have_nothing_that_the_service_does_not_take(exported: Callable[..., list[dict[str, Any]]]) -> None:
    for row in exported("openai"):
        assert row.keys() <= {"messages", "tools"}
        assert row["messages"][-1]["role"] == "assistant"
        for turn in row["messages"]:
            assert turn.get("content") or turn.get("tool_calls")
        if "tools" in row:
            assert row["tools"] == TOOLS
            assert "content" not in row["messages"][1]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"messages": PLAIN[:1]}, "has no assistant turn"),
        (
            {"messages": PLAIN, "tools": [{"type": "function", "function": {"name": "no spaces"}}]},
            "no name of a function",
        ),
        ({"messages": [TALK[0], TALK[1], {"role": "tool", "content": "1"}, TALK[4]]}, "without a `tool_call_id`"),
        (
            {"messages": [TALK[0], {**TALK[1], "tool_calls": [{"function": {"name": "f", "arguments": "1"}}]}]},
            "are no JSON object",
        ),
    ],
)
def test_what_openai_would_refuse_is_an_error_that_names_the_example(payload: dict[str, Any], message: str) -> None:
    bad = example(payload)
    with pytest.raises(UserError, match=message) as caught:
        list(trainer_rows.openai(None, bad, None))  # type: ignore[arg-type]
    assert caught.value.where == f"example {bad.id}"


def test_openai_rows_are_of_the_types_of_its_library(exported: Callable[..., list[dict[str, Any]]]) -> None:
    chat = pytest.importorskip("openai.types.chat")
    from pydantic import TypeAdapter

    message = TypeAdapter(chat.ChatCompletionMessageParam)
    for row in exported("openai"):
        for turn in row["messages"]:
            message.validate_python(turn)


def test_llama_factory_finds_each_data_set_with_its_columns_and_tags(
    exported: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}', encoding="utf-8")
    rows = exported("llama-factory", "talks.jsonl")
    pairs = exported("llama-factory-preference", "pairs.jsonl")
    info = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert info.keys() == {"mine", "talks", "pairs"}
    assert info["talks"]["columns"] == {"messages": "conversations", "tools": "tools"}
    assert "ranking" not in info["talks"] and info["pairs"]["ranking"] is True
    assert info["pairs"]["columns"] == {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    # Its rule: users and observations at even places, the others at odd ones, and an answer at the end.
    odd, even = {"human", "observation"}, {"gpt", "function_call"}
    for row in rows:
        speakers = [turn["from"] for turn in row["conversations"]]
        assert len(speakers) % 2 == 0
        assert set(speakers[::2]) <= odd and set(speakers[1::2]) <= even
    for row in pairs:
        assert len(row["conversations"]) % 2 == 1
        assert row["chosen"] == {"from": "gpt", "value": "A low dam."}
        assert row["rejected"] == {"from": "gpt", "value": "A fish."}
    (talk,) = (row for row in rows if "tools" in row)
    assert talk["conversations"][2]["value"] == "1.2\n</tool_response>\n<tool_response>\nnone"


def test_a_register_that_is_damaged_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{", encoding="utf-8")
    with RunFolder.read(corpus) as folder, pytest.raises(UserError, match="not valid JSON"):
        export(folder, tmp_path / "a.jsonl", "llama-factory")
    assert (tmp_path / "dataset_info.json").read_text(encoding="utf-8") == "{"
    assert not (tmp_path / "a.jsonl").exists()


def test_axolotl_has_a_configuration_to_start_from_and_keeps_an_edited_one(
    exported: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    exported("axolotl", "train.jsonl")
    config = yaml.safe_load((tmp_path / "axolotl.yaml").read_text(encoding="utf-8"))
    (data,) = config["datasets"]
    assert (data["type"], data["field_messages"]) == ("chat_template", "messages")
    assert Path(data["path"]) == tmp_path / "train.jsonl"
    assert config["base_model"]
    (tmp_path / "axolotl.yaml").write_text("mine: 1\n")
    exported("axolotl", "train.jsonl")
    assert (tmp_path / "axolotl.yaml").read_text() == "mine: 1\n"


def test_parquet_without_tools_is_structs_that_any_reader_takes(written: Callable[..., Path], tmp_path: Path) -> None:
    with RunFolder.read(written(seeds={"a.md": "A lock is a gate."}, drafts=[{}, {}])) as folder:
        export(folder, tmp_path / "rows.parquet", "chat")
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert all(turn.keys() == {"role", "content"} for row in rows for turn in row["messages"])
