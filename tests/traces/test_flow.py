from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from understudy.corpus import Ledger, RunFolder
from understudy.errors import UserError
from understudy.traces.flow import Flow, flows, plot

Point = tuple[float, str, str, int, int, int, str | None]
STARTED = 1_700_000_000.0


def point(at: float, limit: int = 8, event: str | None = None, sm: str = "sm", endpoint: str = "http://a/v1") -> Point:
    return (STARTED + at, sm, endpoint, limit, limit - 1, 3, event)


@contextmanager
def noted(folder: Path, *points: Point) -> Iterator[list[Flow]]:
    ledger = Ledger.create(folder / "ledger.db", {})
    ledger.add_flow(points)

    class Folder:
        pass

    read: Any = Folder()
    read.ledger = ledger
    yield flows(cast(RunFolder, read))
    ledger.close()


def flow(*points: tuple[float, int, str | None], **names: str) -> Flow:
    at, limit, events = zip(*points, strict=True)
    return Flow(names.get("sm", "sm"), names.get("endpoint", "http://a/v1"), at, limit, limit, limit, events)


def test_a_run_without_endpoints_has_no_flow(tmp_path: Path):
    with noted(tmp_path) as found:
        assert found == []


def test_each_endpoint_of_each_sm_has_a_trace_in_order_of_time(tmp_path: Path):
    with noted(
        tmp_path,
        point(4, 3, "429"),
        point(0, 16),
        point(1, 32, endpoint="http://b/v1"),
        point(2, 5, sm="strong"),
        point(3, 6),
    ) as found:
        traces = {(one.sm, one.endpoint): one for one in found}
        assert set(traces) == {("sm", "http://a/v1"), ("sm", "http://b/v1"), ("strong", "http://a/v1")}
        first = traces["sm", "http://a/v1"]
        assert (first.seconds, first.limit, first.in_flight) == ((0, 3, 4), (16, 6, 3), (15, 5, 2))
        assert first.waiting == (3, 3, 3)
        assert first.troubles == {"429": 1}
        # One clock for all of them: the second endpoint was asked a second later.
        assert traces["sm", "http://b/v1"].seconds == (1,)


def test_the_time_between_two_sittings_is_left_out(tmp_path: Path):
    with noted(tmp_path, point(0), point(50), point(50 + 86400), point(60 + 86400), point(200 + 86400)) as (one,):
        assert one.seconds == (0, 50, 50, 60, 60)


def test_a_pause_of_an_endpoint_is_not_taken_for_one_between_sittings(tmp_path: Path):
    with noted(
        tmp_path, point(0), *(point(at, endpoint="http://b/v1") for at in range(0, 200, 40)), point(200)
    ) as found:
        assert found[0].seconds == (0, 200)


def test_the_chart_is_the_limit_as_blocks_and_a_mark_for_each_cut():
    blocks, marks = flow((0, 16, None), (5, 32, None), (10, 64, None), (15, 8, "429"), (20, 16, None)).chart(20)
    assert len(blocks) == len(marks) == 20
    assert blocks == "▂▂▂▂▂▄▄▄▄▄█████▁▁▁▁▂"
    assert marks == " " * 15 + "×" + " " * 4


def test_of_several_moments_in_one_column_the_highest_is_shown_and_every_cut_marked():
    blocks, marks = flow((0, 8, None), (9.2, 64, None), (9.4, 4, "500"), (10, 32, None)).chart(2)
    assert (blocks, marks) == ("▁█", " ×")


@pytest.mark.parametrize("points", [((0.0, 5, None),), ((0.0, 1, "timeout"), (0.0, 1, None))], ids=["one", "at once"])
def test_a_trace_of_a_moment_has_a_chart(points: Any):
    blocks, marks = flow(*points).chart(10)
    assert blocks == "█" * 10 and len(marks) == 10


def test_a_chart_is_never_blank_however_low_the_limit():
    assert flow((0, 4096, None), (1, 1, "429"), (2, 1, None)).chart(3)[0] == "█▁▁"


@pytest.mark.parametrize("suffix", [".PNG", ".pdf"])
def test_traces_are_drawn_one_below_the_other(tmp_path: Path, suffix: str):
    one = flow((0, 16, None), (5, 8, "429"), (7, 4, "500"), (9, 5, "429"))
    other = flow((1, 16, None), (2, 64, None), endpoint="http://$b$/v1", sm="strong")
    plot([one, other], tmp_path / f"flow{suffix}")
    drawn = (tmp_path / f"flow{suffix}").read_bytes()
    assert drawn.startswith({".PNG": b"\x89PNG", ".pdf": b"%PDF"}[suffix])
    assert len(drawn) > 5000


@pytest.mark.parametrize("name", ["flow.txt", "flow", "flow.png.zip"])
def test_a_kind_of_picture_that_cannot_be_drawn_is_told(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="cannot draw") as caught:
        plot([flow((0, 1, None))], tmp_path / name)
    assert (caught.value.where, caught.value.expected) == (str(tmp_path / name), ".png, .svg or .pdf")
    assert not (tmp_path / name).exists()


def test_a_picture_in_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder") as caught:
        plot([flow((0, 1, None))], tmp_path / "none" / "flow.png")
    assert caught.value.where == str(tmp_path / "none")


def test_without_a_trace_there_is_nothing_to_draw(tmp_path: Path):
    with pytest.raises(UserError, match="no endpoint was asked"):
        plot([], tmp_path / "flow.png")
