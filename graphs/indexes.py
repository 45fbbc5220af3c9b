"""Filling the indexes of deduplication with what is there already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from understudy.corpus import RunFolder
from understudy.dedup import PairIndex
from understudy.dedup.minhash import SCHEME
from understudy.models import Embedder
from understudy.recipe import Recipe

_AT_ONCE = 256


def scheme(embedder: Embedder | None) -> str:
    """What makes stored signatures and embeddings comparable."""
    return f"{SCHEME} {embedder.name if embedder else 'none'}"


def fill(
    index: PairIndex,
    stage: str,
    tables: Iterator[pa.Table],
    recipe: Recipe,
    embedder: Embedder | None,
    known: Sequence[tuple[str, str]] = (),
) -> Iterator[None]:
    """Enter earlier corpora into an index, then its stage of what earlier sittings left; a step at a time.

    `known` are further texts that count as taken, by their keys.
    """
    for start in range(0, len(known), _AT_ONCE):
        keys, texts = zip(*known[start : start + _AT_ONCE], strict=True)
        nothing = pa.nulls(len(keys), pa.binary())
        index.restore(pa.table({"example": keys, "text": texts, "signature": nothing, "embedding": nothing}))
        yield
    for name in recipe.dedup.against:
        with RunFolder.read(recipe.path(name)) as earlier:
            comparable = earlier.ledger.meta("index") == scheme(embedder)
            for table in earlier.index():
                table = table.filter(pc.field("stage") == "final")
                table = table.set_column(1, "example", pc.binary_join_element_wise(name, table["example"], "/"))
                if not comparable:  # another embedder's vectors mean nothing here: made anew
                    for column in ("signature", "embedding"):
                        place, field = table.schema.get_field_index(column), table.schema.field(column)
                        table = table.set_column(place, field, pa.nulls(len(table), field.type))
                index.restore(table)
                yield
    for table in tables:
        index.restore(table.filter(pc.field("stage") == stage))
        yield
