"""The cast: one agent is one prompt file, `prompts/<family>/<name>.md`, with a typed reply.

Families, in the order a seed meets them: persona, transform, instruct, answer, refine, noise, judge. The
folder is the registry (`catalog.py`); `replies.py` says what each may answer; `agent.py` asks, checks and re-asks once.
"""

from understudy.agents.agent import Agent, Spoken, Unusable
from understudy.agents.catalog import WHOLE_CAST, Catalog, catalog_of, load_catalog, load_skills
from understudy.agents.replies import REPLIES, Calls, Given, Judgement, Known, Library, ReplyType, Tool, ToolTask

__all__ = [
    "REPLIES",
    "WHOLE_CAST",
    "Agent",
    "Calls",
    "Catalog",
    "Given",
    "Judgement",
    "Known",
    "Library",
    "ReplyType",
    "Spoken",
    "Tool",
    "ToolTask",
    "Unusable",
    "catalog_of",
    "load_catalog",
    "load_skills",
]
