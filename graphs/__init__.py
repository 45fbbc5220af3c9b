"""The LangGraph state machine that makes one draft, and the runner that drives it over many seeds.

`pipeline.py` composes the nodes of `nodes.py` by the routing rules of `routes.py`; `state.py` says what flows;
`runner.py` keeps many drafts in flight, and `shards.py` commits them in plan order; `rehearsal.py` walks them through
earlier corpora without an SM; `watching.py`, `arms.py` and `quotas.py` let settled drafts say whose
turn is next, or for which label. Read `pipeline.py` first.
"""

from understudy.graphs.pipeline import build_graph
from understudy.graphs.progress import Outcome, Progress
from understudy.graphs.runner import generate, run

__all__ = ["Outcome", "Progress", "build_graph", "generate", "run"]
