"""Understudy: a few seeds become a training corpus, and the corpus becomes a small model.

This package holds the words that every room shares: the nouns (`Seed`, `Persona`, `Example`, `Call`,
`Verdict`), the errors, the recipe and the prompt loader. It imports no other room. Read `nouns.py` first,
then `understudy.graphs.pipeline`, where the rooms meet.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from understudy.errors import UnderstudyError
    from understudy.nouns import Call, Example, Persona, Seed, Verdict
    from understudy.prompt import Prompt
    from understudy.recipe import Recipe
    from understudy.recipe_file import load_recipe

__all__ = [
    "Call",
    "Example",
    "Persona",
    "Prompt",
    "Recipe",
    "Seed",
    "UnderstudyError",
    "Verdict",
    "__version__",
    "load_recipe",
]

_HOME = {
    "Call": "nouns",
    "Example": "nouns",
    "Persona": "nouns",
    "Seed": "nouns",
    "Verdict": "nouns",
    "Prompt": "prompt",
    "Recipe": "recipe",
    "load_recipe": "recipe_file",
    "UnderstudyError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `understudy --help` does not pay for pydantic."""
    if name in _HOME:
        return getattr(import_module(f"understudy.{_HOME[name]}"), name)
    raise AttributeError(f"module 'understudy' has no attribute {name!r}")
