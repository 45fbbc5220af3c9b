"""Situations of requests about tools, recomputed; and calls, executed on stubs."""

import json
from collections import Counter
from dataclasses import replace
from random import Random
from typing import get_args

import pytest

from understudy.evals.tools import Task, calls_fit, calls_of, execute, function, situation
from understudy.prompt import Situation

SITUATIONS = get_args(Situation)
RAIN = function("rain_amount", "Rain at a place.", [("place", "string", "Where."), ("day", "string", "When.")])
LEVEL = function("river_level", "Level of a river.", [("river", "string", "Which."), ("hours", "integer", "Ahead.")])
DOSE = function("dose", "Dose of a medicine.", [("weight", "number", "In kg.")])
LIBRARY = (RAIN, LEVEL, DOSE)
FULL = {
    "rain_amount": {"place": "Bergen", "day": "Monday"},
    "river_level": {"river": "Glomma", "hours": "12"},
    "dose": {"weight": "71.5"},
}


def item(declared: Situation, rng: Random) -> tuple[Task, tuple[dict, ...]]:
    """A task made to be in a situation."""
    needed = tuple(rng.sample(list(FULL), 2 if declared.startswith("several") else 1))
    given = {name: dict(FULL[name]) for name in needed}
    if declared.endswith("missing"):
        given[needed[-1]].pop(rng.choice(list(given[needed[-1]])))
    if declared.endswith("superfluous"):
        given[needed[0]]["colour"] = "turquoise"
    said = ", ".join(value for values in given.values() for value in values.values())
    gone = needed[-1] if declared.endswith("absent") else None
    tools = tuple(tool for tool in LIBRARY if tool["function"]["name"] != gone)
    return Task(f"Please help me: {said}.", needed, given), tools


def test_the_checker_agrees_with_the_declared_situation_on_all_of_seventy_items():
    rng = Random(0)
    agreed = Counter()
    for declared in SITUATIONS:
        for _ in range(10):
            task, tools = item(declared, rng)
            agreed[declared] += situation(task, tools) == declared
    assert agreed == dict.fromkeys(SITUATIONS, 10)


def test_a_value_that_is_not_in_the_request_is_not_given():
    task = Task("How much rain is there in Bergen?", ("rain_amount",), {"rain_amount": FULL["rain_amount"]})
    assert situation(task, LIBRARY) == "single-missing"


def call(name: str, **values: str) -> dict:
    (made,) = calls_of({name: values}, LIBRARY)
    return made


def test_values_take_the_type_of_their_argument():
    arguments = json.loads(call("river_level", river="Glomma", hours="12 h")["function"]["arguments"])
    assert arguments == {"river": "Glomma", "hours": 12}


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (call("river_level", river="Glomma", hours="12"), None),
        (call("river_level", river="Glomma"), "'hours' is a required property"),
        (call("river_level", river="Glomma", hours="soon"), "'soon' is not of type 'integer'"),
        (call("river_level", river="Glomma", hours="12", colour="red"), "Additional properties"),
        (call("snow_depth", place="Bergen"), "there is no tool snow_depth"),
    ],
    ids=["runs", "missing", "wrong type", "superfluous", "absent"],
)
def test_a_stub_runs_what_its_schema_allows_and_says_what_else_is_wrong(made: dict, problem: str | None):
    why, result = execute(made, LIBRARY)
    assert (why is None) if problem is None else problem in str(why)
    assert ("error" in json.loads(result)) == (problem is not None)
    assert execute(made, LIBRARY) == (why, result)


GOOD = {"rain_amount": FULL["rain_amount"]}


@pytest.mark.parametrize(
    ("declared", "made", "fits"),
    [
        ("single-all", GOOD, True),
        ("single-all", {}, False),
        ("single-all", {"rain_amount": {"place": "Oslo", "day": "Monday"}}, False),
        ("single-all", GOOD | {"dose": {"weight": "3"}}, False),
        ("single-superfluous", GOOD, True),
        ("single-superfluous", {"rain_amount": FULL["rain_amount"] | {"colour": "turquoise"}}, False),
        ("single-missing", {}, True),
        ("single-missing", GOOD, False),
        ("single-absent", {}, True),
        ("single-absent", GOOD, False),
        ("several-missing", {}, True),
    ],
)
def test_calls_must_fit_the_situation(declared: Situation, made: dict, fits: bool):
    task = Task("How much rain is there in Bergen on Monday, turquoise one?", ("rain_amount",), dict(GOOD))
    tools = LIBRARY
    if declared.endswith("missing"):
        task = replace(task, request="How much rain is there in Bergen?", given={"rain_amount": {"place": "Bergen"}})
    if declared.endswith("absent"):
        tools = (LEVEL, DOSE)
    if declared.endswith("superfluous"):
        task = replace(task, given={"rain_amount": FULL["rain_amount"] | {"colour": "turquoise"}})
    assert calls_fit(task, declared, calls_of(made, tools), tools).passed == fits
