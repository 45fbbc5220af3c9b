"""The local viewer of a corpus: server-rendered pages over its summaries, read-only but for people's labels.

`serve` runs it on the loopback interface; `guard.py` says who is let in, `app.py` which page has which address,
`pages/` what they look like. Nothing is fetched from elsewhere.
"""

from understudy.traces.viewer.app import build_app
from understudy.traces.viewer.serving import serve

__all__ = ["build_app", "serve"]
