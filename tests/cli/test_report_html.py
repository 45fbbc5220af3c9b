"""The report as a page and as JSON: what it says, what it must never do."""

import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.nouns import Persona, Verdict

Understudy = Callable[..., Any]
Written = Callable[..., Path]
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
BAD = f"{IMAGE}{SCRIPT}'{{{{ 7 * 7 }}}}"
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def draft(status: str = "accepted", reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "status": status, "reason": reason, "path": ("plan/rag/ask", "instruct/ask", "answer/a"),
        "verdicts": (Verdict("rule/echo", status == "accepted"), Verdict("rule/length", True)),
    } | more  # fmt: skip


@pytest.fixture
def corpus(written: Written) -> Path:
    return written(
        {"a.md": "Bread rises.", "b.md": "Locks lift boats."},
        [
            draft(said=LONG, vector=[1, 0]),
            draft(vector=[0, 1], seed=1),
            *[draft("rejected", "rule/echo")] * 3,
            draft("duplicate", "same words", verdicts=(Verdict("dedup/minhash", False, 0.95),)),
            draft("failed", "parse: instruct/ask", seed=1),
        ],
    )


def page(understudy: Understudy, corpus: Path, *more: object) -> str:
    said = understudy("report", corpus, "--html", "report.html", *more)
    assert said.code == 0, said.err
    return Path("report.html").read_text(encoding="utf-8")


def test_the_page_says_how_many_were_accepted_and_where_the_others_went(understudy: Understudy, corpus: Path) -> None:
    text = page(understudy, corpus)
    said = Page(text).said
    assert "2 accepted of 7 drafts, 29%; from 2 of 2 seeds" in said
    assert "5 drafts were lost: 3 rejected: rule/echo, 1 duplicate: same words, 1 failed: parse." in said
    assert "2 effectively different among 2 (Vendi score)" in said
    assert "1 of 6 drafts that were compared with those before them were near-duplicates (16.7%)" in said


def test_what_the_streams_show_is_what_the_ledger_has(understudy: Understudy, corpus: Path) -> None:
    text = page(understudy, corpus)
    with RunFolder.read(corpus) as folder:
        drafts = folder.ledger.drafts_by_status()
    nodes = dict(re.findall(r"<g><title>([^<]*): ([\d,]+)</title><rect[^>]*class=\"node\"", text))
    assert nodes["accepted"] == str(drafts["accepted"]) and nodes["rejected: rule/echo"] == str(drafts["rejected"])
    streams = re.findall(r'class="stream[^>]*><title>(\S.*?) → (.*?): (\d+)</title>', text)
    into = sum(int(count) for _, target, count in streams if target == "rag")
    out = sum(int(count) for source, _, count in streams if source == "rag")
    assert into == out == sum(drafts.values())


@pytest.fixture
def hostile(written: Written) -> Path:
    """A corpus in which every text that somebody else wrote means harm."""
    verdicts = (Verdict(f"rule/{BAD}", True, 1.0, BAD), Verdict("judge/x", False, 0.0, BAD))
    persona = Persona.of(BAD, attributes={"role": BAD, "place": IMAGE})
    other = Persona.of("A baker.", attributes={"role": "baker", "place": "York"})
    path = (f"plan/{BAD.replace('/', '')}/ask", f"instruct/{BAD.replace(':', '')}", "answer/a")
    more = {"path": path, "verdicts": verdicts, "persona": persona, "asked": BAD, "said": f"{BAD} {LONG}"}
    return written(
        {f"{IMAGE}<script>alert(1).md": BAD, "b.md": "Locks."},
        [
            draft(**more, vector=[1, 0]),
            draft(**more | {"path": ("plan/rag/ask", *path[1:]), "persona": other}, vector=[0, 1], seed=1),
            draft(**more | {"persona": other}, vector=[0, 1], seed=1),
            draft("rejected", f"rule/{BAD}", **more, seed=1),
            draft("failed", f"{BAD}: x", **more),
        ],
        license=BAD,
    )


def test_what_others_wrote_is_inert_wherever_it_stands(understudy: Understudy, hostile: Path, tmp_path: Path) -> None:
    bench = tmp_path / f"{IMAGE}<script>.jsonl"
    bench.write_text(json.dumps({"question": f"{BAD} {LONG}"}))
    text = page(understudy, hostile, "--against", bench)
    parsed = Page(text)
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "img", "iframe", "object", "link", "base", "form"}
    names = {name for _, attributes in parsed.elements for name in attributes}
    assert not any(name.startswith("on") for name in names) and not names & {"href", "src", "srcset", "xlink:href"}
    # It is there, as text: in the licence, a skill, a persona, a reason, a verifier, a source, a benchmark and its quote.
    assert parsed.said.count(SCRIPT) >= 8 and "7 * 7" in parsed.said and "49 }" not in parsed.said
    assert f"rule/{BAD}" in parsed.said and "York" in parsed.said


def test_the_page_asks_no_network_and_runs_no_script(understudy: Understudy, corpus: Path) -> None:
    text = page(understudy, corpus)
    policies = [a["content"] for tag, a in Page(text).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY]
    assert not re.search(r"https?://|url\(|@import|<script|javascript:", text)


def test_the_page_can_be_read_by_anybody(understudy: Understudy, corpus: Path) -> None:
    parsed = Page(page(understudy, corpus))
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in parsed.elements if tag == "th")
    charts = [attributes for tag, attributes in parsed.elements if tag == "svg"]
    assert len(charts) >= 6 and all(one["role"] == "img" and one["aria-label"] for one in charts)
    assert next(attributes["lang"] for tag, attributes in parsed.elements if tag == "html") == "en"


def contrast(one: str, other: str) -> float:
    """Of two colours (#rrggbb), as WCAG 2 has it."""

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_in_light_and_in_dark(understudy: Understudy, corpus: Path) -> None:
    text = page(understudy, corpus)
    for block in re.findall(r":root \{([^}]*--ink[^}]*)\}", text):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        assert all(contrast(colours[name], colours["ground"]) >= 4.5 for name in ("ink", "soft", "fill"))
        marks = [name for name in colours if name not in ("ground", "line")]
        assert all(contrast(colours[name], colours["ground"]) >= 3 for name in marks), colours
    assert text.count("--ink:") == 2


@pytest.mark.parametrize("drafts", [[], [draft("rejected", "rule/echo")], [draft()]], ids=["none", "lost", "one"])
def test_a_corpus_of_hardly_anything_has_a_page(
    understudy: Understudy, written: Written, drafts: list[dict[str, Any]]
) -> None:
    text = page(understudy, written({"a.md": "Bread rises."}, drafts))
    assert ("Nothing has been drafted yet" in text) == (not drafts)
    assert "nan" not in text.lower().replace("&nbsp;", "") and "None" not in text


def test_json_has_the_same_figures_and_the_version_of_the_measures(understudy: Understudy, corpus: Path) -> None:
    told = json.loads(understudy("report", corpus, "--json").out)
    assert told["figures"]["version"] == 1 and told["figures"]["embeddings"]["n"] == 2
    assert told["figures"]["accepted"] == told["accounting"]["drafts"]["accepted"] == 2
    assert told["measures"]["answer-words"] == 7.0
    assert "contamination" not in told["figures"]


def test_rows_that_stand_in_a_benchmark_are_told_everywhere(
    understudy: Understudy, corpus: Path, tmp_path: Path
) -> None:
    bench = tmp_path / "bench.csv"
    bench.write_text(f"question,topic\n{LONG} and more,{LONG}\nshort,x\n")
    said = understudy("report", corpus, "--against", bench)
    assert "1 of 2 accepted examples share 13 words in a row" in said.out.replace("\n", " ")
    assert re.search(r"[0-9a-f]{12}  13 words  bench.csv:2", said.out)
    told = json.loads(understudy("report", corpus, "--against", bench, "--column", "topic", "--json").out)
    assert told["figures"]["contamination"]["texts"] == 1
    assert told["figures"]["contamination"]["rows"][0]["quote"] == LONG
    text = Page(page(understudy, corpus, "--against", bench)).said
    assert "1 of 2 accepted rows (50.00%) share a run of 13 words or more with bench.csv. Nothing was dropped." in text


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--html", "report.pdf"), "the report is a web page"),
        (("--html", "no/report.html"), "no such folder"),
        (("--html", "folder.html"), "is a folder"),
        (("--against", "none.jsonl"), "no such benchmark"),
        (("--against", "b.jsonl", "--column", "answer"), "has no column `answer`"),
        (("--column", "answer"), "--column without a benchmark"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_a_few_lines(
    understudy: Understudy, corpus: Path, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "b.jsonl").write_text('{"question": "a"}\n')
    said = understudy("report", corpus, *options)
    assert said.code == 2 and why in said.err and "Traceback" not in said.err
    assert "expected:" in said.err or "to fix it:" in said.err
    assert not Path("report.pdf").exists()


def test_a_real_run_and_a_persona_set_have_a_page(understudy: Understudy, project: Path) -> None:
    recipe = project / "recipe.yaml"
    made = ["run", recipe, "--out", "out", "--yes"], ["personas", "build", recipe, "--out", "people", "--yes"]
    for arguments, corpus in zip(made, ("out", "people"), strict=True):
        assert understudy(*arguments).code in (0, 5)
        text = page(understudy, Path(corpus))
        assert "Where the drafts went" in text and 'class="stream' in text
