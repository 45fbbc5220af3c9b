"""One logits processor that samples each row of a batch by its own rules.

For each row: grammar mask, repetition penalty, temperature, top-p, then Gumbel noise from the row's own
generator; the caller decodes greedily, which makes the pick a draw from the warped distribution (the
Gumbel-max trick). A row that has ended, or has used its length, is made to emit the end token.
"""

from __future__ import annotations

import threading
from typing import Any

import llguidance.numpy
import numpy as np
import torch
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
        self.generators = [torch.Generator().manual_seed(seed & (2**63 - 1)) for seed in seeds]
        self.ended = [False] * len(samplings)

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Put each row's draw on top."""
        step = ids.shape[1] - self.width
        out = torch.full_like(scores, -torch.inf)
        for row, sampling in enumerate(self.samplings):
            matcher = self.matchers[row]
            if step and not self.ended[row]:
                last = int(ids[row, -1])
                self.ended[row] = last == self.eos or step >= sampling.max_tokens
                if matcher is not None and not self.ended[row] and not matcher.consume_token(last):
                    self.ended[row] = True
            if self.ended[row]:
                out[row, self.eos] = 0
                continue
            out[row] = self._warp(scores[row].float().cpu(), ids[row, self.width :].cpu(), row).to(out)
        return out

    def _warp(self, logits: torch.Tensor, written: torch.Tensor, row: int) -> torch.Tensor:
        sampling = self.samplings[row]
        if sampling.repetition_penalty != 1 and len(written):
            seen = written.unique()
            value = logits[seen]
            logits[seen] = torch.where(
                value > 0, value / sampling.repetition_penalty, value * sampling.repetition_penalty
            )
        if self.matchers[row] is not None:
            logits = logits.masked_fill(~self._allowed(self.matchers[row], len(logits)), -torch.inf)
        if sampling.temperature == 0:
            return logits
        values, tokens = torch.topk(logits / sampling.temperature, min(self.top, len(logits)))
        chance = torch.softmax(values, -1)
        values[chance.cumsum(-1) - chance >= sampling.top_p] = -torch.inf
        # Noise goes by token id, not by rank, so that two near-equal tokens changing places changes nothing.
        noise = torch.rand(len(logits), generator=self.generators[row], dtype=torch.float64)[tokens]
        gumbel = -torch.log(-torch.log(noise.clamp(1e-300, 1 - 1e-16)))
        drawn = torch.full_like(logits, -torch.inf)
        drawn[tokens] = (values + gumbel).to(logits.dtype)
        return drawn

    def _allowed(self, matcher: Any, size: int) -> torch.Tensor:
        if matcher.is_stopped():
            allowed = torch.zeros(size, dtype=torch.bool)
            allowed[self.eos] = True
            return allowed
        mask = llguidance.numpy.allocate_token_bitmask(1, size)
        llguidance.numpy.fill_next_token_bitmask(matcher, mask, 0)
        return torch.from_numpy(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size].astype(bool))


class StopOn(StoppingCriteria):  # type: ignore[misc]
    """Ends decoding when an event is set, so that Ctrl-C does not wait for the longest reply."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Whether each row is to stop."""
        return torch.full((ids.shape[0],), self.event.is_set(), dtype=torch.bool, device=ids.device)
