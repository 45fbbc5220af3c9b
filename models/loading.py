"""One load of weights at a time in this process."""

from __future__ import annotations

import threading

LOADING = threading.Lock()
"""Held while weights are read, and by whoever computes in default precision meanwhile.

transformers sets torch's default dtype, which is the process's, while it builds a model. Of two loads that overlap, the
later one may take the other's dtype for the default and leave it behind.
"""
