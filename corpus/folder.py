"""The run folder: a corpus that `datasets.load_dataset(folder)` opens, and the ledger behind it.

    corpus/
    ├── README.md          dataset card: accounting, method, models, licences
    ├── data/              accepted examples, train-*.parquet and test-*.parquet
    ├── rejected/  duplicates/  failed/      what was not kept, with its reason
    ├── traces/            the SM calls behind each shard
    ├── seeds/             the seeds, in plan order
    ├── index/             signatures and embeddings of what passed the gate
    ├── recipe.json        the recipe as it was resolved
    ├── report.json        the accounting and the measures
    ├── run.json           what the ledger knows of the run itself, should the ledger be damaged
    └── ledger.db          the truth; a file it does not list is not part of the corpus

Drafts are committed in plan order, a shard at a time: files first, durable, then one ledger transaction. Shards that
have been committed are merged, 64 at a time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from understudy import __version__
from understudy.corpus import merging, rows, seeds
from understudy.corpus.accounting import Accounting
from understudy.corpus.ledger import Draft, File, Ledger
from understudy.corpus.readers import read_sources
from understudy.corpus.reviews import Reviews, Word
from understudy.corpus.storage import storage_errors
from understudy.errors import RunFolderError
from understudy.nouns import Call, Example, Kind, Seed, address
from understudy.recipe import Recipe

_HOMES: dict[str, str] = {"rejected": "rejected", "duplicate": "duplicates", "failed": "failed"}
# So many rows of the index are entered at once when a run is resumed.
_INDEX_ROWS = 1024
FACTS = "run.json"
HOMES = ("data", *_HOMES.values(), "traces", "index", seeds.HOME)
"""The folders of files that the ledger lists."""
INDEX = pa.schema(
    [
        ("stage", pa.string()),
        ("example", pa.string()),
        ("text", pa.string()),
        ("signature", pa.binary()),
        ("embedding", pa.binary()),
    ]
)
_SCHEMAS = {"data": rows.EXAMPLE, **dict.fromkeys(_HOMES.values(), rows.EXAMPLE), "traces": rows.CALL, "index": INDEX}


class RunFolder:
    """One run's output folder, owned by this process (or read beside its owner)."""

    def __init__(self, path: Path, ledger: Ledger, recipe: Recipe) -> None:
        self.path = path
        self.ledger = ledger
        self.recipe = recipe
        self.seeds = seeds.SeedFiles(path, ledger.files(f"{seeds.HOME}/"))
        self._segments = rows.Segments(path)
        self.kinds: frozenset[Kind] = frozenset(json.loads(ledger.meta("kinds")))
        """The kinds of seed that the run has."""

    @classmethod
    def start(
        cls,
        path: Path,
        recipe: Recipe,
        plan_version: str,
        facts: dict[str, str] | None = None,
        given: Iterable[tuple[int, Seed]] | None = None,
    ) -> RunFolder:
        """Open the folder to run in it: a new one is filled with the seeds, an old one resumed.

        `given` are seeds to take instead of the recipe's.

        `facts` are for later runs: how signatures and embeddings are made (`index`), what the keys of calls say of
        the SMs (`engines`).

        A new folder appears whole or not at all: it is built beside its place and renamed.

        Raises:
            RunFolderError: when it belongs to another recipe, is locked, damaged, or not a corpus.
            SeedError: when a seed cannot be read; nothing is then left behind.
        """
        path = path.resolve()
        if path.exists() and not path.is_dir():
            raise RunFolderError("is a file", where=str(path), expected="a folder for the corpus")
        if path.is_dir() and any(path.iterdir()):
            return cls._resume(path, recipe, plan_version, facts)
        building = path.with_name(f".{path.name}.{os.getpid()}.new")
        with storage_errors(path):
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            try:
                meta = {
                    "recipe": recipe.model_dump_json(),
                    "plan": plan_version,
                    "code": __version__,
                    "home": str(recipe.folder),
                    **(facts or {}),
                }
                with closing(Ledger.create(building / "ledger.db", meta)) as ledger:
                    read = given if given is not None else seeds.ranked(read_sources(recipe))
                    shuffled = ((n, seed, address(recipe.seed, seed.id)) for n, seed in read)
                    placed, kinds = seeds.place(building, shuffled, recipe.test_share)
                    ledger.enter(placed)
                    ledger.set_meta(kinds=json.dumps(kinds))
                path.mkdir(exist_ok=True)
                try:
                    os.rename(building, path)  # replaces an empty folder
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    # Another process was first; what it holds is seen below.
            finally:
                shutil.rmtree(building, ignore_errors=True)
        return cls._resume(path, recipe, plan_version, facts)

    @classmethod
    def _resume(cls, path: Path, recipe: Recipe, plan_version: str, facts: dict[str, str] | None) -> RunFolder:
        ledger = Ledger.open(path / "ledger.db")
        try:
            if ledger.meta("plan") != plan_version:
                changes = _changes(json.loads(ledger.meta("recipe")), recipe.model_dump(mode="json"))
                raise RunFolderError(
                    "holds the corpus of another recipe: "
                    + ("; ".join(changes) or "an agent's prompt or a model changed"),
                    where=str(path),
                    remedy=f"give another folder with --out (and `--reuse {path.name}`, to pay for no call twice), "
                    "or undo the change",
                )
            folder = cls(path, ledger, recipe)
            folder._check_files()
            while (due := merging.due(ledger)) is not None:  # a crash came between the shards and their merging
                folder.adopt(due, folder.merged(due))
            ledger.set_meta(recipe=recipe.model_dump_json(), home=str(recipe.folder), **(facts or {}))
            folder.write_text(FACTS, json.dumps(ledger.facts()))
        except BaseException:
            ledger.close()
            raise
        return folder

    def other_seeds(self) -> seeds.SeedFiles:
        """The seeds once more, for another thread than the one that `seeds` is for."""
        return seeds.SeedFiles(self.path, self.ledger.files(f"{seeds.HOME}/"))

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Open the folder for reading only, also while a run is writing it."""
        if not path.is_dir():
            raise RunFolderError(
                "no such corpus folder", where=str(path), remedy="check the path, or make one with `understudy run`"
            )
        ledger = Ledger.open(path / "ledger.db", own=False)
        return cls(path, ledger, cls.recipe_of(ledger))

    @staticmethod
    def recipe_of(ledger: Ledger) -> Recipe:
        """The recipe of a run, as it was resolved."""
        return Recipe.model_validate_json(ledger.meta("recipe")).at(Path(ledger.meta("home")))

    def close(self) -> None:
        """Close the ledger."""
        self.seeds.close()
        self.ledger.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_files(self) -> None:
        """Committed files must be there; files the ledger does not list are left-overs of a crash."""
        listed = {file.name: file for file in self.ledger.files()}
        for name, file in listed.items():
            path = self.path / name
            size = path.stat().st_size if path.exists() else None
            if size != file.bytes:
                raise RunFolderError(
                    "is missing" if size is None else f"has {size} bytes",
                    where=str(path),
                    expected=f"the committed file of {file.bytes} bytes, sha256 {file.sha256[:12]}…",
                    remedy=f"understudy journal repair {self.path}, then run the recipe again",
                )
        with storage_errors(self.path):
            for home in HOMES:
                for path in (self.path / home).glob("*"):
                    if path.is_file() and f"{home}/{path.name}" not in listed:
                        path.unlink()

    def commit(
        self, examples: Sequence[tuple[int, Example]], origins: dict[str, tuple[Seed, str]], index: list[dict[str, Any]]
    ) -> list[Draft]:
        """Commit finished drafts, in plan order, as the next shard.

        Args:
            examples: (turn, example) pairs.
            origins: the seeds of these examples with their splits, by id.
            index: rows of what they added to the gate's indexes.
        """
        shard = self.ledger.next_shard()
        calls: dict[str, Call] = {}
        drafts: list[Draft] = []
        for turn, example in examples:
            tokens = 0
            for key in example.calls:
                # A call that two drafts share is paid by the first of them in plan order.
                call, rolled = self.ledger.call(key) if key not in calls else (None, None)
                if call is not None and rolled is None:
                    calls[key] = call
                    tokens += 0 if call.reused else call.usage["prompt"] + call.usage["completion"]
            drafts.append(Draft(turn, example, tokens))
        grouped: dict[str, list[dict[str, Any]]] = {}
        for draft in drafts:
            seed, split = origins[draft.example.seed]
            status = draft.example.status
            name = f"data/{split}-" if status == "accepted" else f"{_HOMES[status]}/"
            grouped.setdefault(name, []).append(rows.example_row(draft.example, seed, draft.tokens))
        files = [
            rows.write(self.path, f"{name}{shard:05d}.parquet", shard, pa.Table.from_pylist(group, schema=rows.EXAMPLE))
            for name, group in grouped.items()
        ]
        if calls:
            table = pa.Table.from_pylist([rows.call_row(call) for call in calls.values()], schema=rows.CALL)
            files.append(rows.write(self.path, f"traces/{shard:05d}.parquet", shard, table))
        if index:
            table = pa.Table.from_pylist(index, schema=INDEX)
            files.append(rows.write(self.path, f"index/{shard:05d}.parquet", shard, table))
        self.ledger.commit(shard, drafts, files, list(calls.values()))
        return drafts

    def merged(self, due: merging.Due) -> list[File]:
        """Write the files into which shards are merged; any thread may do it beside later commits."""
        return merging.write(self.path, due, _SCHEMAS)

    def adopt(self, due: merging.Due, files: Sequence[File]) -> None:
        """Put merged files in the place of those they were made from."""
        self.ledger.merge(due.shards, files)
        with storage_errors(self.path):
            for file in due.files:
                (self.path / file.name).unlink()

    def examples(self, status: str = "accepted", split: str | None = None) -> Iterator[Example]:
        """Committed examples of one status, in plan order within each split."""
        for row in self.rows(status, split):
            yield rows.example(row)

    def rows(
        self, status: str = "accepted", split: str | None = None, columns: list[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The same as plain rows; with `columns`, these alone, which is far less work."""
        prefix = f"data/{split or ''}" if status == "accepted" else f"{_HOMES[status]}/"
        return rows.read(self.path, self.ledger.files(prefix), columns)

    def word(self) -> Word:
        """What people said of the examples, under the recipe's `review`."""
        return Word(Reviews(self.path).standing(), self.recipe.review)

    def index(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """What passed the gate (stage `gate`), and what was accepted after refinement (`final`), in plan order."""
        files = self.ledger.files("index/")  # now: the rows may be read in another thread
        schema = INDEX if columns is None else pa.schema([INDEX.field(name) for name in columns])
        return rows.tables(self.path, files, schema, _INDEX_ROWS)

    def find(self, prefix: str) -> tuple[Example, dict[str, Any]]:
        """A committed example by its id or the start of it.

        Raises:
            RunFolderError: when no id, or more than one, starts so.
        """
        found = self.ledger.draft_ids(prefix)
        if len(found) != 1:
            some = ", ".join(id[:12] for id, _, _ in self.ledger.draft_ids(status="accepted", limit=3))
            raise RunFolderError(
                f"{'no example' if not found else 'more than one example'} has an id that starts with {prefix!r}",
                where=str(self.path),
                expected=f"an id such as {some}" if some else None,
                remedy="list ids with `understudy traces FOLDER`",
            )
        id, status, _ = found[0]
        prefix = "data/" if status == "accepted" else f"{_HOMES[status]}/"
        files = [file for file in self.ledger.files_of(self.ledger.place(id)[1]) if file.name.startswith(prefix)]
        row = rows.one(self.path, files, id)
        return rows.example(row), row

    def seed_of(self, example: Example) -> Seed:
        """The seed that a committed example was made from."""
        seed, _ = self.seeds[self.ledger.turn(example.id) % len(self.seeds)]
        return seed

    def call(self, key: str) -> Call | None:
        """A journaled call, wherever it lies now."""
        call, segment = self.ledger.call(key)
        return self._segments.find(segment, key) if segment is not None else call

    def accounting(self) -> Accounting:
        """The closed books."""
        kinds = Counter(str(row["seed_kind"]) for row in self.rows(columns=["seed_kind"]))
        return Accounting.of(self.ledger, self.recipe, kinds)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Of what there is: how many, and how many bytes they take on disk."""
        live, rolled = self.ledger.count_calls()
        ledger = sum(part.stat().st_size for part in self.path.glob("ledger.db*"))

        def bytes_in(*homes: str) -> int:
            return sum(file.bytes for home in homes for file in self.ledger.files(f"{home}/"))

        drafts = sum(self.ledger.drafts_by_status().values())
        return {
            "seeds": (len(self.seeds), bytes_in(seeds.HOME)),
            "drafts": (drafts, bytes_in("data", *_HOMES.values())),
            "index rows": (sum(file.rows for file in self.ledger.files("index/")), bytes_in("index")),
            "calls in traces": (rolled, bytes_in("traces")),
            "calls in the ledger": (live, self.ledger.bytes_of_calls()),
            "ledger, by seed": (len(self.seeds), ledger),
            "files": (len(self.ledger.files()), bytes_in(*HOMES)),
        }

    @property
    def engines(self) -> list[str]:
        """The SMs that were asked, each by what identifies it; none where a folder does not say."""
        said = json.loads(self.ledger.facts().get("engines", "{}"))
        return list(dict.fromkeys(str(one["identity"]) for one in said.values()))

    def write_text(self, name: str, text: str) -> None:
        """Replace a small file of the folder (card, report) in one step."""
        path = self.path / name
        with storage_errors(path):
            rows.write_durably(path.with_name(f".{name}.tmp"), path, text.encode("utf-8"))

    @property
    def digest(self) -> str:
        """Hash of the accepted examples in plan order; where a shard ends, after Ctrl-C say, is no part of it."""
        # Of the canonical JSON of a list of the ids, which need not be in memory together for it.
        found = hashlib.blake2b(b"[[", digest_size=16)
        for number, id in enumerate(self.ledger.accepted_ids()):
            found.update(f'{"," if number else ""}"{id}"'.encode())
        found.update(b"]]")
        return found.hexdigest()


def _changes(old: dict[str, Any], new: dict[str, Any], at: str = "") -> list[str]:
    """The recipe keys that differ, as `key: old -> new`."""
    out = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        name = f"{at}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            out += _changes(before, after, f"{name}.")
        elif before != after and name not in {"accept", "in_flight", "name", "license", "draws_per_seed", "review"}:
            out.append(f"{name}: {before} -> {after}")
    return [change for change in out if not change.startswith(("training.", "budget."))]
