"""Understudy itself: a recipe whose graph makes three calls a draft, with journal, rules, MinHash and commits on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "understudy"
_REPLIES = {"persona": "PersonaText", "instruction": "Instruction", "answer": "Answer"}
_FAMILIES = {"persona": "persona", "instruction": "instruct", "answer": "answer"}


def prepare(job: dict[str, Any]) -> Callable[[Path, Path], int]:
    """See `measure.py`."""
    from understudy.graphs import run
    from understudy.recipe_file import load_recipe

    agents = Path(job["folder"]) / "agents"
    for name, prompt in job["prompts"].items():
        _write_agent(agents / _FAMILIES[name] / "overhead.md", name, prompt, job["sampling"])

    def go(seeds: Path, folder: Path) -> int:
        folder.mkdir(parents=True)
        recipe = folder / "recipe.yaml"
        recipe.write_text(json.dumps(_recipe(job, seeds, agents)), encoding="utf-8")  # JSON is YAML
        outcome = run(load_recipe(recipe), folder / "corpus")
        if outcome.ended != "goal":
            raise SystemExit(f"the run ended with {outcome.ended}: {outcome.detail}; {dict(outcome.books.drafts)}")
        return outcome.books.drafts["accepted"]

    return go


def _recipe(job: dict[str, Any], seeds: Path, agents: Path) -> dict[str, Any]:
    """One draft of each seed: persona, instruct, answer, and no further call."""
    return {
        "name": "overhead",
        "seeds": [{"path": str(seeds), "text_field": "text", "chunk_tokens": 1000}],
        "accept": sum(1 for _ in seeds.open(encoding="utf-8")),
        "draws_per_seed": 1,
        "sm": {
            "backend": "openai",
            "base_url": job["base_url"],
            "model": job["model"],
            "max_concurrency": job["concurrency"],
        },
        "personas": {"set": None},
        "agents": {
            "folder": str(agents),
            "transform": [],
            "refine": [],
            "judge": [],
            **{family: ["overhead"] for family in _FAMILIES.values()},
        },
        "refine_rounds": 0,
        "dedup": {"embedding": None},
        "in_flight": min(4096, 2 * job["concurrency"]),
    }


def _write_agent(path: Path, name: str, prompt: str, sampling: dict[str, Any]) -> None:
    """A prompt file with the job's words; the seed's text is put in front of them by Understudy itself."""
    head = {
        "name": path.stem,
        "family": _FAMILIES[name],
        "summary": "One of the three calls.",
        "kinds": ["text"],
        "reply": _REPLIES[name],
        "sampling": sampling,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    task = prompt.removeprefix("{{ text }}\n\n")
    path.write_text(f"---\n{json.dumps(head)}\n---\n{task}\n", encoding="utf-8")
