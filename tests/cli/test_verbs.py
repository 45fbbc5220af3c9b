"""The verbs, as a user meets them."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

Understudy = Callable[..., Any]
COMMAND = Path(sys.executable).with_name("understudy")


def test_help_names_every_verb_within_80_columns(understudy: Understudy) -> None:
    said = understudy("--help")
    assert said.code == 0
    for verb in ("init", "personas", "run", "traces", "report", "train", "eval", "graph"):
        assert f"  {verb}" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_help_is_quick() -> None:
    def cpu(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Interleaved, and the least of each: the machine's speed swings, its ratio hardly does.
    pairs = [(cpu(str(COMMAND), "--help"), cpu(sys.executable, "-c", "pass")) for _ in range(5)]
    help_s, pass_s = (min(column) for column in zip(*pairs, strict=True))
    print(f"--help {help_s:.3f} s CPU, python -c pass {pass_s:.3f} s, ratio {help_s / pass_s:.1f}")
    assert help_s < 0.3 or help_s / pass_s < 12
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", str(COMMAND), "--help"], check=True, capture_output=True, text=True
    ).stderr
    for heavy in ("torch", "langgraph", "pydantic", "numpy", "pyarrow", "transformers", "opentelemetry"):
        assert f" {heavy}\n" not in listed


def test_init_writes_a_project_that_dry_runs(understudy: Understudy) -> None:
    assert understudy("init", "mine").code == 0
    said = understudy("run", "mine/recipe.yaml", "--dry-run")
    assert said.code == 0
    assert "Goal: 16 accepted" in said.out
    assert not Path("mine/runs").exists()
    assert understudy("init", "mine").code == 2


def test_a_dry_run_names_what_it_leaves_aside_and_goals_that_cannot_be_met(
    understudy: Understudy, project: Path
) -> None:
    (project / "docs" / "photo.jpg").write_bytes(b"x")
    said = understudy("run", project / "recipe.yaml", "--dry-run", "--set", "accept=100", "--set", "draws_per_seed=1")
    assert "photo.jpg" in said.out
    assert "The goal cannot be met" in said.out


def test_run_report_and_traces_fit_together(understudy: Understudy, project: Path) -> None:
    ran = understudy("run", project / "recipe.yaml", "--out", "out")
    assert ran.code == 0
    assert "done: 8 examples are accepted" in ran.out and "8/8 accepted" in ran.out and "tok/s  measuring" in ran.out
    assert "understudy report out" in ran.out
    books = json.loads(understudy("report", "out", "--json").out)["accounting"]
    assert books["drafts"]["accepted"] == 8
    shown = understudy("report", "out")
    assert "SM tokens per accepted example" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    listed = json.loads(understudy("traces", "out", "--json", "--status", "accepted").out)
    assert len(listed) == 8
    tree = understudy("traces", "out", listed[0]["id"][:10])
    assert tree.code == 0
    for part in ("seed", "persona", "path", "calls", "reply:", "verdicts", "passed", "example"):
        assert part in tree.out
    told = json.loads(understudy("traces", "out", listed[0]["id"], "--json").out)
    assert told["example"]["id"] == listed[0]["id"]
    assert [step["call"]["key"] for step in told["steps"]] == told["example"]["calls"]


def test_markup_in_seeds_is_shown_as_it_is(understudy: Understudy, project: Path) -> None:
    (project / "docs" / "bread.md").write_text(
        "The [bold]yeast[/bold] \x1b[31mmakes[/] {{ 7 * 7 }} gas in dough, and bread rises."
    )
    cast = "agents.instruct=[literal-question, why-question, code-usage, table-lookup]"
    assert understudy("run", project / "recipe.yaml", "--out", "out", "--set", "accept=8", "--set", cast).code == 0
    rows = [row for path in Path("out/data").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    listed = [row["id"] for row in rows if row["seed_kind"] == "text"]
    shown = understudy("traces", "out", listed[0])
    assert "[bold]yeast[/bold]" in shown.out
    assert "{{ 7 * 7 }}" in shown.out
    assert "\x1b[31m" not in shown.out


def test_graph_prints_mermaid_and_draws(understudy: Understudy) -> None:
    assert "transform_table" in understudy("graph").out
    for name, head in (("graph.svg", b"<?xml"), ("graph.png", b"\x89PNG")):
        assert understudy("graph", "--out", name).code == 0
        assert Path(name).read_bytes().startswith(head)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_a_run_cleanly_and_says_how_to_resume(project: Path, number: signal.Signals) -> None:
    recipe = project / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("{backend: scripted}", "{backend: scripted, delay_s: 0.05}"))
    command = [str(COMMAND), "run", str(recipe), "--out", str(project / "out"), "--set", "accept=40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (project / "out" / "ledger.db").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Nothing is lost. To go on:" in out
    assert "Traceback" not in err
    resumed = subprocess.run([*command[:-1], "accept=10"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert not [name for name in os.listdir(project) if name.endswith(".new")]


def test_a_reused_call_is_marked_in_a_trace_and_counted_in_the_report(project: Path, understudy: Understudy) -> None:
    understudy("run", project / "recipe.yaml", "--out", project / "first")
    again = ("run", project / "recipe.yaml", "--out", project / "again", "--reuse", project / "first")
    foretold = understudy(*again, "--set", "name=other", "--dry-run")
    assert "0 calls are to be made" in foretold.out and not (project / "again").exists()
    said = understudy(*again, "--set", "name=other")
    assert "calls were taken over from an earlier corpus, at no cost" in said.out
    listed = json.loads(understudy("traces", project / "again", "--json").out)
    assert "  reused  " in understudy("traces", project / "again", listed[0]["id"]).out
    assert "reused" in understudy("report", project / "again").out
    assert "reused" not in understudy("report", project / "first").out
    missing = understudy(*again[:-1], project / "nowhere", "--dry-run")
    assert missing.code == 2 and "no such corpus folder" in missing.err
