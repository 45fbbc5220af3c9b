"""How long a text is, in tokens, without a model.

Chunk boundaries decide what a seed is, so they must not change with the SM: this count depends on the text
alone. Against SmolLM2's tokenizer it is within a few per cent on English prose and on code
(tests/corpus/test_tokens.py); what an SM really read is counted from its replies.
"""

import re

# A BPE vocabulary of 50k holds most words of up to about eight letters whole; longer ones fall in pieces.
_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_+|\n+| {2,}")
_LETTERS_PER_TOKEN = 8


def count_tokens(text: str) -> int:
    """An estimate of the number of BPE tokens in `text`."""
    return sum(-(-len(piece) // _LETTERS_PER_TOKEN) if piece[0].isalpha() else 1 for piece in _PIECE.findall(text))
