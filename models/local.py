"""Any Hugging Face causal LM in a folder, and its LoRA adapters, on this machine, in one continuous batch.

In float32 a reply does not depend on its neighbours beyond rounding: noise is drawn per token id from the row's own
generator, so only a near-tie could fall another way.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PrivateAttr

from understudy.errors import EngineError, ModelError
from understudy.models.adapters import check_adapters
from understudy.models.chat import check_length, prompt_ids
from understudy.models.folders import check_folder, fingerprint
from understudy.models.loaded import Loaded, hush, leave_a_core, tell
from understudy.models.sm import SM, Capabilities, Matrix, Reply, Request, Score
from understudy.nouns import Messages

if TYPE_CHECKING:
    from understudy.models.sampler import Row

__all__ = ["Local", "hush", "leave_a_core"]


class Local(SM):
    """A causal LM read from a folder of safetensors weights, or one of its LoRA adapters."""

    name_: str
    """Name and fingerprint of the weights, and of the adapter."""
    adapter: str | None = None
    _base: str = PrivateAttr()
    _loaded: Loaded = PrivateAttr()

    @classmethod
    def open(
        cls, path: Path, adapters: dict[str, Path] | None = None, *, name: str | None = None, batch_size: int = 16,
        device: str = "auto", dtype: str = "auto", prefix_cache: bool = True,
    ) -> Local:  # fmt: skip
        """Check the folders and name their weights; the weights themselves are loaded at the first request.

        Args:
            path: the folder of the model.
            adapters: the folders of LoRA adapters, by name.
            name: what the model is called, if not as its folder.
            batch_size: requests decoded together.
            device: a torch device, or `auto`.
            dtype: a torch dtype, or `auto`.
            prefix_cache: whether what prompts have in common at their start is read once.

        Raises:
            ModelError: when a folder or a library is missing, or an adapter is not one of this model.
        """
        check_folder(path)
        check_adapters(adapters or {}, path)
        try:
            import torch  # noqa: F401
            import transformers  # noqa: F401

            if adapters:
                import peft  # noqa: F401
        except ImportError as error:
            raise ModelError(
                f"local models need {error.name}", remedy="install it with `pip install 'understudy[local]'`"
            ) from error
        model = cls(name_=f"{name or path.name}@{fingerprint(path)}")
        model._base = model.name_
        model._loaded = Loaded(
            path, adapters or {}, batch_size=batch_size, device=device, dtype=dtype, prefix_cache=prefix_cache
        )
        return model

    @property
    def identity(self) -> str:
        """Name and fingerprint of the weights, and of the adapter."""
        return self.name_

    @property
    def capabilities(self) -> Capabilities:
        """All there are, adapters if it was given some; grammars by llguidance."""
        return Capabilities(
            schema=True, regex=True, seeded=True, score=True, embed=True, adapters=bool(self._loaded.folders),
            slots=self._loaded.batch_size, context_tokens=self._loaded.context or None,
        )  # fmt: skip

    def adapted(self, name: str) -> Local:
        """This model through one of its adapters, in the same batch."""
        self.require("adapters", f"adapter `{name}`")
        folders = self._loaded.folders
        if name not in folders:
            raise ModelError(
                f"no adapter is called `{name}`", where=self.identity, expected=f"one of: {', '.join(folders)}"
            )
        named = f"{self._base}+{name}@{fingerprint(folders[name])}"
        return self.model_copy(update={"adapter": name, "name_": named})

    async def load(self) -> None:
        """Load the weights now, not at the first request.

        Raises:
            ModelError: when they cannot be loaded.
        """
        await self._loaded.ready()

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The replies, decoded together with whatever else is under way."""
        from understudy.models.sampler import Row

        loaded = self._loaded
        decoder = await loaded.ready()
        prompt = prompt_ids(loaded.tokenizer, request.messages)
        check_length(len(prompt), request.sampling.max_tokens, loaded.context)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Row]] = [loop.create_future() for _ in range(request.n)]
        rows = [
            Row(prompt, request.sampling, request.seed + place, partial(_deliver, loop, future),
                loaded.matcher(request.constraint), request.priority, self.adapter)
            for place, future in enumerate(futures)
        ]  # fmt: skip
        decoder.submit(*rows)
        try:
            await asyncio.gather(*futures)
        finally:
            for row in rows:
                row.dropped = True
        return tuple(
            Reply(
                loaded.tokenizer.decode(row.written, skip_special_tokens=True),
                0 if place else len(prompt),
                len(row.written),
                not row.ended,
                0 if place else row.cached,
                row.looped,
            )
            for place, row in enumerate(rows)
        )

    async def score(self, messages: Messages, continuation: str) -> Score:
        """By one forward pass."""
        loaded = self._loaded
        await loaded.ready()
        prompt = prompt_ids(loaded.tokenizer, messages)
        tail = loaded.tokenizer.encode(continuation, add_special_tokens=False)
        check_length(len(prompt), len(tail), loaded.context)

        def read() -> list[float]:
            import torch

            ids = torch.tensor([prompt + tail], device=loaded.model.device)
            logits = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=len(tail) + 1).logits[0, :-1]
            chances = torch.log_softmax(logits.float(), dim=-1)
            return [float(chances[place, token]) for place, token in enumerate(tail)]

        logprobs = await loaded.between(self.adapter, read)
        return Score(tuple(loaded.tokenizer.convert_ids_to_tokens(tail)), tuple(logprobs))

    async def embed(self, texts: list[str]) -> Matrix:
        """The mean of the last layer's states over a text's tokens, at length one."""
        loaded = self._loaded
        await loaded.ready()
        ids = [loaded.tokenizer.encode(text, add_special_tokens=False)[: loaded.context or None] for text in texts]

        def read() -> Matrix:
            import torch

            out = []
            for one in ids:  # one by one: padding would change the last digits
                states = loaded.model.base_model(input_ids=torch.tensor([one], device=loaded.model.device))
                mean = states.last_hidden_state[0].float().mean(dim=0)
                out.append((mean / mean.norm()).cpu().numpy())
            return np.stack(out).astype(np.float32)

        return await loaded.between(self.adapter, read)

    async def aclose(self) -> None:
        """End the decoding in progress and its thread; views share them, so the last word is any one's."""
        await self._loaded.close()


def _deliver(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Row], row: Row) -> None:
    """Hand a row over from the decoding thread."""
    error = row.error
    if error is not None and not isinstance(error, EngineError):
        error = EngineError(f"decoding failed: {error}")
    tell(loop, future, row, error)
