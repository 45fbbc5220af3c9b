"""Room on disk for what would outgrow memory while a process runs, gone when the process is.

Nothing here survives, and nothing has to: what it holds can be made again from the run folder or the seeds.
"""

from __future__ import annotations

import errno
import mmap
import os
import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from understudy.corpus.storage import storage_errors

_CACHE_KIB = 512
"""What a scratch database may keep in memory; the rest is the operating system's to cache."""


class Database:
    """A private SQLite database in a temporary file without a name; one thread at a time may use it.

    Args:
        tables: SQL that makes its tables.
    """

    def __init__(self, tables: str) -> None:
        # An empty name is SQLite's own kind of temporary file: https://sqlite.org/inmemorydb.html
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._where = Path(tempfile.gettempdir())
        weakref.finalize(self, self._db.close)
        self._db.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA cache_size=-{_CACHE_KIB};"
            + tables
        )

    def read(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time.

        Raises:
            StorageError: when the disk is full or fails.
        """
        with storage_errors(self._where):
            yield from self._db.execute(query, values)

    def write(self, statement: str, rows: Iterable[Sequence[object] | Mapping[str, object]]) -> None:
        """Execute a statement for each of the rows.

        Raises:
            StorageError: when the disk is full or fails.
        """
        with storage_errors(self._where):
            self._db.execute("BEGIN")
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")


class Records:
    """Byte strings of one length by their number, in an unlinked temporary file."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._count = 0
        self._file = _File()

    def __len__(self) -> int:
        return self._count

    def extend(self, records: bytes) -> None:
        """Add records, which follow one another.

        Raises:
            StorageError: when the disk is full or fails.
        """
        self._file.write(records, self._count * self.length)
        self._count += len(records) // self.length

    def __getitem__(self, number: int) -> bytes:
        return self._file.read(self.length, number * self.length)


class Pages:
    """Arrays of one shape in an unlinked temporary file, to be looked through one after the other.

    They are read where the operating system caches them, and none stays in this process's memory. (A disk that fails on
    reading therefore ends the process, as a kill would.)
    """

    def __init__(self, shape: tuple[int, ...], kind: DTypeLike) -> None:
        self._empty = np.empty((0, *shape), kind)
        self._length = int(np.prod(shape)) * self._empty.itemsize
        self._count = 0
        self._file = _File()
        self._map: mmap.mmap | None = None

    def append(self, page: NDArray[Any]) -> None:
        """Add an array.

        Raises:
            StorageError: when the disk is full or fails.
        """
        # Not copied: what is allocated and dropped now and then leaves holes in the heap.
        data = np.ascontiguousarray(page, self._empty.dtype).data.cast("B")
        self._file.write(data, self._count * self._length)
        self._count += 1
        self._map = self._file.map(self._count * self._length)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        if self._map is None:
            return
        whole = np.frombuffer(self._map, self._empty.dtype).reshape(-1, *self._empty.shape[1:])
        for page in whole:
            yield page
            self._map.madvise(mmap.MADV_DONTNEED)


class _File:
    """An unlinked temporary file, closed with its owner."""

    def __init__(self) -> None:
        self._where = Path(tempfile.gettempdir())
        with storage_errors(self._where):
            self.descriptor, name = tempfile.mkstemp(prefix="understudy-")
            os.unlink(name)
        weakref.finalize(self, os.close, self.descriptor)

    def write(self, data: bytes | memoryview, place: int) -> None:
        with storage_errors(self._where):
            if os.pwrite(self.descriptor, data, place) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, length: int, place: int) -> bytes:
        return os.pread(self.descriptor, length, place)

    def map(self, length: int) -> mmap.mmap:
        with storage_errors(self._where):
            return mmap.mmap(self.descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ)
