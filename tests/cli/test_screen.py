"""What verbs share on the screen."""

import sys

import pytest

from understudy.cli import screen


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    time = [100.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: time[0])
    return time


def test_in_a_log_long_work_says_now_and_then_how_far_it_is(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    meter = screen.Meter()
    for done in range(10, 101, 10):
        now[0] += 6
        meter("test: VM", done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "test: VM: 30/100  ETA 42s",
        "test: VM: 60/100  ETA 24s",
        "test: VM: 90/100  ETA 6s",
    ]
    now[0] += 20
    meter("test: base", 10, 100)  # nothing is known yet of how fast this one is
    assert capsys.readouterr().err == "test: base: 10/100  ETA –\n"


def test_in_a_terminal_the_line_is_written_over_and_ended_when_all_is_done(
    now: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    meter = screen.Meter()
    for done in (1, 2, 3):
        now[0] += 1
        meter("loss", done, 3)
    assert capsys.readouterr().err == "\rloss: 1/3  ETA –  \rloss: 2/3  ETA 1s  \rloss: 3/3  ETA 0s  \n"
