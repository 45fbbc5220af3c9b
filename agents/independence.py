"""Whether who writes for a target that was drawn first and who then finds it again are different models."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.errors import RecipeError
from understudy.recipe import Recipe
from understudy.sms import EmbeddedSM, LangChainSM, OpenAISM, ScriptedSM, TransformersSM, VLLMModel, Voice

Model = tuple[str, str, str]


def check_independent(recipe: Recipe, writers: Sequence[str], solvers: Sequence[str]) -> None:
    """That no model says itself whether it wrote well.

    Raises:
        RecipeError: naming both agents, the model and what can be done.
    """
    if (found := _shared(recipe, writers, solvers)) is None:
        return
    writer, solver, name = found
    section = "labels" if recipe.labels else "answers"
    raise RecipeError(
        f"{writer} and {solver} both speak with {name}, which would agree with its own mistakes",
        where=section,
        expected="another SM, or another adapter, for the one that is to find again what was drawn",
        remedy=f"add one under `sms` and name it: `voices: {{{solver}: {{sm: …}}}}`. With one SM alone, set "
        f"`{section}.same_solver: true`; the report then says that the round trip was not independent",
    )


def independent(recipe: Recipe, writers: Sequence[str], solvers: Sequence[str]) -> bool:
    """Whether they share no model."""
    return _shared(recipe, writers, solvers) is None


def _shared(recipe: Recipe, writers: Sequence[str], solvers: Sequence[str]) -> tuple[str, str, str] | None:
    """The first writer and solver with the same model, and how the recipe calls that; of several voices, any counts."""
    for writer in writers:
        models = {_model(recipe, voice) for voice in recipe.voices_of(writer)}
        for solver in solvers:
            for voice in recipe.voices_of(solver):
                if _model(recipe, voice) in models:
                    return (
                        writer,
                        solver,
                        f"`{voice.sm}`" + (f" and its adapter `{voice.adapter}`" if voice.adapter else ""),
                    )
    return None


def _model(recipe: Recipe, voice: Voice) -> Model:
    """What tells models apart: the weights and the adapter, whatever the recipe calls them and whoever serves them."""
    spec = recipe.engines[voice.sm]
    adapter = voice.adapter or ""
    match spec:
        case EmbeddedSM():
            return "path", "embedded", adapter
        case TransformersSM() | VLLMModel():
            return "path", spec.path, spec.adapters.get(adapter, adapter)
        case OpenAISM() | LangChainSM():
            return "model", spec.model, adapter
        case ScriptedSM():  # has no weights: two names are two scripts
            return "script", voice.sm, adapter
