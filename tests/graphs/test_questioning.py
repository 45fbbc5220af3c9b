"""Answers first, questions second: what names its answer or leads elsewhere is removed, and quotas hold exactly."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from understudy.agents import catalog_of
from understudy.cli.main import main
from understudy.corpus import RunFolder
from understudy.corpus.cases import pin
from understudy.errors import PromptError, RecipeError, UserError
from understudy.graphs import generate
from understudy.graphs import runner as runner_module
from understudy.graphs.quotas import label_of
from understudy.models import Request, Scripted
from understudy.models.sm import Reply
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

RECIPE = """
name: kettles
seeds: [{path: docs}]
accept: 40
draws_per_seed: 40
sm: {backend: scripted}
sms: {other: {backend: scripted}}
voices: {judge/answer-of-question: {sm: other}}
personas: {set: null}
dedup: {embedding: null, minhash: null}
test_share: 0
answers: {kinds: {number: 0.25, name: 0.75}}
"""
ASKED = re.compile(r'text above says: (.+)\nWrite one question about it that has "(.+)" as its only right answer')


def project(home: Path, *sets: str) -> Recipe:
    (home / "docs").mkdir(exist_ok=True)
    for number in range(6):
        text = f"The kettle of the firm Maker{number} holds {number + 2}.5 litres. It was sold by Ann Vendor{number}."
        (home / "docs" / f"{number}.md").write_text(text + ("" if number else "\n\nNothing of the kind stands here."))
    (home / "docs" / "none.md").write_text("what is written here in small letters has nothing to ask for.\n")
    (home / "recipe.yaml").write_text(RECIPE)
    return load_recipe(home / "recipe.yaml", sets)


class Writer(Scripted):
    """Asks for what it is told; now and then it names the answer, and now and then it leads elsewhere."""

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        found = ASKED.search(request.messages[-1]["content"])
        assert found is not None
        answer, rng = found.group(2), Random(request.seed)
        kind = rng.choices(["leak", "wrong", "right"], [1, 1, 4])[0]
        said = {"leak": f"Is {answer} what the text says of the kettle?", "wrong": "What is odd about the kettle?",
                "right": f"What of the firm that sold the kettle begins with the letter {answer[0]}?"}[kind]  # fmt: skip
        await asyncio.sleep(rng.random() / 500)
        return (Reply(said, 30, 12, False),)


class Solver(Scripted):
    """Answers by the first letter, in its own spelling; has not seen the answer."""

    @property
    def identity(self) -> str:
        return "scripted other"

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        text, _, task = request.messages[-1]["content"].rpartition("\n\n")
        assert "only right answer" not in task
        letter = re.search(r"the letter (.)", task)
        known = re.findall(r"\d\.5|Maker\d|Ann Vendor\d", text)
        said = next((f"The {one.upper()}." for one in known if letter and one[0] == letter.group(1)), "unknown")
        return (Reply(said, 30, 3, False),)


@pytest.fixture(autouse=True)
def spoken(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scripted]:
    there: dict[str, Scripted] = {"sm": Writer(), "other": Solver()}

    async def opened(recipe: Recipe, sm: object = None) -> dict[str, Scripted]:
        return {name: there[name] for name in recipe.engines}

    monkeypatch.setattr(runner_module, "open_sms", opened)
    return there


def go(recipe: Recipe, out: Path) -> str:
    return asyncio.run(generate(recipe, out)).ended


def test_questions_lead_to_their_answers_and_the_quota_of_kinds_is_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert go(project(tmp_path), tmp_path / "out") == "goal"
    kinds: Counter[str | None] = Counter()
    with RunFolder.read(tmp_path / "out") as folder:
        for one in folder.examples("accepted"):
            kinds[label_of(one.path)] += 1
            asked, answered = (turn["content"] for turn in one.payload["messages"])
            seed, question = folder.seed_of(one).content, asked.rpartition("\n\n")[2]
            assert asked == f"{seed}\n\n{question}" and answered in seed and answered not in question
            assert one.scores["round-trip/answer"] == 1.0
            assert bool(re.fullmatch(r"\d\.5", answered)) is (label_of(one.path) == "number")
        reasons = Counter(one.reason for one in folder.examples("rejected"))
        digest = folder.digest
    assert kinds == {"number": 10, "name": 30}
    assert set(reasons) == {"rule/answer-leak", "round-trip/answer", "rule/no-answer", "quota"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## Answers" in card and "another model" in card
    monkeypatch.setattr("sys.argv", ["understudy", "report", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        main()
    assert "found again" in capsys.readouterr().out
    with RunFolder.read(tmp_path / "out") as folder, pytest.raises(UserError, match="hangs on other drafts"):
        pin(folder, next(iter(folder.ledger.accepted_ids())))

    # Neither the order in which drafts are done nor a break changes the corpus.
    assert go(project(tmp_path, "in_flight=1"), tmp_path / "one") == "goal"
    assert go(project(tmp_path, "budget.tokens=2500"), tmp_path / "cut") == "budget"
    assert go(project(tmp_path), tmp_path / "cut") == "goal"
    for other in ("one", "cut"):
        with RunFolder.read(tmp_path / other) as folder:
            assert folder.digest == digest


def test_each_draw_of_a_seed_takes_another_answer(tmp_path: Path) -> None:
    recipe = project(tmp_path, "accept=4", "answers={kinds: {name: 1.0}, votes: 0}", "draws_per_seed=6")
    for number in range(1, 6):
        (tmp_path / "docs" / f"{number}.md").unlink()
    (tmp_path / "docs" / "none.md").unlink()
    go(recipe, tmp_path / "out")
    with RunFolder.read(tmp_path / "out") as folder:
        drawn = {one.draw: one.payload["messages"][-1]["content"] for one in folder.examples("accepted")}
    assert set(drawn.values()) == {"Maker0", "Ann Vendor0"}
    assert all(drawn[one] == drawn[other] for one in drawn for other in drawn if (one - other) % 2 == 0)


def test_a_writer_who_would_answer_itself_is_refused_before_any_call(
    tmp_path: Path, spoken: dict[str, Scripted]
) -> None:
    with pytest.raises(
        RecipeError, match=r"answers: instruct/question-for-answer and judge/answer-of-question"
    ) as caught:
        go(project(tmp_path, "voices={}"), tmp_path / "out")
    assert "`answers.same_solver: true`" in str(caught.value) and not (tmp_path / "out").exists()
    spoken["sm"] = Writer()
    project(tmp_path)
    assert go(project(tmp_path, "answers.votes=0", "voices={}", "accept=2"), tmp_path / "out") == "goal"
    assert "Nobody but" in (tmp_path / "out" / "README.md").read_text()


def test_agents_and_sections_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="question-for-answer says `first: answer`"):
        catalog_of(Recipe.model_validate(
            {"name": "x", "seeds": [{"path": "x"}], "accept": 1, "agents": {"instruct": ["question-for-answer"]}}
        ))  # fmt: skip
    with pytest.raises(PromptError, match="why-question does not say `first: answer`"):
        catalog_of(project(tmp_path, "agents.instruct=[why-question]"))
    plain = Recipe.model_validate({"name": "x", "seeds": [{"path": "x"}], "accept": 1})
    shipped = {"instruct/question-for-answer", "judge/answer-of-question"}
    assert not shipped & {agent.name for agent in catalog_of(plain)}
