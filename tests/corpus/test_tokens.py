import pytest

from understudy.corpus.tokens import count_tokens

# Golden counts are those of SmolLM2-135M-Instruct's tokenizer.json (tokenizers, no special tokens).
PROSE = """A lock is a chamber with gates at both ends that lifts boats from one level of a canal to the next. \
A boat enters at the lower level, the gates close behind it, and water runs in from above through small openings \
called sluices. When the chamber is as full as the upper canal, the upper gates can be opened, because the pressure \
on both sides is then equal. No pump is needed: every passage simply lets about 250 cubic metres of water flow \
downhill. In a dry summer this is why many canals ask boats to share a lock."""
CODE = '''def median(values: list[float]) -> float:
    """Return the middle value, or the mean of the two middle ones."""
    if not values:
        raise ValueError("median() needs at least one value")
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2
'''
TABLE = """| river | length_km | source |
| --- | --- | --- |
| Danube | 2850 | Donaueschingen |
| Elbe | 1094 | Spindleruv Mlyn |"""


@pytest.mark.parametrize(("text", "golden"), [(PROSE, 115), (CODE, 100), (TABLE, 51)], ids=["prose", "code", "table"])
def test_the_estimate_is_within_15_per_cent_of_smollm2(text: str, golden: int):
    assert abs(count_tokens(text) - golden) <= 0.15 * golden


@pytest.mark.parametrize(
    ("text", "golden"),
    [
        ("船闸是一个两端有闸门的闸室,可以把船只从运河的一段升到另一段。"
         "船只从低处进入,闸门在它身后关闭,水从上方流入。", 95),
        ("Шлюз — это камера с воротами на обоих концах, которая поднимает суда с одного уровня канала на другой.", 74),
        ("Eine Schleuse ist eine Kammer mit Toren an beiden Enden, die Schiffe von einer Haltung des Kanals in die "
         "nächste hebt. Das Wasser fließt durch kleine Öffnungen hinein.", 60),
    ],
    ids=["chinese", "russian", "german"],
)  # fmt: skip
def test_other_scripts_are_not_counted_for_less_than_half(text: str, golden: int):
    # The budget sets aside one and a half times the estimate: below two thirds it can be overspent.
    assert count_tokens(text) >= golden / 2


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" ", 0),
        ("word", 1),
        ("two words", 2),
        ("a, b", 3),
        ("1234", 4),
        ("extraordinary", 2),
        ("a\n\nb", 3),
        ("é", 1),
    ],
)
def test_short_texts_can_be_counted_by_hand(text: str, count: int):
    assert count_tokens(text) == count


def test_the_parts_of_a_text_add_up():
    half = PROSE.index("When")
    assert count_tokens(PROSE[:half]) + count_tokens(PROSE[half:]) == count_tokens(PROSE)
