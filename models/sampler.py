"""One logits processor that samples each row of a batch by its own rules.

For each row: repetition penalty on what it has written, grammar mask, then among the likeliest tokens
temperature and top-p, and Gumbel noise (the Gumbel-max trick: the largest sum is a draw from the warped
distribution). The noise is a hash of the row's seed, the step and the token id, so a draw depends neither on
the row's neighbours nor on the order of near-equal tokens. A row that has ended, or has used its length, is
made to emit the end token.
"""

from __future__ import annotations

import threading
from typing import Any

import llguidance.numpy
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LogitsProcessor, StoppingCriteria

from understudy.prompt import Sampling


class Sampler(LogitsProcessor):  # type: ignore[misc]
    """See the module's text; one instance serves one `generate` call."""

    def __init__(
        self, samplings: list[Sampling], seeds: list[int], matchers: list[Any], *, eos: int, width: int, top: int
    ) -> None:
        self.samplings = samplings
        self.matchers = matchers
        self.eos = eos
        self.width = width
        self.top = top
        self.seeds = np.array(seeds, dtype=np.uint64)[:, None]
        # A temperature of zero means the likeliest token: it is scaled as 1 and gets no noise.
        heat = np.array([sampling.temperature for sampling in samplings], dtype=np.float64)[:, None]
        self.greedy = heat == 0
        self.heat = np.where(self.greedy, 1.0, heat)
        self.top_p = np.array([sampling.top_p for sampling in samplings], dtype=np.float64)[:, None]
        self.ended = [False] * len(samplings)

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave each row one token to choose: its draw."""
        step = ids.shape[1] - self.width
        for row, sampling in enumerate(self.samplings):
            self._advance(row, ids, step)
            if self.ended[row]:
                continue
            if sampling.repetition_penalty != 1 and step:
                seen = ids[row, self.width :].unique()
                value = scores[row, seen]
                down = torch.where(value > 0, value / sampling.repetition_penalty, value * sampling.repetition_penalty)
                scores[row, seen] = down
            if self.matchers[row] is not None:
                scores[row].masked_fill_(
                    ~self._allowed(self.matchers[row], scores.shape[1]).to(scores.device), -torch.inf
                )
        values, tokens = torch.topk(scores, min(self.top, scores.shape[1]))
        drawn = self._draw(values.double().cpu().numpy(), tokens.cpu().numpy(), step)
        scores.fill_(-torch.inf)
        for row, token in enumerate(drawn):
            scores[row, self.eos if self.ended[row] else int(token)] = 0
        return scores

    def _advance(self, row: int, ids: torch.Tensor, step: int) -> None:
        """Note what the row wrote last."""
        if not step or self.ended[row]:
            return
        last = int(ids[row, -1])
        matcher = self.matchers[row]
        self.ended[row] = (
            last == self.eos
            or step >= self.samplings[row].max_tokens
            or (matcher is not None and not matcher.consume_token(last))
        )

    def _draw(self, values: NDArray[np.float64], tokens: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        values = values / self.heat
        chance = np.exp(values - values[:, :1])
        chance /= chance.sum(axis=1, keepdims=True)
        values[chance.cumsum(axis=1) - chance >= self.top_p] = -np.inf
        noise = -np.log(-np.log(uniform(self.seeds, step, tokens)))
        best = np.where(self.greedy, values, values + noise).argmax(axis=1)
        picked: NDArray[np.int64] = np.take_along_axis(tokens, best[:, None], axis=1)[:, 0]
        return picked

    def _allowed(self, matcher: Any, size: int) -> torch.Tensor:
        if matcher.is_stopped():
            allowed = torch.zeros(size, dtype=torch.bool)
            allowed[self.eos] = True
            return allowed
        mask = llguidance.numpy.allocate_token_bitmask(1, size)
        llguidance.numpy.fill_next_token_bitmask(matcher, mask, 0)
        return torch.from_numpy(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size].astype(bool))


def uniform(seeds: NDArray[np.uint64], step: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in (0, 1) for each token: a hash of seed, step and token id (the mixer of SplitMix64)."""
    with np.errstate(over="ignore"):
        x = seeds + np.uint64(0x9E3779B97F4A7C15) * (tokens.astype(np.uint64) + np.uint64(step << 32))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    out: NDArray[np.float64] = ((x >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return out


class StopOn(StoppingCriteria):  # type: ignore[misc]
    """Ends decoding when an event is set, so that Ctrl-C does not wait for the longest reply."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Whether each row is to stop."""
        return torch.full((ids.shape[0],), self.event.is_set(), dtype=torch.bool, device=ids.device)
