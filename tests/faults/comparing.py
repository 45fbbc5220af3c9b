"""What the fault tests share: a comparison with a run that nothing happened to."""

import json
from pathlib import Path

from understudy.corpus import RunFolder
from understudy.corpus.repair import check


def rows(out: Path) -> list[str]:
    """Every committed row, sorted."""
    with RunFolder.read(out) as folder:
        kinds = ("accepted", "rejected", "duplicate", "failed")
        return sorted(json.dumps(row, sort_keys=True) for kind in kinds for row in folder.rows(kind))


def difference(out: Path, calm: Path) -> dict[str, int]:
    """Rows that a run lacks or has twice, against one that nothing happened to; its folder must be sound."""
    ours, theirs = rows(out), rows(calm)
    assert check(out) == []
    with RunFolder.read(out) as folder:
        assert sum(folder.accounting().seeds.values()) == len(folder.seeds)
    return {"lost": len(set(theirs) - set(ours)), "doubled": len(ours) - len(set(ours))}
