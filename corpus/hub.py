"""A folder of ours on the Hugging Face Hub: which of its files go up, and what is taken out of them before.

The ledger, people's reviews, hidden files and pickles stay here. Where a file says where something lay on this machine,
the name of it is all that goes up.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from understudy.corpus.folder import HOMES, RunFolder
from understudy.errors import RunFolderError, UserError

Kind = Literal["model", "dataset"]
# Of a corpus: what `load_dataset` and its card need, and the calls behind each row; of rows of a table, nothing that
# real rows stand in, such as the calls, or what was refused for being too near to one.
_CORPUS = (*HOMES, "README.md", "recipe.json", "report.json")
_ROWS = ("data", "README.md", "recipe.json", "report.json")
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
# Files of ours and of peft's that may say where something lay. Others, such as a tokenizer's, may hold a slash that is
# no path.
_TELLING = {"understudy.json", "adapter_config.json", "config.json", "recipe.json", "report.json", "eval.json"}


def kind_of(folder: Path) -> Kind:
    """Whether a folder holds a model or a corpus.

    Raises:
        RunFolderError: when it holds neither.
    """
    if (folder / "ledger.db").is_file():
        return "dataset"
    if (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
        return "model"
    raise RunFolderError(
        "neither a model nor a corpus" if folder.is_dir() else "no such folder",
        where=str(folder),
        expected="a folder that `understudy train`, `merge` or `run` has written",
    )


def chosen(folder: Path, kind: Kind) -> Iterator[Path]:
    """The files that go up, in the order of their names."""
    known = _ROWS if kind == "dataset" and private_rows(folder) is not None else _CORPUS
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        strange = kind == "dataset" and inner.parts[0] not in known
        kept = path.name.startswith("ledger.db") or path.name == "reviews.jsonl"
        if path.is_file() and not (hidden or strange or kept or path.is_symlink() or path.suffix in _PICKLES):
            yield path


def private_rows(folder: Path) -> dict[str, Any] | None:
    """What the report of a corpus of rows says of their privacy (`passed` and `findings`); of other corpora, None.

    Raises:
        RunFolderError: when the report is damaged.
    """
    if not (folder / "ledger.db").is_file():
        return None
    nothing: dict[str, Any] = {"passed": None, "findings": []}
    with RunFolder.read(folder) as corpus:  # a run that was killed has written no recipe.json
        if corpus.recipe.rows is None:
            return None
        digest = corpus.digest
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if report["digest"] != digest:  # rows have come since it was measured
            return nothing
        return dict((report["figures"].get("table") or {}).get("privacy") or nothing)
    except FileNotFoundError:
        return nothing
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"damaged: {error!r}", where=str(folder), remedy="run the recipe again") from error


def check_private(folder: Path) -> None:
    """That a corpus of rows may be handed on.

    Raises:
        UserError: when a check of its privacy failed, or what decides was not measured.
    """
    found = private_rows(folder)
    if found is not None and found["passed"] is not True:
        failed = [one["told"] for one in found["findings"] if one["passed"] is False]
        raise UserError(
            f"the privacy of its rows {'failed' if found['passed'] is False else 'was not measured'}",
            where=str(folder), expected="a report whose privacy passed" + "".join(f"\n    {told}" for told in failed),
            remedy="`understudy report` shows all checks; write other rows, or hold out real rows to measure with",
        )  # fmt: skip


def push(folder: Path, repo: str, *, private: bool, kind: Kind, api: Any) -> str:
    """Put a folder on the Hub; its address there.

    Args:
        folder: a VM, merged weights, or a corpus.
        repo: `name` or `owner/name`; made if it is not there yet.
        private: whether only its owner may see it.
        kind: what is in the folder.
        api: a `huggingface_hub.HfApi`.

    Raises:
        UserError: when the Hub cannot be reached or refuses, or the repository is public and should not be.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # What its HTTP library raises, whichever that is, is what the Hub's own error derives from.
    failed: tuple[type[Exception], ...] = (OSError, HfHubHTTPError.__bases__[0])
    files = list(chosen(folder, kind))
    with tempfile.TemporaryDirectory(prefix="understudy-push-") as staged:
        for file in files:
            _stage(file, Path(staged) / file.relative_to(folder))
        try:
            # A repository that exists already keeps its visibility.
            made = api.create_repo(repo, private=private, repo_type=kind, exist_ok=True)
            where = str(getattr(made, "repo_id", repo))
            if private and not api.repo_info(where, repo_type=kind).private:
                raise UserError(
                    f"{where} is public", remedy="give --public if everybody may see it, or name another repository"
                )
            api.upload_folder(
                repo_id=where, folder_path=staged, repo_type=kind, commit_message=f"{folder.name} by understudy push"
            )
        except HFValidationError as error:
            raise UserError(f"not a name for a repository: {error}", expected="name, or owner/name") from error
        except HfHubHTTPError as error:
            raise UserError(
                f"the Hub refused: {error}", remedy="check that the token may write there (`hf auth whoami`)"
            ) from error
        except failed as error:
            raise UserError(
                f"the Hub cannot be reached: {error}", remedy="check the connection, then run the same command again"
            ) from error
    return str(made)


def _stage(file: Path, to: Path) -> None:
    """Put a file where it is uploaded from: a link, or a copy that tells nothing of this machine."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if file.name not in _TELLING:
        to.symlink_to(file.resolve())
        return
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"damaged: {error}", where=str(file)) from error
    to.write_text(json.dumps(_unplaced(told), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _unplaced(value: Any) -> Any:
    """The same without folders of this machine: of an absolute path its last part."""
    if isinstance(value, dict):
        return {key if not _is_path(key) else PurePosixPath(key).name: _unplaced(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unplaced(inner) for inner in value]
    if isinstance(value, str) and _is_path(value):
        return PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name
    return value


def _is_path(text: str) -> bool:
    """Whether a text is an absolute path and nothing else."""
    if len(text) > 4096 or "\n" in text or text.startswith("//"):
        return False
    rooted = text.startswith(("/", "~/")) and text.count("/") > 1
    return rooted or PureWindowsPath(text).is_absolute()
