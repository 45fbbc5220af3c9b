"""Files that a library unpacks are read in a child process whose memory is bounded.

A Parquet file of a few kilobytes, or a PDF, can ask for any amount of memory, and a damaged one can crash its reader.
The child may do either; the parent gets the rows as JSON lines, or an error that names the file.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from understudy.errors import SeedError

MEMORY = 4 * 2**30
"""Bytes of address space that reading one file may take."""


def read(path: Path) -> Iterator[Any]:
    """The rows of a .parquet or .arrow file as dictionaries, or the pages of a .pdf as texts.

    Values that JSON has no form for (dates, decimals, bytes) come as texts.

    Raises:
        SeedError: when it cannot be read, or not within `MEMORY`.
    """
    number = 0
    reader = _Reader.take()
    try:
        for line in reader.ask(path):
            said = json.loads(line)
            if "row" in said:
                number += 1
                yield said["row"]
                continue
            reader.keep()
            if "error" in said:
                raise _unreadable(path, number, said["error"])
            return
        raise _unreadable(path, number, f"its reader ended with {reader.wait()}")
    finally:
        reader.close()


def _unreadable(path: Path, number: int, why: str) -> SeedError:
    if path.suffix.lower() == ".pdf":
        remedy = "repair or re-export the file, remove its password, or leave it out of the folder"
        return SeedError(f"unreadable PDF: {why}", where=str(path), remedy=remedy)
    return SeedError(
        f"unreadable after row {number}: {why}",
        where=str(path),
        expected=f"a file that can be read within {MEMORY / 2**30:g} GiB of memory",
        remedy="write it anew, or leave it out of the folder",
    )


class _Reader:
    """The child; one that is done with a file is kept for the next, since it takes a second to start."""

    _idle: ClassVar[list[_Reader]] = []

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "understudy.corpus.contained", str(MEMORY)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip
        self._asked = cast("IO[str]", self._child.stdin)
        self._said = cast("IO[str]", self._child.stdout)

    @classmethod
    def take(cls) -> _Reader:
        while cls._idle:
            reader = cls._idle.pop()
            if reader._owner == os.getpid() and reader._child.poll() is None:
                return reader
        return cls()

    def ask(self, path: Path) -> Iterator[str]:
        with suppress(BrokenPipeError):
            self._asked.write(json.dumps(str(path)) + "\n")
            self._asked.flush()
        for line in self._said:  # noqa: UP028 - `yield from` would close the pipe with this generator
            yield line

    def keep(self) -> None:
        """It is done with the file."""
        self._idle.append(self)

    def wait(self) -> str:
        """How it ended."""
        code = self._child.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the child, unless it waits for the next file."""
        if self not in self._idle:
            self._end()

    def _end(self) -> None:
        self._child.kill()
        with self._child:  # closes the pipes and waits
            pass

    @classmethod
    def end_idle(cls) -> None:
        """When this process ends, none is needed any more."""
        while cls._idle:
            reader = cls._idle.pop()
            if reader._owner == os.getpid():
                reader._end()


atexit.register(_Reader.end_idle)


def _serve(memory: int) -> None:
    """In the child: read the files that are named on standard input."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        path = Path(json.loads(line))
        said: dict[str, str] = {}
        try:
            for row in _pages(path) if path.suffix.lower() == ".pdf" else _rows(path):
                sys.stdout.write(json.dumps({"row": row}, default=str) + "\n")
        except MemoryError:
            said = {"error": f"it takes more than {memory / 2**30:g} GiB of memory"}
        except Exception as error:  # pypdf raises many kinds on a damaged file; each means the same to the user
            said = {"error": str(error)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        batches: Iterator[pa.RecordBatch] = pq.ParquetFile(path).iter_batches(batch_size=1024)
    else:  # `save_to_disk` writes the stream format, older tools the file format
        source = pa.memory_map(str(path))
        try:
            batches = iter(pa.ipc.open_stream(source))
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
    for batch in batches:
        yield from batch.to_pylist()


def _pages(path: Path) -> Iterator[str]:
    import pypdf

    for page in pypdf.PdfReader(path, strict=False).pages:
        yield page.extract_text()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
