from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.corpus.documents import Block, chunks, markdown_table, pack
from understudy.corpus.tokens import count_tokens
from understudy.errors import SeedError

LONG = ("The gates close behind the boat and the water runs in from above. " * 12).strip()
FENCE = "```python\n" + "\n".join(f"print('line {n}')" for n in range(60)) + "\n```"
TABLE = "| river | km |\n| --- | --- |\n" + "\n".join(f"| River number {n} | {n} |" for n in range(60))


def texts(name: str, text: str, chunk_tokens: int = 220) -> list[str]:
    return [chunk.text for chunk in chunks(Path(name), text, chunk_tokens)]


def letters(text: str) -> str:
    return "".join(text.split())


def test_a_short_document_is_one_chunk():
    (chunk,) = chunks(Path("a.md"), f"# Locks\n\n{LONG[:200]}", 220)
    assert chunk.text == f"# Locks\n\n{LONG[:200].strip()}"
    assert (chunk.place, chunk.headings) == ("1", ("Locks",))


def test_a_section_starts_a_new_chunk_that_knows_the_headings_above_it():
    text = f"# Canals\n\n{LONG}\n\n## Locks\n\n{LONG}\n\n### Gates\n\n{LONG}\n\n## Dams\n\n{LONG}"
    found = chunks(Path("a.md"), text, 400)
    assert [chunk.headings for chunk in found] == [
        ("Canals",), ("Canals", "Locks"), ("Canals", "Locks", "Gates"), ("Canals", "Dams"),
    ]  # fmt: skip
    assert [chunk.place for chunk in found] == ["1", "5", "9", "13"]


@pytest.mark.parametrize("whole", [FENCE, TABLE], ids=["code", "table"])
def test_a_table_or_code_block_is_never_split(whole: str):
    assert count_tokens(whole) > 300
    found = texts("a.md", f"{LONG}\n\n{whole}\n\n{LONG}", 64)
    assert sum(whole in text for text in found) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"> Keep this:\n>\n> {FENCE.replace(chr(10), chr(10) + '> ')}",
        f"- Run:\n\n  {FENCE.replace(chr(10), chr(10) + '  ').replace('```', '~~~')}",
    ],
    ids=["in a quotation", "in a list, with tildes"],
)
def test_a_code_block_inside_another_block_keeps_its_lines(text: str):
    lines = [line for chunk in texts("a.md", text, 64) for line in chunk.splitlines()]
    assert sum(line.strip("> ").startswith("print('line ") for line in lines) == 60


def test_front_matter_is_not_text_and_lines_are_still_counted_from_the_top():
    (chunk,) = chunks(Path("a.md"), f"---\ntitle: Locks\n---\n\n{LONG[:130]}", 220)
    assert chunk.text == LONG[:130].strip()
    assert chunk.place == "5"


def test_text_between_two_thematic_breaks_is_not_front_matter():
    assert "Water runs downhill." in "".join(texts("a.md", "---\n\nWater runs downhill.\n\n---\n\nMore of it.\n"))


def test_a_comment_is_dropped_but_not_the_text_after_it():
    assert texts("a.md", "<!-- todo -->\n\nWater runs.") == ["Water runs."]
    assert "Water runs." in "".join(texts("a.md", "<!-- todo --> Water runs.\n"))


def test_a_long_paragraph_is_cut_at_the_ends_of_sentences():
    sentence = "The gates close behind the boat and the water runs in from above."
    found = chunks(Path("a.txt"), LONG, 60)
    assert len(found) == 3
    assert all(chunk.text.endswith(".") and chunk.text.startswith("The gates") for chunk in found)
    assert " ".join(chunk.text for chunk in found) == " ".join([sentence] * 12)
    assert all(chunk.tokens <= 60 for chunk in found)


def test_a_sentence_without_an_end_is_cut_between_words():
    found = texts("a.txt", "water " * 200, 50)
    assert [text.split() for text in found] == [["water"] * 50] * 4


def test_a_long_list_is_cut_between_its_lines():
    items = [f"- Step {n} lets the water in." for n in range(30)]
    found = texts("a.md", "\n".join(items), 64)
    assert len(found) > 1
    assert [line for text in found for line in text.splitlines() if line] == items


def test_a_tiny_tail_joins_the_chunk_before_it():
    found = texts("a.md", f"# Locks\n\n{LONG}\n\n# See also\n\nDams.", 400)
    assert len(found) == 1
    assert found[0].endswith("# See also\n\nDams.")


def test_a_chunk_says_how_many_tokens_it_has():
    for chunk in chunks(Path("a.md"), f"# A\n\n{LONG}\n\n# B\n\n{LONG}\n\n# C\n\nEnd.", 90):
        assert (
            chunk.tokens == count_tokens(chunk.text.replace("\n\n", ""))
            or abs(chunk.tokens - count_tokens(chunk.text)) <= 3
        )


WORDS = st.text(alphabet="abcdefgh .!?\n", min_size=1, max_size=400)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=6), st.integers(32, 120), st.sampled_from(["a.txt", "a.md"]))
def test_chunking_loses_no_text_and_changes_no_order(paragraphs: list[str], chunk_tokens: int, name: str):
    text = "\n\n".join(paragraph.lstrip() for paragraph in paragraphs)
    assert letters("".join(texts(name, text, chunk_tokens))) == letters(text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["heading", "prose"]), st.integers(1, 90)), max_size=12), st.integers(32, 120)
)
def test_a_chunk_outgrows_its_limit_by_no_more_than_the_tiny_pieces_it_took_in(
    shape: list[tuple[str, int]], limit: int
):
    blocks = [Block(kind, "word " * (size if kind == "prose" else 5), "1", 1) for kind, size in shape]  # type: ignore[arg-type]
    assert all(chunk.tokens <= limit + 2 * 24 for chunk in pack(blocks, limit))


def test_plain_text_is_cut_at_blank_lines_and_knows_their_lines():
    found = chunks(Path("a.txt"), f"\n\n{LONG}\n \n\n{LONG}", 200)
    assert [chunk.place for chunk in found] == ["3", "6"]


@pytest.mark.parametrize("text", ["", "  \n\n \n", "---\ntitle: x\n---\n"], ids=["empty", "blank", "front matter only"])
@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.html"])
def test_a_document_without_text_has_no_chunks(name: str, text: str):
    assert "".join(texts(name, text if name == "a.md" else text.partition("---")[0])) == ""


def test_html_keeps_what_is_read_and_drops_what_is_not():
    html = """<html><head><style>p {color: red}</style><script>track()</script></head><body>
    <nav><p>Home</p></nav><h1>Locks</h1><p>A lock <b>lifts</b>
    boats.</p><ul><li>Gates</li><li>Sluices</li></ul><pre>x = 1
  y = 2</pre><table><tr><th>river</th><th>km</th></tr><tr><td>Elbe</td><td>1094</td></tr></table></body></html>"""
    assert texts("a.html", html) == [
        "# Locks\n\nA lock lifts boats.\n\n- Gates\n- Sluices\n\n```\nx = 1\n  y = 2\n```\n\n"
        "| river | km |\n| --- | --- |\n| Elbe | 1094 |"
    ]


@pytest.mark.parametrize(
    "html",
    [
        "<body>Water runs downhill.</body>",
        "<div>Water runs downhill.</div>",
        "<div>Water runs <b>downhill.</b><p>Yes.</p></div>",
    ],
    ids=["body", "div", "div beside p"],
)
def test_html_text_outside_paragraphs_is_kept(html: str):
    assert "Water runs downhill." in " ".join("".join(texts("a.html", html)).split())


def test_nested_html_blocks_are_read_once():
    assert texts("a.html", "<blockquote><p>Water runs.</p></blockquote>") == ["Water runs."]


def test_bars_and_line_breaks_in_cells_do_not_break_a_table():
    assert markdown_table(["a|b", "c"], [["1\n2", "3"]]) == "| a\\|b | c |\n| --- | --- |\n| 1 2 | 3 |"


def pdf(path: Path, *pages: str) -> Path:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path))
    for page in pages:
        lines = canvas.beginText(50, 800)
        lines.textLines(page)
        canvas.drawText(lines)
        canvas.showPage()
    canvas.save()
    return path


def test_a_pdf_is_read_page_by_page(tmp_path: Path):
    path = pdf(tmp_path / "a.pdf", "A lock lifts boats. " * 3 + "\nIt has gates.", "Water runs downhill. " * 12)
    one, two = chunks(path, None, 64)
    assert (one.place, two.place) == ("p1", "p2")
    assert "It has gates." in one.text and "\n" not in one.text
    assert two.text.count("Water runs downhill.") == 12


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 torn", b"hello"], ids=["empty", "torn", "no PDF"])
def test_an_unreadable_pdf_is_named_with_a_remedy(tmp_path: Path, content: bytes):
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    with pytest.raises(SeedError) as caught:
        chunks(path, None, 64)
    assert caught.value.where == str(path)
    assert caught.value.message.startswith("unreadable PDF")
    assert caught.value.remedy


def test_a_scanned_pdf_says_that_it_holds_no_text(tmp_path: Path):
    path = pdf(tmp_path / "a.pdf", "")
    with pytest.raises(SeedError, match="holds no text") as caught:
        chunks(path, None, 64)
    assert "OCR" in str(caught.value.remedy)
