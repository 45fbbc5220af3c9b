from understudy.evals.rules import words
from understudy.evals.templates import skeleton, templates


def test_shares_of_openings_and_skeletons_can_be_checked_by_hand():
    found = templates(
        ["What is the height of a lock?", "What is the age of a dam?", "what IS the: lock?", "Bake bread!", ""]
    )
    assert found and found["n"] == 4  # the empty one has no opening
    assert found["openings"][0] == {"text": "what is the", "count": 3, "share": 0.75}
    assert found["openings"][1] == {"text": "bake bread", "count": 1, "share": 0.25}
    assert found["skeletons"][0] == {"text": "what is the … of a …", "count": 2, "share": 0.5}


def test_a_run_of_content_words_is_one_gap_and_eight_words_count():
    assert skeleton(words("Explain sourdough bread to the young baker")) == "… to the …"
    assert skeleton(words("What is the age of the old lock beside the mill")) == "what is the … of the …"


def test_ties_stand_in_the_order_of_the_alphabet():
    found = templates(["b", "a", "c"])
    assert found and [one["text"] for one in found["openings"]] == ["a", "b", "c"]


def test_nothing_has_no_template():
    assert templates([]) is None
    assert templates(["…", "!"]) is None
