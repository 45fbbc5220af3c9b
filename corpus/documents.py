"""Documents as seeds: Markdown, plain text, HTML and PDF, cut where their structure allows it.

A document becomes blocks (a heading, a paragraph, a list, a table, a code block), and blocks are packed
into chunks of at most so many tokens that do not cross a heading of the same or a higher level unless the
section is tiny. Tables and code blocks are never split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from understudy.corpus import contained
from understudy.corpus.tokens import count_tokens
from understudy.errors import SeedError

if TYPE_CHECKING:
    from bs4 import Tag
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

BlockKind = Literal["heading", "prose", "list", "whole"]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# A chunk below this is no use alone (a stray heading, a caption): it joins the chunk before it.
_TINY_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document; `list` blocks are split between lines only, `whole` ones (tables, code) never."""

    kind: BlockKind
    text: str
    place: str
    """Line or page, as it stands in a seed's source: `12` or `p3`."""
    level: int = 0
    """Of a heading, 1 to 6."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive blocks that become one seed."""

    text: str
    place: str
    headings: tuple[str, ...]
    tokens: int


def chunks(path: Path, text: str | None, chunk_tokens: int) -> list[Chunk]:
    """The chunks of one document; `text` is its decoded content (None for PDF).

    Raises:
        SeedError: for a PDF that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        blocks = list(_pdf(path))
    elif suffix in {".html", ".htm"}:
        blocks = list(_html(text or ""))
    elif suffix in {".md", ".markdown"}:
        blocks = list(_markdown(text or ""))
    else:
        blocks = list(_plain(text or ""))
    return pack(blocks, chunk_tokens)


def pack(blocks: list[Block], chunk_tokens: int) -> list[Chunk]:
    """Join blocks into chunks of at most `chunk_tokens`, except where one whole block is longer."""
    out: list[Chunk] = []
    trail: list[tuple[int, str]] = []
    held: list[Block] = []
    size = 0

    def flush() -> None:
        nonlocal held, size
        if not held:
            return
        text = "\n\n".join(block.text for block in held)
        tokens = count_tokens(text)
        titles = tuple(title for _, title in trail)
        last = out[-1] if out else None
        if last and tokens < _TINY_TOKENS and last.tokens + tokens <= chunk_tokens + _TINY_TOKENS:
            out[-1] = Chunk(f"{last.text}\n\n{text}", last.place, last.headings, last.tokens + tokens)
        else:
            out.append(Chunk(text, held[0].place, titles, tokens))
        held, size = [], 0

    for block in _split_long(blocks, chunk_tokens):
        tokens = count_tokens(block.text)
        if block.kind == "heading":
            if size >= _TINY_TOKENS:
                flush()
            trail = [(level, title) for level, title in trail if level < block.level]
            trail.append((block.level, block.text.lstrip("# ").strip()))
        elif size + tokens > chunk_tokens and any(b.kind != "heading" for b in held):
            flush()
        held.append(block)
        size += tokens
    flush()
    return out


def _split_long(blocks: list[Block], chunk_tokens: int) -> Iterator[Block]:
    """Cut prose that is longer than a chunk at sentence ends, lists between lines; without any, at words."""
    for block in blocks:
        if block.kind not in {"prose", "list"} or count_tokens(block.text) <= chunk_tokens:
            yield block
            continue
        joint = "\n" if block.kind == "list" else " "
        units = block.text.split("\n") if block.kind == "list" else _SENTENCE_END.split(block.text)
        parts = [part for unit in units for part in _fill(unit.split(" "), " ", chunk_tokens)]
        for text in _fill(parts, joint, chunk_tokens):
            yield Block(block.kind, text, block.place)


def _fill(parts: list[str], joint: str, chunk_tokens: int) -> Iterator[str]:
    """Join parts into texts of at most `chunk_tokens`; a single part may be longer."""
    held: list[str] = []
    size = 0
    for part in parts:
        tokens = count_tokens(part)
        if held and size + tokens > chunk_tokens:
            yield joint.join(held)
            held, size = [], 0
        held.append(part)
        size += tokens
    if held:
        yield joint.join(held)


@cache
def _parser() -> MarkdownIt:
    """Made once: that takes longer than to parse a page."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _markdown(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    matter = _front_matter(lines)
    lines[:matter] = [""] * matter  # keeps line numbers true
    tokens = _parser().parse("\n".join(lines))
    for place, token in enumerate(tokens):
        if token.level != 0 or token.map is None or token.nesting < 0 or token.type == "hr":
            continue
        first, last = token.map
        source = "\n".join(lines[first:last]).rstrip()
        if token.type == "html_block":
            source = re.sub(r"<!--.*?-->", "", source, flags=re.DOTALL).strip()
        if not source:
            continue
        kind: BlockKind = "prose"
        if token.type == "heading_open":
            kind = "heading"
        elif token.type in {"fence", "code_block", "table_open", "html_block"} or _holds_code(tokens[place:]):
            kind = "whole"
        elif token.type in {"bullet_list_open", "ordered_list_open"}:
            kind = "list"
        yield Block(kind, source, str(first + 1), int(token.tag[1]) if kind == "heading" else 0)


def _front_matter(lines: list[str]) -> int:
    """How many lines of YAML front matter a document starts with; two rules with text between are none."""
    if lines[0] != "---" or "---" not in lines[1:]:
        return 0
    end = lines.index("---", 1)
    try:
        return end + 1 if isinstance(yaml.safe_load("\n".join(lines[1:end])), dict) else 0
    except (yaml.YAMLError, ValueError):
        return 0


def _holds_code(tokens: list[Token]) -> bool:
    """Whether the list or quote that opens here has a code block inside."""
    for token in tokens[1:]:
        if token.level == 0:
            return False
        if token.type in {"fence", "code_block"}:
            return True
    return False


def _plain(text: str) -> Iterator[Block]:
    line = 1
    for part in re.split(r"(\n\s*\n)", text):
        stripped = part.strip("\n")
        if stripped.strip():
            lead = len(part) - len(part.lstrip("\n"))
            yield Block("prose", stripped, str(line + lead))
        line += part.count("\n")


_KEPT = ["h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "dl", "pre", "table", "blockquote"]


def _html(text: str) -> Iterator[Block]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(text, "html.parser")
    for unwanted in soup(["script", "style", "nav", "template", "noscript", "head"]):
        unwanted.decompose()
    yield from _walk(soup)


def _walk(parent: Tag) -> Iterator[Block]:
    """The blocks of an element; text that stands beside them, in a `div` say, is prose as well."""
    from bs4 import Tag
    from bs4.element import Comment, NavigableString

    loose: list[str] = []

    def gather() -> Iterator[Block]:
        if content := re.sub(r"\s+", " ", "".join(loose)).strip():
            yield Block("prose", content, str(parent.sourceline or 1))
        loose.clear()

    for child in parent.children:
        if isinstance(child, Tag) and (child.name in _KEPT or child.find(_KEPT) or child.name == "div"):
            yield from gather()
            yield from _element(child) if child.name in _KEPT else _walk(child)
        elif isinstance(child, Tag):
            loose.append(" " if child.name == "br" else child.get_text())
        elif isinstance(child, NavigableString) and not isinstance(child, Comment):
            loose.append(str(child))
    yield from gather()


def _element(tag: Tag) -> Iterator[Block]:
    place = str(tag.sourceline or 1)
    if tag.name == "table":
        rows = [[c.get_text(" ", strip=True) for c in row.find_all(["td", "th"])] for row in tag.find_all("tr")]
        if rows:
            yield Block("whole", markdown_table(rows[0], rows[1:]), place)
    elif tag.name == "pre":
        yield Block("whole", f"```\n{tag.get_text().strip(chr(10))}\n```", place)
    elif tag.name[0] == "h" and tag.name[1:].isdigit():
        level = int(tag.name[1])
        yield Block("heading", "#" * level + " " + tag.get_text(" ", strip=True), place, level)
    elif tag.name in {"ul", "ol"}:
        items = [item.get_text(" ", strip=True) for item in tag.find_all("li", recursive=False)]
        yield Block("list", "\n".join(f"- {item}" for item in items), place)
    elif content := re.sub(r"\s+", " ", tag.get_text(" ")).strip():
        yield Block("prose", content, place)


def _pdf(path: Path) -> Iterator[Block]:
    pages = [str(text) for text in contained.read(path)]
    if not any(text.strip() for text in pages):
        raise SeedError(
            "PDF holds no text", where=str(path), remedy="run OCR on it first, or leave it out of the folder"
        )
    for number, text in enumerate(pages, start=1):
        for block in _plain(text):
            yield Block("prose", re.sub(r"\s*\n\s*", " ", block.text), f"p{number}")


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; bars and line breaks inside cells are escaped."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return "\n".join([line(header), "|" + " --- |" * len(header), *map(line, rows)])
