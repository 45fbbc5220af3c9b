from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.graphs import generate
from understudy.recipe_file import load_recipe
from understudy.traces.costs import GROUPINGS, By, shares

SKILLS = {
    "instruct/literal-question": "reading-comprehension",
    "instruct/code-bug": "coding",
    "instruct/mend": "coding",
    "instruct/table-lookup": None,
}


async def made(project: Path) -> RunFolder:
    cast = 'agents={"instruct": ["literal-question", "code-bug", "table-lookup"], "judge": []}'
    outcome = await generate(load_recipe(project / "recipe.yaml", (cast,)), project / "out")
    return RunFolder.read(outcome.folder)


@pytest.mark.parametrize("by", GROUPINGS)
async def test_all_shares_make_the_whole(project: Path, by: By) -> None:
    with await made(project) as folder:
        found, books = shares(folder, by, SKILLS), folder.accounting()
    assert sum(share.tokens for share in found) == books.tokens
    if by not in ("agent", "sm"):
        assert sum(share.drafts or 0 for share in found) == sum(books.drafts.values())
        assert sum(share.accepted for share in found) == books.drafts["accepted"]


async def test_what_no_draft_came_to_is_told(project: Path) -> None:
    with await made(project) as folder:
        leaves = {share.name: share for share in shares(folder, "leaf", SKILLS)}
        skills = {share.name for share in shares(folder, "skill", SKILLS | {"instruct/x": "fermi"})}
    assert leaves["instruct/mend"].drafts == 0 and leaves["instruct/literal-question"].drafts
    assert skills >= {"reading-comprehension", "coding", "fermi", "(no skill)"}


async def test_the_command_says_what_is_left(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.cli import main

    sets = ('agents={"skills": ["coding"], "judge": []}', "seeds=[{path: code}]", "accept=2")
    await generate(load_recipe(project / "recipe.yaml", sets), project / "out")
    monkeypatch.setenv("COLUMNS", "80")
    shown: Callable[..., Any] = capsys.readouterr
    monkeypatch.setattr("sys.argv", ["understudy", "report", str(project / "out"), "--by", "leaf"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = shown().out
    assert "have not been drawn" in " ".join(said.split()) and "code-" in said and "dup." in said
