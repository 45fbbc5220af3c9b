"""What is installed: one package, with its prompts and persona sets, and nothing called `agents` beside it."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_with_code_is_shipped_under_the_package() -> None:
    folders = SETUP["package-dir"]
    assert set(folders) == set(SETUP["packages"])
    rooms = {path.parent for path in ROOT.glob("*/__init__.py")}
    inside = {path.parent for room in rooms for path in room.glob("*/__init__.py")}
    assert {str(folder.relative_to(ROOT)) for folder in rooms | inside} == set(folders.values())


def test_no_room_is_imported_by_its_bare_name() -> None:
    code = (
        "import sys, understudy.agents, understudy.graphs, understudy.training;"
        "bare = {'agents', 'graphs', 'personas', 'training', 'evals', 'corpus', 'core'} & set(sys.modules);"
        "assert not bare, bare; assert 'torch' not in sys.modules and 'vllm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


@pytest.mark.slow
def test_a_wheel_works_in_a_clean_environment(tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    clean["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"

    def call(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=clean, cwd=tmp_path, **options,  # type: ignore[call-overload]
        )  # fmt: skip

    built = call(sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", tmp_path, ROOT)
    assert built.returncode == 0, built.stderr
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"understudy", wheel.name.split("-py3")[0] + ".dist-info"}
    for needed in (
        "agents/prompts/answer/answer.md",
        "personas/sets/everyday.yaml",
        "cli/starter/recipe.yaml",
        "traces/templates/report.html",
        "traces/templates/report.css",
        "py.typed",
    ):
        assert f"understudy/{needed}" in names
    links = ["--find-links", clean["PIP_FIND_LINKS"]] if clean.get("PIP_FIND_LINKS") else []
    assert call("uv", "venv", "--python", sys.executable, tmp_path / "env").returncode == 0
    python = tmp_path / "env" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    installed = call("uv", "pip", "install", "--python", python, *links, "--constraints", constraints, wheel)
    assert installed.returncode == 0, installed.stderr
    assert call(python, "-c", "import understudy.agents, understudy.graphs").returncode == 0
    bare = call(python, "-c", "import agents")
    assert bare.returncode == 1 and "ModuleNotFoundError" in bare.stderr
    assert call(python.with_name("understudy"), "init", "mine").returncode == 0
    planned = call(python.with_name("understudy"), "run", "mine/recipe.yaml", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    # Without [local] the run itself says what to install.
    refused = call(python.with_name("understudy"), "run", "mine/recipe.yaml")
    assert refused.returncode == 2 and "understudy[local]" in refused.stderr
