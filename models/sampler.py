"""Drawing the next token of each row of a batch, by the row's own rules.

For each row: repetition penalty on what it has written, grammar mask, then among the likeliest tokens temperature and
top-p, and Gumbel noise (the Gumbel-max trick: the largest sum is a draw from the warped distribution). The noise is a
hash of the row's seed, the step and the token id, so a draw depends neither on the row's neighbours nor on the order of
near-equal tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import llguidance.numpy
import numpy as np
import torch
from numpy.typing import NDArray

from understudy.models.loops import looped
from understudy.prompt import Sampling

# Nothing outside the 256 likeliest tokens is ever drawn: it spares a sort of the whole vocabulary per row.
_TOP = 256


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
    adapter: str | None = None
    """The LoRA adapter it is read and written through."""
    written: list[int] = field(default_factory=list)
    ended: bool = False
    """Whether it ended by itself, not at its length limit."""
    looped: bool = False
    """Whether it was cut because it repeats itself."""
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
        self.looped = not self.ended and looped(self.written)
        goes_on = not (self.ended or self.looped or self.dropped)
        return goes_on and len(self.written) < self.sampling.max_tokens


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
