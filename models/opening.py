"""From a recipe's `sm:` section to an SM that is ready, or an error before any work starts."""

from __future__ import annotations

from understudy.models.sm import SM
from understudy.recipe import EmbeddedSM, OpenAISM, Recipe, ScriptedSM, TransformersSM


async def open_sm(recipe: Recipe) -> SM:
    """The SM of a recipe.

    Raises:
        ModelError: when it is missing, cannot be reached, or lacks a library.
    """
    spec = recipe.sm
    match spec:
        case EmbeddedSM():
            from understudy.models import embedded
            from understudy.models.local import Local

            return Local.open(embedded.embedded_path(), name=embedded.NAME, batch_size=spec.batch_size)
        case TransformersSM():
            from understudy.models.local import Local

            return Local.open(recipe.path(spec.path), batch_size=spec.batch_size, device=spec.device, dtype=spec.dtype)
        case OpenAISM():
            from understudy.models.endpoint import Endpoint

            endpoint = Endpoint.open(spec)
            await endpoint.check()
            return endpoint
        case ScriptedSM():
            from understudy.models.scripted import Scripted

            return Scripted(delay_s=spec.delay_s)
