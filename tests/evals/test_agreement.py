from typing import Any

import pytest

from understudy.evals.agreement import Agreement, kappa


def said(**words: bool) -> list[dict[str, Any]]:
    return [{"by": name, "passed": passed} for name, passed in words.items()]


def test_kappa_is_that_of_a_textbook():
    # 20 both yes, 5 and 10 alone, 15 both no: observed 0.7, by chance 0.5 (Wikipedia, Cohen's kappa, first example).
    assert kappa(20, 5, 10, 15) == pytest.approx(0.4)


@pytest.mark.parametrize(("counts", "value"), [((5, 0, 0, 5), 1.0), ((0, 5, 5, 0), -1.0), ((1, 1, 1, 1), 0.0)])
def test_kappa_goes_from_minus_one_to_one(counts: tuple[int, int, int, int], value: float):
    assert kappa(*counts) == value


def test_kappa_of_two_who_always_say_the_same_word_is_undefined():
    assert kappa(9, 0, 0, 0) is None and kappa(0, 0, 0, 9) is None


def test_pairs_count_the_drafts_on_which_both_spoke():
    found = Agreement()
    for row in (said(a=True, b=True), said(a=True, b=False), said(a=False, b=False), said(a=True), said(b=False)):
        found.add(row)
    (pair,) = found.figures()["pairs"]
    assert (pair["one"], pair["other"], pair["n"]) == ("a", "b", 3)
    assert pair["agree"] == pytest.approx(2 / 3)
    assert (pair["both_no"], pair["only_one_no"], pair["only_other_no"]) == (1, 0, 1)


def test_who_is_alone_in_saying_no_is_counted_where_another_spoke():
    found = Agreement()
    for row in (said(a=False, b=True), said(a=False, b=False), said(a=False), said(a=True, b=True)):
        found.add(row)
    by_name = {one["name"]: one for one in found.figures()["verifiers"]}
    assert (by_name["a"]["n"], by_name["a"]["no"], by_name["a"]["alone"]) == (4, 3, 1)
    assert by_name["a"]["no_share"] == 0.75 and by_name["a"]["alone_share"] == pytest.approx(1 / 3)
    assert (by_name["b"]["n"], by_name["b"]["no"], by_name["b"]["alone"]) == (3, 1, 0)


def test_one_who_speaks_twice_passes_a_draft_only_if_both_times():
    found = Agreement()
    found.add([*said(a=True, b=True), *said(a=False)])
    found.add([*said(a=False, b=True), *said(a=True)])
    (pair,) = found.figures()["pairs"]
    assert pair["only_one_no"] == 2 and found.figures()["verifiers"][0]["n"] == 2


def test_that_there_is_a_twin_is_no_verdict_on_the_draft():
    found = Agreement()
    found.add([{"by": "dedup/minhash", "passed": False}, *said(a=True)])
    assert [one["name"] for one in found.figures()["verifiers"]] == ["a"] and not found.figures()["pairs"]


def test_comparisons_of_candidates_are_counted_by_how_they_ended():
    found = Agreement()
    kept, lost, tied, unread = (
        {"round": 0, "outcome": outcome} for outcome in ("kept", "worse than another", "tied", "not understood")
    )
    later = {"round": 1, "outcome": "tied"}
    for versions in ([kept, lost], [kept, tied, lost], [kept, unread], [kept, later], []):
        found.add([], versions)
    assert found.figures()["orders"] == {"n": 4, "decided": 2, "tied": 1, "unread": 1}


def test_without_candidates_nothing_is_said_of_orders():
    assert Agreement().figures() == {"verifiers": [], "pairs": [], "orders": None}
