"""How long a chunk should be: the same budget of SM tokens spent on chunks of several lengths.

    python benchmarks/chunks.py --docs my-documents --out chunks.json

Questions and answers are made of a folder of documents as `examples/document-qa.yaml` has it, with the embedded SM (or
another, `--sm`), once for each length. Told are the drafts that the budget paid for, the share of them that was
accepted, and what they cover: the share of chunks, and of the documents' words, that have an accepted pair.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import markdown, save, say

from understudy.corpus import RunFolder
from understudy.graphs import run
from understudy.recipe_file import load_recipe

RECIPE = Path(__file__).resolve().parents[1] / "examples" / "document-qa.yaml"


def measure(docs: Path, lengths: list[int], tokens: int, sm: str) -> dict[str, dict[str, Any]]:
    """The figures of each length."""
    found = {}
    for length in lengths:
        with tempfile.TemporaryDirectory(prefix="understudy-chunks-") as out:
            found[str(length)] = arm(docs, length, tokens, sm, Path(out) / "corpus")
        say(f"{length} tokens: {found[str(length)]}")
    return found


def arm(docs: Path, length: int, tokens: int, sm: str, out: Path) -> dict[str, Any]:
    """One length: drafts, what was accepted of them, and what that covers."""
    seeds = f'seeds=[{{"path": "{docs.resolve()}", "chunk_tokens": {length}}}]'
    sets = (seeds, f"budget.tokens={tokens}", f"sm={sm}", "accept=100000", "draws_per_seed=1000", "in_flight=8",
            "agents.judge=[relevant, material-answers]")  # fmt: skip
    books = run(load_recipe(RECIPE, sets), out).books
    with RunFolder.read(out) as folder:
        words = [len(folder.seeds[place][0].content.split()) for place in range(len(folder.seeds))]
        places = {folder.seeds[place][0].id: place for place in range(len(folder.seeds))}
        reached = {places[example.seed] for example in folder.examples()}
    drafts = sum(books.drafts.values())
    return {
        "chunks": len(words),
        "drafts": drafts,
        "accepted": books.drafts["accepted"],
        "rate": books.drafts["accepted"] / max(1, drafts),
        "chunks_reached": len(reached) / len(words),
        "words_reached": sum(words[place] for place in reached) / sum(words),
        "tokens": books.tokens,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True, help="a folder of documents")
    parser.add_argument("--lengths", default="128,512,2048")
    parser.add_argument("--tokens", type=int, default=40_000, help="the budget of each length")
    parser.add_argument("--sm", default='{"backend": "embedded"}', help="the recipe's `sm:` section, as JSON")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lengths = [int(length) for length in options.lengths.split(",")]
    found = measure(options.docs, lengths, options.tokens, options.sm)
    rows = [
        [f"{length} tokens", str(one["chunks"]), str(one["drafts"]), str(one["accepted"]), f"{one['rate']:.0%}",
         f"{one['chunks_reached']:.0%}", f"{one['words_reached']:.0%}"]
        for length, one in found.items()
    ]  # fmt: skip
    print(markdown(["chunks of", "chunks", "drafts", "accepted", "rate", "chunks reached", "words reached"], rows))
    save(options.out, "chunks", {"tokens": options.tokens, "sm": options.sm}, found, "transformers")


if __name__ == "__main__":
    main()
