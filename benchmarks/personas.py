"""Taking near-copies out of many personas: `python benchmarks/personas.py --personas 1000000`.

Personas are made by a grammar; into them, near-copies are planted, each with one word of another in its place. Our
pass by words is timed beside datasketch used plainly (one MinHashLSH with our 128 permutations and bands, asked and
filled one text at a time, what it proposes decided by exact Jaccard), each in a process of its own, and both are
scored by the copies that were planted: recall is the share of those found, precision the share of what was taken
out that has a true twin. Linux only.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import markdown, save
from memory import memory

_WAYS = ("understudy", "datasketch")
_PLANTED = 0.05
_THRESHOLD = 0.9
_WORDS = 24
_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]


def personas(number: int) -> list[str]:
    """Texts of 24 words, one in twenty a near-copy of another, in any order."""
    rng = random.Random(0)  # noqa: S311
    vocabulary = ["".join(rng.choices(_SYLLABLES, k=3)) for _ in range(20_000)]
    copies = int(number * _PLANTED)
    texts = [rng.sample(vocabulary, _WORDS) for _ in range(number - copies)]
    for base in rng.sample(range(len(texts)), copies):
        copy = list(texts[base])  # 23 of 25 words in common: a Jaccard similarity of 0.92
        copy[rng.randrange(_WORDS)] = rng.choice(vocabulary)
        texts.append(copy)
    rng.shuffle(texts)
    return [" ".join(words) for words in texts]


def measure(way: str, number: int) -> dict[str, Any]:
    """Time one way in this process."""
    from understudy.dedup import jaccard, near_copies, shingles

    texts = personas(number)
    before, began = memory("VmRSS"), time.monotonic()
    if way == "understudy":
        out = {text: one.kept for text, one in near_copies(texts, _THRESHOLD, None, None).items()}
    else:
        out = _plainly(texts)
    seconds = time.monotonic() - began
    true = sum(jaccard(shingles(texts[one]), shingles(texts[other])) > _THRESHOLD for one, other in out.items())
    planted = int(number * _PLANTED)
    return {
        "way": way,
        "personas": number,
        "seconds": round(seconds, 1),
        "us_each": round(seconds / number * 1e6, 1),
        "bytes_each": round((memory("VmHWM") - before) * 2**20 / number),
        "taken_out": len(out),
        "recall": round(true / planted, 4),
        "precision": round(true / max(1, len(out)), 4),
    }


def _plainly(texts: list[str]) -> dict[int, int]:
    from datasketch import MinHash, MinHashLSH

    from understudy.dedup import jaccard, shingles
    from understudy.dedup.minhash import bands

    index, out = MinHashLSH(num_perm=128, params=bands(_THRESHOLD)), {}
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128, seed=1)
        words = shingles(text)
        sketch.update_batch([word.encode() for word in words])
        near = {other: jaccard(words, shingles(texts[other])) for other in index.query(sketch)}
        best = max(near, key=lambda other: (near[other], -other), default=None)
        if best is not None and near[best] > _THRESHOLD:
            out[number] = best
        else:
            index.insert(number, sketch)
    return out


def main() -> int:
    """Measure both ways and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--personas", type=int, default=1_000_000)
    parser.add_argument("--ways", default=",".join(_WAYS), help=f"of {', '.join(_WAYS)}")
    parser.add_argument("--out", type=Path, help="write the results as JSON, too")
    parser.add_argument("--in", dest="inside", choices=_WAYS, help=argparse.SUPPRESS)  # in a child process
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.inside, options.personas)))
        return 0
    results: list[dict[str, Any]] = []
    for way in options.ways.split(","):
        command = [sys.executable, __file__, "--in", way, "--personas", str(options.personas)]
        results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))  # noqa: S603
    head = list(results[0])
    rows = [[str(one["way"]), *(f"{one[name]:,}" for name in head[1:])] for one in results]
    print(markdown([name.replace("_", " ") for name in head], rows))
    save(options.out, "personas", {"personas": options.personas}, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
