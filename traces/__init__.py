"""Reading back how an example came to be: from its seed through every call to its verdicts."""

from understudy.traces.story import Step, Story, story

__all__ = ["Step", "Story", "story"]
