"""The weights of a local model, loaded once for all who speak through them: the model itself and its adapters."""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.errors import EngineRefused, ModelError
from understudy.models.chat import check_tokenizer
from understudy.models.loading import LOADING
from understudy.models.sm import Constraint
from understudy.nouns import canonical

if TYPE_CHECKING:
    from understudy.models.adapters import Adapters
    from understudy.models.decoding import Decoder

T = TypeVar("T")

# Whoever asks a server may send a new schema each time.
_MOST_GRAMMARS = 256


class Loaded:
    """Tokenizer, model, adapters and batch; nothing of it is there before `ready`."""

    def __init__(
        self, path: Path, adapters: dict[str, Path], *, batch_size: int, device: str, dtype: str, prefix_cache: bool
    ) -> None:
        self.path = path
        self.folders = adapters
        self.batch_size = batch_size
        self.tokenizer: Any = None
        self.model: Any = None
        self.adapters: Adapters | None = None
        self.decoder: Decoder | None = None
        self._device, self._dtype, self._prefix_cache = device, dtype, prefix_cache
        self._loading = asyncio.Lock()
        self._vocabulary: Any = None
        self._grammars: dict[str, Any] = {}
        try:
            self.context = int(json.loads((path / "config.json").read_text()).get("max_position_embeddings") or 0)
        except (ValueError, AttributeError) as error:
            raise ModelError(f"damaged: {error}", where=str(path / "config.json")) from error

    async def ready(self) -> Decoder:
        """The batch, with the weights behind it; the first call loads them.

        Raises:
            ModelError: when they cannot be loaded.
        """
        if self.decoder is None:
            async with self._loading:
                if self.decoder is None:
                    await asyncio.to_thread(self._load)
        assert self.decoder is not None  # noqa: S101 - `_load` has set it, or raised
        return self.decoder

    async def between(self, adapter: str | None, work: Callable[[], T]) -> T:
        """Do something with the model, one row at a time through one adapter, between two steps of the batch."""
        decoder = await self.ready()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                if self.adapters is not None:
                    self.adapters.speak([adapter])
                result = work()
            except Exception as error:
                tell(loop, done, None, error)
            else:
                tell(loop, done, result, None)

        decoder.between(job)
        return await done

    def _load(self) -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from understudy.models.decoding import Decoder

        leave_a_core()
        hush()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self._device == "auto" else self._device
        dtype = best_dtype(device) if self._dtype == "auto" else self._dtype
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(self.path, local_files_only=True)
            with LOADING:
                model = AutoModelForCausalLM.from_pretrained(
                    self.path, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True,
                    attn_implementation="sdpa",
                )  # fmt: skip
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"cannot be loaded: {error}", where=str(self.path)) from error
        check_tokenizer(self.tokenizer, str(self.path))
        self.model = model.to(device).eval()
        said = model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])} - {None}
        if self.folders:
            from understudy.models.adapters import Adapters

            self.adapters = Adapters(self.model, self.folders)
        self.decoder = Decoder(
            self.model, frozenset(ends), self.batch_size, keep_prefixes=self._prefix_cache,
            speak=self.adapters.speak if self.adapters else None,
        )  # fmt: skip

    def matcher(self, constraint: Constraint | None) -> Any:
        """The grammar of a constraint, compact: free whitespace lets a small model loop for ever.

        Raises:
            EngineRefused: when llguidance cannot make a grammar of it.
        """
        if constraint is None:
            return None
        import llguidance
        import llguidance.hf

        name = canonical([constraint.kind, constraint.value])
        if name not in self._grammars:
            if self._vocabulary is None:
                size = self.model.config.get_text_config().vocab_size
                self._vocabulary = llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=size)
            if constraint.kind == "schema":
                schema = {**constraint.value, "x-guidance": {"whitespace_flexible": False}}
                grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
            else:
                grammar = llguidance.LLMatcher.grammar_from_regex(constraint.value)
            matcher = llguidance.LLMatcher(self._vocabulary, grammar)
            if problem := matcher.get_error():
                raise EngineRefused(f"cannot be held while decoding: {problem}")
            if len(self._grammars) >= _MOST_GRAMMARS:
                self._grammars.pop(next(iter(self._grammars)))
            self._grammars[name] = matcher
        return self._grammars[name].deep_copy()

    async def close(self) -> None:
        """End the decoding in progress and its thread."""
        if self.decoder is not None:
            await asyncio.to_thread(self.decoder.close)


def tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    """From the decoding thread; whoever asked may have gone, and its event loop with it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_set, future, result, error)


def _set(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if not future.done():
        future.set_result(result) if error is None else future.set_exception(error)


def best_dtype(device: str) -> str:
    """bfloat16 where the processor computes in it; elsewhere it is slower than float32, and rounds more."""
    import torch

    if device != "cpu":
        return "bfloat16"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("amx_bf16") or able.get("avx512_bf16") else "float32"


def leave_a_core() -> None:
    """Keep torch's threads of this thread off one core.

    OpenMP threads that wait for a busy core make every step many times slower: on two shared cores one decoding
    step took 1.7 s with two threads and 0.26 s with one, and on two idle ones 0.21 s and 0.24 s.
    """
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def hush() -> None:
    """Keep transformers and its relatives from writing over what we show."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|peft")
