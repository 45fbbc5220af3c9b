"""Bad input, as a user makes it: a message with file, line or field and remedy; a code; nothing half written."""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import rows

Understudy = Callable[..., Any]


def untouched(project: Path) -> bool:
    """Whether the project has no output folder, not even a half-made one."""
    return {path.name for path in project.iterdir()} == {"docs", "tables", "code", "recipe.yaml"}


def edit(project: Path, old: str, new: str) -> Path:
    recipe = project / "recipe.yaml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    return recipe


def test_missing_recipe(understudy: Understudy) -> None:
    said = understudy("run", "nowhere.yaml")
    assert said.code == 2
    assert "nowhere.yaml: no such recipe" in said.err
    assert "understudy init" in said.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("accept: 8", "acept: 8", ["recipe.yaml:8: acept: unknown key", "did you mean `accept`?"]),
        ("rows_per_seed: 2", "row_per_seed: 2", ["recipe.yaml:6: seeds[1].row_per_seed", "did you mean `rows_per_seed`?"]),
        ("accept: 8", "accept: many", ["recipe.yaml:8: accept: got 'many'", "expected: a valid integer"]),
        ("accept: 8", "accept: 0", ["recipe.yaml:8: accept: got 0"]),
        ("backend: scripted", "backend: scripte", ["recipe.yaml:10: sm", "'scripted'"]),
        ("  - path: docs\n", "  - path: dosc\n", ["dosc: no such file or folder", "`seeds: path:`"]),
        ("in_flight: 4", "agents: {instruct: [wy-question]}", ["agents.instruct", "did you mean `why-question`?"]),
        ("in_flight: 4", "personas: {set: evryday}", ["no persona set `evryday`", "did you mean `everyday`?"]),
        ("{backend: scripted}", "{backend: transformers, path: models/none}", ["models/none: no such folder"]),
        ("{backend: scripted}", "{backend: openai, base_url: 'http://127.0.0.1:9', model: m}", ["endpoint down", "base_url"]),
        ("embedder: hashing", "embedder: nowhere", ["nowhere: no sentence-transformers model here"]),
    ],
    ids=["unknown key", "nested unknown key", "wrong type", "out of range", "unknown backend", "missing seeds",
         "unknown agent", "unknown persona set", "missing model", "endpoint down", "missing embedder"],
)  # fmt: skip
def test_a_recipe_that_cannot_be_run(
    understudy: Understudy, project: Path, old: str, new: str, message: list[str]
) -> None:
    said = understudy("run", edit(project, old, new), "--out", project / "out")
    assert said.code == 2
    assert said.err.startswith("Error: ")
    assert "Traceback" not in said.err
    for part in message:
        assert part in said.err
    assert untouched(project)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("docs/bread.md", b"", ["docs: holds no seeds", "seeds[0].path"]),
        ("docs/bread.md", b"fine\n\xff\xfe", ["bread.md:2:1: not UTF-8", "save the file as UTF-8"]),
        ("docs/scan.pdf", b"%PDF-1.4 broken", ["scan.pdf: unreadable PDF", "leave it out"]),
        (
            "tables/levels.csv",
            b"a,b\n1,2\n1,2,3\n",
            ["levels.csv:3: row has 3 fields, the header has 2", "quote fields"],
        ),
        ("tables/more.jsonl", b'{"a": 1}\n{"a": \n', ["more.jsonl:2: not valid JSON"]),
    ],
    ids=["empty seeds", "undecodable file", "unreadable PDF", "ragged CSV", "bad JSONL"],
)
def test_seeds_that_cannot_be_read(
    understudy: Understudy, project: Path, file: str, content: bytes, message: list[str]
) -> None:
    (project / file).write_bytes(content)
    said = understudy("run", project / "recipe.yaml", "--out", project / "out")
    assert said.code == 2
    for part in message:
        assert part in said.err
    assert untouched(project)


def test_output_folder_of_another_recipe(understudy: Understudy, project: Path) -> None:
    assert understudy("run", project / "recipe.yaml", "--out", project / "out").code == 0
    said = understudy("run", edit(project, "embedding: 0.97", "embedding: 0.5"), "--out", project / "out")
    assert said.code == 2
    assert "another recipe: dedup.embedding: 0.97 -> 0.5" in said.err
    assert "--out" in said.err


def test_output_folder_with_other_things_in_it(understudy: Understudy, project: Path) -> None:
    said = understudy("run", project / "recipe.yaml", "--out", project / "docs")
    assert said.code == 2
    assert "docs: not a corpus folder" in said.err
    assert untouched(project)
    assert [path.name for path in (project / "docs").iterdir()] == ["bread.md"]


def test_disk_full_while_a_shard_is_written(
    understudy: Understudy, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rows.write_durably

    def full(temporary: Path, path: Path, content: bytes) -> None:
        if path.suffix == ".parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(temporary, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(rows, "write_durably", full)
        said = understudy("run", project / "recipe.yaml", "--out", project / "out")
    assert said.code == 4
    assert "No space left on device" in said.err and "MiB free" in said.err and "make room" in said.err
    assert [path.parent.name for path in (project / "out").rglob("*.parquet")] == ["seeds"]
    resumed = understudy("run", project / "recipe.yaml", "--out", project / "out")
    assert resumed.code == 0


def test_disk_full_while_the_journal_is_written(
    understudy: Understudy, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(self: object, batch: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise sqlite3.OperationalError("database or disk is full")
        real(self, batch)

    from understudy.corpus.ledger import Ledger
    from understudy.corpus.storage import storage_errors

    real = Ledger.add_calls

    def guarded(self: Ledger, batch: object) -> None:
        with storage_errors(self.path):
            full(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add_calls", guarded)
        said = understudy("run", project / "recipe.yaml", "--out", project / "out")
    assert said.code == 4
    assert "database or disk is full" in said.err
    assert understudy("run", project / "recipe.yaml", "--out", project / "out").code == 0


def test_a_goal_that_cannot_be_met_ends_with_its_own_code_and_says_what_to_raise(
    understudy: Understudy, project: Path
) -> None:
    said = understudy("run", project / "recipe.yaml", "--set", "accept=500", "--set", "draws_per_seed=1")
    assert said.code == 5
    assert "draws_per_seed" in said.out


@pytest.mark.parametrize("verb", ["report", "traces", "train"])
def test_a_corpus_that_is_not_there(understudy: Understudy, tmp_path: Path, verb: str) -> None:
    said = understudy(verb, "nowhere", *(["--out", "vm"] if verb == "train" else []))
    assert said.code == 2
    assert "nowhere: no such corpus folder" in said.err
    assert not (tmp_path / "vm").exists()


def test_an_example_that_is_not_there(understudy: Understudy, project: Path) -> None:
    understudy("run", project / "recipe.yaml", "--out", "out")
    said = understudy("traces", "out", "zzzz")
    assert said.code == 2
    assert "no example has an id that starts with 'zzzz'" in said.err
    assert "expected: an id such as" in said.err


def test_a_vm_that_is_not_there(understudy: Understudy) -> None:
    said = understudy("eval", "nowhere")
    assert said.code == 2
    assert "not a VM" in said.err


def test_a_picture_of_an_unknown_kind(understudy: Understudy) -> None:
    said = understudy("graph", "--out", "graph.gif")
    assert said.code == 2
    assert "expected: .png or .svg" in said.err


@pytest.fixture
def failing_server() -> Iterator[str]:
    """An endpoint that lists its model and then fails every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, b'{"object": "list", "data": [{"id": "m", "object": "model"}]}')

        def do_POST(self) -> None:
            self._send(503, b'{"error": {"message": "overloaded"}}')

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_fails_mid_run_stops_it_with_the_engine_code_and_blames_no_seed(
    understudy: Understudy, project: Path, failing_server: str
) -> None:
    recipe = edit(
        project,
        "{backend: scripted}",
        f"{{backend: openai, base_url: '{failing_server}', model: m, retries: 0, patience_s: 0.5}}",
    )
    said = understudy("run", recipe, "--out", "out")
    assert said.code == 3
    assert failing_server in said.err and "overloaded" in said.err
    assert understudy("report", "out", "--json").code == 0


def test_an_unset_key_variable_is_named_and_a_key_is_never_shown(understudy: Understudy, project: Path) -> None:
    os.environ.pop("NO_SUCH_KEY", None)
    recipe = edit(
        project, "{backend: scripted}",
        "{backend: openai, base_url: 'http://127.0.0.1:9', model: m, api_key_env: NO_SUCH_KEY}",
    )  # fmt: skip
    said = understudy("run", recipe)
    assert said.code == 2
    assert "environment variable NO_SUCH_KEY is not set" in said.err


def test_an_interrupt_that_no_command_caught_is_told(understudy: Understudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("understudy.personas.load_set", interrupted)
    said = understudy("personas", "show", "everyday")
    assert (said.code, said.out, said.err) == (130, "", "\nStopped.\n")
