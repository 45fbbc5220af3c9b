"""Records first with the embedded SM: what it writes where it is held to a sketch, and where it has the choice."""

import json
import re
from pathlib import Path

import pytest

from understudy.corpus import RunFolder
from understudy.graphs import run
from understudy.recipe_file import load_recipe

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "attributes.yaml"
ACCEPT = 24


def test_names_are_new_and_the_stretches_between_values_are_those_of_the_seed(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (EXAMPLE.parent / "garden-tools.jsonl").read_text().splitlines()]
    outcome = run(load_recipe(EXAMPLE, [f"accept={ACCEPT}"]), tmp_path / "corpus")
    assert outcome.ended == "goal"
    with RunFolder.read(outcome.folder) as folder:
        accepted = list(folder.examples("accepted"))
    assert len(accepted) == ACCEPT
    new: list[str] = []
    for example in accepted:
        assert len(example.calls) == 2  # held to the form, it is never asked again
        asked, answered = (turn["content"] for turn in example.payload["messages"])
        found = re.fullmatch(r"category: (.*)\nText: (.*)\nGive the fields as JSON\.", asked)
        assert found
        category, text = found.groups()
        shown = [row for row in rows if row["category"] == category]
        record = json.loads(answered)
        end = 0
        for name, value in record.items():
            start = text.index(value, end)
            # The rows have a comma ahead of sizes alone.
            assert name == "size" or text[end:start].rstrip(" ")[-1:] != ","
            end = start + len(value)
        if (maker := record.get("maker")) and maker not in {row["maker"] for row in shown}:
            new.append(maker)
            assert maker[0].upper() not in {row["maker"][0] for row in shown}
    assert len(new) >= ACCEPT / 3 and len(set(new)) > len(new) / 2
