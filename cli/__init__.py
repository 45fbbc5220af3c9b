"""The `understudy` command: one module per verb, each importing what it needs when it runs.

Exit codes: 0 done; 2 something the user can fix; 3 the SM's engine failed; 4 the disk failed; 5 the run
ended before its goal; 70 our bug; 130 Ctrl-C. `--debug` shows the traceback.
"""

from understudy.cli.main import app, main

__all__ = ["app", "main"]
