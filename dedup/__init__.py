"""Near-duplicates: MinHash for the same words, embeddings for the same meaning, one gate for the graph.

`minhash.py` and `semantic.py` are one index each, `pair.py` asks both, `gate.py` lets drafts through in
plan order, so that what counts as the first does not depend on scheduling. Read `gate.py` first.
"""

from understudy.dedup.gate import Gate, draft_key, turn_of
from understudy.dedup.minhash import MinHashIndex, jaccard, shingles, signature
from understudy.dedup.pair import Match, PairIndex
from understudy.dedup.semantic import SemanticIndex

__all__ = [
    "Gate",
    "Match",
    "MinHashIndex",
    "PairIndex",
    "SemanticIndex",
    "draft_key",
    "jaccard",
    "shingles",
    "signature",
    "turn_of",
]
