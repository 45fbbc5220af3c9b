"""What of an inferred schema a person should look at: cells that were taken for text, too few rows, no target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.columns import Schema, targets
from understudy.corpus.table_sample import LEAST

# The part of a column's cells that must look alike; the rest may be typing errors.
_MOST = 0.9
# 3,724,000 or 12.5 % or 1.234,50 or € 17
_MARKED = re.compile(r"[^\w\s.,'-]?\s?[-+]?\d{1,3}([.,' ]?\d{3})*([.,]\d+)?\s?[^\w\s.,'-]?")
_DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2}))([T ].*)?")


def doubts(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What may not be as it was meant, one sentence each.

    Args:
        schema: as `infer` found it.
        rows: what it was inferred from, as they were read.
    """
    found = []
    if len(rows) < LEAST:
        found.append(f"{_rows(len(rows))}: too few to infer from, and a run needs at least {LEAST}")
    if not targets(schema):
        found.append("no target: name the column that a VM is to say with `--target`")
    for name, column in schema.items():
        if column.type != "text":
            continue
        cells = [text for row in rows if (text := str(row.get(name) or "").strip())]
        for kind, pattern, remedy in (
            ("dates", _DATE, "write years or days as numbers, or set `role: ignored`"),
            ("numbers with marks", _MARKED, "write them bare, as 1234.5"),
        ):
            like = [text for text in cells if pattern.fullmatch(text)]
            if cells and len(like) >= _MOST * len(cells):
                found.append(f"{name}: {kind}, such as {like[0]}, are taken for free text; {remedy}")
                break
    return found


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
