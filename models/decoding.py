"""Decoding many prompts of a causal LM at once, in a batch that is never drained.

A row that has ended leaves the batch at once and the next prompt takes its place, so a long reply does not make the
others wait (continuous batching: Yu et al., Orca, OSDI 2022).
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from understudy.errors import EngineError, ModelError
from understudy.models.keyvalues import KeyValues, PrefixStore
from understudy.models.sampler import Row, draw

# How much of the prompts' keys and values is kept for later ones, for each row of the batch.
_KEPT_TOKENS_PER_ROW = 1024
# Prompts that are read together, padding included; more of them are read one group after another.
_READ_TOKENS = 4096


class Decoder:
    """The batch, on a thread of its own that sleeps when there is nothing to write.

    `speak` is told, before each forward pass, which adapter each of its rows goes through.
    """

    def __init__(
        self, model: Any, ends: frozenset[int], batch_size: int, *, keep_prefixes: bool = True,
        speak: Callable[[Sequence[str | None]], None] | None = None,
    ) -> None:  # fmt: skip
        config = model.config.get_text_config()
        self._windows = _windows(config)
        self._model = model
        self._speak = speak
        self._ends = ends
        self._size = batch_size
        self._cache = KeyValues(batch_size, config.num_hidden_layers)
        self._store = PrefixStore(batch_size * _KEPT_TOKENS_PER_ROW) if keep_prefixes else None
        self._live: list[Row] = []
        self._waiting: list[tuple[int, int, Row]] = []
        self._jobs: list[Callable[[], None]] = []
        self._order = itertools.count()
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sm", daemon=True)
        self._thread.start()

    def submit(self, *rows: Row) -> None:
        """Hand in rows; those of the lowest priority are begun first."""
        with self._news:
            if self._closed:
                self._fail(rows, EngineError("stopped"))
                return
            for row in rows:
                heapq.heappush(self._waiting, (row.priority, next(self._order), row))
            self._news.notify()

    def between(self, job: Callable[[], None]) -> None:
        """Do something else with the model, between two steps.

        Raises:
            EngineError: when the decoder is closed.
        """
        with self._news:
            if self._closed:
                raise EngineError("stopped")
            self._jobs.append(job)
            self._news.notify()

    def close(self) -> None:
        """End at the next step; rows under way get an error."""
        with self._news:
            self._closed = True
            self._news.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        from understudy.models.loaded import leave_a_core

        leave_a_core()
        with torch.inference_mode():
            while self._turn():
                pass

    def _turn(self) -> bool:
        """Let new rows in and write one token of each; whether to go on."""
        with self._news:
            while not (self._closed or self._waiting or self._live or self._jobs):
                self._news.wait()
            new: list[Row] = []
            while self._waiting and len(self._live) + len(new) < self._size:
                row = heapq.heappop(self._waiting)[2]
                if not row.dropped:
                    new.append(row)
            jobs, self._jobs = self._jobs, []
            closed = self._closed
        for job in jobs:
            job()
        if closed:
            self._fail([*self._live, *new, *(row for *_, row in self._waiting)], EngineError("stopped"))
            return False
        try:
            if new:
                self._admit(new)
            if self._live:
                self._step()
        except Exception as error:  # a failure of torch belongs to the rows, not to this thread
            rows, self._live = [*self._live, *new], []
            self._fail(rows, error)
        return True

    def _fail(self, rows: Sequence[Row], error: Exception) -> None:
        for row in rows:
            row.close(error)

    def _admit(self, new: list[Row]) -> None:
        """Read the prompts of new rows and draw the first token of each."""
        self._cache.reserve(max(len(row.prompt) + row.sampling.max_tokens for row in new))
        while new:
            group = self._apart(new)
            new = [row for row in new if row not in group]
            # Those of like length together: a group is as wide as its longest.
            group.sort(key=lambda row: len(row.prompt))
            while group:
                count = max(1, min(len(group), _READ_TOKENS // len(group[-1].prompt)))
                part, group = group[-count:], group[:-count]
                self._read(part)

    def _apart(self, new: list[Row]) -> list[Row]:
        """Rows that share no unknown block: where two begin alike, the second waits until the first has been read."""
        if self._store is None:
            return new
        ahead: dict[bytes | int, Row] = {}
        for place, row in enumerate(new):
            ahead.setdefault(self._store.unknown(row.prompt, row.adapter) or place, row)
        return list(ahead.values())

    def _read(self, rows: list[Row]) -> None:
        first = len(self._live)
        for place, row in enumerate(rows):
            row.cached = 0
            if self._store is not None:
                row.cached = self._store.fill(self._cache, first + place, row.prompt, row.adapter)
        self._live += rows
        tails = [row.prompt[row.cached :] for row in rows]
        width = max(map(len, tails))
        scrap = self._cache.columns - 1
        ids, places, columns = [], [], []
        for row, tail in zip(rows, tails, strict=True):
            pad = width - len(tail)
            into = list(range(row.cached, len(row.prompt)))
            ids.append([0] * pad + tail)
            places.append([0] * pad + into)
            columns.append([scrap] * pad + into)
        scores = self._forward(first, ids, places, columns)
        if self._store is not None:
            for place, row in enumerate(rows):
                self._store.keep(self._cache, first + place, row.prompt, row.adapter)
        self._advance(first, scores)

    def _step(self) -> None:
        places = [[len(row.prompt) + len(row.written) - 1] for row in self._live]
        self._advance(0, self._forward(0, [[row.written[-1]] for row in self._live], places, places))

    def _forward(
        self, first: int, ids: list[list[int]], places: list[list[int]], columns: list[list[int]]
    ) -> torch.Tensor:
        """Scores of the next token, shape (rows, vocabulary), of the rows from `first` on."""
        device = self._model.device
        at = torch.tensor(places, device=device)
        width = int(at.max()) + 1
        self._cache.aim(first, first + len(ids), torch.tensor(columns, device=device), width)
        seen = torch.arange(width, device=device)[None, None, :]
        past = seen <= at[:, :, None]
        masks = {
            kind: (past if window is None else past & (seen > at[:, :, None] - window))[:, None]
            for kind, window in self._windows.items()
        }
        if self._speak is not None:
            self._speak([row.adapter for row in self._live[first : first + len(ids)]])
        out = self._model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=next(iter(masks.values())) if len(masks) == 1 else masks,
            position_ids=at,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        scores: torch.Tensor = out.logits[:, -1].float()
        return scores

    def _advance(self, first: int, scores: torch.Tensor) -> None:
        """Draw a token of each row from `first` on; a row that has ended gives its place to the last one."""
        tokens = draw(scores, self._live[first:])
        for place in range(len(self._live) - 1, first - 1, -1):
            row = self._live[place]
            if row.take(int(tokens[place - first]), self._ends):
                continue
            last = self._live.pop()
            if last is not row:
                self._cache.move(len(self._live), place, len(last.prompt) + len(last.written) - 1)
                self._live[place] = last
            row.close()


def _windows(config: Any) -> dict[str, int | None]:
    """How far back each kind of attention layer looks; None for all the way.

    Raises:
        ModelError: for layers that keep other state than keys and values.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds:
        return {"full_attention": window if getattr(config, "use_sliding_window", True) else None}
    if other := kinds - {"full_attention", "sliding_attention"}:
        raise ModelError(
            f"has {', '.join(sorted(other))} layers",
            expected="an architecture of full or sliding attention",
            remedy="serve it with vLLM (`backend: vllm` or `vllm-server`)",
        )
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(kinds)}
