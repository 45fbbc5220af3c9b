import itertools

from understudy.evals.lengths import Lengths


def counted(*lengths: int) -> Lengths:
    out = Lengths()
    for length in lengths:
        out.add(length)
    return out


def test_quantiles_are_lengths_that_occur():
    found = counted(1, 2, 3, 4, 10).figures()
    assert found and found["n"] == 5 and found["mean"] == 4.0
    # Ranks of 5: 5 % -> 1st, 25 % -> 2nd (1.25), half -> 3rd (2.5), 75 % -> 4th (3.75), 95 % and all -> 5th.
    assert found["quantiles"] == {"0": 1, "0.05": 1, "0.25": 2, "0.5": 3, "0.75": 4, "0.95": 10, "1": 10}


def test_a_quantile_that_falls_on_a_text_is_that_text():
    found = counted(1, 2, 3, 4).figures()
    assert found and found["quantiles"]["0.25"] == 1 and found["quantiles"]["0.5"] == 2


def test_the_bars_hold_every_text_once_and_the_last_one_what_is_far_out():
    found = counted(*range(1, 200), 5000).figures()
    assert found
    bars = found["histogram"]
    assert len(bars) <= 24 and sum(bar["count"] for bar in bars) == 200
    assert bars[0] == {"from": 1, "to": 9, "count": 9}
    assert bars[-1]["to"] == 5000 and bars[-1]["from"] == 190 and bars[-1]["count"] == 11  # 190 to 199, and 5000
    assert all(bar["to"] + 1 == after["from"] for bar, after in itertools.pairwise(bars))


def test_texts_of_one_length_make_one_bar():
    found = counted(7, 7).figures()
    assert found and found["histogram"] == [{"from": 7, "to": 7, "count": 2}]


def test_no_text_has_no_length():
    assert Lengths().figures() is None
