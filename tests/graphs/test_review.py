"""A recipe that asks people: a run makes up for what they rejected, and what they have not seen is not used."""

import json
from pathlib import Path

import pytest

from understudy.corpus import RunFolder
from understudy.corpus.export import export
from understudy.corpus.reviews import Review, Reviews
from understudy.errors import UserError
from understudy.graphs import generate
from understudy.recipe_file import load_recipe


async def sit(project: Path, *sets: str) -> list[str]:
    """One sitting; the ids of what is accepted, in plan order."""
    await generate(load_recipe(project / "recipe.yaml", ("accept=6", *sets)), project / "out")
    with RunFolder.read(project / "out") as folder:
        return list(folder.ledger.accepted_ids())


def say(project: Path, ids: list[str], label: str) -> None:
    for id in ids:
        Reviews(project / "out").add(Review(id, "ann", label, 1.0))  # type: ignore[arg-type]


async def test_what_people_rejected_is_made_up_for(project: Path) -> None:
    first = await sit(project)
    assert len(first) == 6
    say(project, first[:2], "reject")
    assert await sit(project) == first  # nobody is asked by this recipe
    second = await sit(project, "review=1")
    assert len(second) == 8 and second[:6] == first
    assert await sit(project, "review=1") == second
    say(project, first[:1], "accept")
    with RunFolder.read(project / "out") as folder:  # a rejected draft that somebody rejects as well costs nothing more
        lost = [row["id"] for row in folder.rows("rejected")]
    say(project, lost[:3], "reject")
    assert await sit(project, "review=1") == second


async def test_what_is_to_be_reviewed_is_not_used_before(project: Path, tmp_path: Path) -> None:
    ids = await sit(project, "review=1")
    with RunFolder.read(project / "out") as folder, pytest.raises(UserError, match="no chat rows"):
        export(folder, tmp_path / "rows.jsonl")
    say(project, ids[:4], "accept")
    say(project, ids[4:], "reject")
    with RunFolder.read(project / "out") as folder:
        count = export(folder, tmp_path / "rows.jsonl")
        train = {row["id"] for row in folder.rows("accepted", "train", ["id"])}
    found = {json.loads(line)["id"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()}
    assert found == set(ids[:4]) & train and len(found) == count


async def test_the_report_says_how_many_people_have_looked_at(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.cli import main

    say(project, (await sit(project))[:3], "accept")
    monkeypatch.setattr("sys.argv", ["understudy", "report", str(project / "out"), "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["reviewed"] == {"n": 3, "of": 6, "to_be": 0.0}
