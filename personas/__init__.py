"""Persona sets: whose parts the SM plays.

`sets.py` is a set as an object, `sheets.py` and `folders.py` read and write it as YAML and as Parquet, `distinct.py`
takes out near-copies. The shipped sets lie in `sets/`. Read `sets.py` first.
"""

from understudy.personas.distinct import Removed, distinct
from understudy.personas.sets import PersonaSet, load_set, merged, save_set, shipped_sets

__all__ = ["PersonaSet", "Removed", "distinct", "load_set", "merged", "save_set", "shipped_sets"]
