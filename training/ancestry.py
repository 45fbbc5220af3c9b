"""From a VM back to the seeds, and from a wrong answer to the training examples that lie nearest to it."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.corpus import RunFolder
from understudy.corpus.storage import cache
from understudy.errors import RunFolderError
from understudy.lessons import Training
from understudy.models.embedder import Embedder, Matrix, embed_all
from understudy.models.folders import fingerprint
from understudy.nouns import address
from understudy.training.data import Row, gather
from understudy.training.lineage import LEARNED, Trained, read_lineage

# Seeds that are read at once.
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Where a VM came from, and whether what it came from is still as it was."""

    trained: Trained
    base_is: str
    """`unchanged`, `changed` or `gone`."""
    corpus_is: str | None
    """The same of the corpus; None: it learned from files alone."""
    learned: int
    """Rows that were learned from."""
    sms: tuple[str, ...]
    """The models that wrote the corpus."""
    seeds: tuple[tuple[str, int, int, str], ...]
    """Of each document or file: its name, its seeds, the learned rows made from it, its licence."""


def ancestry(vm: Path) -> Ancestry:
    """Follow a VM to its corpus, recipe, models and seeds.

    Raises:
        RunFolderError: when the folder is no VM, or its list of rows is gone.
    """
    trained = read_lineage(vm)
    base = Path(trained.base_path)
    if not base.is_dir():
        base_is = "gone"
    else:
        base_is = "unchanged" if trained.base.rpartition("@")[2] == fingerprint(base) else "changed"
    learned = learned_rows(vm)
    if trained.corpus is None:
        return Ancestry(trained, base_is, None, len(learned), (), ())
    if not Path(trained.corpus).is_dir():
        return Ancestry(trained, base_is, "gone", len(learned), (), ())
    with RunFolder.read(Path(trained.corpus)) as folder:
        corpus_is = "unchanged" if folder.digest == trained.corpus_digest else "changed"
        sms = tuple(folder.engines)
        made: dict[str, int] = {}
        for row in learned:
            made[row["source"]] = made.get(row["source"], 0) + 1
        counts: dict[str, tuple[int, str]] = {}
        for start in range(0, len(folder.seeds), _BLOCK):
            for seed, _ in folder.seeds.some(start, _BLOCK):
                name = seed.source.rpartition(":")[0] or seed.source
                counts[name] = (counts.get(name, (0, ""))[0] + 1, str(seed.meta.get("license", "unknown")))
    seeds = tuple((name, count, made.get(name, 0), licence) for name, (count, licence) in sorted(counts.items()))
    return Ancestry(trained, base_is, corpus_is, len(learned), sms, seeds)


def learned_rows(vm: Path) -> list[dict[str, Any]]:
    """What a VM learned from: `id`, `source` and `tokens` of each row.

    Raises:
        RunFolderError: when the list is missing.
    """
    path = vm / LEARNED
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot be read: {error}", where=str(path), remedy="train the VM again; earlier versions kept no such list"
        ) from error


@dataclass(frozen=True, slots=True)
class Suspect:
    """A training example near an answer."""

    id: str
    similarity: float
    """Cosine of its prompt and answer together with those asked about, in -1..1."""
    source: str
    prompt: str
    answer: str
    traced: bool
    """Whether the corpus has its trace, under this id."""


def blame(vm: Path, prompt: str, answer: str, embedder: Embedder, most: int = 5) -> list[Suspect]:
    """The training examples whose prompt and answer lie nearest to these, nearest first.

    Nearness is of meaning, by embeddings; it is not a proof of influence.

    Raises:
        RunFolderError: when the corpus is gone or has changed, so that its rows are not those that were learned.
    """
    trained = read_lineage(vm)
    known = {row["id"] for row in learned_rows(vm)}
    rows = [row for row in _rows(trained) if row.id in known]
    if not rows:
        raise RunFolderError(
            "none of the rows that it learned from are there any more", where=str(vm),
            remedy="put its corpus and files back, or train it again",
        )  # fmt: skip
    pairs = [_pair(row) for row in rows]
    vectors = _vectors(embedder, [f"{asked}\n{said}" for asked, said in pairs])
    (wanted,) = embedder.embed([f"{prompt}\n{answer}"])
    near = vectors @ wanted
    best = np.argsort(-near, kind="stable")[:most]
    out = []
    for place in best:
        row, (asked, said) = rows[place], pairs[place]
        traced = trained.corpus is not None and row.source not in {Path(file).name for file in trained.files}
        out.append(Suspect(row.id, float(near[place]), row.source, asked, said, traced))
    return out


def _vectors(embedder: Embedder, texts: list[str]) -> Matrix:
    """What embeds to what does not change, so it is kept in the user's cache: the next answer is looked up at once."""
    home = cache() / "blame"
    path = home / f"{address(embedder.name, texts)}.npy"
    if path.is_file():
        kept: Matrix = np.load(path, allow_pickle=False)
        return kept
    made = embed_all(embedder, texts)
    home.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(f".{os.getpid()}.npy")
    np.save(building, made, allow_pickle=False)
    building.replace(path)
    return made


def _rows(trained: Trained) -> tuple[Row, ...]:
    """The rows as they were gathered for the training."""
    with RunFolder.read(Path(trained.corpus)) if trained.corpus else nullcontext() as folder:
        return gather(folder, Training.model_validate(trained.training), Path()).rows


def _pair(row: Row) -> tuple[str, str]:
    body = row.body
    turns = body.get("messages") or [*_turns(body.get("prompt")), *_turns(body.get("chosen") or body.get("completion"))]
    if turns:
        return "\n".join(str(turn["content"]) for turn in turns[:-1]), str(turns[-1]["content"])
    texts = [str(value) for value in body.values() if isinstance(value, str)]
    return texts[0], "\n".join(texts[1:])


def _turns(value: Any) -> list[dict[str, Any]]:
    return [{"content": value}] if isinstance(value, str) else list(value or ())
