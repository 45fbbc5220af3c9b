import itertools
import re
from collections import defaultdict
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from understudy.traces.charts import Bar, Bin, Link, Point, bars, cut, histogram, node_values, sankey, scatter

BAD = "\"><img src=x onerror=alert(1)><script>alert(1)</script>'&"


def parsed(chart: Markup) -> ElementTree.Element:
    """A chart is well-formed XML."""
    return ElementTree.fromstring(str(chart))


@pytest.mark.parametrize(
    "chart",
    [
        bars([Bar(BAD, 1, BAD, 0.5, 1.5, title=BAD)], BAD, BAD),
        histogram([Bin(BAD, BAD, 3)], BAD, BAD, BAD),
        scatter([Point(0.5, 0.5, 0, BAD)], BAD, BAD),
        sankey([Link(0, BAD, "b", 1), Link(1, "b", BAD, 1)], [BAD, "b", "c"], BAD, BAD),
    ],
    ids=["bars", "histogram", "scatter", "sankey"],
)
def test_any_text_is_inert(chart: Markup):
    tree = parsed(chart)
    names = {element.tag for element in tree.iter()}
    assert not names & {"img", "script"} and "<img" not in chart
    assert not any(name.startswith("on") for element in tree.iter() for name in element.attrib)
    assert next(element.text for element in tree.iter("title")) == BAD and tree.find("desc").text == BAD  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "chart", [bars([], "t"), histogram([], "t"), scatter([], "t"), sankey([], [], "t"), bars([Bar("a", 0, "0")], "t")]
)
def test_nothing_is_a_chart_too(chart: Markup):
    tree = parsed(chart)
    assert tree.attrib["role"] == "img" and tree.attrib["aria-label"] == "t"


def test_bars_are_as_long_as_their_values():
    tree = parsed(bars([Bar("a", 0.5, "50%", 0.25, 0.75), Bar("b", 1, "100%"), Bar("c", 0, "0%")], "t", most=1.0))
    half, full, none = (float(rect.attrib["width"]) for rect in tree.iter("rect"))
    assert half * 2 == pytest.approx(full, abs=0.2) and 0 < none < 1
    (line,) = tree.iter("line")
    left = float(next(tree.iter("rect")).attrib["x"])
    assert float(line.attrib["x1"]) - left == pytest.approx(full / 4, abs=0.2)
    assert float(line.attrib["x2"]) - left == pytest.approx(3 * full / 4, abs=0.2)


def test_histogram_bars_are_as_tall_as_their_counts():
    tree = parsed(histogram([Bin("1", "2", 2), Bin("3", "4", 4), Bin("5", "9", 0)], "t", unit="words"))
    two, four, none = (float(rect.attrib["height"]) for rect in tree.iter("rect"))
    assert two * 2 == pytest.approx(four) and none == 0
    said = ["".join(text.itertext()) for text in tree.iter("text")]
    assert said == ["at most 4", "1", "3", "9", "words"]


def test_points_lie_where_they_are_said_to():
    tree = parsed(scatter([Point(0, 0, 0, "a"), Point(1, 1, 2, "b")], "t"))
    one, other = tree.iter("circle")
    assert (one.attrib["cx"], other.attrib["cx"], other.attrib["class"]) == ("10.0", "550.0", "dot group-2")


LINKS = [
    Link(0, "text", "rag", 3, "good"), Link(0, "text", "qa", 2, "bad"), Link(0, "code", "qa", 5, "bad"),
    Link(1, "rag", "accepted", 3, "good"), Link(1, "qa", "rejected", 6, "bad"), Link(1, "qa", "failed", 1, "bad"),
]  # fmt: skip


def test_a_node_is_as_tall_as_what_flows_through_it():
    assert node_values(LINKS) == {
        (0, "text"): 5, (0, "code"): 5, (1, "rag"): 3, (1, "qa"): 7, (2, "accepted"): 3, (2, "rejected"): 6,
        (2, "failed"): 1,
    }  # fmt: skip
    tree = parsed(sankey(LINKS, ("a", "b", "c"), "t"))
    tall = {group.findtext("title"): float(group.find("rect").attrib["height"]) for group in tree.iter("g")}  # type: ignore[union-attr]
    assert tall["qa: 7"] == pytest.approx(7 * tall["failed: 1"], abs=0.2)
    assert tall["text: 5"] == pytest.approx(tall["code: 5"])


def test_streams_fill_both_sides_of_a_node_without_overlap():
    tree = parsed(sankey(LINKS, ("a", "b", "c"), "t"))
    nodes = {}
    for group in tree.iter("g"):
        rect = group.find("rect")
        assert rect is not None
        nodes[str(group.findtext("title")).split(":")[0]] = (
            float(rect.attrib["y"]),
            float(rect.attrib["y"]) + float(rect.attrib["height"]),
        )
    sides = defaultdict(list)
    for path in tree.iter("path"):
        source, target = re.match(r"(.*) → (.*): ", str(path.findtext("title"))).groups()  # type: ignore[union-attr]
        start, end, thick = re.match(
            r"M\S+ ([\d.]+)C.* ([\d.]+)v([\d.]+)C", path.attrib["d"].replace("C", "C", 1)
        ).groups()  # type: ignore[union-attr]
        sides[source, "out"].append((float(start), float(start) + float(thick)))
        sides[target, "in"].append((float(end), float(end) + float(thick)))
    for (name, _), spans in sides.items():
        spans.sort()
        assert spans[0][0] == pytest.approx(nodes[name][0], abs=0.15)
        assert spans[-1][1] == pytest.approx(nodes[name][1], abs=0.15)
        assert all(one[1] == pytest.approx(other[0], abs=0.15) for one, other in itertools.pairwise(spans))


def test_the_last_column_stands_in_the_order_that_is_wanted():
    tree = parsed(sankey(LINKS, ("a", "b", "c"), "t", ends=("failed", "accepted", "rejected")))
    tops = {
        str(group.findtext("title")).split(":")[0]: float(group.find("rect").attrib["y"]) for group in tree.iter("g")
    }  # type: ignore[union-attr]
    assert tops["failed"] < tops["accepted"] < tops["rejected"]


def test_labels_of_a_column_never_touch():
    links = [Link(0, "all", f"n{n}", 1 if n else 1000) for n in range(40)]
    tree = parsed(sankey(links, ("a", "b"), "t"))
    lines = sorted(float(text.attrib["y"]) for text in tree.iter("text") if float(text.attrib["x"]) > 500)[1:]
    assert min(b - a for a, b in itertools.pairwise(lines)) >= 14.8


def test_a_label_is_cut_to_one_line():
    assert cut("a\n b  c", 9) == "a b c" and cut("abcdef", 4) == "abc…"
