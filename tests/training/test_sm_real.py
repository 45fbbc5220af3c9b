"""A real SM learns from three real tables to continue a fourth, which it has never seen."""

from pathlib import Path

import pytest

from understudy.training.sm import train_sm

pytestmark = pytest.mark.slow
COLUMNS = 4


def write_tables(folder: Path) -> list[Path]:
    """The tables that scikit-learn ships, their first columns and the target, as CSV."""
    from sklearn import datasets

    paths = []
    for name in ("iris", "wine", "diabetes", "breast_cancer"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        frame = frame[[*frame.columns[:COLUMNS], "target"]].round(3)
        paths.append(folder / f"{name}.csv")
        frame.to_csv(paths[-1], index=False)
    return paths


def test_the_loss_on_a_data_set_that_was_held_out_falls(tmp_path: Path) -> None:
    made = train_sm(
        write_tables(tmp_path), tmp_path / "sm", "continuer", shown=2, new=2, draws=12, held_out=("wine",), steps=12,
        batch_size=2, learning_rate=1e-3, checkpoint_every=12,
    )  # fmt: skip
    assert [one.name for one in made.held_out] == ["wine"] and len(made.trained_on) == 3
    gap = made.loss["gap"]
    assert gap["n"] == 12 and gap["high"] < 0, made.loss
