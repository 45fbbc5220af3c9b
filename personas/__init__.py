"""Persona sets: whose parts the SM plays. A set is a YAML file; the shipped ones lie in `sets/`."""

from understudy.personas.sets import PersonaSet, load_set, shipped_sets

__all__ = ["PersonaSet", "load_set", "shipped_sets"]
