"""What a synthetic table as a whole gives away of the rows that it was made from.

Distances are Gower's (`table_space.py`). What a fresh real row shows by chance is measured on the hold-out, so a limit
is "no more than real rows that were never shown, but for chance", with one error in a hundred:

- counts of rows (hit rate, quasi-identifiers, near-copies): of n held-out rows k are so; at most as many of m synthetic
  ones as the beta-binomial distribution with k and n - k (Jeffreys' prior) reaches in 99 of 100 cases. For the hit
  rate, k counts the rows within the distance that 5 % of them stay within, which are more where distances tie.
- attack: the AUC of "nearer to a synthetic row, so a member", or of "farther", whichever is better, may be
  0.53 + 2.33 sqrt((n + m + 1) / (12 n m)), the standard error of Mann and Whitney's
  statistic where there is nothing to know, n being members and m others. A model
  that is fitted to the sample and copies nothing is a little above 0.5, which the 0.03 are for.
- medians: 2.33 standard errors by bootstrap; besides, the distance to the closest record may be a tenth smaller, and
  the ratio of first to second distance a twentieth.

Measured: of so many tables with 4 numbers and 2 categories, those in which any check failed, of which six can fail by
chance. Fresh: real rows; fitted: a Gaussian copula fitted to the sample; independent: columns drawn one by one;
copycat: rows of the sample with numbers moved by 2 % of their standard deviation.

    sample, hold-out, synthetic    fresh    fitted    independent    copycat
       200       400        500   1 of 60   2 of 60      0 of 60    20 of 20
       200         0        500   1 of 60   0 of 60      0 of 60    20 of 20
       100       100        500   1 of 60   0 of 60      2 of 60    20 of 20
        50        50        200   0 of 60   2 of 60      3 of 60    20 of 20
     1,000       500      2,000   0 of 20   0 of 20      2 of 20      6 of 6

At 200, 400 and 500 rows the hit rate of fresh rows was 0.051 (standard deviation 0.013, limit 0.090) and the attack's
AUC 0.496 (0.025, limit 0.588); of a fitted copula 0.046 and 0.518, of a copycat 1.000 and 0.962.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.columns import Record, Schema, used
from understudy.evals.row_privacy import RowPrivacy
from understudy.evals.sensitive_text import folded
from understudy.evals.table_space import Matrix, TableSpace, nearest
from understudy.privacy import Privacy

_Z = 2.326
"""One-sided, one error in a hundred."""
_SURE = 0.99
_HIT = 0.05
_ATTACK_SLACK = 0.03
_MEDIAN_SLACK = 0.9
_RATIO_SLACK = 0.95
# Near-copies are looked for among so many rows that about so many cells are compared.
_CELLS, _FEWEST_LOOKED_AT = 200_000_000, 500
_ROUNDS = 200
_IDLE = 0.95
"""A limit of this or more lets everything pass."""
_BINS = 24
_CURVE = 60
_NO_TEXT = "Not measured: the schema calls no text `sensitive`."
_DECIDING = ("hit-rate", "attack-auc")


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure, what it may be, and what that means."""

    name: str
    value: float | None
    """None where it was not measured; `told` says why."""
    limit: float | None
    """None where there is nothing to hold it to."""
    passed: bool | None
    """None where it was not measured or is held to nothing."""
    told: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class PrivacyReport:
    """All measures of one table, and what its pictures are drawn from."""

    findings: tuple[Finding, ...]
    basis: str
    """What the synthetic rows were compared with."""
    histogram: dict[str, Any] | None
    """`edges` of the distance to the closest sample row, and the shares of `synthetic` and of `fresh` rows in each."""
    roc: dict[str, list[float]] | None
    """The membership attack: `false` and `true` positive rates."""

    @property
    def passed(self) -> bool | None:
        """False if anything failed, True if all that decides was measured, else None."""
        if any(finding.passed is False for finding in self.findings):
            return False
        decided = {finding.name for finding in self.findings if finding.passed}
        return True if decided.issuperset(_DECIDING) else None

    def figures(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"passed": self.passed} | asdict(self) | {"findings": [asdict(one) for one in self.findings]}


@dataclass(frozen=True, slots=True)
class _Closest:
    """Distances to the sample of synthetic and of fresh rows, and their ratios of first to second."""

    synthetic: Matrix
    fresh: Matrix
    synthetic_ratio: Matrix
    fresh_ratio: Matrix
    weight: float
    """How many independent rows the fresh ones are worth: pairs of the sample that are near one another count once."""


def privacy(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], schema: Schema,
    limits: Privacy, canaries: Sequence[Record] = (), rows: RowPrivacy | None = None,
) -> PrivacyReport:  # fmt: skip
    """Measure a whole table; in this order of findings: copies, distances, attack, canaries, quasi-identifiers, text.

    Args:
        synthetic: what was written; not yet freed of near-copies, or the hit rate says little of who wrote it.
        sample: what was shown to who wrote it.
        holdout: real rows that were not; may be empty, then the sample's own distances stand in where they can.
        schema: of all three.
        limits: the recipe's.
        canaries: rows that were made up and planted in the sample.
        rows: the verifiers of one row, if they are built already.
    """
    rows = rows or RowPrivacy.of(sample, holdout, schema, limits, canaries)
    findings = list(_copies(synthetic, holdout, rows, limits))
    closest = _closest(synthetic, sample, holdout, rows.space)
    findings += _distances(closest, limits)
    attack, roc = _attack(synthetic, sample, holdout, rows.space, limits)
    findings += [attack, _canaries(synthetic, rows, canaries)]
    findings += _identified(synthetic, sample, holdout, schema, limits)
    findings.append(_overlap(synthetic, rows, schema))
    basis = (
        f"{len(sample):,} rows of sample, {len(holdout):,} held-out rows" if holdout else
        f"{len(sample):,} rows of sample and no hold-out: the distances of its rows to one another stand in"
    )  # fmt: skip
    return PrivacyReport(tuple(findings), basis, _histogram(closest), roc)


def _copies(synthetic: Sequence[Record], holdout: Sequence[Record], rows: RowPrivacy, limits: Privacy) -> list[Finding]:
    exact = [not rows.exact(record).passed for record in synthetic]
    told = f"{sum(exact):,} of {len(synthetic):,} rows are equal to a row of the sample."
    fresh = sum(not rows.exact(record).passed for record in holdout)
    if fresh:
        told = f"{told[:-1]}; so are {fresh:,} of {len(holdout):,} held-out rows, as there are few combinations."
    found = [Finding("exact-copies", sum(exact), 0, not any(exact), told)]
    kept, real = ([one for one in some if rows.exact(one).passed] for some in (synthetic, holdout))
    if rows.whole or rows.trimmed:
        most = max(_FEWEST_LOOKED_AT, _CELLS // max(1, rows.sample.size))
        looked, fresh_looked = (_even(some, most) for some in (kept, real))
        near, by_chance = (sum(rows.near(one) is not None for one in some) for some in (looked, fresh_looked))
        # The share that the thresholds were made for counts beside what the hold-out shows; it is extrapolated, and
        # may be out by ten.
        limit = chance_limit(len(looked), by_chance, len(fresh_looked) + 1 / (20 * limits.near))
        told = f"{near:,} of {len(looked):,} further rows are a row of the sample but for jitter or one cell"
        told += f"; of {len(fresh_looked):,} held-out rows {by_chance:,}, by chance." if holdout else "."
        found.append(Finding("near-copies", near, limit, near <= limit, told))
    else:
        why = "Not measured: fresh rows differ from rows of the sample in few cells, so nothing is nearer than near."
        found.append(Finding("near-copies", None, None, None, why))
    if rows.text.cells:
        alike, by_chance = (sum(rows.alike(one) is not None for one in some) for some in (kept, real))
        limit = chance_limit(len(synthetic), by_chance, len(real)) if by_chance else 0
        told = f"{alike:,} further rows have a sensitive text of the sample with hardly a letter changed."
        found.append(Finding("text-copies", alike, limit, alike <= limit, told))
    else:
        found.append(Finding("text-copies", None, None, None, _NO_TEXT))
    return found


def _even(rows: Sequence[Record], most: int) -> list[Record]:
    """At most so many rows, evenly spread."""
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(len(rows), most))]


def chance_limit(rows: int, fresh: float, of: float) -> int:
    """Most of so many rows that do by chance what `fresh` of `of` real ones did, but for one time in a hundred.

    It is the beta-binomial prediction under Jeffreys' prior.
    """
    from scipy.stats import betabinom

    return int(betabinom.ppf(_SURE, rows, fresh + 0.5, of - fresh + 0.5))


def _closest(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], space: TableSpace
) -> _Closest | None:
    points = space.points(sample)
    if not synthetic or not points.size or len(sample) < 3:
        return None
    written = nearest(space.points(synthetic), points, 2).distance
    fresh = nearest(space.points(holdout), points, 2).distance if holdout else None
    if fresh is None:
        fresh = nearest(points, points, 2, itself=True).distance
    weight = len(holdout) or len(sample) / 2
    return _Closest(written[:, 0], fresh[:, 0], _ratio(written), _ratio(fresh), weight)


def _ratio(distance: Matrix) -> Matrix:
    """First over second distance; 1 where both are 0, as then no one row stands out."""
    first, second = distance[:, 0], distance[:, 1]
    return np.where(second > 0, first / np.where(second > 0, second, 1.0), 1.0)


def _distances(closest: _Closest | None, limits: Privacy) -> list[Finding]:
    if closest is None:
        why = "Not measured: it takes a synthetic row, three of sample and a column of numbers or categories."
        return [Finding(name, None, None, None, why) for name in ("closest-record", "distance-ratio", "hit-rate")]
    dcr, fresh = float(np.median(closest.synthetic)), float(np.median(closest.fresh))
    told = f"half of the rows are within {dcr:.4f} of a row of the sample, half of fresh real rows within {fresh:.4f}"
    if fresh > 0:
        error = math.hypot(_error(closest.synthetic), _error(closest.fresh) * dcr / fresh) / fresh
        low = max(0.0, _MEDIAN_SLACK - _Z * error)
        found = [Finding("closest-record", dcr / fresh, low, dcr / fresh >= low, f"{_capital(told)}; their ratio.")]
    else:
        found = [Finding("closest-record", None, None, None, f"Not measured: {told}.")]
    ratio, usual = float(np.median(closest.synthetic_ratio)), float(np.median(closest.fresh_ratio))
    low = max(0.0, _RATIO_SLACK * usual - _Z * math.hypot(_error(closest.synthetic_ratio), _error(closest.fresh_ratio)))
    told = (
        f"The closest row of the sample is at {ratio:.2f} of the distance of the second closest (median); for fresh "
        f"real rows at {usual:.2f}."
    )
    found.append(Finding("distance-ratio", ratio, low, ratio >= low, told))
    near = float(np.quantile(closest.fresh, _HIT))
    rate, base = float((closest.synthetic <= near).mean()), float((closest.fresh <= near).mean())
    limit = limits.hit_rate or chance_limit(len(closest.synthetic), base * closest.weight, closest.weight) / len(
        closest.synthetic
    )
    told = f"{rate:.1%} of the rows are within {near:.4f} of a row of the sample, {base:.1%} of fresh real rows."
    return [*found, Finding("hit-rate", rate, limit, *_judged(rate <= limit, limit, told))]


def _judged(passed: bool, limit: float, told: str) -> tuple[bool | None, str]:
    """A verdict, unless there are so few rows that nothing could fail."""
    return (passed, told) if limit < _IDLE else (None, f"{told} Too few rows to judge by.")


def attack_limit(members: int, others: int) -> float:
    """Most that the attack's AUC comes to where there is nothing to know, but for one time in a hundred."""
    return min(1.0, 0.5 + _ATTACK_SLACK + _Z * math.sqrt((members + others + 1) / (12 * members * others)))


def _error(values: Matrix) -> float:
    """Standard error of the median, by bootstrap."""
    picks = np.random.default_rng(0).integers(0, len(values), (_ROUNDS, min(len(values), 5000)))
    return float(np.median(values[picks], axis=1).std()) * math.sqrt(picks.shape[1] / len(values))


def _attack(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], space: TableSpace,
    limits: Privacy,
) -> tuple[Finding, dict[str, list[float]] | None]:  # fmt: skip
    name = "attack-auc"
    if not holdout:
        why = "Not measured: without held-out rows nobody can tell members from others."
        return Finding(name, None, None, None, why), None
    points = space.points(synthetic)
    if not points.size:
        return Finding(name, None, None, None, "Not measured: no synthetic row, or nothing but text."), None
    from sklearn.metrics import roc_auc_score, roc_curve

    near = -np.concatenate([nearest(space.points(rows), points).distance[:, 0] for rows in (sample, holdout)])
    member = np.arange(len(near)) < len(sample)
    auc = float(roc_auc_score(member, near))
    # Who sees that nobody stands near a member, because rows near to members were refused, guesses the other way round.
    auc, hole = (1 - auc, True) if auc < 0.5 else (auc, False)
    near = -near if hole else near
    limit = limits.attack_auc or attack_limit(len(sample), len(holdout))
    false, true, _ = roc_curve(member, near)
    picked = np.unique(np.linspace(0, len(false) - 1, min(len(false), _CURVE)).astype(int))
    how = ", as the farther one," if hole else ""
    told = f"Who guesses by distance{how} who was in the sample is right in {auc:.0%} of pairs; a coin is in 50%."
    roc = {
        "false": [round(float(one), 4) for one in false[picked]],
        "true": [round(float(one), 4) for one in true[picked]],
    }
    return Finding(name, auc, limit, *_judged(auc <= limit, limit, told)), roc


def _canaries(synthetic: Sequence[Record], rows: RowPrivacy, canaries: Sequence[Record]) -> Finding:
    if not canaries:
        return Finding("canaries", None, None, None, "Not measured: no made-up row was planted in the sample.")
    back = sum(not rows.canary(record).passed for record in synthetic)
    told = f"{back:,} rows repeat one of {len(canaries):,} made-up rows that were planted in the sample."
    return Finding("canaries", back, 0, not back, told)


def _identified(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], schema: Schema, limits: Privacy
) -> list[Finding]:
    names = [name for name, column in used(schema).items() if column.identifying]
    if not names or not synthetic:
        why = "Not measured: the schema calls no column `identifying`." if not names else "Not measured: no row."
        return [Finding(name, None, None, None, why) for name in ("k-anonymity", "singled-out")]
    written, real, fresh = (Counter(_combination(row, names) for row in rows) for rows in (synthetic, sample, holdout))
    sizes = np.repeat(list(written.values()), list(written.values()))
    fifth = int(np.quantile(sizes, 0.05, method="lower"))
    told = (
        f"The rarest combination of {', '.join(names)} has {sizes.min():,} of the synthetic rows; 95 % of the rows "
        f"have one that {fifth:,} or more have."
    )
    asked = limits.k > 1
    limit, passed = (limits.k, bool(sizes.min() >= limits.k)) if asked else (None, None)
    smallest = Finding("k-anonymity", float(sizes.min()), limit, passed, told)
    alone = sum(count for key, count in written.items() if real[key] == 1)
    told = f"{alone:,} of {len(synthetic):,} rows have the combination of exactly one row of the sample"
    if not holdout:
        return [smallest, Finding("singled-out", alone / len(synthetic), None, None, f"{told}; held to nothing.")]
    chance = sum(count for key, count in fresh.items() if real[key] == 1)
    most = chance_limit(len(synthetic), chance, len(holdout)) / len(synthetic)
    share = alone / len(synthetic)
    told += f"; so have {chance:,} of {len(holdout):,} held-out rows."
    return [smallest, Finding("singled-out", share, most, share <= most, told)]


def _combination(record: Record, names: Sequence[str]) -> tuple[object, ...]:
    return tuple(folded(cell) if isinstance(cell := record.get(name), str) else cell for name in names)


def _overlap(synthetic: Sequence[Record], rows: RowPrivacy, schema: Schema) -> Finding:
    limit = rows.text.runs.size
    if not rows.text.cells:
        return Finding("text-overlap", None, None, None, _NO_TEXT)
    longest = rows.text.runs.longest(cell for record in synthetic for cell in rows.text.said(record))
    told = f"The longest run of words that stands in a sensitive text too has {longest:,} words, of {limit:,} refused."
    return Finding("text-overlap", longest, limit - 1, longest < limit, told)


def _histogram(closest: _Closest | None) -> dict[str, Any] | None:
    if closest is None:
        return None
    most = float(max(np.quantile(closest.synthetic, 0.99), np.quantile(closest.fresh, 0.99))) or 1.0
    edges = np.linspace(0, most, _BINS + 1)

    def shares(values: Matrix) -> list[float]:
        counts: NDArray[np.int64] = np.histogram(np.minimum(values, most), edges)[0]
        return [round(float(count) / len(values), 5) for count in counts]

    return {
        "edges": [round(float(edge), 6) for edge in edges],
        "synthetic": shares(closest.synthetic), "fresh": shares(closest.fresh),
    }  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
