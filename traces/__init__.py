"""Reading back how an example came to be, and where all drafts and tokens of a corpus went.

`story.py` is one example from its seed through every call to its verdicts, `journeys.py` and `costs.py` are all of
them, `report.py` puts a corpus on a page with the charts of `charts.py`. `summary.py` holds summaries of a million
drafts, which `viewer/` shows in a browser. `spans.py` says a story as OpenTelemetry spans, and `otlp.py` sends these to
a collector; both need the extra `otel`. Read `story.py` first.
"""

from understudy.traces.story import Step, Story, stories, story

__all__ = ["Step", "Story", "stories", "story"]
