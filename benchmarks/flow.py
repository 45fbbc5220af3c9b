"""The recipe that the engine benchmarks run: documents, and a small cast with the rules as open as they go."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from understudy.corpus.readers import read_sources
from understudy.recipe import Recipe

DOCS = Path(__file__).resolve().parent.parent / "docs"
# One agent a family, so that drafts are alike; some still end early, at a rule or a reply that cannot be read.
THREE: dict[str, list[str]] = {
    "persona": ["would-read"], "transform": [], "instruct": ["literal-question"], "refine": [], "answer": ["answer"],
    "judge": [],
}  # fmt: skip
SIX: dict[str, list[str]] = {**THREE, "refine": ["clearer-answer"], "judge": ["clear"]}


def engine_options(what: str | None, *backends: str, batch: int = 8) -> argparse.ArgumentParser:
    """The options of every benchmark of an engine; the first backend is the default."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=backends, default=backends[0])
    parser.add_argument("--path", default="embedded", help="folder of the model; `embedded` is SmolLM2-135M-Instruct")
    parser.add_argument("--batch", type=int, default=batch, help="requests decoded together")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    return parser


def run_options(parser: argparse.ArgumentParser, drafts: int, max_tokens: int, docs: Path = DOCS) -> None:
    """The options of those that run the graph."""
    parser.add_argument("--docs", type=Path, default=docs, help="documents that are the seeds")
    parser.add_argument("--drafts", type=int, default=drafts)
    parser.add_argument("--max-tokens", type=int, default=max_tokens, help="longest reply")


def recipe(options: argparse.Namespace, cast: dict[str, list[str]] = THREE, chunk_tokens: int = 220) -> Recipe:
    """A run that tries `options.drafts` drafts over `options.docs`, and ends when all have been tried."""
    engine: dict[str, Any] = {"backend": options.backend, "path": options.path}
    if options.backend == "transformers":
        engine["batch_size"] = options.batch
    else:
        engine |= {
            "max_concurrency": options.batch,
            "context_tokens": 2048,
            "compile": False,
            "dtype": "float32",
            "block_tokens": 32,
        }
    made = Recipe.model_validate(
        {
            "name": "benchmark",
            "seeds": [{"path": str(options.docs.resolve()), "kind": "text", "chunk_tokens": chunk_tokens}],
            "accept": 1_000_000,
            "sm": engine,
            "voices": {family: {"max_tokens": options.max_tokens} for family in cast},
            "personas": {"set": None},
            "agents": cast,
            "dedup": {"minhash": None, "embedding": None},
            "verify": {"min_words": 0, "min_grounding": None},
        }
    ).at(Path.cwd())
    seeds = sum(1 for _ in read_sources(made))
    return made.model_copy(update={"draws_per_seed": max(1, round(options.drafts / seeds))}).at(Path.cwd())
