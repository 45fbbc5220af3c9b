"""How the memory of a run grows with its seeds: `python benchmarks/memory.py --sizes 1000,10000,100000`.

For each size a process of its own runs a recipe from seeds to corpus: seeds of random words, the scripted SM, three
calls a draft, both deduplication passes on, one draft from every seed. It reports its peak resident memory as the
kernel counts it (VmHWM of /proc/self/status), so it runs on Linux only. A Markdown table goes to stdout.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import markdown, save

RECIPE = """name: memory
seeds: [{{path: seeds.jsonl, text_field: text, chunk_tokens: 400}}]
accept: {goal}
draws_per_seed: 1
sm: {{backend: scripted}}
personas: {{set: null}}
agents: {{persona: [], transform: [], instruct: [literal-question], refine: [], judge: [relevant]}}
dedup: {{minhash: 0.9, embedding: 0.9, embedder: hashing}}
in_flight: 32
"""
# A million possible words: two seeds share next to none, so what is asked about them differs as well.
_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnpqrstvwxz" for vowel in "aeiou"]
_SEED_WORDS = 90
# Below this share of accepted drafts the indexes hold too little for the figure to mean anything.
_LEAST_ACCEPTED = 0.6
_COLUMNS = ("peak_mib", "start_mib", "seconds", "cpu_ms_per_draft", "accepted", "rejected", "duplicate", "failed",
            "ledger_bytes_per_seed")  # fmt: skip


def seed_text(number: int) -> str:
    """The text of one seed, the same in a run of any size."""
    rng = random.Random(number)  # noqa: S311
    words = ["".join(rng.choices(_SYLLABLES, k=3)) for _ in range(_SEED_WORDS)]
    return " ".join(words).capitalize() + "."


def prepare(folder: Path, seeds: int) -> Path:
    """Write seeds and recipe, and say where the recipe is."""
    with open(folder / "seeds.jsonl", "w", encoding="utf-8") as file:
        for number in range(seeds):
            file.write(json.dumps({"text": seed_text(number)}) + "\n")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(goal=seeds + 1), encoding="utf-8")
    return recipe


def memory(field: str) -> float:
    """A memory field of this process in MiB: `VmRSS` now, `VmHWM` at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def measure(folder: Path, seeds: int) -> dict[str, Any]:
    """Run the recipe in `folder` in this process and measure it."""
    from understudy.graphs import Progress, run
    from understudy.recipe_file import load_recipe

    recipe = load_recipe(folder / "recipe.yaml")
    start_mib, began, cpu = memory("VmRSS"), time.monotonic(), time.process_time()
    shown = began

    def watch(progress: Progress) -> None:
        nonlocal shown
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            done = progress.counts.total()
            each = (time.process_time() - cpu) * 1000 / max(1, done)
            now, peak = memory("VmRSS"), memory("VmHWM")
            print(f"{seeds:,} seeds: {done:,} drafts, {each:.1f} ms of CPU each, {now:.0f} MiB, at most {peak:.0f}",
                  file=sys.stderr, flush=True)  # fmt: skip

    outcome = run(recipe, folder / "corpus", watch)
    if outcome.ended == "interrupted":
        raise KeyboardInterrupt
    drafts = outcome.books.drafts
    spent = time.process_time() - cpu
    return {
        "seeds": seeds,
        "peak_mib": round(memory("VmHWM"), 1),
        "start_mib": round(start_mib, 1),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_ms_per_draft": round(spent * 1000 / sum(drafts.values()), 2),
        **drafts,
        "ledger_bytes_per_seed": round((folder / "corpus" / "ledger.db").stat().st_size / seeds),
    }


def measure_apart(seeds: int) -> dict[str, Any]:
    """The same in a process of its own, whose peak is that of this run alone."""
    with tempfile.TemporaryDirectory(prefix="understudy-memory-") as name:
        prepare(Path(name), seeds)
        print(f"{seeds:,} seeds: {name}", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--in", name, "--sizes", str(seeds)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
        try:
            out, _ = child.communicate()
        except KeyboardInterrupt:  # the child got it too, and is closing its corpus
            child.communicate()
            raise
    if child.returncode == 130:
        raise KeyboardInterrupt
    if child.returncode:
        raise SystemExit(f"the run of {seeds} seeds failed with exit code {child.returncode}")
    found: dict[str, Any] = json.loads(out)
    if found["accepted"] < _LEAST_ACCEPTED * seeds:
        raise SystemExit(f"only {found['accepted']} of {seeds} drafts were accepted: the indexes were hardly used")
    return found


def sizes(text: str) -> list[int]:
    """Numbers of seeds from the command line."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers of seeds, from 1, such as 1000,10000")
    return found


def main() -> int:
    """Measure every size and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sizes", type=sizes, default=[1000, 10_000, 100_000], help="seeds of each run, with commas")
    parser.add_argument("--out", type=Path, help="write the results as JSON, too")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)  # in the child process
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    code = 0
    try:
        if options.folder:
            print(json.dumps(measure(options.folder, options.sizes[0])))
            return 0
        for seeds in options.sizes:
            results.append(measure_apart(seeds))
    except KeyboardInterrupt:
        if options.folder:
            return 130
        print("interrupted", file=sys.stderr)
        code = 130
    if results:
        head = ("seeds", *_COLUMNS)
        print(
            markdown(
                [name.replace("_", " ") for name in head], [[f"{one[name]:,}" for name in head] for one in results]
            )
        )
        for one, other in itertools.pairwise(results):
            ratio = other["peak_mib"] / one["peak_mib"]
            print(f"\nPeak memory at {other['seeds']:,} seeds is {ratio:.2f} times that at {one['seeds']:,}.")
        save(options.out, "memory", {"sizes": options.sizes}, results)
    return code


if __name__ == "__main__":
    sys.exit(main())
