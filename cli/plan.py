"""What `understudy run --dry-run` shows: the seeds, the cast, and the cost, without calling a model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from understudy.cli.screen import console, plain_table, visible
from understudy.recipe import Recipe

if TYPE_CHECKING:
    from understudy.agents import Catalog


def show_plan(recipe: Recipe, out: Path, reuse: list[Path]) -> None:
    """Read the seeds, load the cast, and price the run.

    Raises:
        UserError: for whatever the run itself would stop at before its first call.
    """
    from understudy.agents import catalog_of
    from understudy.corpus.readers import read_sources, unread
    from understudy.corpus.tokens import count_tokens
    from understudy.personas import load_set

    screen = console()
    catalog = catalog_of(recipe)
    personas = load_set(recipe.personas.set, recipe.folder) if recipe.personas.set else None
    kinds: Counter[str] = Counter()
    lengths: list[int] = []
    per_source: Counter[int] = Counter()
    for index, seed in read_sources(recipe):
        kinds[seed.kind] += 1
        per_source[index] += 1
        lengths.append(seed.meta["tokens"])
    catalog.check(set(kinds), ("instruct", "answer"))  # type: ignore[arg-type]

    table = plain_table("seeds from", "kind", "seeds", "left aside", words=2)
    for index, source in enumerate(recipe.seeds):
        aside = unread(source, recipe.path(source.path))
        table.add_row(source.path, source.kind, str(per_source[index]), str(len(aside)))
    screen.print(table)
    for source in recipe.seeds:
        root = recipe.path(source.path)
        for path in unread(source, root)[:5]:
            name = f"{source.path}/{path.relative_to(root)}"
            screen.print(f"  left aside, of no kind that is read: {visible(name)}", style="dim", markup=False)

    # A draft pays each agent one prompt (system text, seed, passage, task) and one reply.
    seed_tokens = mean(lengths)
    system = count_tokens(next(iter(catalog)).system)
    roles = {
        "persona": recipe.personas.inferred if personas else 1.0,
        "transform": 0.9, "instruct": 1.0, "answer": recipe.candidates + recipe.refine_rounds / 2,
        "refine": 2.0 * recipe.refine_rounds, "noise": _noise_calls(recipe, catalog), "judge": 1.0,
    }  # fmt: skip
    if recipe.round_trip is not None or recipe.rows is not None:  # what was drawn first is the answer
        roles["answer"] = 0.0
    cast = plain_table("family", "agents", "calls a draft", "tokens a draft")
    total_in = total_out = calls = price = 0.0
    asked = {one.prompt.skill for one in catalog.agents["instruct"] if kinds.keys() & set(one.prompt.kinds)}
    for family, times in roles.items():
        agents = [
            one
            for one in catalog.agents[family]  # type: ignore[index]
            if kinds.keys() & set(one.prompt.kinds)
            and one.prompt.skill in {None, *asked}
            and one.prompt.of in {"example", "label", "answer"}  # a few are judges of something else, and seldom asked
        ]
        if not agents or not times:
            continue
        per = 1.0 if family == "judge" else times
        prompt = system + seed_tokens + mean(count_tokens(a.prompt.task) for a in agents)
        prompt += 90 if family not in {"persona", "transform"} else 0  # the passage and what has been written so far
        voices = [(a, v) for a in agents for v in recipe.voices_of(a.name)]
        reply = 0.6 * mean(voice.max_tokens or agent.prompt.sampling.max_tokens for agent, voice in voices)
        count = per if family != "judge" else sum(one.prompt.of == "example" for one in agents)
        if family == "judge" and recipe.round_trip is not None:  # who votes is there in such recipes alone
            count += recipe.round_trip.votes
        calls += count
        price += count * mean(recipe.engines[voice.sm].money(round(prompt), round(reply)) for _, voice in voices)
        total_in, total_out = total_in + count * prompt, total_out + count * reply
        cast.add_row(family, str(len(agents)), f"{count:.1f}", f"{count * (prompt + reply):,.0f}")
    screen.print(cast)

    drafts_least = recipe.accept
    drafts_most = len(lengths) * recipe.draws_per_seed
    per_draft = total_in + total_out
    engines = ", ".join(f"{name}: {spec.backend}" for name, spec in recipe.engines.items())
    screen.print(f"SMs: {engines}   personas: {personas.name if personas else 'inferred only'}   out: {out}")
    screen.print(
        f"Goal: {recipe.accept} accepted, from {len(lengths)} seeds ({', '.join(f'{n} {k}' for k, n in kinds.items())})"
    )
    for label, drafts in (("if every draft is accepted", drafts_least), ("if all draws are needed", drafts_most)):
        money = f", cost {drafts * price:.4f}" if price else ""
        screen.print(
            f"  {label}: {drafts} drafts, {drafts * calls:,.0f} calls, {drafts * per_draft:,.0f} tokens{money}"
        )
    if recipe.budget.tokens:
        screen.print(f"  the budget stops it at {recipe.budget.tokens:,} tokens")
    if drafts_most < recipe.accept:
        screen.print(
            f"[yellow]The goal cannot be met:[/] {drafts_most} drafts at most; raise `draws_per_seed` or add seeds."
        )
    screen.print("These are estimates from the prompts' lengths; no SM was called and nothing was written.")
    if reuse:
        _show_reuse(recipe, reuse)


def _noise_calls(recipe: Recipe, catalog: Catalog) -> float:
    """Calls of noisers in a draft if each is understood at once; typos by rule take none."""
    if recipe.noise is None:
        return 0.0
    names = [one.prompt.name for one in catalog.agents["noise"]]
    weights = recipe.noise.weights or dict.fromkeys(names, 1.0)
    free = weights.get("typos", 0.0) if recipe.noise.typos == "rule" else 0.0
    return recipe.noise.share * (1 - free / sum(weights.values())) if weights else 0.0


def _show_reuse(recipe: Recipe, reuse: list[Path]) -> None:
    """How many calls the run would have to make beside those of earlier corpora."""
    from understudy.graphs.rehearsal import rehearse

    said = rehearse(recipe, reuse)
    screen = console()
    whole = f"all {said.tried:,} drafts" if said.needed == said.tried else f"the first {said.tried:,} drafts"
    screen.print(
        f"\nWith the calls of {', '.join(map(str, reuse))}, {whole} of the run were walked through:", markup=False
    )
    screen.print(f"  {said.at_hand:,} calls are at hand, {said.whole:,} drafts need no other")
    new = said.new_calls * said.scale
    about = "" if not said.missing else f", about {new * said.tokens_a_call:,.0f} tokens"
    least = "at least " if said.beyond else ""
    screen.print(f"  [bold]{least}{new:,.0f} calls are to be made[/]{about}")
    for agent, count in said.missing.most_common():
        screen.print(f"    in {count:,} drafts {agent} is the first to be asked", markup=False)
    if said.missing:
        screen.print("  if as many drafts are accepted as before")
    if said.needed > said.tried:
        screen.print(f"  reckoned for {said.needed:,} drafts")
