"""How many requests each endpoint was given at once over a run, as its throttle noted it: for the eye."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.corpus import RunFolder
from understudy.errors import UserError

_BLOCKS = " ▁▂▃▄▅▆▇█"
# Between two sittings nothing happens; a gap longer than this is left out of the pictures.
_GAP_S = 60.0


@dataclass(frozen=True, slots=True)
class Flow:
    """The trace of one endpoint of one SM."""

    sm: str
    endpoint: str
    seconds: tuple[float, ...]
    """Since the first point, without the time between sittings."""
    limit: tuple[int, ...]
    in_flight: tuple[int, ...]
    waiting: tuple[int, ...]
    events: tuple[str | None, ...]
    """What went wrong at that moment, such as `429`."""

    @property
    def troubles(self) -> Counter[str]:
        """How often the limit was cut, by what went wrong."""
        return Counter(event for event in self.events if event)

    def limits(self) -> Iterator[tuple[float, int]]:
        """The limit as corners of a line: (seconds, requests)."""
        return _steps(self.seconds, self.limit)

    def points(self) -> Iterator[tuple[float, int]]:
        """The same of the requests under way."""
        return _steps(self.seconds, self.in_flight)

    def chart(self, columns: int = 60) -> tuple[str, str]:
        """Two lines of text: the limit as blocks, and a mark where it was cut."""
        step = max(self.seconds[-1], 1e-9) / columns
        buckets: list[list[int]] = [[] for _ in range(columns)]
        marks = [" "] * columns
        for at, limit, event in zip(self.seconds, self.limit, self.events, strict=True):
            place = min(columns - 1, int(at / step))
            buckets[place].append(limit)
            if event:
                marks[place] = "×"
        highest, level, blocks = max(self.limit), self.limit[0], ""
        for bucket in buckets:
            level = bucket[-1] if bucket else level
            shown = max(bucket, default=level)
            blocks += _BLOCKS[max(1, round(shown / highest * (len(_BLOCKS) - 1)))]
        return blocks, "".join(marks)


def _steps(seconds: tuple[float, ...], values: tuple[int, ...]) -> Iterator[tuple[float, int]]:
    """A value holds until the next one."""
    for at, until, value in zip(seconds, (*seconds[1:], seconds[-1]), values, strict=True):
        yield at, value
        yield until, value


def flows(folder: RunFolder) -> list[Flow]:
    """The traces of a corpus, one for each endpoint; none for engines of our own."""
    rows: dict[tuple[str, str], list[tuple[float, int, int, int, str | None]]] = {}
    began = idle = last = 0.0
    for at, sm, endpoint, limit, in_flight, waiting, event in folder.ledger.flow():
        began = began or at
        if last and at - last > _GAP_S:
            idle += at - last
        last = at
        rows.setdefault((sm, endpoint), []).append((at - began - idle, limit, in_flight, waiting, event))
    return [Flow(sm, endpoint, *map(tuple, zip(*points, strict=True))) for (sm, endpoint), points in rows.items()]


def plot(traces: list[Flow], path: Path) -> None:
    """Draw the traces into a picture; the suffix says which kind.

    Raises:
        UserError: when the suffix is none that can be drawn, its folder is missing, or there is nothing to draw.
    """
    if not traces:
        raise UserError("no endpoint was asked in this run", expected="a corpus whose SM is an endpoint")
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"cannot draw a `{path.suffix}` file", where=str(path), expected=".png, .svg or .pdf")
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(path.parent))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(traces)), layout="constrained")
    axes = figure.subplots(len(traces), squeeze=False)[:, 0]
    for axis, flow in zip(axes, traces, strict=True):
        axis.step(flow.seconds, flow.limit, where="post", color="#1f5fa8", label="limit")
        axis.fill_between(flow.seconds, flow.in_flight, step="post", color="#1f5fa8", alpha=0.25, label="in flight")
        known: set[str] = set()
        for at, limit, event in zip(flow.seconds, flow.limit, flow.events, strict=True):
            if event:
                colour = f"C{1 + sorted(flow.troubles).index(event)}"
                label = None if event in known else f"{event} ({flow.troubles[event]})"
                axis.plot([at], [limit], marker="x", linestyle="none", color=colour, label=label)
                known.add(event)
        axis.set_title(f"{flow.sm}: {flow.endpoint}".replace("$", r"\$"), fontsize=10, loc="left")
        axis.set_xlabel("seconds")
        axis.set_ylabel("requests")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8, loc="upper right")
    figure.savefig(path, dpi=150)
