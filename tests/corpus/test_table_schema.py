"""Schemas: inferred from rows, edited as a file, and what rows are read and written by."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.columns import Column
from understudy.corpus import table_schema
from understudy.corpus.table_schema import (
    form,
    infer,
    line,
    loose_form,
    numbers_between,
    outside,
    read_line,
    read_schema,
    typed,
    written,
)
from understudy.errors import SchemaError

ROWS = [
    {"id": f"p{n}", "age": str(30 + n), "sex": "mf"[n % 2], "grade": str(n % 3), "level": f"{n / 4:.2f}",
     "note": f"note number {n} about somebody", "sick": "yes" if n % 4 == 0 else "no"}
    for n in range(24)
]  # fmt: skip


def test_types_ranges_and_roles_are_inferred() -> None:
    schema = infer(ROWS, ["sick"])
    assert {name: column.type for name, column in schema.items()} == {
        "id": "text", "age": "integer", "sex": "category", "grade": "category", "level": "number", "note": "text",
        "sick": "category",
    }  # fmt: skip
    assert (schema["age"].low, schema["age"].high) == (30, 53) and schema["level"].decimals == 2
    assert schema["sex"].categories == ("f", "m") and schema["grade"].categories == ("0", "1", "2")
    assert schema["sick"].role == "target" and schema["id"].role == "ignored" and schema["note"].sensitive
    assert schema["age"].identifying and schema["sex"].identifying and not schema["grade"].identifying
    for row in ROWS:
        typed(row, schema, "here")


@pytest.mark.parametrize("unknown", ["", "?", "NA", "nan", None])
def test_an_empty_cell_makes_a_column_optional_and_is_read_as_nothing(unknown: str | None) -> None:
    rows: list[dict[str, str | None]] = [{"n": str(n)} for n in range(20)] + [{"n": unknown}]
    schema = infer(rows)
    assert schema["n"].optional and schema["n"].type == "integer"
    assert typed(rows[-1], schema, "here") == {"n": None} and line({"n": None}, schema) == "?"


def test_whole_numbers_written_with_a_point_are_whole() -> None:
    schema = infer([{"n": f"{n}.0"} for n in range(20)])
    assert schema["n"].type == "integer" and typed({"n": "7.0"}, schema, "here") == {"n": 7}


def test_a_schema_survives_its_file(tmp_path: Path) -> None:
    schema = infer(ROWS, ["sick"])
    (tmp_path / "s.yaml").write_text(written(schema))
    assert read_schema(tmp_path / "s.yaml") == schema


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("columns: {}", "columns"),
        ("columns: {age: {type: integer, hihg: 9}}", "s.yaml:1: columns.age.hihg: unknown key"),
        ("columns:\n  age: {type: category}", "s.yaml:2: columns.age"),
        (
            "columns:\n  age: {type: integer, low: 9, high: 1}",
            "s.yaml:2: columns.age.low: got '9'\n  expected: at most `high`, 1",
        ),
        ("columns:\n  age: {type: text, low: 9}", "only numbers have a range"),
        ("columns:\n  a: {type: category,\n      categories: [yes, no]}", "s.yaml:3: columns.a.categories: got 'True'"),
        ("columns: {a: {type: category, categories: [0, 1]}}", 'text in quotes, such as "no" or "0"'),
        ("columns: {a: {type: category, categories: [x, y, x]}}", "each value once"),
        ("columns: {a: {type: category, categories: x}}", "columns.a.categories"),
        ("columns: {age: {type: integer, role: ignored}}", "no column is to be written"),
        ("columns: {'a|b': {type: integer}}", "without `|`"),
        ("columns: {a: {type: category, categories: ['?', 'x']}}", "optional: true"),
        ("age: integer", "unknown key"),
        ("columns: [", "not valid YAML"),
    ],
)
def test_a_schema_that_makes_no_sense_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SchemaError) as caught:
        read_schema(tmp_path / "s.yaml")
    assert said in str(caught.value) and "s.yaml" in str(caught.value)


def test_a_missing_schema_is_told(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="table schema"):
        read_schema(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("cell", "said"), [("x", "a whole number"), ("1.5", "a whole number"), ("99", "30 to 53"), ("", "not `optional`")]
)
def test_a_cell_that_does_not_fit_is_told_with_its_place(cell: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said) as caught:
        typed({**ROWS[0], "age": cell}, infer(ROWS, ["sick"]), "data.csv:7")
    assert caught.value.where == "data.csv:7" and "age" in caught.value.message


def test_targets_stand_first_in_a_line_and_free_text_in_none() -> None:
    schema = infer(ROWS, ["sick"])
    assert table_schema.order(schema) == ["sick", "age", "sex", "grade", "level"]
    assert line(typed(ROWS[5], schema, "here"), schema) == "no | 35 | f | 2 | 1.25"


def test_a_line_is_read_as_it_was_written() -> None:
    schema = infer(ROWS, ["sick"])
    for row in ROWS:
        record = typed(row, schema, "here")
        read, wrong = read_line(line(record, schema), schema)
        assert not wrong and read == {name: record[name] for name in table_schema.order(schema)}
        assert re.fullmatch(form(schema), line(record, schema)) and re.fullmatch(
            loose_form(schema), line(record, schema)
        )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no | 35 | f | 2", "cells"),
        ("no | 99 | f | 2 | 1.25", "range"),
        ("no | old | f | 2 | 1.25", "type"),
        ("maybe | 35 | f | 2 | 1.25", "category"),
        ("no | ? | f | 2 | 1.25", "empty"),
        ("", "cells"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(text: str, kind: str) -> None:
    assert [one.kind for one in read_line(text, infer(ROWS, ["sick"]))[1]] == [kind]


@given(
    low=st.integers(-3000, 3000), span=st.integers(0, 4000), decimals=st.integers(0, 3), tried=st.integers(-9000, 9000)
)
def test_a_pattern_of_numbers_takes_those_in_its_range_and_no_other(
    low: int, span: int, decimals: int, tried: int
) -> None:
    scale = 10**decimals
    pattern = numbers_between(low / scale, (low + span) / scale, decimals)
    for number in {tried, low, low + span, low - 1, low + span + 1}:
        text = f"{number / scale:.{decimals}f}"
        assert bool(re.fullmatch(pattern, text)) == (low <= number <= low + span)


def test_a_form_holds_to_what_is_wanted() -> None:
    schema = infer(ROWS, ["sick"])
    pattern = form(schema, {"sick": "yes", "age": (40.0, 44.0)})
    assert re.fullmatch(pattern, "yes | 41 | m | 0 | 1.00")
    assert not re.fullmatch(pattern, "no | 41 | m | 0 | 1.00") and not re.fullmatch(pattern, "yes | 45 | m | 0 | 1.00")
    assert outside({"sick": "no", "age": 45}, {"sick": "yes", "age": (40.0, 44.0)}) == ["sick", "age"]


def test_columns_say_what_they_cannot_be() -> None:
    with pytest.raises(ValueError, match="only a `category`"):
        Column(type="integer", categories=("a",))
    with pytest.raises(ValueError, match="only a `number`"):
        Column(type="integer", decimals=2)


def test_keys_of_rows_are_left_alone_also_where_they_are_numbers_and_a_leading_zero_is_no_number() -> None:
    rows = [
        {"patient_id": str(n), "ssn": str(100007919 + 13 * n), "zip": f"0{1000 + n % 5}", "n": str(n)}
        for n in range(60)
    ]
    schema = infer(rows)
    assert schema["patient_id"].role == schema["ssn"].role == "ignored" and schema["n"].role == "input"
    assert schema["zip"].type == "category" and schema["zip"].categories[0] == "01000"
