"""Keys and values of a causal LM: of the rows that are being decoded, and of prompts that may come again.

What a new prompt shares with earlier ones at its start is not read again: its keys and values are kept in blocks, found
by the tokens that lead up to them (as in vLLM, Kwon et al., arXiv 2309.06180).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import Cache

# Keys and values are kept for later prompts in blocks of so many tokens.
BLOCK = 16
_GROW = 128


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
    """Blocks of keys and values by the tokens that lead up to them and the adapter that read them.

    The least recently used go first.
    """

    def __init__(self, tokens: int) -> None:
        self._most = max(1, tokens // BLOCK)
        self._blocks: OrderedDict[bytes, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def fill(self, cache: KeyValues, row: int, prompt: list[int], adapter: str | None = None) -> int:
        """Copy the longest known start of a prompt into a row; how many tokens that is."""
        found = []
        # The last token is always read: its output is the first thing drawn from.
        for name in _names(prompt[:-1], adapter):
            block = self._blocks.get(name)
            if block is None:
                break
            self._blocks.move_to_end(name)
            found.append(block)
        length = len(found) * BLOCK
        if found and cache.keys is not None and cache.values is not None:
            cache.keys[:, row, :, :length] = torch.cat([keys for keys, _ in found], dim=2)
            cache.values[:, row, :, :length] = torch.cat([values for _, values in found], dim=2)
        return length

    def unknown(self, prompt: list[int], adapter: str | None = None) -> bytes | None:
        """The name of a prompt's first block that is not kept; None when all are."""
        return next((name for name in _names(prompt[:-1], adapter) if name not in self._blocks), None)

    def keep(self, cache: KeyValues, row: int, prompt: list[int], adapter: str | None = None) -> None:
        """Keep what a row holds of its prompt."""
        if cache.keys is None or cache.values is None:
            return
        # From the end: what is particular to one prompt is let go of before what it may share with others.
        for place, name in reversed(list(enumerate(_names(prompt, adapter)))):
            if name not in self._blocks:
                span = slice(place * BLOCK, (place + 1) * BLOCK)
                self._blocks[name] = cache.keys[:, row, :, span].clone(), cache.values[:, row, :, span].clone()
            self._blocks.move_to_end(name)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)


def _names(prompt: list[int], adapter: str | None) -> Iterator[bytes]:
    """A name for each whole block of a prompt, which hashes the adapter and all tokens up to its end."""
    name = b"" if adapter is None else b"adapter " + adapter.encode()
    for end in range(BLOCK, len(prompt) + 1, BLOCK):
        tokens = np.array(prompt[end - BLOCK : end], dtype=np.int64).tobytes()
        name = hashlib.blake2b(name + tokens, digest_size=16).digest()
        yield name
