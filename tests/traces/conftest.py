"""Stories and corpora that are written by hand, so that what a page shows can be counted, and what it must not run is there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.nouns import Call, Example, Persona, Seed, Verdict, Version
from understudy.recipe_file import load_recipe
from understudy.traces.story import Step, Story

ATTACKS = ("<script>document.title='run'</script>", '"><img src=x onerror="document.title=\'run\'">', "'-alert(1)-'")


def drawn(
    seed: Seed,
    draw: int,
    said: str,
    status: str = "accepted",
    reason: str | None = None,
    persona: Persona | None = None,
    **more: object,
) -> tuple[Example, Call]:
    """A draft of one call, as the graph would make it."""
    asked = str(more.get("asked", f"What is {said}?"))
    agent = str(more.get("agent", "answer/answer"))
    call = Call(
        f"call:{seed.id}:{draw}", agent, "model", ({"role": "user", "content": asked},),
        {"temperature": 0.5, "top_p": 0.9, "max_tokens": 20, "seed": 7, "repetition_penalty": 1.1}, said,
        {"prompt": 30, "cached": 10, "completion": 12}, 1.5, more.get("error"),  # type: ignore[arg-type]
        at=more.get("at"),  # type: ignore[arg-type]
    )  # fmt: skip
    payload = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
    example = Example(
        Example.address("chat", payload, seed.id, draw), "chat", payload, seed.id, draw, persona,
        more.get("parents", ()),  # type: ignore[arg-type]
        (f"plan/{more.get('skill', 'coding')}/code-bug", "persona-set/few", "transform/identity", "instruct/code-bug", agent,
         *more.get("steps", ())),  # type: ignore[misc]
        (call.key,), {}, more.get("verdicts", (Verdict("rule/length", True, 1.0),)),  # type: ignore[arg-type]
        status, reason, more.get("versions", ()),  # type: ignore[arg-type]
    )  # fmt: skip
    return example, call


def written(folder: Path, seeds: list[Seed], name: str = "corpus") -> RunFolder:
    """An empty corpus with these seeds."""
    (folder / "seed.txt").write_text("A seed.\n")
    (folder / "recipe.yaml").write_text(
        "name: by-hand\nseeds: [{path: seed.txt, license: Apache-2.0}]\naccept: 10\nlicense: Apache-2.0\n"
        "sm: {backend: scripted, price_in: 1.0, price_out: 2.0}\n"
    )
    recipe = load_recipe(folder / "recipe.yaml")
    return RunFolder.start(folder / name, recipe, "by hand", given=((0, seed) for seed in seeds))


def add(folder: RunFolder, drafts: list[tuple[Example, Call]]) -> None:
    """Commit drafts as the next shard."""
    folder.ledger.add_calls([call for _, call in drafts])
    first = folder.ledger.next_turn()
    origins = {folder.seeds[place][0].id: folder.seeds[place] for place in range(len(folder.seeds))}
    folder.commit([(first + place, example) for place, (example, _) in enumerate(drafts)], origins, [])


@pytest.fixture
def by_hand() -> SimpleNamespace:
    """The functions of this file."""
    return SimpleNamespace(written=written, drawn=drawn, add=add)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """A corpus in which every text that a page shows is an attack."""
    run, image, quote = ATTACKS
    seed = Seed.of("text", f"{run} {image}", f"{image}.md:1", license=run)
    with written(tmp_path, [seed]) as folder:
        persona = Persona.of(f"{run} {image} {quote}")
        versions = (
            Version("answer/answer", 0, f"{run} one", f"{image} two", "kept", score=0.5),
            Version(f"refine/{run}", 1, f"{image} one", f"{run} three", f"rule/{image}", score=0.4),
        )
        verdicts = (Verdict(f"rule/{run}", True, 0.5, image), Verdict(f"judge/{image}", True, 1.0, run))
        kept = drawn(
            seed, 0, f"{run} {image}", persona=persona, asked=f"{image} {run}", skill=run, agent=f"answer/{run}",
            verdicts=verdicts, versions=versions, steps=(f"refine/{image}", f"judge/{image}"),
        )  # fmt: skip
        lost = drawn(
            seed, 1, image, "rejected", f"rule/{image}", persona, verdicts=(Verdict(f"rule/{image}", False, 0.1, run),)
        )
        failed = drawn(seed, 2, run, "failed", f"parse: {run}", persona, error=image)
        twin = drawn(
            seed,
            3,
            run,
            "duplicate",
            run,
            persona,
            parents=(kept[0].id,),
            verdicts=(Verdict("dedup/minhash", False, 0.95),),
        )
        add(folder, [kept, lost, failed, twin])
        folder.ledger.add_flow(
            [(1.0, run, f"http://{image}", 4, 2, 1, None), (2.0, run, f"http://{image}", 4, 3, 1, run)]
        )
        path = folder.path
    yield path


Make = Callable[..., Any]


@pytest.fixture
def call() -> Make:
    def make(key: str, agent: str = "instruct/why", **changes: Any) -> Call:
        values: dict[str, Any] = {
            "key": key, "agent": agent, "model": "tiny@0f1e", "reply": f"Reply {key}.", "seconds": 2.0,
            "messages": ({"role": "system", "content": "Secret rules."}, {"role": "user", "content": f"Secret ask {key}."}),
            "sampling": {"temperature": 0.7, "top_p": 0.9, "max_tokens": 64, "repetition_penalty": 1.05, "seed": 5},
            "usage": {"prompt": 100, "cached": 40, "completion": 20}, "at": 1_000.0,
        }  # fmt: skip
        return Call(**values | changes)

    return make


@pytest.fixture
def tale() -> Make:
    """A story of calls; those of one agent that follow one another with four messages are second tries."""

    def make(*calls: Call, **changes: Any) -> Story:
        seed = Seed.of("text", "Secret words of the seed.", "docs/a.md:3")
        payload = {
            "messages": [
                {"role": "user", "content": "Secret question?"},
                {"role": "assistant", "content": "Secret answer."},
            ]
        }
        example = Example(
            **{
                "id": Example.address("chat", payload, seed.id, 0), "kind": "chat", "payload": payload,
                "seed": seed.id, "draw": 0, "persona": Persona.of("A secret baker."), "parents": (),
                "path": tuple(dict.fromkeys(call.agent for call in calls)), "calls": tuple(call.key for call in calls),
                "scores": {}, "status": "accepted",
                "verdicts": (
                    Verdict("rule/length", True, 0.75, "secret evidence"), Verdict("judge/clear", False, None, None),
                ),
            } | changes
        )  # fmt: skip
        steps = tuple(
            Step(one, place > 0 and one.agent == calls[place - 1].agent and len(one.messages) > 2)
            for place, one in enumerate(calls)
        )
        return Story(seed, example, steps, 240)

    return make
