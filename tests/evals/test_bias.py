import pytest

from understudy.corpus.sample import SAMPLE
from understudy.evals.bias import Gendered, Shares
from understudy.evals.interval import difference


def shares(*drafts: tuple[str | None, bool]) -> Shares:
    out = Shares()
    for value, accepted in drafts:
        out.add(value, accepted)
    return out


def test_shares_and_their_change_can_be_checked_by_hand():
    found = shares(*[("a", True)] * 3, ("a", False), ("b", True), *[("b", False)] * 3).figures()
    assert found and found["n"] == 8 and found["accepted"] == 4 and found["different"] == 2
    first, second = found["values"]
    assert (first["value"], first["drafted"], first["accepted"]) == ("a", 4, 3)
    assert (first["share_drafted"], first["share_accepted"], first["change"]) == (0.5, 0.75, 0.25)
    assert second["change"] == -0.25
    assert found["largest"]["value"] == "a" and not found["largest"]["excludes_zero"]


def test_the_interval_is_newcombes_scaled_to_the_part_that_was_not_accepted():
    found = shares(*[("a", True)] * 56, *[("b", True)] * 14, *[("a", False)] * 48, *[("b", False)] * 32).figures()
    assert found
    largest = found["largest"]
    # 56 of 70 accepted ones are a, 48 of 80 others: a difference of 0.2, of which 80/150 is the change.
    assert largest["value"] == "a" and largest["change"] == pytest.approx(0.2 * 80 / 150)
    low, high = difference(56, 70, 48, 80, 1 - 0.05 / 2)
    assert (largest["low"], largest["high"]) == pytest.approx((low * 80 / 150, high * 80 / 150))
    assert largest["low"] < largest["change"] < largest["high"] and largest["excludes_zero"]


def test_more_values_make_the_interval_wider():
    two = shares(*[("a", True)] * 9, ("b", False), *[("a", False)] * 3, *[("b", False)] * 6, ("b", True)).figures()
    five = shares(
        *[("a", True)] * 9, ("c", False), *[("a", False)] * 3, *[("b", False)] * 3, ("d", False), ("e", False),
        ("c", False), ("b", True),
    ).figures()  # fmt: skip
    assert two and five and two["n"] == five["n"]
    assert five["largest"]["value"] == "a" == two["largest"]["value"]
    assert five["largest"]["high"] - five["largest"]["low"] > two["largest"]["high"] - two["largest"]["low"]


def test_what_is_not_known_is_left_out():
    found = shares((None, True), ("a", True), (None, False)).figures()
    assert found and found["n"] == 1
    assert shares((None, True)).figures() is None


@pytest.mark.parametrize("accepted", [True, False])
def test_nothing_changes_where_all_or_none_were_accepted_or_there_is_one_value(accepted: bool):
    found = shares(("a", accepted), ("b", accepted)).figures()
    assert found and found["largest"] is None
    alone = shares(("a", True), ("a", False)).figures()
    assert alone and alone["largest"] is None


def test_of_very_many_values_an_even_sample_is_kept_with_exact_counts():
    found = shares(*[(f"v{n}", n % 2 == 0) for n in range(SAMPLE + 500)], *[("v7", True)] * 5).figures()
    assert found and found["sampled"] and found["different"] == SAMPLE and found["n"] == SAMPLE + 505
    assert len(found["values"]) == 20


def test_words_of_one_gender_are_counted_by_text():
    found = Gendered()
    for text in ("she said", "his dog and her cat", "a man", "the heron", "hers is a helm", "mother", "shed"):
        found.add(set(text.split()))
    told = found.figures()
    assert told and told["n"] == 7
    assert (told["feminine"], told["masculine"], told["both"], told["neither"]) == (2, 1, 1, 3)
    assert told["feminine_share"] == pytest.approx(2 / 3)
    assert Gendered().figures() is None
