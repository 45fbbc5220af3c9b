"""`understudy personas`, as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.personas import load_set

Understudy = Callable[..., Any]


def write(path: Path, *personas: str) -> Path:
    path.write_text(json.dumps({"license": "MIT", "personas": personas}))
    return path


def test_sets_are_listed_and_one_is_shown(understudy: Understudy) -> None:
    assert "everyday" in understudy("personas").out
    listed = json.loads(understudy("personas", "--json").out)
    assert {"name", "version", "personas", "license"} <= set(listed[0])
    told = json.loads(understudy("personas", "show", "everyday", "--json").out)
    assert len(told["personas"]) >= 30 and told["license"] == "Apache-2.0"
    shown = understudy("personas", "show", "learning").out
    assert "24 personas, version" in shown and "A first-year physics student" in shown


def test_lineage_attributes_and_hostile_text_are_shown(understudy: Understudy, project: Path) -> None:
    (project / "mine.yaml").write_text(
        'personas:\n  - text: "A [bold]miller[/bold] \\x1b[31m."\n    role: miller\n'
        "    origin: relation\n    parent: 0123456789\n    relation: uncle\n    hop: 2\n"
    )
    shown = understudy("personas", "show", project / "mine.yaml").out
    assert "[bold]miller[/bold]" in shown and "\x1b" not in shown
    assert "uncle of 01234567, role miller" in shown


def test_near_copies_go_and_are_named(understudy: Understudy, project: Path) -> None:
    full = write(project / "full.json.yaml", "A nurse of ten years.", "A nurse, of ten years!", "A judge in Porto.")
    said = understudy("personas", "dedup", full, "--out", project / "few.yaml", "--embedder", "hashing")
    assert said.code == 0 and "3 personas, 1 removed by words, 0 by meaning: 2 in" in " ".join(said.out.split())
    few = load_set(str(project / "few.yaml"))
    assert len(few.personas) == 2 and "1 near-copies taken out" in few.made
    told = understudy("personas", "dedup", full, "--out", project / "f", "--embedder", "none", "--json")
    assert json.loads(told.out)["kept"] == 2 and (project / "f" / "README.md").is_file()


def test_what_is_there_is_not_overwritten_and_found_out_before_the_work(understudy: Understudy, project: Path) -> None:
    full = write(project / "full.yaml", "A nurse.")
    said = understudy("personas", "dedup", full, "--out", full)
    assert said.code == 2 and "is there already" in said.err


def test_sets_are_compared_merged_imported_and_exported(understudy: Understudy, project: Path) -> None:
    one, other = write(project / "a.yaml", "A nurse.", "A judge."), write(project / "b.yaml", "A nurse.", "A cook.")
    told = understudy("personas", "diff", one, other)
    assert "- " in told.out and "1 in both, 1 only in" in " ".join(told.out.split())
    assert understudy("personas", "merge", one, other, "--out", project / "c").code == 0
    assert len(load_set("c", project).personas) == 3
    assert understudy("personas", "export", project / "c", "--out", project / "c.yaml").code == 0
    assert load_set("c.yaml", project).personas == load_set("c", project).personas
    (project / "hub.jsonl").write_text('{"persona": "A nurse."}\n{"persona": "A nurse."}\n')
    said = understudy("personas", "import", project / "hub.jsonl", "--out", project / "hub", "--license", "CC-BY-4.0")
    assert "1 personas in" in said.out and "left out: 1 that stood there before" in " ".join(said.out.split())
    assert load_set("hub", project).license == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "evryday"], "did you mean `everyday`?"),
        (["import", "nowhere.jsonl", "--out", "x"], "no such file"),
        (["dedup", "everyday", "--out", "x.yaml", "--distinct", "7"], "less than or equal to 1"),
        (["diff", "everyday", "nowhere.yaml"], "no persona set"),
    ],
)
def test_mistakes_are_explained(understudy: Understudy, project: Path, arguments: list[str], words: str) -> None:
    said = understudy("personas", *arguments)
    assert said.code == 2 and words in said.err
    assert not list(project.glob("x*"))


def test_coverage_of_topics_and_of_seeds_is_told_and_drawn(understudy: Understudy, project: Path) -> None:
    people = write(project / "few.yaml", "A baker of sourdough bread.", "A judge in Porto.")
    (project / "topics.txt").write_text("baker of bread\nnuclear physics\n")
    (project / "wanted.yaml").write_text("place: {Porto: 0.5}\n")
    base = ["personas", "cover", people, "--embedder", "hashing"]
    said = understudy(*base, "--topics", project / "topics.txt", "--out", project / "map.html")
    assert said.code == 0 and "1 of 2 topics have somebody within 0.36" in said.out
    assert "nuclear physics" in said.out and "<svg" in (project / "map.html").read_text()
    told = understudy(*base, "--seeds", project / "recipe.yaml", "--targets", project / "wanted.yaml", "--json")
    found = json.loads(told.out)
    assert found["topics"] and {"covered", "evenness", "gaps", "idle", "shares"} <= set(found)
    both = understudy(*base, "--seeds", project / "recipe.yaml", "--topics", project / "topics.txt")
    assert both.code == 2 and "--topics FILE or --seeds RECIPE" in both.err


def run(understudy: Understudy, project: Path, verb: str, *arguments: object) -> Any:
    sets = ("verify.min_grounding=null", "dedup.embedding=null")
    more = [word for setting in sets for word in ("--set", setting)]
    return understudy("personas", verb, *arguments, "--yes", *more)


def test_a_set_is_built_related_and_shown(understudy: Understudy, project: Path) -> None:
    recipe = project / "recipe.yaml"
    said = run(understudy, project, "build", recipe, "--out", project / "people", "--domain", "bread", "--attributes")
    assert said.code == 0 and "8 examples are accepted" in said.out
    assert f"understudy personas show {project / 'people'}" in " ".join(said.out.split())
    shown = understudy("personas", "show", project / "people").out
    assert "8 personas" in shown and "bread" in shown and "text-to-persona, specific" in " ".join(shown.split())
    said = run(understudy, project, "relate", project / "people", recipe, "--out", project / "kin", "--hops", 2)
    assert said.code == 0 and "the whole plan was gone through" in said.out
    kin = load_set(str(project / "kin"))
    assert (kin.name, kin.domain) == ("kin", "bread") and len(kin.personas) > 20
    assert {one.hop for one in kin.personas} == {0, 1, 2}
    # A run folder as well: books, traces, and the same command goes on.
    assert "seeds" in understudy("report", project / "kin").out
    assert "persona/relative" in understudy("traces", project / "kin", kin_id(project / "kin")).out
    again = run(understudy, project, "relate", project / "people", recipe, "--out", project / "kin", "--hops", 2)
    assert again.code == 0 and load_set(str(project / "kin")).version == kin.version


def kin_id(path: Path) -> str:
    from understudy.corpus import RunFolder

    with RunFolder.read(path) as folder:
        return next(folder.examples()).id


def test_another_plan_wants_another_folder(understudy: Understudy, project: Path) -> None:
    recipe = project / "recipe.yaml"
    run(understudy, project, "build", recipe, "--out", project / "people")
    said = run(understudy, project, "build", recipe, "--out", project / "people", "--domain", "dough")
    assert said.code == 2 and "another recipe" in said.err
    said = run(understudy, project, "relate", project / "people", recipe, "--out", project / "people")
    assert said.code == 2 and "another recipe" in said.err


def test_gaps_are_filled_or_named(understudy: Understudy, project: Path) -> None:
    topics = project / "topics.txt"
    topics.write_text("rye bread\nthe steering of ships\n")
    one = write(project / "one.yaml", "A baker of rye bread.")
    options = ("--topics", topics, "--embedder", "hashing", "--reach", "0.4")
    said = run(understudy, project, "fill", one, project / "recipe.yaml", "--out", project / "full", *options)
    assert said.code == 0 and "1 gaps of 2 topics to fill" in " ".join(said.out.split())
    assert "of 1 gaps are filled" in said.out
    assert (project / "full" / "personas.parquet").is_file()
    said = run(
        understudy, project, "fill", one, project / "recipe.yaml", "--out", project / "none", *options[:-1], "0.01"
    )
    assert said.code == 0 and "No gaps" in said.out and not (project / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("build", "nowhere.yaml", "--out", "x"), "no such recipe"),
        (("relate", "nobody", "recipe.yaml", "--out", "x"), "no persona set `nobody`"),
        (("relate", "everyday", "recipe.yaml", "--out", "x", "--relations", "no.yaml"), "no.yaml: no such file"),
        (("relate", "everyday", "recipe.yaml", "--out", "x", "--hops", "6", "--relatives", "3"), "at most 1,000"),
        (("fill", "everyday", "recipe.yaml", "--out", "x", "--topics", "no.txt"), "no.txt: no such file"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(
    understudy: Understudy, project: Path, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    found = understudy("personas", *arguments)
    assert found.code == 2 and said in found.err and not (project / "x").exists()
