"""The sample of a table route, dealt out as seeds."""

from pathlib import Path

import pytest

from understudy.corpus.readers import read_sources
from understudy.corpus.table_sample import read_sample, resolved
from understudy.errors import SchemaError, SeedError
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

RECIPE = """
name: coins
seeds: [{path: coins.csv, kind: table}]
accept: 4
sm: {backend: scripted}
rows: {use_case: coins that were tossed, shown: 3, deals: 5, canaries: 0, holdout: 0}
"""


def recipe(home: Path, rows: int) -> Recipe:
    (home / "coins.csv").write_text("side\n" + "head\ntail\n" * (rows // 2) + "head\n" * (rows % 2))
    (home / "recipe.yaml").write_text(RECIPE)
    return resolved(load_recipe(home / "recipe.yaml"))


def test_groups_that_look_alike_are_seeds_of_their_own(tmp_path: Path) -> None:
    coins = recipe(tmp_path, 30)
    seeds = [seed for _, seed in read_sources(coins)]
    assert len(seeds) == 50 > 2**3 >= len({seed.content for seed in seeds})
    assert len({seed.id for seed in seeds}) == 50
    assert [seed.id for seed in seeds] == [seed.id for _, seed in read_sources(coins)]


def test_a_made_up_row_is_equal_to_no_real_one_or_there_is_none(tmp_path: Path) -> None:
    recipe(tmp_path, 30)
    coins = resolved(load_recipe(tmp_path / "recipe.yaml", ("rows.canaries=2",)))
    assert read_sample(coins).canaries == ()  # a coin has no third side
    (tmp_path / "coins.csv").write_text(
        "side,year\n" + "".join(f"head,{1900 + n % 8}\ntail,{1907 + n % 8}\n" for n in range(40))
    )
    both = load_recipe(tmp_path / "recipe.yaml", ("rows.canaries=12", "rows.holdout=0"))
    sample = read_sample(resolved(both))
    assert len(sample.canaries) == 12 and not any(made in sample.rows for made in sample.canaries)


@pytest.mark.parametrize(("rows", "said"), [(1, "1 row to learn from"), (19, "19 rows to learn from")])
def test_too_few_rows_are_told_with_what_would_do(tmp_path: Path, rows: int, said: str) -> None:
    with pytest.raises(SeedError, match=said) as caught:
        read_sample(recipe(tmp_path, rows))
    assert "at least 20" in str(caught.value) and "rows.holdout" in str(caught.value)


def test_a_schema_is_inferred_from_the_rows_that_are_shown_and_others_may_lie_beyond_it(tmp_path: Path) -> None:
    lines = [f"{'head' if n % 2 else 'tail'},{n},{'won' if n % 3 else 'lost'}" for n in range(40)]
    (tmp_path / "coins.csv").write_text("side,year,bet\n" + "\n".join(lines))
    (tmp_path / "later.csv").write_text("side,year,bet\nedge,99,won\nhead,,lost\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    apart = resolved(load_recipe(tmp_path / "recipe.yaml", ("rows.holdout=later.csv", "rows.target=[bet]")))
    sample = read_sample(apart)
    assert (sample.schema["year"].low, sample.schema["year"].high) == (0, 39)
    assert sample.holdout == (
        {"side": "edge", "year": 99, "bet": "won"},
        {"side": "head", "year": None, "bet": "lost"},
    )
    split = read_sample(resolved(load_recipe(tmp_path / "recipe.yaml", ("rows.holdout=0.4", "rows.target=[bet]"))))
    shown = [row["year"] for row in split.rows]
    assert (split.schema["year"].low, split.schema["year"].high) == (min(shown), max(shown))
    assert len(split.rows) == 24 and len(split.holdout) == 16
    assert {row["year"] for row in split.holdout} - set(range(min(shown), max(shown) + 1))  # some lie beyond

    (tmp_path / "later.csv").write_text("side,year,bet\nhead,1,drawn\n")
    with pytest.raises(SchemaError, match="bet is 'drawn'"):
        read_sample(apart)
