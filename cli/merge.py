"""`understudy merge`: a VM as one folder of weights, for engines without adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import visible

if TYPE_CHECKING:
    from understudy.cli.vms import VM


def merge(
    vm: Annotated[Path, typer.Argument(help="A VM folder, as `understudy train` writes it.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the weights go; a new folder.")],
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16, instead of that of the base.")
    ] = None,
) -> None:
    """Merge a VM's adapter into its base: a Hugging Face folder, with a Modelfile for Ollama."""
    import shutil

    from understudy.cli.vms import read_vm
    from understudy.errors import RunFolderError, UserError
    from understudy.models.merging import DTYPES
    from understudy.models.merging import merge as write

    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"--dtype {dtype}", expected=", ".join(DTYPES))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError("is not empty", where=str(out), remedy="name a new folder with --out")
    found = read_vm(vm)
    weights = found.weights
    words = vm if (vm / "tokenizer_config.json").is_file() else weights
    building = out.with_name(f".{out.name}.merging")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        typer.echo(f"Reading {visible(found.base or found.name)}")
        stored, templated = write(weights, vm if found.adapter else None, words, building, dtype)
        _lineage(found, building, stored)
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    typer.echo(f"{out}: {stored} weights, tokenizer and Modelfile")
    if not templated:
        typer.echo("Its chat template is not one that a Modelfile can hold: Ollama goes by what it knows of the model.")
    typer.echo(f"\nNext:\n  understudy chat {out}\n  ollama create {found.name} -f {out / 'Modelfile'}")


def _lineage(vm: VM, folder: Path, dtype: str) -> None:
    """The VM's lineage and card, and what was merged into what."""
    import json

    from huggingface_hub import ModelCardData

    from understudy import __version__
    from understudy.models.folders import fingerprint

    file = vm.path / "understudy.json"
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    merged = f"{vm.name}@{fingerprint(vm.path)}"
    text = json.dumps(known | {"merged_from": merged}, indent=2) + "\n"
    (folder / "understudy.json").write_text(text, encoding="utf-8")
    base = (vm.base or "").partition("@")[0]
    named = {"base_model": base, "base_model_relation": "finetune"} if base else {}
    usual = {"pipeline_tag": "text-generation", "tags": ["understudy"]}
    front = ModelCardData(**usual | named | _front(vm.path / "README.md") | {"library_name": "transformers"})
    how = "an adapter and its base in one" if vm.adapter else "a copy of a VM"
    page = (
        f"# {vm.name}\n\nThese weights are {how}, in {dtype}, written by `understudy merge` of Understudy "
        f"{__version__} from `{merged}`. Load them with "
        "`transformers.AutoModelForCausalLM.from_pretrained(folder)`; `ollama create NAME -f Modelfile` reads them "
        "too. What the VM was trained on stands in `understudy.json`.\n"
    )
    (folder / "README.md").write_text(f"---\n{front.to_yaml()}\n---\n\n{page}", encoding="utf-8")


def _front(card: Path) -> dict[str, Any]:
    """The front matter of a card, with its licence."""
    import yaml

    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    if not text.startswith("---\n"):
        return {}
    found = yaml.safe_load(text[4:].partition("\n---\n")[0])
    return found if isinstance(found, dict) else {}
