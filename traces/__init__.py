"""Reading back how an example came to be, and where all drafts and tokens of a corpus went.

`story.py` is one example from its seed through every call to its verdicts, `journeys.py` and `costs.py` are all of
them, `report.py` puts a corpus on a page with the charts of `charts.py`. Read `story.py` first.
"""

from understudy.traces.story import Step, Story, story

__all__ = ["Step", "Story", "story"]
