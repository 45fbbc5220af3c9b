"""Reading back how an example came to be: from its seed through every call to its verdicts.

`story.py` puts one example's way together; `spans.py` says it as OpenTelemetry spans, and `otlp.py` sends these to a
collector. The last two need the extra `otel` and are imported by those who want them.
"""

from understudy.traces.story import Step, Story, stories, story

__all__ = ["Step", "Story", "stories", "story"]
