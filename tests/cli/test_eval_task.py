"""`understudy eval --on`: base, VM and others on tasks, with models that are scripted."""

import json
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from understudy.corpus import RunFolder
from understudy.evals.answering import Prompt
from understudy.training.lineage import Trained, write_lineage

Understudy = Callable[..., Any]
TOWNS = [f"Town {number}" for number in range(24)]


class Speaker:
    """Answers by a function of the last turn; likes the choices by another."""

    def __init__(self, reply: Callable[[str], str], likes: Callable[[str, str], float]) -> None:
        self.reply, self.likes = reply, likes

    def answers(self, prompts: Sequence[Prompt], max_new_tokens: int, *, samples: int = 1, temperature: float = 0.0,
                seed: int = 0, watch: Any = None) -> list[list[str]]:  # fmt: skip
        return [[self.reply(prompt.messages[-1]["content"])] * samples for prompt in prompts]

    def scores(self, prompts: Sequence[Prompt], choices: Sequence[str], *, watch: Any = None) -> list[list[float]]:
        return [[self.likes(prompt.messages[-1]["content"], choice) for choice in choices] for prompt in prompts]

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]], *, watch: Any = None) -> list[list[float]]:
        return [[self.likes(prompt.messages[-1]["content"], answer)] * 3 for prompt, answer in pairs]


def right(asked: str) -> str:
    return json.dumps({"town": asked.removeprefix("Where? "), "open": True})


BASE = Speaker(lambda asked: "I cannot say.", lambda asked, choice: -1.0)
GOOD = Speaker(right, lambda asked, choice: -0.1 if (choice == "yes") == (int(asked.split()[-1]) % 3 == 0) else -3.0)
HALF = Speaker(
    lambda asked: right(asked) if int(asked.split()[-1]) % 2 else '{"town": "?"}', lambda asked, choice: -0.5
)
SPEAKERS = {"good": GOOD, "half": HALF}


class FakeModels:
    """Stands in for `Models`: who speaks follows from the folder's name."""

    def __init__(self, base: Path, vm: Path) -> None:
        self.vm = vm

    @contextmanager
    def as_base(self) -> Iterator[Speaker]:
        yield BASE

    @contextmanager
    def as_vm(self) -> Iterator[Speaker]:
        yield SPEAKERS[self.vm.name]

    def answering(self, model: Speaker) -> Speaker:
        return model


@pytest.fixture
def vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[..., Path]) -> Callable[..., Path]:
    """Make a VM's folder: `vm("good")`; its corpus has 2 rows, of which one asks `Ask 0?`."""
    monkeypatch.setattr("understudy.evals.answering.Models", FakeModels)
    corpus = written(seeds={"a.md": "A lock is a gate."}, drafts=[{}, {}])

    def make(name: str, **more: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (tmp_path / "base").mkdir(exist_ok=True)
        fields = {
            "corpus": str(corpus), "corpus_digest": "d", "recipe": "x", "recipe_version": "v", "base": "base@1",
            "base_path": str(tmp_path / "base"), "method": "lora", "rows": 2, "too_long": 0, "steps": 1,
            "learning_rate": 0.1, "seed": 0, "losses": ((1, 1.0),),
        }  # fmt: skip
        write_lineage(folder, Trained(**{**fields, **more}))
        return folder

    return make


def talk(asked: str, said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def task(folder: Path, rows: list[dict[str, Any]], name: str = "towns", **more: Any) -> Path:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "data": f"{name}.jsonl", **more}))
    return folder / f"{name}.yaml"


FIELDS = [talk(f"Where? {town}", right(town)) for town in TOWNS]


def test_fields_of_base_vm_and_another_vm_with_intervals_and_every_answer(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path
) -> None:
    good = vm("good")
    said = understudy(
        "eval", good, "--on", task(tmp_path, FIELDS, measure="fields"), "--against", vm("half", corpus=None)
    )
    assert said.code == 0, said.err
    lines = {line.split()[0]: line.split() for line in said.out.splitlines() if line.split()[1:2] == ["f1"]}
    # half: 12 of 24 rows whole; of the others `town` is wrong: found 24, made up 12, missed 24
    assert lines["base"][2] == "0.000" and lines["VM"][2] == "1.000"
    assert lines["half"][2] == f"{48 / (48 + 12 + 24):.3f}"
    assert "base: 24 of 24 answers hold no JSON object" in said.out
    found = json.loads((good / "eval-towns.json").read_text())
    assert found["systems"].keys() == {"base", "VM", "half"}
    assert found["systems"]["base"]["vm_minus_this"]["f1"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 24}
    half = found["systems"]["half"]
    assert half["details"]["f1_by_field"]["town"] == pytest.approx(24 / (24 + 12 + 12))
    assert 0 < half["vm_minus_this"]["f1"]["low"] < half["vm_minus_this"]["f1"]["high"] < 1
    assert found["rows"][0]["half"] == {"found": 0, "made_up": 1, "missed": 2, "said": ['{"town": "?"}']}
    assert found["rows"][1]["VM"]["said"] == [right("Town 1")]
    assert found["data"]["rows"] == 24 and len(found["data"]["sha256"]) == 64
    assert "understudy" in found["versions"]


def test_a_pattern_takes_the_answer_from_reply_and_reference(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [talk(f"Where? {town}", f"So.\n#### {number:,}") for number, town in enumerate(TOWNS, start=1000)]
    rows.append(talk("Where? Town 99", "No mark."))
    file = task(tmp_path, rows, measure="exact", answer_pattern=r"####\s*(\S+)")
    (tmp_path / "towns.jsonl").write_text("\n" + (tmp_path / "towns.jsonl").read_text() + "\n{\n")
    GOOD.reply = lambda asked: f"#### 5\n#### {1000 + int(asked.split()[-1])}"
    try:
        said = understudy("eval", vm("good"), "--on", file, "--json")
    finally:
        GOOD.reply = right
    (found,) = json.loads(said.out)["tasks"].values()
    assert found["systems"]["VM"]["values"]["exact"]["mean"] == 1.0
    assert found["systems"]["base"]["details"] == {"not_found": 24}
    no_mark, no_json = found["data"]["refused"]
    assert no_mark == {"line": 26, "reason": "`answer_pattern` is not found in the reference 'No mark.'"}
    assert no_json["line"] == 28 and "not valid JSON" in no_json["reason"]
    assert "rows" not in found


def test_classes_and_ranking_are_by_how_likely_the_choices_are(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [talk(f"Large? {town}", "Yes" if place % 3 == 0 else "no") for place, town in enumerate(TOWNS)]
    choices = ["yes", "no"]
    said = understudy(
        "eval", vm("good"), "--json",
        "--on", task(tmp_path, rows, name="large", measure="classes", choices=choices),
        "--on", task(tmp_path, rows, name="ranked", measure="ranking", choices=choices, positive="yes", k=8),
    )  # fmt: skip
    assert said.code == 0, said.err
    found = json.loads(said.out)["tasks"]
    values = found["large"]["systems"]["VM"]["values"]
    assert values["accuracy"]["mean"] == values["macro_f1"]["mean"] == 1.0
    # The base likes all choices alike and takes the first: right in 8 of 24.
    assert found["large"]["systems"]["base"]["values"]["accuracy"]["mean"] == pytest.approx(1 / 3)
    ranked = found["ranked"]["systems"]
    assert ranked["VM"]["values"]["precision@8"]["mean"] == ranked["VM"]["values"]["average_precision"]["mean"] == 1.0
    assert ranked["base"]["values"]["precision@8"]["mean"] == 0.0


def test_pass_at_k_and_perplexity(understudy: Understudy, vm: Callable[..., Path], tmp_path: Path) -> None:
    said = understudy(
        "eval", vm("good"), "--json",
        "--on", task(tmp_path, FIELDS, name="draws", measure="pass@k", k=2, samples=3, temperature=0.8),
        "--on", task(tmp_path, [talk(f"Say {n}", "yes") for n in range(3)], name="likely", measure="perplexity"),
    )  # fmt: skip
    found = json.loads(said.out)["tasks"] if not said.code else pytest.fail(said.err)
    assert found["draws"]["systems"]["VM"]["values"]["pass@2"]["mean"] == 1.0
    assert found["draws"]["systems"]["base"]["values"]["pass@2"]["mean"] == 0.0
    assert found["likely"]["lower_is_better"] is True


def test_a_row_that_was_learned_from_is_refused_unless_it_is_wanted(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path
) -> None:
    good = vm("good")
    with RunFolder.read(tmp_path / "corpus") as folder:
        asked = next(iter(folder.rows("accepted", "train")))["messages"][0]["content"]
    file = task(tmp_path, [*FIELDS, talk(f"  {asked.upper()}", "{}")], measure="fields")
    said = understudy("eval", good, "--on", file)
    assert said.code == 2
    assert "towns.jsonl:25: 1 of 25 rows have a prompt that stands in the training rows" in said.err
    assert not (good / "eval-towns.json").exists()
    file = task(tmp_path, [*FIELDS, talk("Where? Town 7000", right("Town 7000"))], name="kept", measure="fields")
    (tmp_path / "learned.jsonl").write_text(json.dumps(talk("Where? Town 7000", "There.")))
    half = vm("half", corpus=None, files={str(tmp_path / "learned.jsonl"): "digest"})
    assert understudy("eval", good, "--on", file, "--against", half).code == 2
    said = understudy("eval", good, "--on", file, "--against", half, "--keep-overlap")
    assert said.code == 0, said.err
    assert "1 of these rows have a prompt that was learned from" in said.out


def test_the_sm_answers_the_same_prompts(understudy: Understudy, vm: Callable[..., Path], tmp_path: Path) -> None:
    good = vm("good")
    assert understudy("eval", good, "--on", task(tmp_path, FIELDS, measure="f1"), "--sm").code == 0
    found = json.loads((good / "eval-towns.json").read_text())
    assert found["systems"]["SM"]["identity"] == "scripted"
    assert all(row["SM"]["said"][0] for row in found["rows"])
    said = understudy("eval", good, "--on", task(tmp_path, FIELDS, name="p", measure="perplexity"), "--sm")
    assert said.code == 2 and "leave out --sm" in said.err
    said = understudy("eval", vm("half", corpus=None), "--on", task(tmp_path, FIELDS, measure="f1"), "--sm")
    assert said.code == 2 and "no SM wrote them" in said.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mesure": "f1"}, ["towns.yaml:", "mesure: unknown key", "did you mean `measure`?"]),
        ({"measure": "bleu"}, ["towns.yaml:2: measure: got 'bleu'"]),
        ({"measure": "pass@k", "k": 3, "samples": 2, "temperature": 0.5}, ["samples: got '2'", "3 or more"]),
        ({"measure": "pass@k", "k": 3}, ["missing", "add `samples:`"]),
        ({"k": 3}, ["k: got '3'", "it is for ranking, pass@k, not for f1"]),
        ({"measure": "exact", "answer_pattern": "("}, ["answer_pattern: got '('", "regular expression"]),
        ({"measure": "ranking", "k": 1, "choices": ["a", "b"], "positive": "c"}, ["positive: got 'c'", "one of the `choices`"]),
        ({"name": "../up"}, ["name: got '../up'"]),
        ({"data": "none.jsonl"}, ["none.jsonl: no such file"]),
        ({"measure": "fields"}, ["holds no row that can be measured", "row 1: the reference is not a JSON object"]),
    ],
)  # fmt: skip
def test_a_task_file_that_is_wrong_says_where(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path, change: dict[str, Any], message: list[str]
) -> None:
    file = task(tmp_path, [talk("Where?", "There.")], **{"measure": "f1"})
    file.write_text(yaml.safe_dump({"data": "towns.jsonl", "measure": "f1", "name": "towns"} | change, sort_keys=False))
    said = understudy("eval", vm("good"), "--on", file)
    assert said.code == 2
    for part in message:
        assert part in said.err


def test_what_only_goes_with_a_task_says_so(understudy: Understudy, vm: Callable[..., Path], tmp_path: Path) -> None:
    good = vm("good", corpus=None)
    assert "--sm without --on" in understudy("eval", good, "--sm").err
    assert "was trained on files, so there is no test split" in understudy("eval", good).err
    file = task(tmp_path, FIELDS, measure="fields")
    assert "a second task of the name `towns`" in understudy("eval", good, "--on", file, "--on", file).err
    (tmp_path / "base").rmdir()
    assert "base model is gone" in understudy("eval", good, "--on", file).err


def test_what_was_forgotten_is_a_loss_above_the_bases(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = vm("good")
    rows = [talk(f"Say {n}.", f"Word {n}.") for n in range(30)]
    (tmp_path / "general.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "no"}]))
    monkeypatch.setattr(GOOD, "likes", lambda asked, answer: -1.5 - 0.01 * len(answer))
    said = understudy("eval", good, "--forgetting", tmp_path / "general.jsonl")
    assert said.code == 0, said.err
    assert "The VM has forgotten: its loss is 0.5" in said.out and "1 rows were left out" in said.out
    found = json.loads((good / "eval-forgetting.json").read_text())
    assert found["loss"]["base"] == pytest.approx(1.0) and found["loss"]["gap"]["low"] > 0.5
    assert len(found["rows"]) == found["data"]["rows"] == 30
    (tmp_path / "none.jsonl").write_text("{}\n")
    said = understudy("eval", good, "--forgetting", tmp_path / "none.jsonl")
    assert said.code == 2 and "holds no instruction" in said.err


HARNESS = """#!{python}
import json, pathlib, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if given["--tasks"] == "broken":
    sys.exit("no such task")
out = pathlib.Path(given["--output_path"]) / "model"
out.mkdir(parents=True)
score = 0.75 if "peft=" in given["--model_args"] else 0.5
figures = {{"alias": "t", "acc,none": score, "acc_stderr,none": 0.1, "f1,none": score, "f1_stderr,none": "N/A"}}
(out / "results_2026.json").write_text(json.dumps({{"results": {{given["--tasks"]: figures}}, "argv": sys.argv}}))
"""


def test_the_harness_runs_on_base_and_vm_as_its_own_process(
    understudy: Understudy, vm: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = vm("good")
    (good / "adapter_config.json").write_text("{}")
    script = tmp_path / "lm_eval"
    script.write_text(HARNESS.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("UNDERSTUDY_LM_EVAL", str(script))
    said = understudy("eval", good, "--lm-eval", "towns")
    assert said.code == 0, said.err
    assert ["towns", "acc,none", "0.5000", "±", "0.1000", "0.7500", "±", "0.1000", "+0.2500"] in [
        line.split() for line in said.out.splitlines()
    ]
    kept = json.loads((good / "lm-eval" / "vm-results.json").read_text())
    assert f"pretrained={tmp_path / 'base'},peft={good}" in kept["argv"]
    said = understudy("eval", good, "--lm-eval", "broken")
    assert said.code == 2 and "failed on base, exit code 1: no such task" in said.err
    monkeypatch.setenv("UNDERSTUDY_LM_EVAL", "lm-eval-that-is-not-there")
    said = understudy("eval", good, "--lm-eval", "towns")
    assert said.code == 2 and "pip install 'lm-eval[hf]'" in said.err
