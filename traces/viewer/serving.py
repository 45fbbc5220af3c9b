"""Running the viewer on the loopback interface until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from understudy.errors import UserError
from understudy.traces.viewer.app import build_app

HOST = "127.0.0.1"


def serve(
    corpus: Path, port: int, reviewer: str, beside: Path | None, vm: Path | None, ready: Callable[[str], None]
) -> None:
    """Serve the viewer of a corpus.

    Args:
        corpus: the run folder.
        port: 0 takes one that is free.
        reviewer: whose name reviews bear.
        beside: a second run folder to compare it with.
        vm: a VM that was trained on it.
        ready: called with the address, token and all, as soon as pages can be opened.

    Raises:
        UserError: when the port is taken.
        RunFolderError: when a folder is no corpus.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"cannot listen on port {port}: {error}", remedy="give another with --port, or 0 for any"
            ) from None
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        app = build_app(corpus, port, token, reviewer, beside, vm)
        listening.listen()
        ready(f"http://{HOST}:{port}/?token={token}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
        )
        uvicorn.Server(config).run(sockets=[listening])
