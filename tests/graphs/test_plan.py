"""The plan: every leaf soon, quotas at any time, no seed twice at a leaf before it has met them all."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.agents import Agent, load_catalog, load_skills
from understudy.corpus import RunFolder
from understudy.corpus.ledger import STATUSES
from understudy.errors import PromptError
from understudy.graphs import generate
from understudy.graphs.plan import Plan, rotation
from understudy.nouns import Persona, Seed
from understudy.personas import PersonaSet, save_set
from understudy.recipe import Cast, Recipe, Source
from understudy.traces.costs import shares

CATALOG = load_catalog()


def seeds_of(kinds: list[str]) -> list[Seed]:
    """Seeds in the order in which they were read."""
    counts: Counter[str] = Counter()
    seeds = []
    for kind in kinds:
        seeds.append(Seed.of(kind, f"{kind} {len(seeds)} of 1999\n```\n|a|b|\n", "a:1", rank=counts[kind]))  # type: ignore[arg-type]
        counts[kind] += 1
    return seeds


def plan(kinds: list[str], **cast: object) -> tuple[Plan, list[Seed]]:
    recipe = Recipe(name="x", seeds=(Source(path="."),), accept=1, agents=Cast(**cast))  # type: ignore[arg-type]
    return Plan(load_catalog(recipe.agents), recipe), seeds_of(kinds)


def leaves(made: Plan, seeds: list[Seed], turns: int) -> list[Agent]:
    return [made.begin(seeds[turn % len(seeds)], turn // len(seeds), turn)["asked_by"] for turn in range(turns)]


def test_seventeen_times_three_seeds_reach_every_leaf_in_half_as_many_draws_again():
    made, seeds = plan(["text"] * 44 + ["table"] * 3 + ["code"] * 2 + ["persona"] * 2)
    everybody = {agent.name for agent in CATALOG.agents["instruct"]}
    counts = Counter(agent.name for agent in leaves(made, seeds, len(everybody) * 3 // 2))
    assert set(counts) == everybody


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12))
def test_a_seed_meets_every_leaf_before_it_meets_one_twice(seeds: int, draws: int):
    made, known = plan(["code"] * seeds)
    met: defaultdict[int, list[str]] = defaultdict(list)
    for turn, agent in enumerate(leaves(made, known, seeds * min(draws, 10))):
        met[turn % seeds].append(agent.name)
    assert all(len(set(names)) == len(names) for names in met.values())


def test_leaves_come_up_equally_often():
    made, seeds = plan(["code"] * 7)
    counts = Counter(agent.name for agent in leaves(made, seeds, 700))
    assert len(counts) == 17 and max(counts.values()) - min(counts.values()) <= 2


def test_quotas_of_a_skill_and_of_an_agent_hold_at_any_time():
    made, seeds = plan(["text"] * 11, quotas={"reading-comprehension": 0.5, "missing-information": 0.1})
    asked = leaves(made, seeds, 2200)
    for end in (220, 1100, 2200):
        part = asked[:end]
        assert sum(a.prompt.skill == "reading-comprehension" for a in part) / end == pytest.approx(0.5, abs=0.02)
        assert sum(a.prompt.name == "missing-information" for a in part) / end == pytest.approx(0.1, abs=0.02)
    assert {a.prompt.skill for a in asked} >= {"fermi", "rag", "brain-teaser"}


def test_a_quota_of_all_leaves_nothing_for_the_others():
    agents = CATALOG.of("instruct", "text")
    assert {agent.prompt.skill for agent in rotation(agents, {"fermi": 1.0})} == {"fermi"}


def test_a_quota_for_what_a_kind_cannot_feed_is_shared_out():
    agents = CATALOG.of("instruct", "code")
    assert len(rotation(agents, {"fermi": 0.5})) == len(agents)


def test_a_seed_without_what_a_leaf_needs_goes_to_the_next(tmp_path: Path):
    made, seeds = plan(["text"], instruct=("temporal-arithmetic", "why-question"))
    plain = Seed.of("text", "Bread rises when yeast makes gas.", "a:1", rank=0)
    assert {made.begin(plain, turn, turn)["asked_by"].prompt.name for turn in range(6)} == {"why-question"}
    assert len({made.begin(seeds[0], turn, turn)["asked_by"].prompt.name for turn in range(6)}) == 2


@pytest.mark.parametrize(("quotas", "why"), [({"codign": 0.2}, "did you mean `coding`"), ({"why-questio": 0.2}, "why")])
def test_a_quota_for_nobody_is_told(quotas: dict[str, float], why: str):
    with pytest.raises(PromptError, match=r"no skill and no instruct agent") as caught:
        load_catalog(Cast(quotas=quotas))
    assert why in str(caught.value.remedy)


def test_quotas_of_more_than_all_are_refused():
    with pytest.raises(ValueError, match=r"add up to 1 at most, not 1\.2"):
        Cast(quotas={"coding": 0.6, "fermi": 0.6})


def test_seeds_added_at_the_end_change_nothing_for_those_before_them():
    made, seeds = plan(["text"] * 5 + ["code"] + ["text"] * 4)
    more = [*seeds, *seeds_of(["text"] * 30)[9:]]
    for seed, same in zip(seeds, more, strict=False):
        assert [made.begin(seed, draw, 0)["asked_by"] for draw in range(9)] == [
            made.begin(same, draw, 0)["asked_by"] for draw in range(9)
        ]


async def test_a_run_over_seventeen_times_three_seeds_draws_every_leaf_and_says_what_became_of_it(
    tmp_path: Path,
) -> None:
    documents, tables, code = tmp_path / "docs", tmp_path / "tables", tmp_path / "code"
    for folder in (documents, tables, code):
        folder.mkdir()
    for n in range(44):
        listing = "```\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        (documents / f"{n:02}.md").write_text(
            f"Heat pump number {n} moves heat from the cold air into a house.\n\n{listing}"
        )
    for n in range(3):
        (tables / f"{n}.csv").write_text(f"river,level\nGlomma,{n}\nDee,2\n")
    for n in range(2):
        (code / f"f{n}.py").write_text(f"def area{n}(width, height):\n    return width * height + {n}\n")
    people = PersonaSet("two", "", "CC0-1.0", tuple(Persona.of(f"A baker who keeps {n} ovens.") for n in range(2)))
    save_set(people, tmp_path / "two.yaml")
    leaves_in_all = len(CATALOG.agents["instruct"])
    recipe = Recipe.model_validate(
        {
            "name": "all", "accept": 10_000, "draws_per_seed": 6, "sm": {"backend": "scripted"}, "test_share": 0.0,
            "seeds": [{"path": "docs", "chunk_tokens": 200}, {"path": "tables"}, {"path": "code"},
                      {"path": "two.yaml", "kind": "persona"}],
            "personas": {"set": None}, "dedup": {"minhash": None, "embedding": None}, "refine_rounds": 0,
            "agents": {"persona": [], "judge": []},
        }
    ).at(tmp_path)  # fmt: skip
    await generate(recipe, tmp_path / "out")
    skills = {agent.name: agent.prompt.skill for agent in CATALOG.agents["instruct"]}
    with RunFolder.read(tmp_path / "out") as folder:
        assert len(folder.seeds) == 51
        drawn = Counter(
            row["path"][0].rpartition("/")[2]
            for status in STATUSES
            for row in folder.rows(status, columns=["id", "path", "calls"])
            if folder.ledger.turn(row["id"]) < leaves_in_all * 3 // 2
        )
        assert len(drawn) == leaves_in_all
        told = [share for share in shares(folder, "leaf", skills) if share.drafts is not None]
        assert min(share.drafts or 0 for share in told) >= 1
        assert sum(share.drafts or 0 for share in told) == sum(folder.accounting().drafts.values()) == 51 * 6
        assert {share.name for share in shares(folder, "skill", skills) if share.drafts} == set(load_skills())
    for share in told:
        assert share.drafts == share.accepted + share.rejected + share.duplicate + share.failed
