"""What a client costs beyond the model: the same three-call flow through several clients, against a mock server.

    python benchmarks/overhead.py                                           the whole table, at the defaults
    python benchmarks/overhead.py --clients bare,understudy --latency 2     where the model is slow, as it is in life

Each client takes N seeds from persona to instruction to answer; every prompt holds the reply of the call before it.
The server answers each call after a fixed latency however many there are, so the least time possible is
calls x latency / concurrency. What a client needs beyond that is its own.

Each client is a file in `clients/`, run by `clients/measure.py` in an environment of its own under `build/peers/`,
made with uv from the pinned versions in `requirements/`. A machine's speed swings, so the clients take turns, round
after round, and a client is compared with `bare` of the same round. Progress goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from machine import hardware, say, today

ROOT = HERE.parent
PEERS = ROOT / "build" / "peers"
CLIENTS = ("bare", "understudy", "distilabel", "sygra", "data-designer")
CALLS_PER_SEED = 3
WARM_UP_SEEDS = 8
# What Understudy puts before every prompt; the other clients are given the same.
SYSTEM = ROOT / "agents" / "prompts" / "shared" / "system.md"
# In the order of the calls; a name in braces is the seed's text or the reply to the prompt of that name.
PROMPTS = {
    "persona": "{{ text }}\n\nWho would want to read the text above? Write one sentence that begins with "
    '"A person who works as" and goes on with "and wants to know".',
    "instruction": "{{ text }}\n\nThe person who asks: {{ persona }}\n\nWrite one question of this person about the "
    "text above.",
    "answer": "{{ text }}\n\nAnswer in two or three sentences with facts from the text above.\n\n{{ instruction }}",
}
SAMPLING = {"temperature": 0.7, "top_p": 0.95, "max_tokens": 160}
_SAMPLE_S = 0.25

Run = dict[str, Any]


def write_seeds(path: Path, number: int, first: int = 0) -> None:
    """Short documents that share few words, one for each number from `first` on."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(first, first + number):
            rng = random.Random(index)  # noqa: S311
            words = ["".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3)) for _ in range(60)]
            text = ". ".join(" ".join(words[start : start + 12]).capitalize() for start in range(0, 60, 12))
            file.write(json.dumps({"id": f"seed-{index}", "text": f"{text}."}) + "\n")


def environment(client: str) -> Path:
    """The Python of a client's environment, which is made or brought up to date first.

    Raises:
        RuntimeError: when it cannot be installed; the text is uv's last words.
    """
    folder, wanted = PEERS / client, HERE / "requirements" / f"{client}.txt"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    sources = [wanted, *([ROOT / "pyproject.toml", ROOT / "constraints.txt"] if client == "understudy" else [])]
    mark = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
        return python
    uv = shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is not installed: `pip install uv`")
    say(f"{client}: installing into {folder.relative_to(ROOT)}")
    links = [part for link in os.environ.get("PIP_FIND_LINKS", "").split() for part in ("--find-links", link)]
    install = [uv, "pip", "install", "--quiet", "--python", str(python), *links, "--requirements", str(wanted)]
    for command in ([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], install):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"cannot be installed: {_last_words(done.stderr)}")
    stamp.write_text(mark, encoding="utf-8")
    return python


@contextlib.contextmanager
def mock_server(python: Path) -> Iterator[str]:
    """The mock server as a process of its own.

    Yields:
        Its address, without a path.
    """
    command = [str(python), "-P", str(HERE / "mock_server.py"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603
    try:
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise SystemExit("the mock server did not start")
        yield address.removesuffix("/v1")
    finally:
        process.kill()
        process.communicate()


def ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The server's answer to a GET, or to a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(url, data), timeout=60) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def run_client(client: str, python: Path, server: str, options: argparse.Namespace, folder: Path) -> Run:
    """One client over all seeds, in a process that is watched.

    Returns:
        What it took, or `error`: why it took nothing.
    """
    ask(f"{server}/reset", {"latency": options.latency})
    with tempfile.TemporaryDirectory(prefix=f"{client}-", dir=folder, ignore_cleanup_errors=True) as own:
        job, result, log = (Path(own) / name for name in ("job.json", "result.json", "log.txt"))
        job.write_text(json.dumps(_job(server, options, folder, Path(own))), encoding="utf-8")
        script = HERE / "clients" / f"{client.replace('-', '_')}.py"
        command = [str(python), "-P", str(HERE / "clients" / "measure.py"), str(script), str(job), str(result)]
        settings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        settings |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                command, cwd=own, env=settings, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
            try:
                peak = _watch(process, options.timeout)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # whatever it left behind, or all of it
                process.wait()
        words = log.read_text(encoding="utf-8", errors="replace")
        if options.verbose:
            say(words)
        if peak is None:
            return {"error": f"not done after {options.timeout:g} s: {_last_words(words)}"}
        if process.returncode or not result.is_file():
            return {"error": f"exit code {process.returncode}: {_last_words(words)}"}
        took: Run = json.loads(result.read_text(encoding="utf-8"))
    seen = ask(f"{server}/stats")
    took |= {"peak_mib": round(peak / 2**20, 1), "server": seen}
    return took | {"flags": flags(took, options.seeds)}


def _job(server: str, options: argparse.Namespace, folder: Path, own: Path) -> dict[str, Any]:
    return {
        "server": server,
        "base_url": f"{server}/v1",
        "model": "mock",
        "concurrency": options.concurrency,
        "seeds": str(folder / "seeds.jsonl"),
        "warm_up": str(folder / "warm-up.jsonl"),
        "folder": str(own),
        "system": SYSTEM.read_text(encoding="utf-8").strip(),
        "prompts": PROMPTS,
        "sampling": SAMPLING,
    }


def _watch(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """The most memory, in bytes, that the process and its children held at once; None if they took too long."""
    peak, end = 0, time.monotonic() + limit
    while process.poll() is None:
        if time.monotonic() > end:
            return None
        peak = max(peak, _memory(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SAMPLE_S if peak else 0.01)  # a short run must be seen at least once
    return peak


def _memory(pid: int) -> int:
    """Proportional set sizes of a process and its children: a page that several share is counted once."""
    total = 0
    with contextlib.suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                held = process.memory_full_info()
                total += getattr(held, "pss", held.uss)
    return total


def flags(took: Run, seeds: int) -> list[str]:
    """What is not as it must be for a run to count."""
    seen = took["server"]
    return [
        text
        for text, wrong in (
            (f"{seen['requests']} calls, not {CALLS_PER_SEED * seeds}", seen["requests"] != CALLS_PER_SEED * seeds),
            (f"{seen['duplicates']} prompts were sent twice", seen["duplicates"]),
            (f"{seen['refused']} requests were refused", seen["refused"]),
            (f"{took['rows']} rows, not {seeds}", took["rows"] != seeds),
        )
        if wrong
    ]


def summary(runs: list[Run], ideal: float) -> list[Run]:
    """One row for each client, in the order of the first round: medians and leasts over its rounds."""
    floor = {run["round"]: run["run_s"] for run in runs if run["client"] == "bare" and "run_s" in run}
    rows = []
    for client in dict.fromkeys(run["client"] for run in runs):
        own = [run for run in runs if run["client"] == client]
        good = [run for run in own if "run_s" in run]
        row: Run = {"client": client, "errors": [run["error"] for run in own if "error" in run]}
        row["flags"] = sorted({flag for run in good for flag in run["flags"]})
        if good:
            middle = statistics.median
            calls = middle(run["server"]["requests"] for run in good)
            ratios = [run["run_s"] / floor[run["round"]] for run in good if run["round"] in floor]
            row |= {
                "version": good[0]["version"],
                "python": good[0]["python"],
                "run_s": middle(run["run_s"] for run in good),
                "least_run_s": min(run["run_s"] for run in good),
                "served_s": middle(run["server"]["seconds"] for run in good),
                "by_ideal": middle(run["run_s"] for run in good) / ideal,
                "by_bare": middle(ratios) if ratios else None,
                "cpu_s_per_1000_calls": middle(run["cpu_s"] for run in good) / calls * 1000 if calls else None,
                "least_cpu_s_per_1000_calls": min(run["cpu_s"] for run in good) / calls * 1000 if calls else None,
                "peak_mib": max(run["peak_mib"] for run in good),
                "most_at_once": max(run["server"]["most_under_way"] for run in good),
                "calls": calls,
                "rows": middle(run["rows"] for run in good),
            }
        rows.append(row)
    return rows


# The least over the rounds stands in brackets behind the median where a row has it, under `least_<key>`.
_COLUMNS = (
    ("run s", "run_s", ".2f"),
    ("served s", "served_s", ".2f"),
    ("/ ideal", "by_ideal", ".2f"),
    ("/ bare", "by_bare", ".2f"),
    ("CPU s", "cpu_s_per_1000_calls", ".2f"),
    ("MiB", "peak_mib", ",.0f"),
    ("at once", "most_at_once", ".0f"),
    ("calls", "calls", ".0f"),
    ("rows", "rows", ".0f"),
)


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown page of at most 100 columns or so."""
    settings, ideal = report["settings"], report["ideal_s"]
    calls = CALLS_PER_SEED * settings["seeds"]
    lines = [
        f"{settings['seeds']:,} seeds, {calls:,} calls, concurrency {settings['concurrency']}, "
        f"latency {settings['latency']:g} s, {settings['repeats']} rounds; ideal {ideal:.2f} s "
        f"({calls / ideal:,.0f} calls/s).",
        *_pace(report["clients"], calls, ideal),
        "",
        "| client | " + " | ".join(title for title, _, _ in _COLUMNS) + " |",
        "| --- |" + " ---: |" * len(_COLUMNS),
    ]
    notes = []
    for row in report["clients"]:
        cells = [_cell(row.get(key), row.get(f"least_{key}"), form) for _, key, form in _COLUMNS]
        lines.append(f"| {row['client']} {row.get('version', '')}".rstrip() + " | " + " | ".join(cells) + " |")
        notes += [f"- {row['client']}: {text}" for text in dict.fromkeys([*row["errors"], *row["flags"]])]
    lines += ["", *_LEGEND]
    if notes:
        lines += ["", "Not as it must be:", "", *notes]
    hardware = report["hardware"]
    lines += [
        "",
        f"{report['date']}, {hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']:g} GiB, "
        f"Python {hardware['python']}.",
    ]
    return "\n".join(lines)


def _pace(rows: list[Run], calls: int, ideal: float) -> list[str]:
    """A warning where the machine, and not the server's latency, sets the pace."""
    fastest = min((row for row in rows if "run_s" in row), key=lambda row: row["run_s"], default=None)
    if fastest is None or fastest["run_s"] < 1.5 * ideal:
        return []
    pace = calls / fastest["run_s"]
    return [
        f"No client can reach that here: the fastest, {fastest['client']}, made {pace:,.0f} calls/s. So this setting",
        "compares the clients' CPU; a longer --latency shows how well they keep the model busy.",
    ]


_LEGEND = (
    "Medians of the rounds, and the least in brackets. run s: wall time of the client's run call, without",
    "interpreter start and imports. served s: from the server's first request to its last reply.",
    "/ ideal: run s by calls x latency / concurrency. / bare: run s by that of bare in the same round.",
    "CPU s: user and system seconds of the client and its children for 1,000 calls, without imports.",
    "MiB: most memory at once (proportional set size of the process tree, imports included), of all",
    "rounds. at once: most requests under way. calls, rows: what the server answered, what came out.",
)


def _cell(value: float | None, least: float | None, form: str) -> str:
    if value is None:
        return "-"
    return format(value, form) + ("" if least is None else f" ({format(least, form)})")


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-600:] or "it said nothing"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="Client overhead over a mock server: the same flow in each client.")
    parser.add_argument("--seeds", type=int, default=2000, help=f"each makes {CALLS_PER_SEED} calls")
    parser.add_argument("--concurrency", type=int, default=256, help="most requests under way at once")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds from a request to its reply")
    parser.add_argument("--repeats", type=int, default=3, help="rounds in which every client runs once")
    parser.add_argument("--clients", default=",".join(CLIENTS), help=f"of {', '.join(CLIENTS)}")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that one run may take")
    parser.add_argument("--out", type=Path, help="a file for the figures of every run, as JSON")
    parser.add_argument("--verbose", action="store_true", help="show what the clients print")
    options = parser.parse_args(arguments)
    options.clients = tuple(dict.fromkeys(name.strip() for name in options.clients.split(",") if name.strip()))
    unknown = [name for name in options.clients if name not in CLIENTS]
    if unknown or not options.clients:
        parser.error(f"no client is called {', '.join(unknown) or 'nothing'}; there are {', '.join(CLIENTS)}")
    if min(options.seeds, options.concurrency, options.repeats) < 1 or min(options.latency, options.timeout) <= 0:
        parser.error("seeds, concurrency, repeats, latency and timeout must be above 0")
    return options


def measure(options: argparse.Namespace, pythons: dict[str, Path | str], server_python: Path) -> dict[str, Any]:
    """All rounds of all clients.

    Args:
        options: as `parse` returns them.
        pythons: of each client the Python to run it with, or why there is none.
        server_python: the Python to run the mock server with.
    """
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="overhead-") as name, mock_server(server_python) as server:
        folder = Path(name)
        write_seeds(folder / "seeds.jsonl", options.seeds)
        write_seeds(folder / "warm-up.jsonl", WARM_UP_SEEDS, first=10**9)
        for turn in range(options.repeats):
            start = turn % len(options.clients)
            for client in (*options.clients[start:], *options.clients[:start]):
                python = pythons[client]
                if isinstance(python, str):
                    took: Run = {"error": python}
                else:
                    took = run_client(client, python, server, options, folder)
                runs.append({"client": client, "round": turn + 1, **took})
                said = took.get("error") or f"{took['run_s']:.2f} s, {took['cpu_s']:.2f} s of CPU"
                say(f"round {turn + 1} of {options.repeats}, {client}: {'; '.join([said, *took.get('flags', [])])}")
    ideal = CALLS_PER_SEED * options.seeds * options.latency / options.concurrency
    order = {client: index for index, client in enumerate(options.clients)}
    return {
        "date": today(),
        "hardware": hardware(),
        "settings": {key: getattr(options, key) for key in ("seeds", "concurrency", "latency", "repeats", "clients")},
        "ideal_s": ideal,
        "clients": summary(sorted(runs, key=lambda run: (run["round"], order[run["client"]])), ideal),
        "runs": runs,
    }


def main() -> None:
    """Make what environments are missing, measure, print the table."""
    options = parse()
    pythons: dict[str, Path | str] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for client in options.clients:
            try:
                pythons[client] = environment(client)
            except RuntimeError as error:
                pythons[client] = str(error)
                say(f"{client}: {error}")
        report = measure(options, pythons, environment("bare"))
    except RuntimeError as error:
        sys.exit(f"the mock server's environment: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
