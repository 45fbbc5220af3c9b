"""Decoding a batch of prompts of a causal LM, each row drawn by its own rules.

For each row: repetition penalty on what it has written, grammar mask, then among the likeliest tokens temperature
and top-p, and Gumbel noise (the Gumbel-max trick: the largest sum is a draw from the warped distribution). The
noise is a hash of the row's seed, the step and the token id, so a draw depends neither on the row's neighbours nor
on the order of near-equal tokens. A row that has ended leaves the batch, so a long reply does not make the others
pay for its steps.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import llguidance.numpy
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from understudy.errors import EngineError
from understudy.prompt import Sampling

# Nothing outside the 256 likeliest tokens is ever drawn: it spares a sort of the whole vocabulary per row.
_TOP = 256


@dataclass(slots=True, eq=False)
class Row:
    """One prompt of a batch and what has been written for it."""

    sampling: Sampling
    seed: int
    matcher: Any
    """An llguidance matcher, or None where any text will do."""
    written: list[int] = field(default_factory=list)
    ended: bool = False
    """Whether it ended by itself, not at its length limit."""

    def take(self, token: int, eos: int) -> bool:
        """Append a token; whether the row goes on."""
        self.written.append(token)
        if self.matcher is not None and token != eos:
            self.matcher.consume_token(token)
        self.ended = token == eos or (self.matcher is not None and self.matcher.is_stopped())
        return not self.ended and len(self.written) < self.sampling.max_tokens


def decode(model: Any, ids: torch.Tensor, mask: torch.Tensor, rows: list[Row], eos: int, stop: threading.Event) -> None:
    """Write every row to its end.

    Args:
        model: a causal LM with a key-value cache.
        ids: prompts, padded on the left, shape (rows, width).
        mask: 1 where `ids` holds a prompt token.
        rows: what to write for each prompt; filled in place.
        eos: the end token.
        stop: ends the work early.

    Raises:
        EngineError: when `stop` was set.
    """
    with torch.inference_mode():
        _decode(model, ids, mask, rows, eos, stop)


def _decode(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, rows: list[Row], eos: int, stop: threading.Event
) -> None:
    cache = DynamicCache()
    live = list(rows)
    places = (mask.cumsum(-1) - 1).clamp_min(0)
    while True:
        out = model(
            input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        tokens = draw(out.logits[:, -1].float(), live)
        if stop.is_set():
            raise EngineError("stopped")
        going = [place for place, row in enumerate(live) if row.take(int(tokens[place]), eos)]
        if not going:
            return
        if len(going) < len(live):
            kept = torch.tensor(going, device=mask.device)
            cache.batch_select_indices(kept)
            mask = mask[kept]
            live = [live[place] for place in going]
        ids = torch.tensor(tokens[going], device=mask.device)[:, None]
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
        places = mask.sum(-1, keepdim=True) - 1


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
    seeds = np.array([row.seed for row in rows], dtype=np.uint64)[:, None]
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
