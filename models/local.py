"""Any Hugging Face causal LM in a folder, on this machine, in one continuous batch.

In float32 a reply does not depend on its neighbours beyond rounding: noise is drawn per token id from the row's own
generator, so only a near-tie could fall another way.
"""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import PrivateAttr

from understudy.errors import EngineError, EngineRefused, ModelError
from understudy.models.chat import check_length, check_tokenizer, prompt_ids
from understudy.models.folders import check_folder, fingerprint
from understudy.models.loading import LOADING
from understudy.models.sm import SM, Capabilities, Constraint, Matrix, Reply, Request, Score
from understudy.nouns import Messages, canonical

if TYPE_CHECKING:
    from understudy.models.decoding import Decoder
    from understudy.models.sampler import Row

T = TypeVar("T")


class Local(SM):
    """A causal LM read from a folder of safetensors weights."""

    path: str
    name_: str
    batch_size: int = 16
    device: str = "auto"
    dtype: str = "auto"
    prefix_cache: bool = True

    _loading: asyncio.Lock = PrivateAttr(default_factory=asyncio.Lock)
    _decoder: Any = PrivateAttr(default=None)
    _tokenizer: Any = PrivateAttr(default=None)
    _model: Any = PrivateAttr(default=None)
    _vocabulary: Any = PrivateAttr(default=None)
    _grammars: dict[str, Any] = PrivateAttr(default_factory=dict)
    _context: int = PrivateAttr(default=0)
    _identity: str = PrivateAttr(default="")

    @classmethod
    def open(cls, path: Path, *, name: str | None = None, batch_size: int = 16, device: str = "auto",
             dtype: str = "auto", prefix_cache: bool = True) -> Local:  # fmt: skip
        """Check the folder and name its weights; the weights themselves are loaded at the first request.

        Raises:
            ModelError: when the folder or a library is missing.
        """
        check_folder(path)
        try:
            import torch  # noqa: F401
            import transformers  # noqa: F401
        except ImportError as error:
            raise ModelError(
                f"local models need {error.name}", remedy="install it with `pip install 'understudy[local]'`"
            ) from error
        model = cls(path=str(path), name_=name or path.name, batch_size=batch_size, device=device, dtype=dtype,
                    prefix_cache=prefix_cache)  # fmt: skip
        model._identity = f"{model.name_}@{fingerprint(path)}"
        try:
            model._context = int(json.loads((path / "config.json").read_text()).get("max_position_embeddings") or 0)
        except (ValueError, AttributeError) as error:
            raise ModelError(f"damaged: {error}", where=str(path / "config.json")) from error
        return model

    @property
    def identity(self) -> str:
        """Name and fingerprint of the weights."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """All but adapters; grammars by llguidance."""
        return Capabilities(
            schema=True, regex=True, seeded=True, score=True, embed=True, slots=self.batch_size,
            context_tokens=self._context or None,
        )  # fmt: skip

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The replies, decoded together with whatever else is under way."""
        from understudy.models.sampler import Row

        decoder = await self._ready()
        prompt = prompt_ids(self._tokenizer, request.messages)
        check_length(len(prompt), request.sampling.max_tokens, self._context)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Row]] = [loop.create_future() for _ in range(request.n)]
        rows = [
            Row(prompt, request.sampling, request.seed + place, partial(_deliver, loop, future),
                self._matcher(request.constraint), request.priority)
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
                self._tokenizer.decode(row.written, skip_special_tokens=True),
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
        await self._ready()
        prompt = prompt_ids(self._tokenizer, messages)
        tail = self._tokenizer.encode(continuation, add_special_tokens=False)
        check_length(len(prompt), len(tail), self._context)

        def read() -> list[float]:
            import torch

            ids = torch.tensor([prompt + tail], device=self._model.device)
            logits = self._model(input_ids=ids, use_cache=False, logits_to_keep=len(tail) + 1).logits[0, :-1]
            chances = torch.log_softmax(logits.float(), dim=-1)
            return [float(chances[place, token]) for place, token in enumerate(tail)]

        logprobs = await self._between(read)
        return Score(tuple(self._tokenizer.convert_ids_to_tokens(tail)), tuple(logprobs))

    async def embed(self, texts: list[str]) -> Matrix:
        """The mean of the last layer's states over a text's tokens, at length one."""
        await self._ready()
        ids = [self._tokenizer.encode(text, add_special_tokens=False)[: self._context or None] for text in texts]

        def read() -> Matrix:
            import torch

            out = []
            for one in ids:  # one by one: padding would change the last digits
                states = self._model.base_model(input_ids=torch.tensor([one], device=self._model.device))
                mean = states.last_hidden_state[0].float().mean(dim=0)
                out.append((mean / mean.norm()).cpu().numpy())
            return np.stack(out).astype(np.float32)

        return await self._between(read)

    async def _between(self, work: Callable[[], T]) -> T:
        """Do something with the model between two steps of the batch."""
        decoder = await self._ready()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                result = work()
            except Exception as error:
                _tell(loop, done, None, error)
            else:
                _tell(loop, done, result, None)

        decoder.between(job)
        return await done

    async def _ready(self) -> Decoder:
        if self._decoder is None:
            async with self._loading:
                if self._decoder is None:
                    await asyncio.to_thread(self._load)
        decoder: Decoder = self._decoder
        return decoder

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from understudy.models.decoding import Decoder

        leave_a_core()
        hush()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        dtype = _best_dtype(device) if self.dtype == "auto" else self.dtype
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self.path, local_files_only=True)
            with LOADING:
                model = AutoModelForCausalLM.from_pretrained(
                    self.path, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True,
                    attn_implementation="sdpa",
                )  # fmt: skip
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"cannot be loaded: {error}", where=self.path) from error
        check_tokenizer(self._tokenizer, self.path)
        self._model = model.to(device).eval()
        said = model.generation_config.eos_token_id
        ends = {self._tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])} - {None}
        self._decoder = Decoder(self._model, frozenset(ends), self.batch_size, keep_prefixes=self.prefix_cache)

    def _matcher(self, constraint: Constraint | None) -> Any:
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
                size = self._model.config.get_text_config().vocab_size
                self._vocabulary = llguidance.hf.from_tokenizer(self._tokenizer, n_vocab=size)
            if constraint.kind == "schema":
                schema = {**constraint.value, "x-guidance": {"whitespace_flexible": False}}
                grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
            else:
                grammar = llguidance.LLMatcher.grammar_from_regex(constraint.value)
            matcher = llguidance.LLMatcher(self._vocabulary, grammar)
            if problem := matcher.get_error():
                raise EngineRefused(f"cannot be held while decoding: {problem}")
            self._grammars[name] = matcher
        return self._grammars[name].deep_copy()

    async def aclose(self) -> None:
        """End the decoding in progress and its thread."""
        if self._decoder is not None:
            await asyncio.to_thread(self._decoder.close)


def _deliver(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Row], row: Row) -> None:
    """Hand a row over from the decoding thread."""
    error = row.error
    if error is not None and not isinstance(error, EngineError):
        error = EngineError(f"decoding failed: {error}")
    _tell(loop, future, row, error)


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    """From the decoding thread; whoever asked may have gone, and its event loop with it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_set, future, result, error)


def _set(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if not future.done():
        future.set_result(result) if error is None else future.set_exception(error)


def _best_dtype(device: str) -> str:
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
