"""What a batch is watched for: alarms where something is wrong, and none where it is not."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from understudy.errors import RecipeError
from understudy.evals.monitor import Alarm, Seen, Watched
from understudy.recipe_file import load_recipe
from understudy.variety import Monitor

BATCH, ROLES = 200, ["nurse", "farmer", "pilot", "clerk", "tailor", "miner"]
WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ade", "ile", "ome", "ure", "ant", "ing", "et")]


def draft(rng: Random, *, role: str | None = None, label: str | None = None, stock: int = 84, model: str = "",
          accepted: bool | None = None) -> Seen:  # fmt: skip
    said = label or " ".join(rng.choices(WORDS[:stock], k=rng.randint(20, 60)))
    groups = {
        "role": role or rng.choice(ROLES), "source": f"doc-{rng.randrange(12)}.md", "skill": rng.choice("abcdef"),
        "age": rng.choice(["20-29", "30-39", None]),
    }  # fmt: skip
    good = rng.random() < 0.7 if accepted is None else accepted
    return Seen(good, "Why so?", said, groups, (model or rng.choice(["small", "large", "other"]),))


def alarms(drafts: Iterator[Seen], **settings: object) -> list[Alarm]:
    watched = Watched(Monitor(batch=BATCH, **settings))  # type: ignore[arg-type]
    return [alarm for seen in drafts for alarm in watched.add(seen)]


def plain(seed: int, batches: int = 10) -> Iterator[Seen]:
    """A run without a fault; a third of the answers are labels."""
    rng = Random(f"null:{seed}")
    for _ in range(batches * BATCH):
        label = rng.choice(["positive", "negative"]) if rng.random() < 0.33 else None
        yield draft(rng, label=label)


LABELS = {"positive": 0.5, "negative": 0.5}


def test_a_threefold_skew_of_one_group_at_batch_five_is_told_at_once() -> None:
    sounded_at = []
    for seed in range(20):
        rng = Random(f"skew:{seed}")
        # From batch 5 on nurses have three times their share: a half in the place of a sixth.
        skewed = (draft(rng, role="nurse" if turn >= 4 * BATCH and rng.random() < 0.4 else None)
                  for turn in range(7 * BATCH))  # fmt: skip
        found = alarms(skewed, labels={})
        sounded_at.append([(one.batch, one.what) for one in found if one.kind == "group"])
    print("\nalarms of 20 skewed runs:", sorted({str(one) for one in sounded_at}))
    begun = [[at for at, what in one if what == "role" and at >= 5] for one in sounded_at]
    assert all(one and one[0] in {5, 6} for one in begun)
    assert sum(at < 5 or what != "role" for one in sounded_at for at, what in one) <= 1


def test_twenty_runs_without_a_fault_have_one_alarm_at_most() -> None:
    found = [(seed, one) for seed in range(20) for one in alarms(plain(seed), labels=LABELS)]
    print("\nalarms of 20 runs of 10 batches without a fault:", len(found))
    assert len(found) <= 1


def test_a_stock_of_words_that_shrinks_is_less_varied_whatever_the_lengths() -> None:
    rng = Random(3)
    found = alarms(draft(rng, stock=84 if turn < 3 * BATCH else 12) for turn in range(5 * BATCH))
    assert [(one.batch, one.kind) for one in found] == [(4, "distinct-2")]
    longer = (Seen(True, "Why?", " ".join(rng.choices(WORDS, k=30 if turn < 3 * BATCH else 120)), {})
              for turn in range(5 * BATCH))  # fmt: skip
    assert alarms(longer) == []


def test_a_label_off_target_is_told_with_its_share() -> None:
    rng = Random(5)
    found = alarms(
        (draft(rng, label="positive" if rng.random() < 0.7 else "Negative.", accepted=True) for _ in range(BATCH)),
        labels=LABELS,
    )
    assert {(one.kind, one.what) for one in found} == {("label", "positive"), ("label", "negative")}
    assert "50% wanted" in found[0].told and "s.e." in found[0].told


def test_a_model_of_which_less_than_half_the_median_is_accepted_is_named() -> None:
    rng = Random(6)
    models = ["small", "large", "other"]
    drafts = (draft(rng, model=model, accepted=rng.random() < (0.2 if model == "small" else 0.8))
              for _ in range(BATCH) for model in [rng.choice(models)])  # fmt: skip
    (found,) = alarms(drafts)
    assert (found.kind, found.what) == ("model", "small")


def test_an_alarm_is_sounded_when_it_begins_and_again_when_it_comes_back() -> None:
    def phase(bad: bool) -> Iterator[Seen]:
        rng = Random(8)
        yield from (
            draft(rng, model="small", accepted=not bad) if turn % 2 else draft(rng, model="large", accepted=True)
            for turn in range(BATCH)
        )

    found = [alarm for bad in (True, True, False, True) for alarm in phase(bad)]
    assert [one.batch for one in alarms(iter(found), groups=())] == [1, 4]


def test_the_figures_hold_the_last_batches_and_say_what_each_was() -> None:
    watched = Watched(Monitor(batch=60, groups=("role",)))
    for seen in (draft(Random(turn)) for turn in range(60 * 60 + 7)):
        watched.add(seen)
    told = watched.figures()
    assert told["batches"] == 60 and len(told["last"]) == 50
    last = told["last"][-1]
    assert last["batch"] == 60 and last["drafts"] == 60
    assert {"distinct-1", "distinct-2", "distinct-3", "compression", "answer-words", "labels", "models"} <= last.keys()
    drift = last["groups"]["role"]
    assert drift["psi"] >= 0 and drift["js"] >= 0 and sum(drift["shares"].values()) == pytest.approx(1)


def test_batches_without_an_accepted_draft_are_counted_all_the_same() -> None:
    watched = Watched(Monitor(batch=20))
    for turn in range(60):
        assert watched.add(draft(Random(turn), accepted=False, model="only")) == []
    assert watched.figures()["last"][-1]["distinct-2"] == 0.0


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("batch: 3", "monitor.batch"),
        ("groups: [colour]", "monitor.groups[0]"),
        ("labels: {yes: 0.5, no: 0.9}", "monitor.labels"),
    ],
)
def test_a_senseless_section_is_refused_where_it_stands(tmp_path: Path, line: str, where: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nseeds: [{{path: docs}}]\naccept: 1\nmonitor:\n  {line}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.where == f"{path}:5: {where}"
