"""Near-duplicates: MinHash for the same words, embeddings for the same meaning, one gate for the graph.

`minhash.py` and `semantic.py` are one index each, `pair.py` asks both, `gate.py` lets drafts through in
plan order, so that what counts as the first does not depend on scheduling. `distinct.py` goes through a whole set of
texts at once. Read `gate.py` first.
"""

from understudy.dedup.distinct import Watch, near_copies
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
    "Watch",
    "draft_key",
    "jaccard",
    "near_copies",
    "shingles",
    "signature",
    "turn_of",
]
