"""A corpus as rows for trainers, opened by their own loaders."""

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.corpus.export import Form, export
from understudy.corpus.reviews import Review, Reviews
from understudy.errors import UserError
from understudy.graphs import generate
from understudy.recipe_file import load_recipe

CANDIDATES = ("candidates=3", "refine_rounds=2", 'agents={"refine": ["principle"], "judge": ["helps-more"]}')


async def made(project: Path, *sets: str) -> Path:
    await generate(load_recipe(project / "recipe.yaml", sets), project / "out")
    return project / "out"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_pairs_hold_what_was_kept_against_what_it_replaced_or_beat(project: Path, tmp_path: Path) -> None:
    out = await made(project, *CANDIDATES)
    with RunFolder.read(out) as folder:
        count = export(folder, tmp_path / "pairs.jsonl", "preference")
        examples = {example.id: example for example in folder.examples("accepted", "train")}
    pairs = rows(tmp_path / "pairs.jsonl")
    assert len(pairs) == count > len(examples)
    for pair in pairs:
        example = examples[pair["id"]]
        assert pair["prompt"] + pair["chosen"] == example.payload["messages"]
        (rejected,) = pair["rejected"]
        version = next(one for one in example.versions if one.answer == rejected["content"])
        assert rejected["content"] != pair["chosen"][0]["content"]
        assert not version.outcome.startswith(("tied", "not understood"))


async def test_every_version_that_was_kept_is_a_row_with_its_round(project: Path, tmp_path: Path) -> None:
    out = await made(project, "refine_rounds=3", 'agents={"refine": ["evolve"], "judge": []}')
    with RunFolder.read(out) as folder:
        count = export(folder, tmp_path / "pool.jsonl", "versions")
        kept = sum(
            max(1, sum(version.outcome.startswith("kept") for version in example.versions))
            for example in folder.examples("accepted", "train")
        )
        examples = {example.id: example for example in folder.examples("accepted", "train")}
    found = rows(tmp_path / "pool.jsonl")
    assert len(found) == count == kept
    assert {row["round"] for row in found} <= {0, 1, 2, 3}
    for row in found:
        last = max(one["round"] for one in found if one["id"] == row["id"])
        if row["round"] == last:
            assert row["messages"] == examples[row["id"]].payload["messages"]


@pytest.mark.parametrize("form", ["chat", "preference", "versions"])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
async def test_files_are_read_by_the_library_that_trainers_read_with(
    project: Path, tmp_path: Path, form: Form, suffix: str
) -> None:
    datasets = pytest.importorskip("datasets")
    out = await made(project, *CANDIDATES)
    with RunFolder.read(out) as folder:
        count = export(folder, tmp_path / f"rows{suffix}", form)
    kind = {".jsonl": "json", ".parquet": "parquet"}[suffix]
    found = datasets.load_dataset(
        kind, data_files=str(tmp_path / f"rows{suffix}"), split="train", cache_dir=str(tmp_path)
    )
    assert len(found) == count
    turns = found[0]["prompt"] + found[0]["chosen"] if form == "preference" else found[0]["messages"]
    assert [turn["role"] for turn in turns][-1] == "assistant"


async def test_what_cannot_be_exported_is_told(project: Path, tmp_path: Path) -> None:
    out = await made(project, "refine_rounds=0")
    with RunFolder.read(out) as folder:
        with pytest.raises(UserError, match=r"cannot write a `\.csv` file"):
            export(folder, tmp_path / "a.csv")
        with pytest.raises(UserError, match="no preference rows") as caught:
            export(folder, tmp_path / "a.jsonl", "preference")
        assert "candidates" in str(caught.value.remedy)
        with pytest.raises(UserError, match="no such folder"):
            export(folder, tmp_path / "missing" / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


async def test_a_talk_with_several_first_answers_is_exported_whole_and_makes_no_pairs(
    project: Path, tmp_path: Path
) -> None:
    cast = 'agents={"skills": ["conversation"], "judge": [], "refine": []}'
    out = await made(
        project, cast, "candidates=3", "seeds=[{path: docs, chunk_tokens: 60}]", "verify.min_grounding=null"
    )
    with RunFolder.read(out) as folder:
        assert export(folder, tmp_path / "all.jsonl", "versions") > 0
        whole = [example.payload["messages"] for example in folder.examples("accepted", "train")]
        with pytest.raises(UserError, match="no preference rows"):
            export(folder, tmp_path / "pairs.jsonl", "preference")
    assert sorted(map(str, whole)) == sorted(str(row["messages"]) for row in rows(tmp_path / "all.jsonl"))
    assert all(len(messages) >= 4 for messages in whole)


async def test_what_people_said_comes_along(project: Path, tmp_path: Path) -> None:
    out = await made(project)
    reviews = Reviews(out)
    with RunFolder.read(out) as folder:
        kept = list(folder.examples("accepted", "train"))
        with pytest.raises(UserError, match="no reviewed rows") as caught:
            export(folder, tmp_path / "none.jsonl", "reviewed")
        assert "understudy traces" in str(caught.value.remedy)
        for example, label, answer in zip(kept[:3], ("accept", "reject", "edit"), (None, None, "Better."), strict=True):
            reviews.add(Review(example.id, "ann", label, 1.0, "", answer))  # type: ignore[arg-type]
        assert export(folder, tmp_path / "reviewed.jsonl", "reviewed") == 2
        found = {row["id"]: row for row in rows(tmp_path / "reviewed.jsonl")}
        assert found[kept[0].id]["messages"] == kept[0].payload["messages"] and found[kept[0].id]["reviewer"] == "ann"
        assert found[kept[2].id]["messages"] == [
            *kept[2].payload["messages"][:-1],
            {"role": "assistant", "content": "Better."},
        ]

        assert export(folder, tmp_path / "argilla.json", "argilla") == len(kept)
        records = {row["id"]: row for row in json.loads((tmp_path / "argilla.json").read_text(encoding="utf-8"))}
        assert records[kept[1].id]["suggestions"] == {"review": {"value": "reject", "agent": "ann"}}
        assert records[kept[2].id]["suggestions"]["edited"] == {"value": "Better.", "agent": "ann"}
        assert records[kept[0].id]["fields"]["answer"] == kept[0].payload["messages"][-1]["content"]
        assert records[kept[0].id]["metadata"].keys() == {"source", "skill", "leaf"}

        assert export(folder, tmp_path / "tasks.json", "label-studio") == len(kept)
        tasks = {
            row["data"]["example"]: row for row in json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
        }
        (prediction,) = tasks[kept[2].id]["predictions"]
        assert [one["value"] for one in prediction["result"]] == [{"choices": ["accept"]}, {"text": ["Better."]}]
        assert tasks[kept[1].id]["predictions"][0]["result"][0]["value"] == {"choices": ["reject"]}
        with pytest.raises(UserError, match=r"expected: \.json"):
            export(folder, tmp_path / "tasks.jsonl", "label-studio")
