"""Labels first, texts second: what names its label or is taken for another is removed, and quotas hold exactly."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from understudy.agents import catalog_of
from understudy.corpus import RunFolder
from understudy.corpus.cases import pin
from understudy.errors import PromptError, RecipeError, UserError
from understudy.graphs import Outcome, generate
from understudy.graphs import runner as runner_module
from understudy.graphs.quotas import Quotas, apportioned, label_of
from understudy.labels import Labels
from understudy.models import Request, Scripted
from understudy.models.sm import Reply
from understudy.nouns import Messages
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

SOUNDS = [a + b + c for a in "bdfgklmnprst" for b in ("a", "oo", "ei", "u") for c in ("nd", "rk", "lm", "st")]
MEANING = {"praise": "the buyer is glad", "complaint": "the buyer is cross"}
RECIPE = """
name: reviews
seeds: [{path: docs}]
accept: 60
draws_per_seed: 60
in_flight: 1
sm: {backend: scripted}
sms: {other: {backend: scripted}}
voices: {judge/label-of-text: {sm: other}}
personas: {set: null}
dedup: {embedding: null}
test_share: 0
labels:
  task: What does the buyer do?
  text: a short review of a kitchen tool
  values: {praise: 0.5, complaint: 0.5}
  meaning: {praise: the buyer is glad, complaint: the buyer is cross}
  leaks: [five stars]
"""


def project(home: Path, *sets: str) -> Recipe:
    (home / "docs").mkdir(exist_ok=True)
    for number in range(5):
        (home / "docs" / f"{number}.md").write_text(f"Tool {number} is kept in the drawer under the window.\n")
    (home / "recipe.yaml").write_text(RECIPE)
    return load_recipe(home / "recipe.yaml", sets)


def prose(rng: Random) -> str:
    return "It " + " ".join(rng.sample(SOUNDS, 9))


def wanted(messages: Messages) -> str | None:
    """For which label a text is to be written; None where a label is asked for."""
    said = messages[-1]["content"]
    return next((label for label, told in MEANING.items() if f"In it, {told}." in said), None)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The SMs of the recipe by name, which a test puts there."""
    there: dict[str, Any] = {}

    async def opened(recipe: Recipe, sm: Any = None) -> dict[str, Any]:
        return {name: there[name] for name in recipe.engines}

    monkeypatch.setattr(runner_module, "open_sms", opened)
    return there


def go(recipe: Recipe, out: Path) -> Outcome:
    return asyncio.run(generate(recipe, out))


class Fixture:
    """Fifty texts for each label: ten that name it, ten that are of the other one, thirty that are right."""

    def __init__(self) -> None:
        rng = Random(7)
        self.kinds: dict[str, str] = {}
        self.truth: dict[str, str] = {}
        self.left: dict[str, list[str]] = {}
        for label, other in (("praise", "complaint"), ("complaint", "praise")):
            kinds = ["leak"] * 10 + ["wrong"] * 10 + ["right"] * 29
            rng.shuffle(kinds)
            self.left[label] = [self.text(label, other, kind, rng) for kind in (*kinds, "right")]

    def text(self, label: str, other: str, kind: str, rng: Random) -> str:
        said = {"leak": f"{prose(rng)} and gets five stars.", "wrong": prose(rng), "right": prose(rng)}[kind]
        if kind == "leak" and rng.random() < 0.5:
            said = f"{prose(rng)}, a {label.upper()} of a kind."
        self.kinds[said], self.truth[said] = kind, other if kind == "wrong" else label
        return said

    def write(self, messages: Messages) -> str:
        label = wanted(messages)
        assert label is not None
        if self.left[label]:
            return self.left[label].pop(0)
        return self.text(label, "", "right", Random(f"{label} {len(self.truth)}"))

    def solve(self, messages: Messages) -> str:
        text, _, task = messages[-1]["content"].partition("\n\n")
        assert "What does the buyer do?" in task and "drawer" not in messages[-1]["content"]
        return self.truth[text]


def test_leaks_and_texts_of_another_label_are_removed_with_their_reasons_and_the_quota_is_exact(
    tmp_path: Path, spoken: dict[str, Any]
) -> None:
    texts = Fixture()
    spoken |= {"sm": Scripted(script=texts.write), "other": Scripted(script=texts.solve)}
    outcome = go(project(tmp_path), tmp_path / "out")
    assert outcome.ended == "goal"
    reasons: Counter[tuple[str | None, str | None]] = Counter()
    with RunFolder.read(tmp_path / "out") as folder:
        for status in ("accepted", "rejected", "failed", "duplicate"):
            for one in folder.examples(status):  # type: ignore[arg-type]
                label, reason = label_of(one.path), one.reason
                asked = one.payload["messages"][0]["content"]
                text = asked.partition("Text: ")[2]
                reasons[label, reason] += 1
                by = {verdict.by: verdict for verdict in one.verdicts}
                expected = {"leak": "rule/label-leak", "wrong": "round-trip/label"}.get(texts.kinds[text])
                assert reason == expected or (expected is None and reason == "quota")
                assert one.payload["messages"][1]["content"] == label
                if reason == "rule/label-leak":
                    assert re.search("five stars|praise|complaint", str(by[reason].evidence)) and len(one.calls) == 1
                if reason == "round-trip/label":
                    assert by[reason].score == 0.0 and by[reason].evidence == f"{texts.truth[text]} 3"
                if reason is None:
                    assert by["round-trip/label"].score == 1.0 and len(one.calls) == 4
                    assert asked.startswith("What does the buyer do? Answer with one of: praise, complaint.\n\nText: ")
        report = json.loads((tmp_path / "out" / "report.json").read_text())
    for label in MEANING:
        assert reasons[label, None] == 30
        assert reasons[label, "rule/label-leak"] == reasons[label, "round-trip/label"] == 10
        assert reasons[label, "quota"] <= 32
    told = report["figures"]["labels"]
    assert told["independent"] is True
    assert [(one["accepted"], one["leaks"], one["share_after"]) for one in told["values"]] == [(30, 10, 0.5)] * 2
    assert told["round_trip"]["found_again"] == told["round_trip"]["asked"] - 20
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## Labels" in card and "not independent" not in card
    with RunFolder.read(tmp_path / "out") as folder, pytest.raises(UserError, match="hangs on other drafts"):
        pin(folder, next(iter(folder.ledger.accepted_ids())))


class Writer(Scripted):
    """Writes by the call's seed: some texts name their label, some are of the other one, complaints more than half."""

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        label, rng = wanted(request.messages), Random(request.seed)
        kind = rng.choices(["leak", "wrong", "right"], [1, 6 if label == "complaint" else 1, 4])[0]
        known = {"praise": "gladly", "complaint": "crossly"}
        other = next(one for one in MEANING if one != label)
        mood = known[other if kind == "wrong" else str(label)]
        text = f"{prose(rng)} {mood}" + (f" in {label}" if kind == "leak" else "")
        await asyncio.sleep(rng.random() / 500)
        return (Reply(text, 30, 12, False),)


class Solver(Scripted):
    """Goes by the mood of a text."""

    @property
    def identity(self) -> str:
        return "scripted other"

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        text = request.messages[-1]["content"].partition("\n\n")[0]
        said = "Praise." if "gladly" in text else "complaint"
        return (Reply(said, 30, 2, False),)


def told(out: Path) -> tuple[str, dict[str, int], Counter[str | None]]:
    with RunFolder.read(out) as folder:
        accepted = Counter(str(label_of(one.path)) for one in folder.examples("accepted"))
        return folder.digest, dict(accepted), Counter(one.reason for one in folder.examples("rejected"))


def test_a_label_that_is_full_gets_no_further_drafts_and_the_corpus_does_not_hang_on_scheduling(
    tmp_path: Path, spoken: dict[str, Any]
) -> None:
    spoken |= {"sm": Writer(), "other": Solver()}
    sets = ("accept=90", "labels.values={praise: 0.6, complaint: 0.4}")
    assert go(project(tmp_path, *sets, "in_flight=1"), tmp_path / "one").ended == "goal"
    digest, accepted, reasons = told(tmp_path / "one")
    assert accepted == {"praise": 54, "complaint": 36}
    assert 0 < reasons["quota"] <= 32
    go(project(tmp_path, *sets, "in_flight=40"), tmp_path / "many")
    assert told(tmp_path / "many")[0] == digest
    for tokens in (6_000, 12_000):
        assert (
            go(project(tmp_path, *sets, "in_flight=9", f"budget.tokens={tokens}"), tmp_path / "cut").ended == "budget"
        )
    assert go(project(tmp_path, *sets, "in_flight=5"), tmp_path / "cut").ended == "goal"
    assert told(tmp_path / "cut")[0] == digest


def test_a_run_that_is_extended_or_reviewed_keeps_its_quotas(tmp_path: Path, spoken: dict[str, Any]) -> None:
    from understudy.corpus.reviews import Review, Reviews

    spoken |= {"sm": Writer(), "other": Solver()}
    go(project(tmp_path, "accept=20"), tmp_path / "out")
    assert told(tmp_path / "out")[1] == {"praise": 10, "complaint": 10}
    go(project(tmp_path, "accept=31"), tmp_path / "out")
    assert told(tmp_path / "out")[1] == {"praise": 16, "complaint": 15}
    with RunFolder.read(tmp_path / "out") as folder:
        praise = [one.id for one in folder.examples("accepted") if label_of(one.path) == "praise"]
    for id in praise[:3]:
        Reviews(tmp_path / "out").add(Review(id, "ann", "reject", 1.0))
    go(project(tmp_path, "accept=31", "review=1"), tmp_path / "out")
    assert told(tmp_path / "out")[1] == {"praise": 19, "complaint": 15}


def test_a_rehearsal_finds_every_call_of_the_same_run(tmp_path: Path, spoken: dict[str, Any]) -> None:
    from understudy.graphs.rehearsal import rehearse

    spoken |= {"sm": Writer(), "other": Solver()}
    go(project(tmp_path, "accept=40"), tmp_path / "out")
    with RunFolder.read(tmp_path / "out") as folder:
        drafts = sum(folder.ledger.drafts_by_status().values())
    found = rehearse(project(tmp_path, "accept=40"), [tmp_path / "out"])
    assert (found.tried, found.whole, found.new_calls) == (drafts, drafts, 0.0)


def test_agents_of_ones_own_take_the_place_of_the_shipped_ones_and_share_the_votes(
    tmp_path: Path, spoken: dict[str, Any]
) -> None:
    home = tmp_path / "agents" / "judge" / "label"
    home.mkdir(parents=True)
    for name in ("one", "two"):
        head = f"name: {name}\nfamily: judge\nof: label\nkinds: [code]\nsummary: Says it.\nreply: Label"
        (home / f"{name}.md").write_text(f"---\n{head}\n---\nWhich of {{{{ values | list }}}}?\n")
    spoken |= {"sm": Writer(), "other": Solver()}
    mine = ("accept=2", "agents={folder: agents, judge: [one, two]}", "voices={judge: {sm: other}}")
    go(project(tmp_path, *mine), tmp_path / "out")
    with RunFolder.read(tmp_path / "out") as folder:
        paths = {step for one in folder.examples("accepted") for step in one.path if step.startswith("judge/")}
    assert paths == {"judge/one", "judge/two"}


def test_the_solver_sees_the_text_and_the_labels_alone_in_another_order_at_each_vote(
    tmp_path: Path, spoken: dict[str, Any]
) -> None:
    solver = Scripted(script=lambda messages: "complaint")
    spoken |= {"sm": Writer(), "other": solver}
    sets = (
        "accept=2",
        "labels.values={praise: 0.01, complaint: 0.99}",
        "personas={set: everyday, inferred: 0}",
        "agents.persona=null",
    )
    go(project(tmp_path, *sets), tmp_path / "out")
    said = [messages[-1]["content"] for messages in solver.asked]
    assert said and all("drawer" not in one and "person" not in one for one in said)
    orders = {tuple(re.findall(r"^- (\w+): the buyer is \w+$", one, re.M)) for one in said}
    assert orders == {("praise", "complaint"), ("complaint", "praise")}


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        (["complaint", "?", "?", "praise", "praise"], None),
        (["complaint", "?", "praise", "?"], "round-trip/label"),
        (["?"] * 6, "parse: judge/label-of-text"),
    ],
)
def test_a_vote_that_cannot_be_read_is_no_vote(
    tmp_path: Path, spoken: dict[str, Any], replies: list[str], reason: str | None
) -> None:
    """Each vote is asked for twice before it is given up."""
    turn = iter(replies)

    def solve(messages: Messages) -> str:
        return next(turn, "praise")

    spoken |= {"sm": Scripted(script=lambda messages: prose(Random(str(messages)))), "other": Scripted(script=solve)}
    recipe = project(tmp_path, "accept=1", "draws_per_seed=1", "labels.values={praise: 0.999, complaint: 0.001}")
    (tmp_path / "docs" / "0.md").write_text("One seed alone, of a tool in the drawer.\n")
    for number in range(1, 5):
        (tmp_path / "docs" / f"{number}.md").unlink()
    go(recipe, tmp_path / "out")
    with RunFolder.read(tmp_path / "out") as folder:
        status = "accepted" if reason is None else "failed" if reason.startswith("parse") else "rejected"
        (one,) = folder.examples(status)  # type: ignore[arg-type]
        assert one.reason == reason
        if reason != "parse: judge/label-of-text":
            assert one.scores["round-trip/label"] == pytest.approx(2 / 3 if reason is None else 1 / 3, abs=1e-4)


@pytest.mark.parametrize(
    "sets",
    [
        ("voices={}",),
        ("voices={judge: {sm: sm}}",),
        ("voices={judge/label-of-text: [{sm: other}, {sm: sm, temperature: 0.1}]}",),
        ("voices={instruct: {sm: other}, judge: {sm: other}}",),
        ("sm={backend: embedded}", "sms={other: {backend: transformers, path: embedded}}"),
        (
            "sm={backend: openai, base_url: 'http://a/v1', model: m}",
            "sms={other: {backend: openai, base_url: 'http://b/v1', model: m}}",
        ),
    ],
)
def test_a_writer_who_would_judge_itself_is_refused_before_any_call(
    tmp_path: Path, spoken: dict[str, Any], sets: tuple[str, ...]
) -> None:
    both = Scripted(script=lambda messages: "praise")
    spoken |= {"sm": both, "other": both}
    recipe = project(tmp_path, *sets)
    with pytest.raises(RecipeError) as caught:
        go(recipe, tmp_path / "out")
    assert "instruct/text-for-label and judge/label-of-text both speak with `" in str(caught.value)
    assert "voices: {judge/label-of-text: {sm: …}}" in str(caught.value) and "same_solver: true" in str(caught.value)
    assert not both.asked and not (tmp_path / "out").exists()


def test_other_weights_or_another_adapter_are_another_model(tmp_path: Path) -> None:
    adapters = "sm={backend: transformers, path: embedded, adapters: {one: a, two: b}}"
    catalog_of(project(tmp_path, adapters, "sms={}", "voices={instruct: {adapter: one}, judge: {adapter: two}}"))
    with pytest.raises(RecipeError, match="`sm` and its adapter `one`"):
        catalog_of(project(tmp_path, adapters, "sms={}", "voices={instruct: {adapter: one}, judge: {adapter: one}}"))
    twins = "sm={backend: transformers, path: embedded, adapters: {one: a, two: a}}"
    with pytest.raises(RecipeError, match="its adapter `two`"):
        catalog_of(project(tmp_path, twins, "sms={}", "voices={instruct: {adapter: one}, judge: {adapter: two}}"))


def test_one_sm_alone_may_do_both_on_purpose_and_the_report_says_so(
    tmp_path: Path, spoken: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.cli import main

    def both(messages: Messages) -> str:
        label = wanted(messages)
        if label is None:
            return "praise" if "gladly" in messages[-1]["content"] else "complaint"
        return f"{prose(Random(str(messages)))} {'gladly' if label == 'praise' else 'crossly'}"

    spoken |= {"sm": Scripted(script=both)}
    recipe = project(
        tmp_path,
        "accept=4",
        "sms={}",
        "voices={}",
        "labels.same_solver=true",
        "labels.base_rate={praise: 0.9, complaint: 0.1}",
    )
    assert go(recipe, tmp_path / "out").ended == "goal"
    assert "round trip was not independent" in (tmp_path / "out" / "README.md").read_text()
    monkeypatch.setattr("sys.argv", ["understudy", "report", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        main()
    assert "not independent" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "report.json").read_text())["figures"]["labels"]
    assert figures["independent"] is False and [one["weight"] for one in figures["values"]] == [1.8, 0.2]


def test_without_votes_nobody_is_asked_and_the_report_says_so(
    tmp_path: Path, spoken: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.cli import main

    spoken |= {"sm": Writer()}
    assert go(project(tmp_path, "accept=6", "sms={}", "voices={}", "labels.votes=0"), tmp_path / "out").ended == "goal"
    with RunFolder.read(tmp_path / "out") as folder:
        assert all(len(one.calls) == 1 and "round-trip/label" not in one.scores for one in folder.examples("accepted"))
    assert "Nobody but its writer said" in (tmp_path / "out" / "README.md").read_text()
    monkeypatch.setattr("sys.argv", ["understudy", "report", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        main()
    assert "There was no round trip" in " ".join(capsys.readouterr().out.split())


def test_agents_and_sections_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"text-for-label says `first: label`(.|\n)*labels: \{task"):
        catalog_of(Recipe.model_validate(
            {"name": "x", "seeds": [{"path": "x"}], "accept": 1, "agents": {"instruct": ["text-for-label"]}}
        ))  # fmt: skip
    with pytest.raises(PromptError, match=r"why-question does not say `first: label`"):
        catalog_of(project(tmp_path, "agents.instruct=[why-question]"))
    plain = Recipe.model_validate({"name": "x", "seeds": [{"path": "x"}], "accept": 1})
    assert not {"instruct/text-for-label", "judge/label-of-text"} & {agent.name for agent in catalog_of(plain)}


def test_in_every_round_of_twenty_each_label_has_its_share_to_the_nearest_whole() -> None:
    labels = Labels(task="Which?", text="a text", values={"a": 0.07, "b": 0.43, "c": 0.5})
    quotas = Quotas(labels.values, 10_000, 3)
    found = Counter(quotas._own(turn) for turn in range(8000))
    for start in range(0, 8000, 20):
        here = Counter(quotas._own(turn) for turn in range(start, start + 20))
        assert all(abs(here[value] - 20 * share) < 1 for value, share in labels.values.items())
    assert all(abs(found[value] / 8000 - share) < 0.01 for value, share in labels.values.items())
    assert [quotas._own(turn) for turn in range(20)] != [quotas._own(turn) for turn in range(20, 40)]


def test_shares_become_whole_numbers_that_add_up() -> None:
    assert apportioned({"a": 0.5, "b": 0.5}, 5) == {"a": 3, "b": 2}
    assert apportioned({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 100) == {"a": 34, "b": 33, "c": 33}
    for whole in range(60):
        assert sum(apportioned({"a": 0.07, "b": 0.43, "c": 0.5}, whole).values()) == whole
