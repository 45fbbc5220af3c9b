"""What `report` shows of endpoints and of several SMs."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Understudy = Callable[..., Any]
STRONG = ("--set", "sms={strong: {backend: scripted, price_in: 100}}", "--set", "voices={judge: {sm: strong}}")


@pytest.fixture
def corpus(understudy: Understudy, project: Path) -> Path:
    assert understudy("run", project / "recipe.yaml", "--out", "out", *STRONG, "--set", "accept=3").code == 0
    return Path("out")


def note(corpus: Path) -> None:
    """What an endpoint's throttle would have entered."""
    with sqlite3.connect(corpus / "ledger.db") as db:
        for at, sm, endpoint, cap, event in (
            (0, "sm", "http://a/v1", 16, None), (30, "sm", "http://a/v1", 32, None), (60, "sm", "http://a/v1", 8, "429"),
            (61, "strong", "http://b/v1", 4, "timeout"), (65, "strong", "http://b/v1", 2, "timeout"),
        ):  # fmt: skip
            db.execute("INSERT INTO flow VALUES (?, ?, ?, ?, ?, ?, ?)", (1.7e9 + at, sm, endpoint, cap, 1, 0, event))
    db.close()


def test_a_report_shows_what_each_sm_cost(understudy: Understudy, corpus: Path) -> None:
    said = understudy("report", corpus)
    assert said.code == 0
    books = json.loads(understudy("report", corpus, "--json").out)["accounting"]
    table = said.out[said.out.index("\n SM ") :]
    shown = {line.split()[0]: line.split() for line in table.splitlines() if line.strip()}
    for name in ("sm", "strong"):
        assert shown[name][1] == str(books["sms"][name]["calls"])
        assert shown[name][2] == f"{books['sms'][name]['prompt_tokens']:,}"
    assert books["sms"]["strong"]["cost"] > 0 == books["sms"]["sm"]["cost"]
    assert "in money" in said.out


def test_a_report_without_endpoints_has_no_chart_and_nothing_to_draw(understudy: Understudy, corpus: Path) -> None:
    assert "requests at once" not in understudy("report", corpus).out
    said = understudy("report", corpus, "--plot", "flow.png")
    assert said.code == 2 and "no endpoint was asked" in said.err
    assert not Path("flow.png").exists()


def test_a_report_charts_each_endpoint_within_80_columns(understudy: Understudy, corpus: Path) -> None:
    note(corpus)
    out = understudy("report", corpus).out
    assert "sm: requests at once, at most 32, over 1m00s" in out
    assert "strong: requests at once, at most 4, over 1m05s" in out
    assert "http://a/v1" in out and "http://b/v1" in out
    assert "× 429: the limit was cut once" in out and "× timeout: the limit was cut 2 times" in out
    assert "█" in out and max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_report_draws_the_endpoints_into_a_picture(understudy: Understudy, corpus: Path, suffix: str) -> None:
    note(corpus)
    assert understudy("report", corpus, "--plot", f"flow{suffix}").code == 0
    assert Path(f"flow{suffix}").read_bytes().startswith({".png": b"\x89PNG", ".svg": b"<?xml"}[suffix])


@pytest.mark.parametrize(
    ("picture", "why"), [("flow.doc", "cannot draw a `.doc` file"), ("no/f.png", "no such folder")]
)
def test_a_picture_that_cannot_be_drawn_is_an_error_of_one_line(
    understudy: Understudy, corpus: Path, picture: str, why: str
) -> None:
    note(corpus)
    said = understudy("report", corpus, "--plot", picture)
    assert said.code == 2 and why in said.err and "Traceback" not in said.err
