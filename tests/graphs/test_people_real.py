"""People by the embedded SM, small: some 15,000 SM tokens."""

from importlib.resources import files
from pathlib import Path

import pytest

from understudy.corpus import RunFolder, read_sources
from understudy.graphs import people, run
from understudy.models import open_embedder
from understudy.personas import coverage, load_set
from understudy.recipe import Recipe, Source

pytestmark = pytest.mark.slow
DOCS = Path(str(files("understudy.cli"))) / "starter" / "docs"


def recipe(accept: int) -> Recipe:
    return Recipe(name="starter", seeds=(Source(path=str(DOCS)),), accept=accept, draws_per_seed=10)


def test_a_set_is_inferred_grown_and_its_gaps_are_filled(tmp_path: Path) -> None:
    made, work = people.build(recipe(6), name="people", domain="the starter's documents")
    outcome = run(made, tmp_path / "people", work=work)
    assert outcome.ended == "goal"
    base = load_set(str(tmp_path / "people"))
    assert len({persona.id for persona in base.personas}) == 6
    with RunFolder.read(tmp_path / "people") as folder:
        assert all(example.scores["rule/on-topic"] >= 0.25 for example in folder.examples())

    made, work = people.relate(recipe(1), base, hops=1, relatives=3)
    run(made, tmp_path / "kin", work=work)
    kin = load_set(str(tmp_path / "kin"))
    new = [persona for persona in kin.personas if persona.hop]
    assert new and {persona.parent for persona in new} <= {persona.id for persona in base.personas}

    embedder = open_embedder("embedded")
    topics = coverage.topics_of([seed for _, seed in read_sources(recipe(1))])
    reach = sorted(one.similarity for one in coverage.cover(base, topics, embedder).topics)[3]
    gaps = coverage.cover(base, topics, embedder, reach).gaps
    made, work = people.fill(recipe(1), base, [gap.topic for gap in gaps], reach, embedder, tries=8)
    run(made, tmp_path / "full", work=work)
    left = coverage.cover(load_set(str(tmp_path / "full")), topics, embedder, reach).gaps
    assert len(gaps) == 3 and len(left) < len(gaps)
