"""Ctrl-C, while an event loop runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the run cleanly; a second one acts at once."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM)

    def once() -> None:
        act()
        for number in caught:
            loop.remove_signal_handler(number)

    try:
        for number in caught:
            loop.add_signal_handler(number, once)
    except (ValueError, RuntimeError):  # not the main thread: whoever runs us handles signals
        pass
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
