"""`understudy table private`: a stand-in with its claim beside it, and what is refused before an epsilon is spent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import stand_in

SCHEMA = """\
columns:
  age: {type: integer, low: 18, high: 90}
  ill: {type: category, categories: ["no", "yes"], role: target}
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stand_in, "_released", lambda rows, codes, epsilon, count: rows[: count or len(rows)])
    (tmp_path / "s.yaml").write_text(SCHEMA)
    path = tmp_path / "people.csv"
    path.write_text("age,ill\n" + "".join(f"{20 + n},{'yes' if n % 3 else 'no'}\n" for n in range(40)))
    return path


def test_a_stand_in_is_written_with_its_claim_and_never_over_another(
    understudy: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    said = understudy(
        "table", "private", data, "--schema", "s.yaml", "--epsilon", "3", "--out", "p.csv", "--rows", "30"
    )
    assert said.code == 0 and "epsilon = 3 for one row added or removed" in " ".join(said.out.split())
    assert "read them off these rows" in " ".join(said.out.split()) and "table compare p.csv" in said.out
    claim = stand_in.claim_of(tmp_path / "p.csv")
    assert claim is not None and claim.epsilon == 3
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 31
    again = understudy("table", "private", data, "--schema", "s.yaml", "--epsilon", "3", "--out", "p.csv")
    assert again.code == 2 and "spent both epsilons" in " ".join(again.err.split())
    (tmp_path / "p.csv").unlink()  # the claim alone is enough to stop
    assert understudy("table", "private", data, "--schema", "s.yaml", "--epsilon", "3", "--out", "p.csv").code == 2


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (("low: 18, ", ""), [], "column `age` has no range"),
        (("type: integer, low: 18, high: 90", "type: text"), [], "column `age` is free text"),
        (("high: 90", "high: 50"), [], "people.csv:33: age is 51, expected 18 to 50"),
        (("", ""), ["--out", "p.parquet"], "a .csv file"),
        (("", ""), ["--out", "gone/p.csv"], "a .csv file"),
        (("", ""), ["--schema", "gone.yaml"], "gone.yaml"),
        (("", ""), ["--epsilon", "0"], "epsilon"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_counted(
    understudy: Callable[..., Any], data: Path, tmp_path: Path, change: tuple[str, str], words: list[str], said: str
) -> None:
    (tmp_path / "s.yaml").write_text(SCHEMA.replace(*change, 1))
    given = {"--schema": "s.yaml", "--epsilon": "3", "--out": "p.csv"} | dict(zip(words[::2], words[1::2], strict=True))
    result = understudy("table", "private", data, *(word for pair in given.items() for word in pair))
    assert result.code == 2 and said in " ".join(result.err.split())
    assert not list(tmp_path.glob("p.*")) and not list(tmp_path.glob("*.epsilon.json"))


def test_few_rows_or_none_are_refused(understudy: Callable[..., Any], data: Path) -> None:
    data.write_text("age,ill\n20,yes\n")
    result = understudy("table", "private", data, "--schema", "s.yaml", "--epsilon", "3", "--out", "p.csv")
    assert result.code == 2 and "at least 20" in result.err
    gone = understudy("table", "private", "gone.csv", "--schema", "s.yaml", "--epsilon", "3", "--out", "p.csv")
    assert gone.code == 2 and "no such table" in gone.err
