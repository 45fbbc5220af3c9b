"""Persona sets: whose parts the SM plays.

`sets.py` is a set as an object (`corpus/persona_sheets.py` and `persona_folders.py` read and write it as YAML and as
Parquet), `distinct.py` takes out near-copies, `coverage.py` measures how a set covers a domain and `maps.py` draws it,
`relations.py` knows how people may be related, `matching.py` says who is drawn for which seed. The shipped sets lie in
`sets/`. Read `sets.py` first.
"""

from understudy.personas.distinct import Removed, distinct
from understudy.personas.relations import load_relations
from understudy.personas.sets import PersonaSet, check_free, load_set, merged, save_set, shipped_sets

__all__ = [
    "PersonaSet",
    "Removed",
    "check_free",
    "distinct",
    "load_relations",
    "load_set",
    "merged",
    "save_set",
    "shipped_sets",
]
