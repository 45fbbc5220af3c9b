"""Decoding many prompts of a causal LM at once, in a batch that is never drained.

A row that has ended leaves the batch at once and the next prompt takes its place, so a long reply does not make the
others wait (continuous batching: Yu et al., Orca, OSDI 2022). What a new prompt shares with earlier ones at its start
is not read again: its keys and values are kept in blocks, found by the tokens that lead up to them (as in vLLM, Kwon et
al., arXiv 2309.06180).

Each row is drawn by its own rules: repetition penalty on what it has written, grammar mask, then among the likeliest
tokens temperature and top-p, and Gumbel noise (the Gumbel-max trick: the largest sum is a draw from the warped
distribution). The noise is a hash of the row's seed, the step and the token id, so a draw depends neither on the row's
neighbours nor on the order of near-equal tokens.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import llguidance.numpy
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Cache

from understudy.errors import EngineError, ModelError
from understudy.prompt import Sampling

# Nothing outside the 256 likeliest tokens is ever drawn: it spares a sort of the whole vocabulary per row.
_TOP = 256
# Keys and values are kept for later prompts in blocks of so many tokens.
_BLOCK = 16
# How much of them is kept, for each row of the batch.
_KEPT_TOKENS_PER_ROW = 512
# Prompts that are read together, padding included; more of them are read one group after another.
_READ_TOKENS = 4096
_GROW = 128


@dataclass(slots=True, eq=False)
class Row:
    """One prompt and what has been written for it."""

    prompt: list[int]
    sampling: Sampling
    seed: int
    finish: Callable[[Row], None]
    """Called on the decoding thread when the row has ended, or `error` is set."""
    matcher: Any = None
    """An llguidance matcher, or None where any text will do."""
    priority: int = 0
    written: list[int] = field(default_factory=list)
    ended: bool = False
    """Whether it ended by itself, not at its length limit."""
    cached: int = 0
    """Tokens of the prompt that were not read again."""
    dropped: bool = False
    """Nobody waits for it any more."""
    error: BaseException | None = None
    over: bool = False
    """`finish` has been called."""

    def close(self, error: BaseException | None = None) -> None:
        """Tell whoever waits, once."""
        if not self.over:
            self.over, self.error = True, error
            self.finish(self)

    def take(self, token: int, ends: frozenset[int]) -> bool:
        """Append a token; whether the row goes on."""
        self.written.append(token)
        if self.matcher is not None and token not in ends:
            self.matcher.consume_token(token)
        self.ended = token in ends or (self.matcher is not None and self.matcher.is_stopped())
        return not self.ended and not self.dropped and len(self.written) < self.sampling.max_tokens


class KeyValues(Cache):  # type: ignore[misc]
    """Keys and values of the rows under way: row i holds its tokens from column 0 on.

    The last column is written by padding and never looked at.
    """

    def __init__(self, rows: int, layers: int) -> None:
        super().__init__(layers=[])
        self.rows = rows
        self.depth = layers
        self.columns = 0
        self.keys: torch.Tensor | None = None
        """Shape (layers, rows, heads, columns, dimensions)."""
        self.values: torch.Tensor | None = None
        self._span = (0, 0)
        self._into: torch.Tensor = torch.empty(0)
        self._width = 0

    def aim(self, first: int, last: int, into: torch.Tensor, width: int) -> None:
        """Say where the next forward pass writes: rows `first` to `last`, columns `into`, and how many it looks at."""
        self._span, self._into, self._width = (first, last), into, width

    def reserve(self, columns: int) -> None:
        """Make room for rows of so many tokens."""
        if columns + 1 <= self.columns:
            return
        self.columns = -(-(columns + 1) // _GROW) * _GROW
        for name in ("keys", "values"):
            old = getattr(self, name)
            if old is not None:
                new = old.new_zeros(*old.shape[:3], self.columns, old.shape[4])
                new[:, :, :, : old.shape[3] - 1] = old[:, :, :, :-1]
                setattr(self, name, new)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Enter the new keys and values, shape (rows, heads, tokens, dimensions); what attention looks at."""
        if self.keys is None or self.values is None:
            self.keys, self.values = (
                new.new_zeros(self.depth, self.rows, new.shape[1], self.columns, new.shape[3])
                for new in (key_states, value_states)
            )
        first, last = self._span
        rows = torch.arange(last - first, device=key_states.device)[:, None]
        keys, values = self.keys[layer_idx, first:last], self.values[layer_idx, first:last]
        keys[rows, :, self._into] = key_states.transpose(1, 2)
        values[rows, :, self._into] = value_states.transpose(1, 2)
        return keys[:, :, : self._width], values[:, :, : self._width]

    def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
        """Positions and masks are given explicitly; nothing is inferred from this."""
        return self._width

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row of `length` tokens."""
        for store in (self.keys, self.values):
            if store is not None:
                store[:, target, :, :length] = store[:, source, :, :length]


class PrefixStore:
    """Blocks of keys and values by the tokens that lead up to them; the least recently used go first."""

    def __init__(self, tokens: int) -> None:
        self._most = max(1, tokens // _BLOCK)
        self._blocks: OrderedDict[bytes, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def fill(self, cache: KeyValues, row: int, prompt: list[int]) -> int:
        """Copy the longest known start of a prompt into a row; how many tokens that is."""
        found = []
        # The last token is always read: its output is the first thing drawn from.
        for name in _names(prompt[:-1]):
            block = self._blocks.get(name)
            if block is None:
                break
            self._blocks.move_to_end(name)
            found.append(block)
        length = len(found) * _BLOCK
        if found and cache.keys is not None and cache.values is not None:
            cache.keys[:, row, :, :length] = torch.cat([keys for keys, _ in found], dim=2)
            cache.values[:, row, :, :length] = torch.cat([values for _, values in found], dim=2)
        return length

    def unknown(self, prompt: list[int]) -> bytes | None:
        """The name of a prompt's first block that is not kept; None when all are."""
        return next((name for name in _names(prompt[:-1]) if name not in self._blocks), None)

    def keep(self, cache: KeyValues, row: int, prompt: list[int]) -> None:
        """Keep what a row holds of its prompt."""
        if cache.keys is None or cache.values is None:
            return
        for place, name in enumerate(_names(prompt)):
            if name not in self._blocks:
                span = slice(place * _BLOCK, (place + 1) * _BLOCK)
                self._blocks[name] = cache.keys[:, row, :, span].clone(), cache.values[:, row, :, span].clone()
            self._blocks.move_to_end(name)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)


class Decoder:
    """The batch, on a thread of its own that sleeps when there is nothing to write."""

    def __init__(self, model: Any, ends: frozenset[int], batch_size: int, *, keep_prefixes: bool = True) -> None:
        config = model.config.get_text_config()
        self._windows = _windows(config)
        self._model = model
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
        from understudy.models.local import leave_a_core

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
            ahead.setdefault(self._store.unknown(row.prompt) or place, row)
        return list(ahead.values())

    def _read(self, rows: list[Row]) -> None:
        first = len(self._live)
        for place, row in enumerate(rows):
            row.cached = self._store.fill(self._cache, first + place, row.prompt) if self._store else 0
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
                self._store.keep(self._cache, first + place, row.prompt)
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


def _names(prompt: list[int]) -> Iterator[bytes]:
    """A name for each whole block of a prompt, which hashes all tokens up to its end."""
    name = b""
    for end in range(_BLOCK, len(prompt) + 1, _BLOCK):
        tokens = np.array(prompt[end - _BLOCK : end], dtype=np.int64).tobytes()
        name = hashlib.blake2b(name + tokens, digest_size=16).digest()
        yield name


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


def draw(scores: torch.Tensor, rows: list[Row]) -> NDArray[np.int64]:
    """The next token of each row; `scores` has shape (rows, vocabulary) and is overwritten."""
    for place, row in enumerate(rows):
        penalty = row.sampling.repetition_penalty
        if penalty != 1 and row.written:
            seen = torch.tensor(sorted(set(row.written)), device=scores.device)
            value = scores[place, seen]
            scores[place, seen] = torch.where(value > 0, value / penalty, value * penalty)
        if row.matcher is not None:
            scores[place].masked_fill_(~_allowed(row.matcher, scores.shape[1]).to(scores.device), -torch.inf)
    best, tokens = torch.topk(scores, min(_TOP, scores.shape[1]))
    values, candidates = best.double().cpu().numpy(), tokens.cpu().numpy()
    heat = np.array([row.sampling.temperature for row in rows])[:, None]
    top_p = np.array([row.sampling.top_p for row in rows])[:, None]
    # A temperature of zero means the likeliest token: it is scaled as 1 and gets no noise.
    values = values / np.where(heat == 0, 1.0, heat)
    chance = np.exp(values - values[:, :1])
    chance /= chance.sum(axis=1, keepdims=True)
    values[chance.cumsum(axis=1) - chance >= top_p] = -np.inf
    seeds = np.array([row.seed % 2**64 for row in rows], dtype=np.uint64)[:, None]
    steps = np.array([len(row.written) for row in rows], dtype=np.uint64)[:, None]
    noise = -np.log(-np.log(uniform(seeds, steps, candidates)))
    picked = np.where(heat == 0, values, values + noise).argmax(axis=1)
    out: NDArray[np.int64] = np.take_along_axis(candidates, picked[:, None], axis=1)[:, 0]
    return out


def uniform(seeds: NDArray[np.uint64], steps: NDArray[np.uint64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in (0, 1) for each token: a hash of seed, step and token id (the mixer of SplitMix64)."""
    with np.errstate(over="ignore"):
        x: Any = seeds + np.uint64(0x9E3779B97F4A7C15) * (tokens.astype(np.uint64) + (steps << np.uint64(32)))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    out: NDArray[np.float64] = ((x >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return out


def _allowed(matcher: Any, size: int) -> torch.Tensor:
    """The tokens that a grammar lets come next; the end token is among them where the text may end."""
    mask = llguidance.numpy.allocate_token_bitmask(1, size)
    llguidance.numpy.fill_next_token_bitmask(matcher, mask, 0)
    return torch.from_numpy(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size].astype(bool))
