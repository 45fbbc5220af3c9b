import pytest

from understudy.agents import REPLIES, Judgement
from understudy.agents.replies import Mismatch


def read(name: str, text: str, truncated: bool = False) -> object:
    return REPLIES[name].read(text, truncated)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PersonaText", "A person who works as a baker."),
        ("Passage", "Water flows in through the sluices until the chamber is full again."),
        ("Instruction", "Why does a lock need no pump?"),
        ("Answer", "Gravity."),
        ("Edit", "Name the canal."),
    ],
)
def test_a_good_text_is_read_as_it_is(name: str, text: str):
    assert read(name, f"  {text}\n") == text


@pytest.mark.parametrize(
    ("name", "text", "least"),
    [
        ("PersonaText", "A tired baker", 4),
        ("Passage", "one two three four five six seven eight nine ten eleven", 12),
        ("Instruction", "Why a lock?", 4),
        ("Answer", "", 1),
        ("Answer", " \n ", 1),
        ("Edit", "More facts", 3),
    ],
    ids=["persona", "passage", "instruction", "empty", "blank", "edit"],
)
def test_a_text_that_is_too_short_says_how_much_is_wanted(name: str, text: str, least: int):
    with pytest.raises(Mismatch, match=f"at least {least} words"):
        read(name, text)


@pytest.mark.parametrize(
    "label",
    [
        "Question: ",
        "question : ",
        "**Question**: ",
        "**Question:** ",
        "Instruction:\n",
        "Answer: ",
        "Rewritten: ",
        "Persona: ",
    ],
)
def test_a_label_before_the_text_is_taken_off(label: str):
    assert read("Instruction", f"{label}Why does a lock need no pump?") == "Why does a lock need no pump?"


@pytest.mark.parametrize(
    "text",
    ["The answer: it is gravity.", "Question the keeper: she knows.", "Questions: there are many here."],
)
def test_a_word_that_only_looks_like_a_label_stays(text: str):
    assert read("Answer", text) == text


def test_only_the_first_label_is_taken_off():
    assert read("Answer", "Answer: Question: what?") == "Question: what?"


def test_quotes_around_the_whole_text_are_taken_off():
    assert read("Instruction", '"Why does a lock need no pump?"') == "Why does a lock need no pump?"


@pytest.mark.parametrize(
    "text", ['"Lock" is what a keeper calls a "gate"', 'What does the keeper mean by "gate"'], ids=["two", "one"]
)
def test_quotes_inside_the_text_stay(text: str):
    assert read("Instruction", text) == text


@pytest.mark.parametrize("name", ["PersonaText", "Instruction"])
def test_of_a_one_line_reply_the_first_line_counts(name: str):
    assert read(name, "Why does it need no pump?\nAnd what of the sluices?") == "Why does it need no pump?"


def test_an_answer_may_run_over_lines():
    assert read("Answer", "First.\nSecond.") == "First.\nSecond."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It fills. It opens. Then the bo", "It fills. It opens."),
        ('He said "go." Then the bo', 'He said "go."'),
        ("It takes 3.5 hours! Then 4.2 mo", "It takes 3.5 hours!"),
        ("- one\n- two\n- thr", "- one\n- two"),
        ("```\nx = 1\n```", "```\nx = 1\n```"),
    ],
    ids=["sentences", "quote", "decimals", "list", "code"],
)
def test_of_a_truncated_text_the_whole_sentences_stand(text: str, kept: str):
    assert read("Answer", text, truncated=True) == kept


def test_a_truncated_text_without_a_whole_sentence_is_refused():
    with pytest.raises(Mismatch, match="cut off"):
        read("Answer", "It takes 3.5 hours to fi", truncated=True)


def test_what_is_left_of_a_truncated_text_must_be_long_enough():
    with pytest.raises(Mismatch, match="at least 12 words"):
        read("Passage", "It fills. Then the boat goes up and the gate of the lock op", truncated=True)


def test_a_one_line_reply_is_whole_when_only_later_lines_are_cut():
    assert (
        read("Instruction", "Why does it need no pump\nBecause the wat", truncated=True) == "Why does it need no pump"
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"passes": true, "reason": "it fits"}',
        ' {"reason": "it fits", "passes": true}\n',
        '```json\n{"passes": true, "reason": "it fits"}\n```',
        '```\n{"passes": true, "reason": "it fits"}\n```',
    ],
    ids=["plain", "spaced", "json fence", "bare fence"],
)
def test_a_judgement_is_read(text: str):
    assert read("Judgement", text) == Judgement(passes=True, reason="it fits")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes, it passes.", "the reply: Invalid JSON"),
        ('{"passes": true}', "reason: Field required"),
        ('{"passes": "true", "reason": ""}', "passes: Input should be a valid boolean"),
        ('{"passes": true, "reason": "x", "score": 1}', "score: Extra inputs"),
        ('{"passes": true, "reason": "' + "x" * 121 + '"}', "at most 120"),
        ("[true]", "the reply: "),
    ],
    ids=["prose", "missing", "string", "extra", "long", "list"],
)
def test_a_bad_judgement_says_which_field_and_what_is_expected(text: str, said: str):
    with pytest.raises(Mismatch) as caught:
        read("Judgement", text)
    assert said in str(caught.value)
    assert '"passes": {"type": "boolean"}' in str(caught.value)


def test_a_truncated_judgement_asks_for_less():
    with pytest.raises(Mismatch, match="it was cut off; write less"):
        read("Judgement", '{"passes": true, "reas', truncated=True)
