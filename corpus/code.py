"""Source files as seeds: one per top-level definition where the language is Python, else by layout."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from understudy.corpus.tokens import count_tokens

LANGUAGES = {
    ".py": "python", ".rs": "rust", ".go": "go", ".js": "javascript", ".ts": "typescript", ".java": "java",
    ".c": "c", ".h": "c", ".cpp": "cpp", ".hpp": "cpp", ".rb": "ruby", ".php": "php", ".swift": "swift",
    ".kt": "kotlin", ".scala": "scala", ".sh": "bash", ".sql": "sql", ".r": "r", ".lua": "lua", ".jl": "julia",
}  # fmt: skip


def pieces(text: str, language: str, chunk_tokens: int) -> Iterator[tuple[int, str, str | None]]:
    """The pieces of one file as (line, code, symbol); a definition is never split."""
    found = list(_definitions(text)) if language == "python" else []
    yield from found or _layout(text, chunk_tokens)


def _definitions(text: str) -> Iterator[tuple[int, str, str | None]]:
    """The top-level functions and classes; none where the file is not this Python's syntax."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in somebody's code is not our warning
            tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return
    lines = text.split("\n")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield first, "\n".join(lines[first - 1 : node.end_lineno]), node.name


def _layout(text: str, chunk_tokens: int) -> Iterator[tuple[int, str, str | None]]:
    """Cut at blank lines that are followed by an unindented line, packing up to `chunk_tokens`."""
    blocks: list[tuple[int, list[str]]] = []
    previous_blank = True
    for number, line in enumerate(text.split("\n"), start=1):
        if not blocks and not line.strip():
            continue
        starts = previous_blank and line[:1].strip() and line[0] not in ")}]"
        if starts or not blocks:
            blocks.append((number, []))
        blocks[-1][1].append(line)
        previous_blank = not line.strip()
    held: list[str] = []
    first = 1
    for number, block in blocks:
        if count_tokens("\n".join([*held, *block])) > chunk_tokens and held:
            yield first, "\n".join(held).strip("\n"), None
            held = []
        if not held:
            first = number
        held += block
    if held:
        yield first, "\n".join(held).strip("\n"), None
