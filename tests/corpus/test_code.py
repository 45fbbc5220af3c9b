import pytest

from understudy.corpus.code import pieces
from understudy.corpus.tokens import count_tokens

PYTHON = '''"""Units."""
import functools

LIMIT = 3


@functools.cache
@other(
    1,
)
def metres(feet):
    """From feet."""
    return feet * 0.3048


class Lock:
    def fill(self):
        return 1


async def drain():
    pass
'''


def cut(text: str, language: str = "python", limit: int = 220) -> list[tuple[int, str, str | None]]:
    return list(pieces(text, language, limit))


def test_each_python_definition_is_a_piece_with_its_decorators_line_and_name():
    found = cut(PYTHON)
    assert [(line, symbol) for line, _, symbol in found] == [(7, "metres"), (16, "Lock"), (21, "drain")]
    assert found[0][1].startswith("@functools.cache\n@other(") and found[0][1].endswith("return feet * 0.3048")
    assert found[1][1] == "class Lock:\n    def fill(self):\n        return 1"
    assert found[2][1] == "async def drain():\n    pass"


def test_a_python_definition_is_never_split():
    body = "\n".join(f"    x{n} = {n}" for n in range(200))
    assert [symbol for _, _, symbol in cut(f"def long():\n{body}\n", limit=32)] == ["long"]


@pytest.mark.parametrize("mark", ["\x0c\n", "X = 'a\u2028b'\n", "X = 'a\x1cb'\n"], ids=["form feed", "U+2028", "FS"])
def test_what_python_does_not_count_as_a_line_break_shifts_nothing(mark: str):
    assert cut(f"{mark}def go():\n    return 1\n\n\nY = 2\n") == [(2, "def go():\n    return 1", "go")]


def test_python_of_another_version_is_cut_by_layout():
    found = cut("print 'hello'\n\nx = 1\n")
    assert [(line, symbol) for line, _, symbol in found] == [(1, None)]
    assert found[0][1] == "print 'hello'\n\nx = 1"


def test_a_python_script_without_definitions_is_cut_by_layout():
    assert [text for _, text, _ in cut("import sys\n\nprint(sys.argv)\n")] == ["import sys\n\nprint(sys.argv)"]


def test_an_invalid_escape_in_python_is_not_our_business():
    assert [symbol for _, _, symbol in cut("def go():\n    return '\\d'\n")] == ["go"]


def test_deeply_nested_python_is_cut_by_layout():
    assert cut("x = " + "-" * 20_000 + "1\n")[0][2] is None


RUST = """// Locks.
use std::fmt;

struct Lock {
    level: u32,

    gates: u8,
}

fn fill(lock: &mut Lock) {
    lock.level += 1;
}
"""


def test_rust_is_cut_where_an_unindented_line_follows_a_blank_one():
    found = cut(RUST, "rust", 20)
    assert [line for line, _, _ in found] == [1, 4, 10]
    assert found[1][1] == "struct Lock {\n    level: u32,\n\n    gates: u8,\n}"
    assert all(symbol is None for _, _, symbol in found)


def test_neighbouring_pieces_are_packed_up_to_the_limit():
    assert len(cut(RUST, "rust", 220)) == 1


def test_cutting_by_layout_loses_no_line():
    joined = "\n".join(text for _, text, _ in cut(RUST, "rust", 20))
    assert [line for line in joined.split("\n") if line] == [line for line in RUST.split("\n") if line]


@pytest.mark.parametrize("text", ["", "\n\n  \n"], ids=["empty", "blank"])
def test_a_file_without_code_has_no_pieces(text: str):
    assert cut(text, "rust") == cut(text) == []


def test_blank_lines_before_a_long_first_block_are_no_piece():
    body = "\n".join(f"    x({n});" for n in range(60))
    found = cut(f"\n\nfn long() {{\n{body}\n}}\n", "rust", 32)
    assert count_tokens(body) > 32
    assert [(line, text[:7]) for line, text, _ in found] == [(3, "fn long")]
