"""Answers of models on this machine to many prompts, in batches of prompts of like length.

A base and its VM share their weights where the VM is an adapter (`Models`); what one of them says, and how likely it
finds what it is shown, is asked of an `Answering`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ModelError
from understudy.models.local import hush, leave_a_core

Watch = Callable[[int, int], None]
"""Called with (done, all)."""

# Prompts that are read together, and the most values of logits, or of keys and values, held at once (256 MiB each).
_BATCH = 32
_MOST_LOGITS = 1 << 26
_MOST_CACHED = 1 << 26


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: the turns up to the answer, and the tools that are offered."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()


class Models:
    """Base and VM, sharing weights where the VM is an adapter."""

    def __init__(self, base: Path, vm: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        leave_a_core()
        hush()
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
        self.tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, padding_side="left")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        model = AutoModelForCausalLM.from_pretrained(base, **options)
        if (vm / "adapter_config.json").is_file():
            from peft import PeftModel

            self._vm = PeftModel.from_pretrained(model, vm).to(device).eval()
            self._base = self._vm
        else:
            self._vm = AutoModelForCausalLM.from_pretrained(vm, **options).to(device).eval()
            self._base = model.to(device).eval()

    @contextmanager
    def as_base(self) -> Iterator[Any]:
        """The base: the adapter switched off, or the other weights."""
        off: AbstractContextManager[Any] = self._vm.disable_adapter() if self._base is self._vm else nullcontext()
        with off:
            yield self._base

    @contextmanager
    def as_vm(self) -> Iterator[Any]:
        """The VM; in float32 its adapter is added to the weights meanwhile, which spares every layer two products."""
        import torch

        added = self._base is self._vm and self._vm.dtype == torch.float32
        if added:
            self._vm.merge_adapter()
        try:
            yield self._vm
        finally:
            if added:
                self._vm.unmerge_adapter()

    def answering(self, model: Any) -> Answering:
        """One of the two, to be asked while its context is open."""
        return Answering(model, self.tokenizer)


class Answering:
    """A causal LM and its tokenizer, to be asked."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        said = model.generation_config.eos_token_id
        ends = {tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])} - {None}
        self._ends = sorted(ends)
        self._context = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def answers(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> list[list[str]]:
        """What is said to each prompt, `samples` times; the most likely words at temperature 0.

        Raises:
            ModelError: when a prompt and its answer are longer than the model's context.
        """
        import torch

        ids = [self._ids(prompt) for prompt in prompts]
        self._check(max(map(len, ids), default=0), max_new_tokens)
        drawn: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            # The whole distribution at this temperature, whatever the folder's own defaults are.
            drawn |= {"temperature": temperature, "top_p": 1.0, "top_k": 0, "num_return_sequences": samples}
            torch.manual_seed(seed)
        found: list[list[str]] = [[] for _ in ids]
        done = 0
        for places in _batches([len(one) for one in ids], max(1, _BATCH // samples)):
            batch = self._padded([ids[place] for place in places])
            with torch.inference_mode():
                out = self.model.generate(
                    **batch, max_new_tokens=max_new_tokens, pad_token_id=self.tokenizer.pad_token_id,
                    eos_token_id=self._ends, **drawn,
                )  # fmt: skip
            texts = self.tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            each = len(texts) // len(places)
            for number, place in enumerate(places):
                found[place] = [text.strip() for text in texts[number * each : (number + 1) * each]] * (samples // each)
            done += len(places)
            if watch:
                watch(done, len(ids))
        return found

    def scores(
        self, prompts: Sequence[Prompt], choices: Sequence[str], *, watch: Watch | None = None
    ) -> list[list[float]]:
        """The log-probability of each choice as the whole answer to each prompt, its end token with it.

        A prompt is read once, whatever the number of choices.

        Raises:
            ModelError: when a prompt and its longest choice are longer than the model's context.
        """
        import torch

        end = self.tokenizer.eos_token or ""
        tails = [self.tokenizer.encode(choice + end, add_special_tokens=False) for choice in choices]
        heads = [self._ids(prompt) for prompt in prompts]
        longest = max(map(len, heads), default=0)
        self._check(longest, max(map(len, tails), default=0))
        config = self.model.config.get_text_config()
        heads_kept = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        each = 2 * config.num_hidden_layers * heads_kept * width * max(1, longest)
        size = max(1, min(_BATCH, _MOST_CACHED // each))
        found: list[list[float]] = [[] for _ in heads]
        done = 0
        for places in _batches(map(len, heads), size):
            batch = self._padded([heads[place] for place in places])
            mask = batch["attention_mask"]
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            with torch.inference_mode():
                read = self.model(**batch, position_ids=positions, use_cache=True, logits_to_keep=1)
                start = torch.log_softmax(read.logits[:, -1].float(), dim=-1)
                for tail in tails:
                    ids = torch.tensor([tail] * len(places), device=start.device)
                    sums = start.gather(1, ids[:, :1])[:, 0]
                    if len(tail) > 1:
                        # A copy for each choice: not every model's cache can be cut back to the prompt.
                        said, cache = ids[:, :-1], copy.deepcopy(read.past_key_values)
                        seen = torch.cat([mask, torch.ones_like(said)], dim=1)
                        at = positions[:, -1:] + torch.arange(1, len(tail), device=start.device)
                        logits = self.model(
                            input_ids=said, attention_mask=seen, position_ids=at, past_key_values=cache, use_cache=True
                        ).logits
                        chances = torch.log_softmax(logits.float(), dim=-1)
                        sums = sums + chances.gather(2, ids[:, 1:, None])[..., 0].sum(dim=1)
                    for place, value in zip(places, sums.tolist(), strict=True):
                        found[place].append(value)
            done += len(places)
            if watch:
                watch(done, len(heads))
        return found

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]], *, watch: Watch | None = None) -> list[list[float]]:
        """Natural log-probabilities of the tokens of an answer to a prompt, and of its end token.

        Raises:
            ModelError: when they are longer than the model's context.
        """
        import torch

        end = self.tokenizer.eos_token or ""
        heads = [self._ids(prompt) for prompt, _ in pairs]
        tails = [self.tokenizer.encode(answer + end, add_special_tokens=False) for _, answer in pairs]
        lengths = [len(head) + len(tail) for head, tail in zip(heads, tails, strict=True)]
        self._check(max(lengths, default=0), 0)
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        longest = max(map(len, tails), default=0) + 1
        size = max(1, min(_BATCH, _MOST_LOGITS // (longest * vocabulary)))
        found: list[list[float]] = [[] for _ in pairs]
        done = 0
        for places in _batches(lengths, size):
            batch = self._padded([heads[place] + tails[place] for place in places])
            kept = max(len(tails[place]) for place in places) + 1
            positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
            with torch.inference_mode():
                logits = self.model(**batch, position_ids=positions, use_cache=False, logits_to_keep=kept).logits
                for row, place in zip(logits, places, strict=True):
                    tail = torch.tensor(tails[place], device=row.device)
                    chances = torch.log_softmax(row[-len(tail) - 1 : -1].float(), dim=-1)
                    found[place] = chances.gather(1, tail[:, None])[:, 0].tolist()
            done += len(places)
            if watch:
                watch(done, len(pairs))
        return found

    def _ids(self, prompt: Prompt) -> list[int]:
        messages = [_opened(message) for message in prompt.messages]
        tools = list(prompt.tools) or None
        text = self.tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _padded(self, rows: list[list[int]]) -> dict[str, Any]:
        """On the left, so that all end at one place."""
        import torch

        width = max(map(len, rows))
        ids = [[self.tokenizer.pad_token_id] * (width - len(row)) + row for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        device = self.model.device
        return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}

    def _check(self, tokens: int, more: int) -> None:
        if self._context and tokens + more > self._context:
            raise ModelError(
                f"takes {self._context} tokens, and the longest row needs {tokens + more}",
                where=str(self.tokenizer.name_or_path),
                remedy="leave out long rows, or lower `max_new_tokens`",
            )


def _opened(message: dict[str, Any]) -> dict[str, Any]:
    """A message with the arguments of its calls as values: templates write them as JSON themselves."""
    if not (calls := message.get("tool_calls")):
        return message
    functions = [call["function"] | {"arguments": json.loads(call["function"]["arguments"])} for call in calls]
    return message | {
        "tool_calls": [call | {"function": function} for call, function in zip(calls, functions, strict=True)]
    }


def _batches(lengths: Iterable[int], size: int) -> Iterator[list[int]]:
    """Places of rows of like length, the longest first: what does not fit memory fails at once."""
    order = sorted(enumerate(lengths), key=lambda pair: (-pair[1], pair[0]))
    places = [place for place, _ in order]
    for start in range(0, len(places), size):
        yield places[start : start + size]
