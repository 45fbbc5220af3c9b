"""From a recipe's `sm:` and `sms:` sections to SMs that are ready, or an error before any work starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from understudy.errors import ModelError
from understudy.models.frozen import check_frozen
from understudy.models.sm import SM
from understudy.recipe import Recipe
from understudy.sms import (
    MAIN,
    VLLMSM,
    EmbeddedSM,
    LangChainSM,
    OpenAISM,
    ScriptedSM,
    SMSpec,
    TransformersSM,
    VLLMServerSM,
)


async def open_sms(recipe: Recipe, given: SM | None = None) -> dict[str, SM]:
    """The SMs of a recipe by their names there.

    Args:
        recipe: what names them.
        given: an SM to use in place of the recipe's main one.

    Raises:
        ModelError: when one is missing, cannot be reached, or lacks a library or an adapter.
    """
    opened: dict[str, SM] = {}
    try:
        for name, spec in recipe.engines.items():
            if given is not None and name == MAIN:
                opened[name] = given
            else:
                opened[name] = await open_sm(recipe, spec)
    except BaseException:
        await close_sms(opened)
        raise
    return opened


async def close_sms(sms: dict[str, SM]) -> None:
    """Close all of them, whatever one of them says."""
    await asyncio.gather(*(sm.aclose() for sm in sms.values()), return_exceptions=True)


async def open_sm(recipe: Recipe, spec: SMSpec | None = None) -> SM:
    """One SM: that of a section, or the recipe's main one.

    Raises:
        ModelError: when it is missing, cannot be reached, or lacks a library.
    """
    spec = spec or recipe.sm
    match spec:
        case EmbeddedSM():
            from understudy.models import embedded
            from understudy.models.local import Local

            return Local.open(embedded.embedded_path(), name=embedded.NAME, batch_size=spec.batch_size)
        case TransformersSM():
            from understudy.models.local import Local

            path, name = _folder(recipe, spec.path)
            return Local.open(path, _adapters(recipe, spec.adapters), name=name, batch_size=spec.batch_size,
                              device=spec.device, dtype=spec.dtype)  # fmt: skip
        case VLLMSM():
            from understudy.models.vllm_engine import VLLM

            path, name = _folder(recipe, spec.path)
            return await VLLM.open(spec, path, _adapters(recipe, spec.adapters), name=name)
        case VLLMServerSM():
            from understudy.models.vllm_server import ServedByUs

            path, name = _folder(recipe, spec.path)
            return await ServedByUs.start(spec, path, _adapters(recipe, spec.adapters), name=name)
        case OpenAISM():
            from understudy.models.endpoint import Endpoint

            endpoint = Endpoint.open(spec)
            try:
                await endpoint.check()
            except ModelError:
                await endpoint.aclose()
                raise
            return endpoint
        case LangChainSM():
            from understudy.models.langchain import LangChain

            return LangChain.open(spec)
        case ScriptedSM():
            from understudy.models.scripted import Scripted

            return Scripted(delay_s=spec.delay_s)


def _folder(recipe: Recipe, path: str) -> tuple[Path, str | None]:
    """The folder of weights, and its name where the folder's is not it; a frozen SM must be as it was trained."""
    if path != "embedded":
        frozen = check_frozen(recipe.path(path))
        return recipe.path(path), frozen.name if frozen else None
    from understudy.models import embedded

    return embedded.embedded_path(), embedded.NAME


def _adapters(recipe: Recipe, adapters: dict[str, str]) -> dict[str, Path]:
    return {name: recipe.path(path) for name, path in adapters.items()}
