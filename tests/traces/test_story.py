import json
from collections import Counter
from pathlib import Path

import pytest

from understudy.corpus import RunFolder, merging
from understudy.graphs import generate, shards
from understudy.recipe_file import load_recipe
from understudy.traces import stories, story

# Two seeds with the same words and an SM that says the same to them: the second has the replies of the first.
TWICE = "The lock is filled from the upper pound, and no pump is needed for it at any time of the year."


@pytest.mark.parametrize("merged", [False, True])
async def test_what_a_draft_was_charged_is_what_its_own_calls_took(
    project: Path, merged: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shards, "SHARD_DRAFTS", 3)
    monkeypatch.setattr(merging, "SPAN", 4 if merged else 10_000)
    lines = [json.dumps({"text": TWICE}) for _ in range(5)]
    (project / "same.jsonl").write_text("\n".join(lines), encoding="utf-8")
    sets = ('seeds=[{"path": "same.jsonl", "text_field": "text"}]', "accept=30", "personas.inferred=1",
            "agents.instruct=[why-question]", "dedup.embedding=null", "dedup.minhash=null")  # fmt: skip
    await generate(load_recipe(project / "recipe.yaml", sets), project / "out")
    with RunFolder.read(project / "out") as folder:
        assert any("-" in file.name for file in folder.ledger.files("traces/")) is merged
        told = sorted(stories(folder), key=lambda one: folder.ledger.turn(one.example.id))
    seen: Counter[str] = Counter()
    for one in told:
        own = [step.call for step in one.steps if not step.shared]
        assert sum(sum(call.usage[what] for what in ("prompt", "completion")) for call in own) == one.tokens
        for step in one.steps:
            assert step.shared is (step.call.key in seen)
            seen[step.call.key] += 1
    assert max(seen.values()) > 1, "nothing was shared"
    assert story(project / "out", told[-1].example.id) == told[-1]
