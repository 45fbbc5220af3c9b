"""The disk under a run folder: what it says when it is full, and whose the folder is."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import platformdirs

from understudy.errors import RunFolderError, StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into a StorageError that names the path and the free space."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not any(word in str(error) for word in ("full", "disk I/O")):
            raise
        raise _storage_error(path, str(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        raise _storage_error(path, error.strerror or str(error)) from error


def _storage_error(path: Path, what: str) -> StorageError:
    folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    return StorageError(
        f"cannot write: {what} ({free / 2**20:.0f} MiB free)",
        where=str(path),
        remedy="make room, then run the same command again: nothing that was journaled is lost",
    )


def cache() -> Path:
    """The user's folder for what can be made again."""
    return Path(os.environ.get("UNDERSTUDY_CACHE") or platformdirs.user_cache_dir("understudy"))


def acquire(path: Path) -> IO[str]:
    """Own the ledger until the process ends; the kernel drops the lock even after kill -9."""
    with storage_errors(path):
        lock = open(path.with_suffix(".lock"), "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().strip() or "another process"
        lock.close()
        raise RunFolderError(
            f"in use by {owner}", where=str(path.parent), remedy="wait for that run, or stop it with Ctrl-C"
        ) from error
    began = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    try:
        with storage_errors(path):
            lock.seek(0)
            lock.truncate()
            lock.write(f"process {os.getpid()} on {socket.gethostname()} since {began}")
            lock.flush()
    except BaseException:
        lock.close()
        raise
    return lock
