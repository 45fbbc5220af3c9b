"""What verbs that use VMs share: what lies in a VM's folder, and the engine that several of them speak through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import ModelError, RunFolderError, UserError

if TYPE_CHECKING:
    from understudy.models import SM
    from understudy.models.local import Local


@dataclass(frozen=True, slots=True)
class VM:
    """A VM's folder: an adapter of a base, or weights of its own."""

    name: str
    path: Path
    base: str | None
    """`name@fingerprint` of what it was trained on; None where the folder does not say."""
    base_path: Path | None
    """Where that lies, if it is still there."""
    adapter: bool

    @property
    def weights(self) -> Path:
        """The folder of whole weights that an engine loads: its own, or its base's."""
        if self.adapter:
            return self.needs_base()
        return self.path

    def needs_base(self) -> Path:
        """The base's folder.

        Raises:
            ModelError: when it is gone, or nobody knows it.
        """
        if self.base is None:
            raise ModelError("does not say what it was trained on", where=str(self.path), expected="understudy.json")
        if self.base_path is None:
            raise ModelError(
                f"the VM's base model is gone: {self.base}",
                where=str(self.path),
                remedy="put it back where understudy.json says (`base_path`), or correct that line",
            )
        return self.base_path


def read_vm(path: Path, name: str | None = None) -> VM:
    """What lies in a folder; no weights are read.

    Raises:
        RunFolderError: when it is no VM.
        ModelError: when what it says of itself cannot be read.
    """
    from understudy.models import embedded

    adapter = (path / "adapter_config.json").is_file()
    if not adapter and not (path / "config.json").is_file():
        raise RunFolderError(
            "not a VM" if path.is_dir() else "no such folder",
            where=str(path),
            expected="a folder of `understudy train` or `understudy merge`",
            remedy="give the --out folder of one of them",
        )
    called = name or path.resolve().name
    if not adapter and not (path / "understudy.json").is_file():
        return VM(called, path, None, None, adapter=False)
    base, where = _lineage(path)
    home: Path | None = Path(where)
    if not (Path(where) / "config.json").is_file():
        # A VM from another machine: the embedded model is on this one too.
        home = embedded.embedded_path() if base.partition("@")[0] == embedded.NAME else None
    return VM(called, path, base, home, adapter)


def _lineage(path: Path) -> tuple[str, str]:
    """`base` and `base_path`, as the VM's lineage has them."""
    from understudy.training.lineage import read_speaker

    lineage = read_speaker(path)
    return str(lineage.base), str(lineage.base_path)


def together(paths: Sequence[Path], names: Sequence[str] = ()) -> list[VM]:
    """VMs that one engine can serve: adapters of one base, or a single model of its own weights.

    Args:
        paths: their folders.
        names: what they are called, if not as their folders; all or none.

    Raises:
        UserError: when names are too few or the same, or the bases differ.
    """
    if names and len(names) != len(paths):
        raise UserError(f"{len(names)} names for {len(paths)} VMs", expected="--name once for each VM, or not at all")
    called: list[str | None] = list(names) or [None] * len(paths)
    vms = [read_vm(path, name) for path, name in zip(paths, called, strict=True)]
    first = vms[0]
    for vm in vms[1:]:
        if not (first.adapter and vm.adapter):
            whole = vm if first.adapter else first
            raise UserError(
                f"`{whole.name}` has weights of its own", where=str(whole.path),
                expected="adapters of one base, or a single VM", remedy="serve it by itself, on another port",
            )  # fmt: skip
        if _print(vm) != _print(first):
            raise UserError(
                f"`{first.name}` and `{vm.name}` have different bases: {first.base} and {vm.base}",
                expected="adapters of one base",
                remedy="serve them by two commands, on two ports",
            )
    models = [base_name(first), *(vm.name for vm in vms)] if first.adapter else [first.name]
    if twice := next((name for name in models if models.count(name) > 1), None):
        raise UserError(f"two models are called `{twice}`", remedy="give the VMs names of their own with --name")
    return vms


def _print(vm: VM) -> str:
    return (vm.base or "").rpartition("@")[2]


def base_name(vm: VM) -> str:
    """What requests call a VM's base."""
    return (vm.base or "base").rpartition("@")[0]


def open_local(vms: Sequence[VM], dtype: str = "auto") -> tuple[Local, dict[str, SM]]:
    """One engine of this process, and by name what can be asked through it: the base first, if the VMs are adapters.

    Raises:
        ModelError: when a folder or a library is missing, or an adapter is not one of this base.
    """
    from understudy.models.local import Local

    first = vms[0]
    if not first.adapter:
        alone = Local.open(first.path, name=first.name, dtype=dtype)
        return alone, {first.name: alone}
    name = base_name(first)
    base = Local.open(first.weights, {vm.name: vm.path for vm in vms}, name=name, dtype=dtype)
    return base, {name: base, **{vm.name: base.adapted(vm.name) for vm in vms}}


def curl(address: str, model: str, key_env: str | None) -> str:
    """A command that asks a model something."""
    import shlex

    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello!"}]}, ensure_ascii=False)
    key = f' -H "Authorization: Bearer ${key_env}"' if key_env else ""
    return f"curl {address}/v1/chat/completions -H 'Content-Type: application/json'{key} -d {shlex.quote(body)}"
