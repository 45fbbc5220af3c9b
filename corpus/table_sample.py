"""The sample behind a table route: typed rows, a hold-out that nobody is shown, and groups that are dealt out as seeds.

A group is what an SM sees at once. The sample is dealt out several times, each time shuffled, so that a row stands
beside others each time and in a bounded number of prompts. Where a recipe sets quotas, each group is dealt from the
values' own rows by these shares, so that rare ones are seen; their rows come round more often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from understudy.columns import Record, Schema, targets
from understudy.corpus.readers import TABLES, files, table_rows
from understudy.corpus.stand_in import Claim, claim_of
from understudy.corpus.table_schema import checked, infer, order, read_schema, shown, typed
from understudy.corpus.tables import Row
from understudy.corpus.tokens import count_tokens
from understudy.errors import SchemaError, SeedError
from understudy.nouns import Seed, address
from understudy.recipe import Recipe
from understudy.tables import Rows, Shares

# Fewer say nothing of what goes together.
LEAST = 20
# For each made-up row; a table of few columns has real twins of most.
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Real rows, typed."""

    schema: Schema
    rows: tuple[Record, ...]
    """Those that the SM may be shown."""
    holdout: tuple[Record, ...]
    """Those that nobody is shown."""
    canaries: tuple[Record, ...]
    """Made-up ones that are shown with the sample."""
    license: str
    place: str
    """The file that the sample was read from, without its folder."""
    claim: Claim | None
    """Of a stand-in, what is claimed of it and of all that is made from it alone."""


def resolved(recipe: Recipe) -> Recipe:
    """The same recipe with its whole schema in it; one that is not for rows as it is.

    Raises:
        SeedError, SchemaError: when sample or schema cannot be read, or do not fit one another.
    """
    block = recipe.rows
    if block is None:
        return recipe
    if isinstance(block.columns, dict):
        schema = block.columns
    elif block.columns is not None:
        schema = read_schema(recipe.path(block.columns))
    else:
        schema = infer([row for _, row in _read(recipe)], block.target)
    checked(schema, "rows.columns")
    if block.columns is None:
        whole = block.model_copy(update={"columns": schema, "target": ()})
        schema = _narrowed(schema, read_sample(recipe.model_copy(update={"rows": whole}).at(recipe.folder)).rows)
    if not order(schema):
        raise SchemaError("holds free text alone", where="rows.columns", expected="a column of numbers or categories")
    for key, declared in (("quotas", block.quotas), ("base_rate", block.base_rate)):
        for name, shares in declared.items():
            column = schema.get(name)
            if column is None or column.role != "target" or column.type != "category":
                known = [one for one in targets(schema) if schema[one].type == "category"]
                raise SchemaError(
                    f"no target column of categories is called `{name}`", where=f"rows.{key}",
                    expected=f"one of: {', '.join(known) or 'none here'}",
                )  # fmt: skip
            if unknown := sorted(set(shares) - set(column.categories)):
                raise SchemaError(
                    f"column `{name}` has no value `{unknown[0]}`", where=f"rows.{key}.{name}",
                    expected=f"one of: {', '.join(column.categories)}",
                )  # fmt: skip
    whole = block.model_copy(update={"columns": schema, "target": ()})
    return recipe.model_copy(update={"rows": whole}).at(recipe.folder)


def read_sample(recipe: Recipe) -> Sample:
    """The sample and the hold-out of a resolved recipe.

    Raises:
        SeedError, SchemaError: naming file, line and column of a cell that does not fit, or when rows are too few.
    """
    block, schema = block_of(recipe)
    read = _read(recipe)
    rows = [typed(row, schema, place, unseen=True) for place, row in read]
    held: list[Record] = []
    if not isinstance(block.holdout, str):
        # By what a row holds: twins stand on one side.
        ranked = sorted(rows, key=lambda row: address(recipe.seed, "holdout", row))
        count = round(block.holdout * len(ranked))
        held, kept = ranked[:count], {address(row) for row in ranked[count:]}
        held = [row for row in held if address(row) not in kept]
        read = [here for here, row in zip(read, rows, strict=True) if address(row) in kept]
    rows = [typed(row, schema, place) for place, row in read]
    if isinstance(block.holdout, str):
        path = recipe.path(block.holdout)
        held = apart(read_table(path, schema), rows, str(path))
    source = recipe.seeds[0]
    if len(rows) < LEAST:
        raise SeedError(
            f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} to learn from",
            where=str(recipe.path(source.path)), expected=f"at least {LEAST}",
            remedy="give more rows, or hold out fewer (`rows.holdout`)",
        )  # fmt: skip
    made, path = _canaries(rows, block.canaries, recipe.seed), recipe.path(source.path)
    # Held-out rows of another file, and earlier corpora, may be real: they decide which rows are refused.
    others = isinstance(block.holdout, str) or recipe.dedup.against
    claim = claim_of(path) if path.is_file() and not others else None
    return Sample(schema, tuple(rows), tuple(held), made, source.license, path.name, claim)


def apart(held: Sequence[Record], rows: Sequence[Record], where: str) -> list[Record]:
    """Held-out rows that do not stand in the sample as well.

    Raises:
        SeedError: when more than half of them do, naming `where` they are from.
    """
    shown = {address(row) for row in rows}
    found = [row for row in held if address(row) not in shown]
    if len(found) < len(held) / 2:
        raise SeedError(
            f"{len(held) - len(found):,} of {len(held):,} held-out rows stand in the sample", where=where,
            expected="real rows that whoever wrote new ones was not shown", remedy="hold out others, or none",
        )  # fmt: skip
    return found


def _narrowed(schema: Schema, rows: Sequence[Record]) -> Schema:
    """A schema whose ranges, and whose categories of inputs, are those of the rows that are shown, and of no other."""
    found = {}
    for name, column in schema.items():
        cells = {row[name] for row in rows if row.get(name) is not None}
        if column.numeric and cells:
            numbers = [float(cell) for cell in cells if isinstance(cell, int | float)]
            column = column.model_copy(update={"low": min(numbers), "high": max(numbers)})
        elif column.type == "category" and column.role == "input" and cells:
            column = column.model_copy(update={"categories": tuple(one for one in column.categories if one in cells)})
        found[name] = column
    return found


def read_table(path: Path, schema: Schema) -> list[Record]:
    """The typed rows of a file that the schema was drawn up without.

    Raises:
        SeedError, SchemaError: when it is missing, or a cell does not fit.
    """
    if path.suffix.lower() not in TABLES or not path.is_file():
        raise SeedError("no such table", where=str(path), expected=f"a file of {', '.join(sorted(TABLES))}")
    found = list(table_rows(path))
    _check_columns(found, schema, path)
    return [typed(row, schema, f"{path}:{place}", unseen=True) for place, row in found]


def block_of(recipe: Recipe) -> tuple[Rows, Schema]:
    """The block of a resolved recipe and its schema."""
    assert recipe.rows is not None and isinstance(recipe.rows.columns, dict)  # as `resolved` leaves it  # noqa: S101
    return recipe.rows, recipe.rows.columns


def _read(recipe: Recipe) -> list[tuple[str, Row]]:
    found: list[tuple[str, Row]] = []
    schema = recipe.rows.columns if recipe.rows and isinstance(recipe.rows.columns, dict) else None
    for source in recipe.seeds:
        for file in files(source, recipe.path(source.path)):
            here = list(table_rows(file, source.columns))
            if schema is not None:
                _check_columns(here, schema, file)
            found += [(f"{file}:{place}", row) for place, row in here]
    if not found:
        raise SeedError("holds no rows", where=str(recipe.path(recipe.seeds[0].path)))
    return found


def _check_columns(rows: Sequence[tuple[str, Row]], schema: Schema, path: Path) -> None:
    there = dict.fromkeys(name for _, row in rows for name in row)
    for name, column in schema.items():
        if rows and name not in there and column.role != "ignored":
            raise SchemaError(
                f"no column `{name}`", where=str(path),
                expected=f"the schema's columns; the file has {', '.join(there)}",
                remedy="correct the schema, or give the column the role `ignored`",
            )  # fmt: skip


def _canaries(rows: Sequence[Record], count: int, seed: int) -> tuple[Record, ...]:
    """Rows each of whose cells is from another row: like real ones one by one, and as a whole equal to none.

    Fewer than asked for where the sample has nearly all rows that its cells make.
    """
    rng, real = Random(address(seed, "canaries")), {tuple(row.values()) for row in rows}  # noqa: S311
    made: list[Record] = []
    for _ in range(count * _TRIES):
        row = {name: rng.choice(rows)[name] for name in rows[0]}
        if tuple(row.values()) not in real:
            made.append(row)
        if len(made) == count:
            break
    return tuple(made)


def dealt(recipe: Recipe) -> Iterator[tuple[int, Seed]]:
    """The seeds of a resolved recipe for rows: groups of rows that are shown together."""
    block, schema = block_of(recipe)
    sample = read_sample(recipe)
    cards = [*sample.rows, *sample.canaries]
    before: Counter[str] = Counter()  # in a table of few columns two groups may look alike
    for deal in range(block.deals):
        rng = Random(address(recipe.seed, "deal", deal))  # noqa: S311
        for place, group in enumerate(_groups(cards, block, rng)):
            content = shown(block.use_case, group, schema)
            names = list(schema)
            meta = {
                "license": sample.license, "tokens": count_tokens(content), "columns": names,
                "rows": [[row.get(name) for name in names] for row in group],
            }  # fmt: skip
            source = f"{sample.place}:deal {deal + 1}, group {place + 1}"
            yield 0, Seed.of("table", content, source, occurrence=before[content], **meta)
            before[content] += 1


def groups(sample: Sample, block: Rows) -> int:
    """How many groups are dealt out in all."""
    return block.deals * _in_a_deal(len(sample.rows) + len(sample.canaries), block)


def _in_a_deal(rows: int, block: Rows) -> int:
    return max(1, round(rows / block.shown))


def _groups(rows: Sequence[Record], block: Rows, rng: Random) -> Iterator[list[Record]]:
    """Groups of `shown` rows; what is left over at the end is filled up from the start."""
    piles = _piles(rows, block.quotas)
    for pile, _ in piles:
        rng.shuffle(pile)
    places = [0] * len(piles)
    for _ in range(_in_a_deal(len(rows), block)):
        group: list[Record] = []
        for number, count in enumerate(_counts([share for _, share in piles], block.shown, rng)):
            pile = piles[number][0]
            group += [pile[(places[number] + step) % len(pile)] for step in range(min(count, len(pile)))]
            places[number] += count
        rng.shuffle(group)
        yield group


def _piles(rows: Sequence[Record], quotas: dict[str, Shares]) -> list[tuple[list[Record], float]]:
    if not quotas:
        return [(list(rows), 1.0)]
    name, shares = next(iter(quotas.items()))
    piles = [([row for row in rows if row[name] == value], share) for value, share in shares.items()]
    return [(pile, share) for pile, share in piles if pile]


def _counts(shares: Sequence[float], total: int, rng: Random) -> list[int]:
    """Whole numbers near the shares of a total; what is left goes by chance, in proportion."""
    whole = sum(shares)
    exact = [share / whole * total for share in shares]
    counts = [int(one) for one in exact]
    while sum(counts) < total:
        counts[rng.choices(range(len(shares)), [one - int(one) + 1e-9 for one in exact])[0]] += 1
    return counts
