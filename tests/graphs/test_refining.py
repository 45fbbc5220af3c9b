"""The refine loop on the real graph: goals, evolving operations and principles, on a scripted SM."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.agents import load_catalog
from understudy.corpus import RunFolder
from understudy.graphs import generate
from understudy.graphs.state import Context
from understudy.models import Scripted
from understudy.nouns import Example, Seed
from understudy.prompt import Method
from understudy.recipe import Cast, Recipe, Source

YES, NO = '{"passes": true, "reason": "so"}', '{"passes": false, "reason": "not so"}'
SUBJECTS = [f"{colour} {thing}" for colour in ("amber", "brown", "coral", "dusky", "ebony") for thing in
            ("kettle", "lantern", "mirror", "needle", "oven", "plough", "quilt", "rudder")]  # fmt: skip


def text(subject: str) -> str:
    return f"The {subject} hangs above the workshop door because the carpenter needs it near his bench every morning."


def question(subject: str) -> str:
    return f"Why does the {subject} hang above the workshop door?"


def told(subject: str) -> str:
    return f"The {subject} hangs there because the carpenter needs it near his bench."


def subject_of(prompt: str) -> str:
    return next(one for one in SUBJECTS if one in prompt)


Extra = Callable[[str, str], str | None]


def script(extra: Extra) -> Callable[[Any], str]:
    """Questions and answers by subject; `extra` may answer any task first."""

    def reply(messages: Any) -> str:
        prompt = messages[1]["content"]
        subject, task = subject_of(prompt), prompt.rpartition("every morning.")[2]
        if (said := extra(subject, task)) is not None:
            return said
        if '"why" question' in task:
            return question(subject)
        if "about why the author" in task:
            return f"Why does the text say that the {subject} hangs above the workshop door?"
        return told(subject)

    return reply


def recipe(folder: Path, subjects: list[str], refine: tuple[str, ...], rounds: int, **more: Any) -> Recipe:
    (folder / "docs").mkdir(exist_ok=True)
    for place, subject in enumerate(subjects):
        (folder / "docs" / f"{place:02}.md").write_text(text(subject) + "\n")
    cast = {"persona": (), "transform": (), "instruct": ("why-question",), "judge": (), "refine": refine} | more.pop(
        "agents", {}
    )
    return Recipe.model_validate(
        {
            "name": "loop", "seeds": [{"path": "docs"}], "accept": len(subjects), "draws_per_seed": 1,
            "sm": {"backend": "scripted"}, "personas": {"set": None, "inferred": 0}, "agents": cast,
            "refine_rounds": rounds, "dedup": {"embedding": None, "minhash": None}, "test_share": 0.0,
        } | more
    ).at(folder)  # fmt: skip


async def made(recipe: Recipe, extra: Extra) -> dict[str, Example]:
    """The examples of a run by their subjects."""
    await generate(recipe, recipe.folder / "out", sm=Scripted(script=script(extra)))
    found = {}
    with RunFolder.read(recipe.folder / "out") as folder:
        for status in ("accepted", "rejected", "failed"):
            for example in folder.examples(status):
                found[subject_of(str(example.payload))] = example
    return found


def asked(example: Example) -> str:
    return str(example.payload["messages"][0]["content"]).rpartition("\n\n")[2]


# Evol-Instruct


def harder(subject: str) -> str:
    return f"{question(subject)[:-1]}, and which two other tools of the carpenter would have to move if it hung lower?"


FAILURES: dict[str, tuple[Callable[[str], str], str, str]] = {
    # the evolved instruction, the answer to it, the judge's word
    "evolve/no-gain": (lambda s: question(s).upper(), "", YES),
    "judged evolve/no-gain": (harder, "", NO),
    "evolve/hard-to-answer": (harder, "I am sorry, I do not know.", YES),
    "evolve/empty": (harder, "And so, to the other.", YES),
    "evolve/leak": (question, "", YES),
}


async def test_each_failure_is_eliminated_under_its_own_rule_and_no_good_one_is_lost(tmp_path: Path) -> None:
    kinds = [*FAILURES, "good", "good", "good"]
    fate = {subject: kinds[place % 8] for place, subject in enumerate(SUBJECTS)}

    def extra(subject: str, task: str) -> str | None:
        evolve, answer, word = FAILURES.get(fate[subject], (harder, "", YES))
        if "new task" in task:
            copied = " ".join(task.split()[-8:]) if fate[subject] == "evolve/leak" else ""
            return f"{evolve(subject)} {copied}".strip()
        if "First task:" in task:
            return word
        return answer if "which two other" in task and answer else None

    made_of = await made(recipe(tmp_path, SUBJECTS, ("evolve",), 1, agents={"judge": ("asks-more",)}), extra)
    outcomes = Counter()
    for subject, kind in fate.items():
        first, last = made_of[subject].versions
        outcomes[last.outcome] += 1
        assert (first.round, last.round, first.outcome) == (0, 1, "kept")
        assert last.outcome == ("kept" if kind == "good" else kind.removeprefix("judged "))
        assert asked(made_of[subject]) == (harder(subject) if kind == "good" else question(subject))
    assert outcomes == {"kept": 15, "evolve/no-gain": 10, "evolve/hard-to-answer": 5, "evolve/empty": 5,
                        "evolve/leak": 5}  # fmt: skip


async def test_what_is_eliminated_returns_to_the_pool_and_is_tried_again(tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def extra(subject: str, task: str) -> str | None:
        if "new task" not in task:
            return None
        tries[subject] += 1
        assert question(subject) in task  # the parent, not what was eliminated
        return question(subject) if tries[subject] == 1 else harder(subject)

    (example,) = (await made(recipe(tmp_path, SUBJECTS[:1], ("evolve",), 2), extra)).values()
    assert [version.outcome for version in example.versions] == ["kept", "no gain", "kept"]
    assert [version.round for version in example.versions] == [0, 1, 2]
    assert asked(example) == harder(SUBJECTS[0])


async def test_a_growth_outside_ten_to_twenty_words_is_noted_and_breadth_is_exempt(tmp_path: Path) -> None:
    def extra(subject: str, task: str) -> str | None:
        return f"{question(subject)[:-1]} now?" if "Write the whole new task" in task or "new task." in task else None

    for name, outcome in (("deepen", "kept, grown by another length"), ("breadth", "kept")):
        (tmp_path / name).mkdir()
        (example,) = (await made(recipe(tmp_path / name, SUBJECTS[:1], (name,), 1), extra)).values()
        assert example.versions[-1].outcome == outcome


# Constitutional AI


async def test_a_principle_is_drawn_anew_each_step_and_the_chain_is_kept(tmp_path: Path) -> None:
    steps: Counter[str] = Counter()

    def extra(subject: str, task: str) -> str | None:
        if 'Begin with "Critique:"' in task:
            return "Critique: it could say more of the bench."
        if 'Begin with "Revision:"' in task:
            steps[subject] += 1
            return f"Revision: {told(subject)} That is reason {steps[subject]}."
        return None

    made_of = await made(recipe(tmp_path, SUBJECTS, ("principle",), 4), extra)
    drawn = []
    for subject, example in made_of.items():
        assert [version.round for version in example.versions] == [0, 1, 2, 3, 4]
        assert {version.outcome for version in example.versions} == {"kept"}
        assert [v.answer for v in example.versions[1:]] == [
            f"{told(subject)} That is reason {n}." for n in (1, 2, 3, 4)
        ]
        drawn.append(tuple(version.by for version in example.versions[1:]))
    counts = Counter(name for chain in drawn for name in chain)
    assert len(counts) == 16
    # 160 draws of 16: the 0.99 quantile of chi-squared with 15 degrees of freedom is 30.6.
    assert sum((count - 10) ** 2 / 10 for count in counts.values()) < 30.6
    # Independent per step: a principle follows itself about once in sixteen.
    assert sum(one == after for chain in drawn for one, after in itertools.pairwise(chain)) <= 17


async def test_a_critique_in_the_place_of_a_revision_is_asked_again_then_the_step_is_dropped(tmp_path: Path) -> None:
    first, second = SUBJECTS[:2]
    said: Counter[str] = Counter()

    def extra(subject: str, task: str) -> str | None:
        if 'Begin with "Critique:"' in task:
            return "Critique: it could say more."
        if 'Begin with "Revision:"' not in task and "cannot be used" not in task:
            return None
        said[subject] += 1
        swaps = said[subject] == 1 if subject == first else True
        return "Critique: it could say more." if swaps else f"Revision: {told(subject)} So it is."

    made_of = await made(recipe(tmp_path, [first, second], ("principle",), 1), extra)
    assert said == {first: 2, second: 2}
    assert [version.outcome for version in made_of[first].versions] == ["kept", "kept"]
    assert [version.outcome for version in made_of[second].versions] == ["kept", "parse"]
    assert made_of[second].payload["messages"][1]["content"] == told(second)
    assert made_of[second].status == "accepted"


async def test_a_principle_that_a_rule_can_check_is_kept_to_after_four_steps(tmp_path: Path) -> None:
    number = re.compile(r"\d{3} \d{4}")

    def extra(subject: str, task: str) -> str | None:
        if 'Begin with "Critique:"' in task:
            return "Critique: it gives a telephone number."
        if 'Begin with "Revision:"' in task:
            return f"Revision: {told(subject)}"
        return f"{told(subject)} Call 555 0199 for more." if "Answer in two" in task else None

    made_of = await made(recipe(tmp_path, SUBJECTS[:10], ("no-private-data",), 4), extra)
    by_step = [
        sum(bool(number.search(example.versions[step].answer)) for example in made_of.values()) for step in range(2)
    ]
    assert by_step == [10, 0]
    assert not any(number.search(str(example.payload)) for example in made_of.values())


async def test_a_revision_that_brings_in_what_its_principle_forbids_is_not_kept(tmp_path: Path) -> None:
    def extra(subject: str, task: str) -> str | None:
        if 'Begin with "Critique:"' in task:
            return "Critique: it gives no number."
        return f"Revision: {told(subject)} Call 555 0199." if 'Begin with "Revision:"' in task else None

    (example,) = (await made(recipe(tmp_path, SUBJECTS[:1], ("no-private-data",), 1), extra)).values()
    assert example.versions[-1].outcome == "forbidden by its principle"
    assert "555" not in str(example.payload)


# AgentInstruct's goals


async def test_a_question_is_made_unanswerable_and_labelled_so_when_the_judge_agrees(tmp_path: Path) -> None:
    open_one, still = SUBJECTS[:2]

    def extra(subject: str, task: str) -> str | None:
        if "a reader of the text above might want to know" in task:
            return "A reader might want to know who made it."
        if "follows the advice, so that the text" in task:
            return f"Who made the {subject} above the workshop door?"
        if "The material above does not answer" in task:
            return f"The text does not say who made the {subject}, only where it hangs."
        if "Is the answer to this question given" in task:
            return YES if subject == still else NO
        return None

    agents = {"judge": ("material-answers",)}
    made_of = await made(recipe(tmp_path, [open_one, still], ("make-unanswerable",), 2, agents=agents), extra)
    example = made_of[open_one]
    assert example.payload["answerable"] is False and example.status == "accepted"
    assert [version.answerable for version in example.versions] == [True, False]
    assert example.path[-1] == "judge/material-answers" and example.verdicts[-1].passed
    assert "answerable" not in made_of[still].payload
    assert [version.outcome for version in made_of[still].versions] == ["kept", "still answerable"]
    with RunFolder.read(tmp_path / "out") as folder:
        assert sorted(row["answerable"] for row in folder.rows()) == [False, True]


async def test_the_answer_changes_while_the_question_stays_as_it_was(tmp_path: Path) -> None:
    subject, unmoved = SUBJECTS[:2]

    def extra(which: str, task: str) -> str | None:
        if "would have to be another" in task:
            return "The carpenter would have to need it elsewhere."
        if "Write the text above again" in task:
            return text(which).replace("near his bench", "far from the stove")
        if "far from the stove" in task and which == subject:  # only the new text is before the answerer's eyes
            return f"The {which} hangs there because the carpenter needs it far from the stove."
        return None

    def shows_both(messages: Any) -> str:
        prompt = messages[1]["content"]
        if "Answer in two" in prompt and "far from the stove" in prompt:
            assert "near his bench" not in prompt
            which = subject_of(prompt)
            return told(which) if which == unmoved else told(which).replace("near his bench", "far from the stove")
        return script(extra)(messages)

    agents = {"instruct": ("author-purpose",)}
    made_recipe = recipe(tmp_path, [subject, unmoved], ("change-the-answer",), 1, agents=agents)
    await generate(made_recipe, tmp_path / "out", sm=Scripted(script=shows_both))
    with RunFolder.read(tmp_path / "out") as folder:
        found = {subject_of(str(example.payload)): example for example in folder.examples()}
    before, after = found[subject].versions
    assert before.instruction == after.instruction
    assert before.answer != after.answer and after.outcome == "kept"
    assert "far from the stove" in found[subject].payload["messages"][0]["content"]
    assert found[unmoved].versions[-1].outcome == "same answer"
    assert "near his bench" in found[unmoved].payload["messages"][0]["content"]


@pytest.mark.parametrize("rounds", [1, 2, 3])
async def test_the_loop_stops_at_its_last_round(tmp_path: Path, rounds: int) -> None:
    count: Counter[str] = Counter()
    parts = ["near his bench", "above the workshop door", "every morning"]

    def extra(subject: str, task: str) -> str | None:
        if "missing or unclear" in task:
            return "It could say when."
        if "Answer the question again" in task:  # each edit has more of its words from the seed than the one before
            count[subject] += 1
            return f"Oddly shaped trinkets please: the {subject} hangs {' and '.join(parts[: count[subject]])}."
        return f"Oddly shaped trinkets please: the {subject} hangs." if "Answer in two" in task else None

    made_of = await made(recipe(tmp_path, SUBJECTS[:1], ("clearer-answer",), rounds), extra)
    versions = made_of[SUBJECTS[0]].versions
    assert [version.round for version in versions] == list(range(rounds + 1))
    assert [version.outcome for version in versions] == ["kept"] * (rounds + 1)
    scores = [version.score for version in versions]
    assert scores == sorted(scores)
    calls = [step for step in made_of[SUBJECTS[0]].path if step.startswith("refine/")]
    assert calls == ["refine/clearer-answer:suggest", "refine/clearer-answer:edit"] * rounds


async def test_an_edit_without_a_change_is_no_gain_and_ends_the_loop(tmp_path: Path) -> None:
    def extra(subject: str, task: str) -> str | None:
        return "It could say when." if "missing or unclear" in task else None

    made_of = await made(recipe(tmp_path, SUBJECTS[:1], ("clearer-answer",), 3), extra)
    assert [version.outcome for version in made_of[SUBJECTS[0]].versions] == ["kept", "no gain"]


async def test_an_answer_that_was_there_before_is_a_repetition(tmp_path: Path) -> None:
    def extra(subject: str, task: str) -> str | None:
        if 'Begin with "Critique:"' in task:
            return "Critique: it could be put otherwise."
        if 'Begin with "Revision:"' in task:
            return f"Revision: {told(subject)}" if "So it is" in task else f"Revision: {told(subject)} So it is."
        return None

    made_of = await made(recipe(tmp_path, SUBJECTS[:1], ("principle",), 2), extra)
    assert [version.outcome for version in made_of[SUBJECTS[0]].versions] == ["kept", "kept", "repetition"]


@pytest.mark.parametrize(("method", "count"), [("evolve", 6), ("principle", 16)])
def test_a_recipe_that_names_a_method_has_all_its_agents_and_no_other_recipe_has_any(
    method: Method, count: int
) -> None:
    named = load_catalog(Cast(refine=(method,))).agents["refine"]
    assert len(named) == count and {agent.prompt.method for agent in named} == {method}
    assert {agent.prompt.method for agent in load_catalog().agents["refine"]} == {"suggest"}


def test_the_principles_are_for_usefulness_honesty_and_safety() -> None:
    aims = Counter(
        str(agent.prompt.source).rpartition(" ")[2]
        for agent in load_catalog(Cast(refine=("principle",))).agents["refine"]
    )
    assert aims == {"usefulness": 6, "honesty": 5, "safety": 5}


def test_operations_are_drawn_with_the_same_chance() -> None:
    catalog = load_catalog(Cast(refine=("evolve",)))
    context = Context(Recipe(name="x", seeds=(Source(path="."),), accept=1), catalog, *[None] * 4)  # type: ignore[arg-type]
    seed = Seed.of("text", "x", "a:1")
    counts = Counter(
        context.rng({"seed": seed, "draw": draw}, f"refine:{draw % 4}").choice(catalog.agents["refine"]).name
        for draw in range(6000)
    )
    # 5 degrees of freedom: the 0.99 quantile of chi-squared is 15.1.
    assert len(counts) == 6 and sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 15.1
