"""How quick the viewer is over a long journal: `python benchmarks/viewer.py --drafts 1000000`.

A corpus of so many drafts, one call each, is written with the project's own writers (texts drawn from 20,000 words by
Zipf's law), and the viewer's server is started on it in a process of its own. Measured are the time until the
summaries are made, the first page before they are and after, each view, filters and searches from the commonest word
to one that is there once, and the server's memory. Each request is made `--rounds` times; the median and the slowest
are told.

Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import markdown, save, say

from understudy.corpus import RunFolder, rows
from understudy.corpus.ledger import Draft, Ledger
from understudy.nouns import Call, Example, Persona, Seed, Verdict
from understudy.recipe_file import load_recipe

SPAN = 4096
SKILLS = tuple(f"skill-{number}" for number in range(17))
RULES = ("rule/length", "rule/echo", "rule/on-topic", "rule/grounding")
PAGES = {
    "run": "/",
    "graph": "/graph",
    "examples": "/examples",
    "examples, from the middle": "/examples?after={middle}",
    "personas": "/personas",
    "judges": "/judges",
    "cost": "/cost",
    "status and skill": "/examples?status=rejected&skill=skill-3",
    "persona": "/examples?persona={persona}",
    "agent": "/examples?agent=answer%2Fanswer",
    "one verifier said no, alone": "/examples?by=rule%2Fon-topic&said=alone",
    "score in a range": "/examples?by=rule%2Fon-topic&least=0.4&most=0.5",
    "graph of a filter": "/graph?status=accepted&skill=skill-5",
    "search: the commonest word": "/examples?words=word1",
    "search: a rare word": "/examples?words=needle",
    "search: two words and a filter": "/examples?words=word20+word300&status=accepted",
    "search: a phrase": "/examples?words={phrase}",
    "one example": "/examples/{id}",
}


def build(folder: Path, drafts: int) -> dict[str, Any]:
    """Write the corpus; returns what the questions need."""
    rng = random.Random(7)  # noqa: S311
    words = [f"word{number}" for number in range(1, 20_001)]
    weights = [1 / number for number in range(1, 20_001)]
    pool = rng.choices(words, weights, k=2_000_000)
    personas = [Persona.of(f"persona {n} who {' '.join(rng.sample(words[:500], 8))}") for n in range(400)]
    seeds = [
        Seed.of("text", f"{n}: {' '.join(pool[n * 40 : n * 40 + 40])}", f"doc-{n % 50}.md:{n}") for n in range(2000)
    ]
    (folder / "seed.txt").write_text("A seed.\n")
    (folder / "recipe.yaml").write_text(
        "name: long-journal\nseeds: [{path: seed.txt, license: Apache-2.0}]\nlicense: Apache-2.0\n"
        f"accept: {drafts}\nsm: {{backend: scripted}}\n"
    )
    recipe = load_recipe(folder / "recipe.yaml")
    corpus = folder / "corpus"
    RunFolder.start(corpus, recipe, "benchmark", given=((0, seed) for seed in seeds)).close()
    known: dict[str, Any] = {"persona": personas[0].id[:12], "middle": drafts // 2}
    with RunFolder.read(corpus) as folder_:
        placed = [folder_.seeds[place][0] for place in range(len(seeds))]
    ledger = Ledger.open(corpus / "ledger.db")
    for number, first in enumerate(range(0, drafts, SPAN)):
        shard = number * 64 + 63
        made: list[Draft] = []
        calls: list[Call] = []
        grouped: dict[str, list[dict[str, Any]]] = {}
        for turn in range(first, min(drafts, first + SPAN)):
            seed, persona = placed[turn % len(placed)], rng.choice(personas)
            at = rng.randrange(len(pool) - 100)
            asked, said = " ".join(pool[at : at + 20]), " ".join(pool[at + 20 : at + 80])
            if turn == drafts // 3:
                asked += " needle"
            status = rng.choices(("accepted", "rejected", "duplicate", "failed"), (60, 30, 8, 2))[0]
            skill, failing = rng.choice(SKILLS), rng.randrange(len(RULES))
            call = Call(
                f"call-{turn}", "answer/answer", "m", ({"role": "user", "content": asked},), {"temperature": 0.7}, said,
                {"prompt": 120, "cached": 60, "completion": 80}, rng.random() * 3,
            )  # fmt: skip
            payload = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
            verdicts = tuple(
                Verdict(rule, status != "rejected" or place != failing, round(rng.random(), 3), None)
                for place, rule in enumerate(RULES)
            )
            example = Example(
                Example.address("chat", payload, seed.id, turn), "chat", payload, seed.id, turn // len(placed), persona,
                (), (f"plan/{skill}/{skill}-{turn % 11}", "persona-set/many", f"instruct/{skill}-{turn % 11}",
                     "answer/answer"), (call.key,), {}, verdicts, status,  # type: ignore[arg-type]
                None if status == "accepted" else RULES[failing] if status == "rejected" else status,
            )  # fmt: skip
            made.append(Draft(turn, example, 200))
            calls.append(call)
            home = {"accepted": "data/train-", "rejected": "rejected/", "duplicate": "duplicates/", "failed": "failed/"}
            grouped.setdefault(home[status], []).append(rows.example_row(example, seed, 200))
            if turn == drafts // 2:
                known |= {"id": example.id, "phrase": quote(f'"{" ".join(pool[at : at + 3])}"')}
        span = f"{shard - 63:05d}-{shard:05d}.parquet"
        files = [
            rows.write(corpus, f"{name}{span}", shard, rows.pa.Table.from_pylist(group, schema=rows.EXAMPLE))
            for name, group in grouped.items()
        ]
        table = rows.pa.Table.from_pylist([rows.call_row(call) for call in calls], schema=rows.CALL)
        files.append(rows.write(corpus, f"traces/{span}", shard, table))
        ledger.commit(shard, made, files, calls)
        if number % 20 == 0:
            say(f"{first:,} drafts written")
    ledger.close()
    return known


class Server:
    """The viewer in a process of its own."""

    def __init__(self, corpus: Path, cache: Path) -> None:
        environment = {**os.environ, "UNDERSTUDY_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
        command = [str(Path(sys.executable).with_name("understudy")), "traces", str(corpus), "--no-open"]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
        self.address = next(self._addresses())
        self._cookie = ""
        self._cookie = self.get(self.address.removeprefix(self._root()))[1].split(";")[0]

    def _addresses(self) -> Iterator[str]:
        for line in self._child.stdout or ():
            if found := re.search(r"http://\S+", line):
                yield found[0]
        raise SystemExit("the viewer has not started")

    def _root(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    def get(self, path: str) -> tuple[float, str, str]:
        """Seconds until the whole page was there, its cookie, and the page."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=600)
        connection.request("GET", path, headers={"Cookie": self._cookie, "Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode()
        seconds = time.perf_counter() - began
        if answer.status >= 400:
            self.stop()
            raise SystemExit(f"{path}: {answer.status}\n{text[:2000]}")
        return seconds, answer.headers.get("set-cookie", ""), text

    def memory_mib(self) -> float:
        """What it holds now."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        self._child.terminate()
        self._child.wait()


def measure(corpus: Path, cache: Path, known: dict[str, Any], rounds: int) -> dict[str, Any]:
    """All figures."""
    server = Server(corpus, cache)
    first, _, _ = server.get("/")
    say(f"first page, nothing read yet: {first:.3f} s")
    began = time.monotonic()
    while "have been read so far" in server.get("/graph")[2]:
        time.sleep(2)
    made = time.monotonic() - began
    say(f"summaries made in {made:.0f} s, {server.memory_mib():.0f} MiB")
    making = server.memory_mib()
    server.stop()
    began = time.monotonic()
    server = Server(corpus, cache)
    again, _, page = server.get("/")
    opened = time.monotonic() - began
    found: dict[str, Any] = {
        "first page, nothing read yet, s": first, "summaries made, s": made, "first page later, s": again,
        "from the command to the first page, s": opened, "memory while made, MiB": making,
    }  # fmt: skip
    took: dict[str, list[float]] = {name: [] for name in PAGES}
    memory = []
    for _ in range(rounds):
        for name, path in PAGES.items():
            took[name].append(server.get(path.format(**known))[0])
        memory.append(server.memory_mib())
    found["pages"] = {
        name: {"median_s": statistics.median(times), "slowest_s": max(times)} for name, times in took.items()
    }
    found["memory after each round, MiB"] = [round(one) for one in memory]
    server.stop()
    del page
    return found


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drafts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the corpus here, or use the one that is there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="understudy-viewer-") as scratch:
        folder = options.folder or Path(scratch)
        noted = folder / "known.json"
        if not noted.exists():
            folder.mkdir(parents=True, exist_ok=True)
            noted.write_text(json.dumps(build(folder, options.drafts)))
        known = json.loads(noted.read_text())
        found = measure(folder / "corpus", Path(scratch) / "cache", known, options.rounds)
    table = [[name, f"{one['median_s']:.3f}", f"{one['slowest_s']:.3f}"] for name, one in found["pages"].items()]
    print(markdown(["page", "median, s", "slowest, s"], table))
    for name, value in found.items():
        if name != "pages":
            print(f"{name}: {value if isinstance(value, list) else f'{value:,.3f}'}")
    save(options.out, "viewer", {"drafts": options.drafts, "rounds": options.rounds}, found)


if __name__ == "__main__":
    main()
