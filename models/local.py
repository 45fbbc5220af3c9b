"""Any Hugging Face causal LM in a folder, on this machine, batched.

Requests that wait together are decoded together, those of like length first, each row with its own sampler seed,
temperature, length limit and grammar. In float32 a reply does not depend on its neighbours beyond rounding:
noise is drawn per token id from the row's own generator, so only a near-tie could fall another way.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from understudy.errors import EngineError, EngineRefused, ModelError
from understudy.models.sm import SM, Capabilities, Constraint, Reply
from understudy.nouns import Messages
from understudy.prompt import Sampling


@dataclass(slots=True, eq=False)
class _Request:
    prompt: list[int]
    sampling: Sampling
    seed: int
    constraint: Constraint | None
    reply: asyncio.Future[Reply]


class Local(SM):
    """A causal LM read from a folder of safetensors weights."""

    path: str
    name_: str
    batch_size: int = 16
    device: str = "auto"
    dtype: str = "auto"

    _waiting: list[_Request] = PrivateAttr(default_factory=list)
    _batching: bool = PrivateAttr(default=False)
    _batcher: asyncio.Task[None] | None = PrivateAttr(default=None)
    _thread: ThreadPoolExecutor = PrivateAttr(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="sm")
    )
    _stop: threading.Event = PrivateAttr(default_factory=threading.Event)
    _tokenizer: Any = PrivateAttr(default=None)
    _model: Any = PrivateAttr(default=None)
    _grammars: Any = PrivateAttr(default=None)
    _context: int = PrivateAttr(default=0)
    _identity: str = PrivateAttr(default="")

    @classmethod
    def open(cls, path: Path, *, name: str | None = None, batch_size: int = 16, device: str = "auto",
             dtype: str = "auto") -> Local:  # fmt: skip
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
        model = cls(path=str(path), name_=name or path.name, batch_size=batch_size, device=device, dtype=dtype)
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
        """Grammars by llguidance; seeded."""
        return Capabilities(schema=True, regex=True, seeded=True, context_tokens=self._context or None)

    async def complete(
        self, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None = None
    ) -> Reply:
        """One reply, decoded together with whatever else is waiting."""
        loop = asyncio.get_running_loop()
        if self._model is None:
            await loop.run_in_executor(self._thread, self._load)
        prompt = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        # Encoded here, padded in `_decode`: a fast tokenizer keeps its padding as state, and two threads that use
        # one at the same time give rows of unequal length.
        ids = self._tokenizer.encode(prompt, add_special_tokens=False)
        if self._context and len(ids) + sampling.max_tokens > self._context:
            raise EngineRefused(
                f"context overflow: {len(ids)} prompt tokens and {sampling.max_tokens} for the reply, "
                f"the model takes {self._context}",
                remedy="lower `chunk_tokens` or `rows_per_seed`",
            )
        waiting = _Request(ids, sampling, seed, constraint, loop.create_future())
        self._waiting.append(waiting)
        if not self._batching:
            self._batching = True
            self._batcher = loop.create_task(self._batch())
        return await waiting.reply

    async def _batch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await asyncio.sleep(0.01)  # lets requests that are a few steps away join
                self._waiting = [request for request in self._waiting if not request.reply.done()]
                if not self._waiting:
                    continue
                # The longest-waiting request, and those whose replies may be about as long: a batch takes as
                # many steps as its longest reply.
                first = self._waiting[0].sampling.max_tokens
                close = sorted(self._waiting, key=lambda request: abs(request.sampling.max_tokens - first))
                batch = close[: self.batch_size]
                self._waiting = [request for request in self._waiting if request not in batch]
                try:
                    replies = await loop.run_in_executor(self._thread, self._decode, batch)
                except Exception as error:  # a torch failure belongs to the requests, not to this loop
                    wrapped = error if isinstance(error, EngineError) else EngineError(f"{self.name_}: {error}")
                    for request in batch:
                        if not request.reply.done():
                            request.reply.set_exception(wrapped)
                    continue
                for request, reply in zip(batch, replies, strict=True):
                    if not request.reply.done():
                        request.reply.set_result(reply)
        finally:
            self._batching = False

    def _load(self) -> None:
        if self._model is not None:
            return
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        leave_a_core()
        hush()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        # float32 on CPUs: bfloat16 is slower there without matrix units, and rounds more.
        dtype = ("float32" if device == "cpu" else "bfloat16") if self.dtype == "auto" else self.dtype
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self.path, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                self.path, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"cannot be loaded: {error}", where=self.path) from error
        if self._tokenizer.chat_template is None:
            raise ModelError(
                "its tokenizer has no chat template", where=self.path, expected="an instruction-tuned model"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model = model.to(device).eval()

    def _decode(self, batch: list[_Request]) -> list[Reply]:
        import torch

        from understudy.models.decoding import Row, decode

        tokenizer, device = self._tokenizer, self._model.device
        width = max(len(request.prompt) for request in batch)
        filler = tokenizer.pad_token_id
        ids = [[filler] * (width - len(request.prompt)) + request.prompt for request in batch]
        mask = [[0] * (width - len(request.prompt)) + [1] * len(request.prompt) for request in batch]
        rows = [Row(r.sampling, r.seed, self._matcher(r.constraint)) for r in batch]
        tensors = torch.tensor(ids, device=device), torch.tensor(mask, device=device)
        decode(self._model, *tensors, rows, tokenizer.eos_token_id, self._stop)
        return [
            Reply(
                tokenizer.decode(row.written, skip_special_tokens=True),
                len(request.prompt),
                len(row.written),
                not row.ended,
            )
            for request, row in zip(batch, rows, strict=True)
        ]

    def _matcher(self, constraint: Constraint | None) -> Any:
        """The grammar of a constraint, compact: free whitespace lets a small model loop for ever."""
        if constraint is None:
            return None
        import llguidance
        import llguidance.hf

        if self._grammars is None:
            vocabulary = self._model.config.get_text_config().vocab_size
            self._grammars = llguidance.hf.from_tokenizer(self._tokenizer, n_vocab=vocabulary)
        if constraint.kind == "schema":
            schema = {**constraint.value, "x-guidance": {"whitespace_flexible": False}}
            grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
        else:
            grammar = llguidance.LLMatcher.grammar_from_regex(constraint.value)
        return llguidance.LLMatcher(self._grammars, grammar)

    async def aclose(self) -> None:
        """End the decoding in progress and the thread."""
        self._stop.set()
        if self._batcher is not None:
            self._batcher.cancel()
        for request in self._waiting:
            request.reply.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)


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


def check_folder(path: Path) -> None:
    """That a folder holds a model in safetensors.

    Raises:
        ModelError: naming what is missing.
    """
    if not (path / "config.json").is_file():
        raise ModelError(
            "no model here" if path.exists() else "no such folder",
            where=str(path),
            expected="a folder with config.json, *.safetensors and a tokenizer",
            remedy="check the path in the recipe; models are never downloaded for you",
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            "no safetensors weights",
            where=str(path),
            expected="*.safetensors (pickled weights are not read)",
            remedy="convert the model with `save_pretrained`",
        )


def fingerprint(path: Path) -> str:
    """A hash that names a model's weights and tokenizer without reading gigabytes.

    It covers config and tokenizer whole, and of each weight file its name, size, first and last mebibyte.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "chat_template.jinja",
        "adapter_config.json",
    ):
        if (path / name).is_file():
            digest.update(name.encode() + (path / name).read_bytes())
    for file in sorted(path.glob("*.safetensors")):
        size = file.stat().st_size
        with open(file, "rb") as weights:
            digest.update(f"{file.name}{size}".encode() + weights.read(2**20))
            weights.seek(max(0, size - 2**20))
            digest.update(weights.read())
    return digest.hexdigest()
