"""Write the reference pages and the graph's picture from the code.

`python docs/generate.py` writes docs/reference/* and docs/graph.mmd, and draws docs/graph.svg and docs/graph.png if
they are missing or the graph has changed. `python docs/generate.py --check` changes nothing, names the text files
that differ, and exits with 1.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import typer

from understudy import errors
from understudy.agents import REPLIES, WHOLE_CAST, load_catalog, load_skills
from understudy.cli import app
from understudy.graphs.drawing import draw, mermaid
from understudy.nouns import FAMILIES
from understudy.personas import load_set, shipped_sets
from understudy.prompt import VARIABLES, Judged, Method
from understudy.recipe import schema

DOCS = Path(__file__).resolve().parent
_NOTE = "This page is written by `docs/generate.py` from the code; change the code, then run `make docs`."
# Exit codes that no error class carries: how a command ends when nothing failed, or the user ended it.
_PLAIN_CODES = {
    0: "done; of `run`: the goal is met",
    1: "an error nobody foresaw; the traceback is shown",
    5: "`run` ended before its goal: the budget or the draws are used up; the corpus is valid",
    130: "Ctrl-C, after the work in hand is safe",
}


def pages() -> dict[str, str]:
    """Every generated text file, by its path inside docs/."""
    body = schema()
    return {
        "reference/recipe.md": recipe_page(body),
        "reference/recipe.schema.json": json.dumps(body, indent=2, ensure_ascii=False) + "\n",
        "reference/cli.md": cli_page(),
        "reference/agents.md": agents_page(),
        "graph.mmd": mermaid().rstrip() + "\n",
    }


def stale(docs: Path = DOCS) -> list[str]:
    """The generated text files that are missing or differ from what the code says now."""
    return [name for name, text in pages().items() if _read(docs / name) != text]


def write(docs: Path = DOCS) -> list[str]:
    """Write every generated file that is missing or differs; returns their names.

    The layout of the pictures varies a little from one process to the next, so a picture is kept as long as the
    graph is the same; delete it to have it drawn again.
    """
    written = stale(docs)
    for name, text in pages().items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    pictures = [name for name in ("graph.svg", "graph.png") if "graph.mmd" in written or not (docs / name).is_file()]
    for name in pictures:
        draw(docs / name)
    return written + pictures


def recipe_page(body: dict[str, Any]) -> str:
    """The recipe's keys, section by section, in the order of the file."""
    parts = [
        "# The recipe",
        _NOTE,
        "One YAML file says what goes in, who works on it and what is asked for. It is checked before anything runs: "
        "an unknown key, a wrong type or a value out of range is an error that names file, line and key. Precedence: "
        "the defaults below, then the file, then `--set key=value` on the command line. Relative paths are relative "
        "to the recipe's folder. For completion in an editor, point it at "
        "[recipe.schema.json](recipe.schema.json).",
        "Under `sm:`, and under each name in `sms:`, the key `backend` decides which section applies.",
        "## Top level",
        _keys(body, body),
    ]
    for title, name in _sections(body):
        section = body["$defs"][name]
        parts += [f"## {title}", _line(section.get("description", "")), _keys(section, body)]
    return "\n\n".join(parts) + "\n"


def _sections(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections below the top level as (heading, definition): in the order of its keys, then those inside them."""
    return [(_heading(key, name, body), name) for name, key in _owners(body).items()]


def _owners(body: dict[str, Any]) -> dict[str, str]:
    """The key that each definition stands under: the first that points to it."""
    owners: dict[str, str] = {}
    for section in (body, *body["$defs"].values()):
        for key, field in section["properties"].items():
            for name in _references(field):
                owners.setdefault(name, key)
    return owners


def _references(field: Any) -> list[str]:
    """The definitions that a field points to."""
    if isinstance(field, dict):
        found = [field["$ref"].rpartition("/")[2]] if "$ref" in field else []
        return found + [name for key, value in field.items() if key != "discriminator" for name in _references(value)]
    return [name for value in field for name in _references(value)] if isinstance(field, list) else []


def _keys(section: dict[str, Any], body: dict[str, Any]) -> str:
    required = section.get("required", [])
    rows = []
    for key, field in section["properties"].items():
        default = "required" if key in required else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
        if inner := _references(field):
            default = default if key in required else ""
            text = _links(inner, body, field.get("description", ""))
        else:
            text = field.get("description") or _twin_description(key, section, body)
        rows.append([f"`{key}`", _type(field), default, _line(text)])
    return _table(["key", "type", "default", "what it is"], rows)


def _links(inner: list[str], body: dict[str, Any], said: str) -> str:
    """What a section is for, as a link to its table; of several, one link for each backend.

    `said` is what the key says of itself, if it does.
    """
    if len(inner) == 1:
        return f"{said} [{'Its keys.' if said else body['$defs'][inner[0]]['description']}](#{_anchor(inner[0], body)})"
    return f"{said} One of " + ", ".join(f"[{_backend(name, body)}](#{_anchor(name, body)})" for name in inner) + "."


def _backend(name: str, body: dict[str, Any]) -> str | None:
    backend: str | None = body["$defs"][name]["properties"].get("backend", {}).get("const")
    return backend


def _heading(key: str, name: str, body: dict[str, Any]) -> str:
    backend = _backend(name, body)
    return f"`{key}`" + (f" with `backend: {backend}`" if backend else "")


def _anchor(name: str, body: dict[str, Any]) -> str:
    """The heading as it stands in a link: lower case, spaces as hyphens, no signs."""
    return re.sub(r"[^a-z_ -]", "", _heading(_owners(body)[name], name, body).lower()).replace(" ", "-")


def _twin_description(key: str, section: dict[str, Any], body: dict[str, Any]) -> str:
    """The SM sections share keys; one of them explains each."""
    if "backend" not in section["properties"]:
        return ""
    for other in body["$defs"].values():
        if "backend" in other["properties"] and (text := other["properties"].get(key, {}).get("description")):
            return str(text)
    return ""


def _type(field: dict[str, Any]) -> str:
    """A JSON schema type in words."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if by_name := field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None):
        return f"{'values' if 'anyOf' in by_name else _type(by_name)} by name"
    if _references(field):
        return "list of sections" if field.get("type") == "array" else "section"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    name = names.get(field.get("type", ""), str(field.get("type")))
    return name + _limits(field)


def _limits(field: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    if "pattern" in field:
        limits.append(f"matching `{field['pattern']}`")
    return f" ({', '.join(limits)})" if limits else ""


def cli_page() -> str:
    """The command's own help texts, and the exit codes."""
    group: Any = typer.main.get_command(app)
    context = group.context_class(group, info_name="understudy", terminal_width=80, **group.context_settings)
    parts = ["# The command line", _NOTE, _fenced(group.get_help(context))]
    for name, command in group.commands.items():
        inner = command.context_class(command, info_name=name, parent=context, terminal_width=80)
        parts += [f"## understudy {name}", _fenced(command.get_help(inner))]
        for verb, one in getattr(command, "commands", {}).items():
            below = one.context_class(one, info_name=verb, parent=inner, terminal_width=80)
            parts.append(_fenced(one.get_help(below)))
    parts += [
        "## Exit codes",
        _table(["code", "meaning"], [[str(code), text] for code, text in sorted(exit_codes().items())]),
        "The kinds of error behind codes 2, 3, 4 and 70:",
        _fenced(inspect.cleandoc(errors.__doc__ or "").split("\n\n")[1]),
    ]
    return "\n\n".join(parts) + "\n"


def exit_codes() -> dict[int, str]:
    """What each exit code means."""
    direct = errors.UnderstudyError.__subclasses__()
    said = {kind.exit_code: _line(inspect.getdoc(kind) or "").rstrip(".") for kind in direct}
    return said | _PLAIN_CODES


def agents_page() -> str:
    """Every shipped agent, family by family, and what a prompt file of each family may use."""
    catalog = load_catalog(WHOLE_CAST)
    replies = {family: [reply.name for reply in REPLIES.values() if family in reply.families] for family in FAMILIES}
    parts = [
        "# The agents",
        _NOTE,
        "One agent is one prompt file, `agents/prompts/<family>/<name>.md`; those who are for one skill lie in "
        "`<family>/<skill>/`, those who refine by another method in `refine/<method>/`, and judges of something else "
        "than a finished example in `judge/<what>/`. A recipe narrows the cast under `agents:` "
        "and adds files of its own with `agents.folder`; [how to add one](../how-to/add-an-agent.md). A summary says "
        "what the agent does, `kinds` which seeds it takes, and the source where the idea comes from.",
    ]
    for family in FAMILIES:
        parts.append(f"## {family}")
        for place in (None, *get_args(Method)[1:], *get_args(Judged)[1:], *load_skills()):
            rows = [
                [f"`{one.prompt.name}`", ", ".join(one.prompt.kinds), one.prompt.summary, one.prompt.source or ""]
                for one in catalog.agents[family]
                if one.prompt.place == place
            ]
            if rows:
                parts += [f"### {family}: {place}"] if place else []
                parts.append(_table(["name", "kinds", "summary", "source"], rows))
    parts += [
        "## What a prompt file may use",
        "A template may use the names that exist when its family speaks; the reply type decides how the reply is "
        "read. `suggestion` exists only in the second template of a refine file.",
        _table(
            ["family", "names in the template", "reply type"],
            [[family, _code(sorted(VARIABLES[family])), _code(replies[family])] for family in FAMILIES],
        ),
        "## The shipped persona sets",
        _table(
            ["name", "personas", "what it is", "licence"],
            [
                [f"`{one.name}`", str(len(one.personas)), one.description, one.license]
                for one in map(load_set, shipped_sets())
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _fenced(text: str) -> str:
    return "```text\n" + "\n".join(line.rstrip() for line in text.splitlines()) + "\n```"


def _line(text: str) -> str:
    return " ".join(text.split())


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` compare them."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(__doc__ or "")
        return 2
    if arguments:
        different = stale()
        for name in different:
            sys.stderr.write(f"docs/{name} is not what the code says; run `make docs`\n")
        return 1 if different else 0
    for name in write():
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
