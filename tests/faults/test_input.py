"""Seeds, recipes and prompt files as nobody should write them: refused with their place, or read as they are."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.agents import load_catalog
from understudy.agents.catalog import shipped
from understudy.corpus import RunFolder
from understudy.corpus.repair import check
from understudy.errors import PromptError, RecipeError, SeedError
from understudy.graphs import generate
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

Fault = Callable[..., object]
ODD = "Zwei Wörter, \u202eright to left\u202c, e\u0301 and \ufb01, \U0001f9ea, tab\tand \x07 bell, <script>alert(1)</script>."


def of(folder: Path, accept: int = 5, **changes: object) -> Recipe:
    """A recipe over what lies in `folder`, with the scripted SM."""
    settings = {
        "name": "odd", "seeds": [{"path": str(folder)}], "accept": accept, "draws_per_seed": 1, "personas": {"set": None},
        "sm": {"backend": "scripted"}, "dedup": {"embedding": None, "minhash": None}, "in_flight": 4,
        "agents": {"transform": [], "refine": [], "judge": []},
    }  # fmt: skip
    return Recipe.model_validate(settings | changes).at(folder)


async def test_a_thousand_equal_seeds_are_all_accounted_for(tmp_path: Path, fault: Fault):
    (tmp_path / "in").mkdir()
    line = json.dumps({"text": "A canal lock lifts boats between two levels of water without any pump."})
    (tmp_path / "in" / "same.jsonl").write_text(f"{line}\n" * 1000, encoding="utf-8")
    recipe = of(tmp_path / "in", 1000, seeds=[{"path": "same.jsonl", "text_field": "text"}], dedup={"embedding": None})
    outcome = await generate(recipe, tmp_path / "out")
    assert sum(outcome.books.seeds.values()) == 1000 and outcome.books.seeds["pending"] == 0
    assert sum(outcome.books.drafts.values()) == 1000
    with RunFolder.read(tmp_path / "out") as folder:
        ids = {folder.seeds[place][0].id for place in range(1000)}
        stays = {row["parents"][0] for row in folder.rows("duplicate")}
        assert stays <= {id for id, _, _ in folder.ledger.draft_ids(limit=1000)}
    assert len(ids) == 1000
    fault("a thousand equal seeds", 1000, lost=1000 - sum(outcome.books.drafts.values()))


async def test_odd_text_comes_through_as_it_is(tmp_path: Path, fault: Fault):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "odd.jsonl").write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"text": ODD}).encode() + b"\r\n\r\n" * 1000
    )
    outcome = await generate(of(tmp_path / "in", seeds=[{"path": "odd.jsonl", "text_field": "text"}]), tmp_path / "out")
    with RunFolder.read(tmp_path / "out") as folder:
        assert len(folder.seeds) == 1
        assert folder.seeds[0][0].content == ODD
        (draft,) = [row for status in ("accepted", "rejected", "failed") for row in folder.rows(status)]
        call = folder.call(draft["calls"][0])
    assert call is not None and any(ODD in message["content"] for message in call.messages)
    assert sum(outcome.books.drafts.values()) == 1
    assert check(tmp_path / "out") == []
    fault("a seed with a BOM, CRLF, control characters, right-to-left marks and markup")


@pytest.mark.parametrize(
    "name",
    ["%2e%2e%2fevil.md", "line\nbreak.md", "quote'\";--.md", "\u202etxt.exe.md", "a" * 250 + ".md", "~.md", "-rf.md"],
)
async def test_a_hostile_name_of_a_file_leads_nowhere(tmp_path: Path, name: str, fault: Fault):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text("A canal lock lifts boats between two levels of water.", encoding="utf-8")
    before = set(tmp_path.rglob("*"))
    await generate(of(tmp_path / "in"), tmp_path / "out")
    new = set(tmp_path.rglob("*")) - before
    assert all((tmp_path / "out") in (path, *path.parents) for path in new)
    assert not any(name.removesuffix(".md") in path.name for path in new)
    with RunFolder.read(tmp_path / "out") as folder:
        assert folder.seeds[0][0].source == f"{name}:1"
    fault("a hostile name of a seed file")


@pytest.mark.parametrize(
    ("what", "file", "body", "place"),
    [
        ("invalid UTF-8", "a.md", b"fine\nnot \xff fine", ":2:5"),
        ("a NUL in a text", "a.md", b"one\ntwo \0 three", ":2"),
        ("half a surrogate pair in JSON", "a.jsonl", b'{"text": "x"}\n{"text": "\\ud83d"}', ":2"),
        ("NaN in JSON", "a.jsonl", b'{"text": NaN}', ":1"),
        ("JSON 200,000 brackets deep", "a.jsonl", b'{"text": "x"}\n' + b"[" * 200_000, ":2"),
        ("a number of 5,000 digits in JSON", "a.jsonl", b'{"n": ' + b"9" * 5000 + b"}", ":1"),
        ("a CSV with a line too long", "a.csv", b"a,b\n1,2\n1,2,3\n", ":3"),
        ("a Parquet file cut in half", "a.parquet", b"PAR1" + b"\0" * 40, ""),
        ("a PDF that is none", "a.pdf", b"%PDF-1.7 nothing", ""),
    ],
)  # fmt: skip
async def test_a_seed_file_that_cannot_be_read_is_refused_with_its_place(
    tmp_path: Path, what: str, file: str, body: bytes, place: str, fault: Fault
):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / file).write_bytes(body)
    with pytest.raises(SeedError) as caught:
        await generate(of(tmp_path / "in"), tmp_path / "out")
    assert caught.value.where == f"{tmp_path / 'in' / file}{place}"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    fault(what, message=f"{file}{place}: {caught.value.message}")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a recipe with a Python tag", "name: !!python/object/apply:os.system ['touch marker']\n"),
        ("a recipe of nested anchors", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True))),
        ("a recipe with an unknown key", "name: x\nacept: 5\n"),
        ("a recipe with a wrong type", "name: x\naccept: many\nseeds: [{path: in}]\nsm: {backend: scripted}\n"),
    ],
)  # fmt: skip
def test_a_recipe_is_data_and_nothing_else(tmp_path: Path, what: str, text: str, fault: Fault):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert not list(tmp_path.glob("marker"))
    assert str(path) in str(caught.value) and len(str(caught.value)) < 5000
    fault(what, message=str(caught.value).partition("\n")[0])


@pytest.mark.parametrize(
    "task",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ seed.__init__.__globals__ }}",
        "{% for x in range(10**9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ lipsum.__globals__['os'].popen('touch marker') }}",
    ],
)
def test_a_prompt_file_runs_no_code(tmp_path: Path, task: str, fault: Fault):
    text = (shipped() / "instruct" / "reading-comprehension" / "literal-question.md").read_text(encoding="utf-8")
    header, _, _ = text.replace("literal-question", "evil").rpartition("---")
    (tmp_path / "instruct").mkdir()
    (tmp_path / "instruct" / "evil.md").write_text(f"{header}---\n{task}\n", encoding="utf-8")
    recipe = of(tmp_path, agents={"folder": ".", "instruct": ["evil"], "transform": [], "refine": [], "judge": []})
    with pytest.raises(PromptError, match=r"evil\.md: (does not render|task uses)") as caught:
        (agent,) = load_catalog(recipe.agents, tmp_path).agents["instruct"]
        agent.prompt.render("system", "material", {"persona": ""})
    assert not list(Path.cwd().glob("marker"))
    fault("a prompt file with code in its template", message=str(caught.value).partition("\n")[0])
