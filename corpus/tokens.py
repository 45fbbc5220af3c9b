"""How long a text is, in tokens, without a model.

Chunk boundaries decide what a seed is, so they must not change with the SM: this count depends on the text
alone. Against SmolLM2's tokenizer it is within a few per cent on English prose and on code
(tests/corpus/test_tokens.py); what an SM really read is counted from its replies.
"""

import re

# A BPE vocabulary of 50k holds most English words of up to about eight letters whole; longer ones fall in pieces,
# other alphabets in pieces of about two letters, and ideographs and kana cost a token or more each.
_IDEOGRAPH = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]")
_PIECE = re.compile(r"[A-Za-z]+|[\u3040-\u9fff\uac00-\ud7af]|[^\W\d_A-Za-z]+|\d|[^\w\s]|_+|\n[ \n]*| {2,}")


def count_tokens(text: str) -> int:
    """An estimate of the number of BPE tokens in `text`."""
    return sum(map(_tokens, _PIECE.findall(text)))


def _tokens(piece: str) -> int:
    if not piece[0].isalpha():
        return 1
    if piece.isascii():
        return -(-len(piece) // 8)
    return 2 if _IDEOGRAPH.match(piece) else -(-len(piece) // 2)
