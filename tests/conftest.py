"""What every test can use: a small project with seeds of each kind, and a recipe that needs no model."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, so that a failure belongs to the change that is tested; HYPOTHESIS_PROFILE=default
# looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

DOCUMENT = """# Bread

Sourdough bread rises because wild yeast makes gas in the dough. The starter is fed with flour and water every
day, and it is ready when it doubles within six hours.

## Baking

The oven is heated to 240 degrees, and steam keeps the crust soft while the loaf grows. After twenty minutes the
steam is let out so that the crust turns brown and hard.
"""
TABLE = """station,day,level
Heron Lock,Monday,1.20
Heron Lock,Tuesday,1.45
Alder Bridge,Monday,0.80
Alder Bridge,Tuesday,0.95
"""
CODE = '''def area(width, height):
    """Area of a rectangle."""
    return width * height


def perimeter(width, height):
    """Length around a rectangle."""
    return 2 * (width + height)
'''
RECIPE = """name: small
seeds:
  - path: docs
    chunk_tokens: 60
  - path: tables
    rows_per_seed: 2
  - path: code
accept: 8
draws_per_seed: 8
sm: {backend: scripted}
dedup: {embedder: hashing, embedding: 0.97}
in_flight: 4
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with `recipe.yaml` and seeds of three kinds."""
    folder = tmp_path / "project"
    for name, file, text in (
        ("docs", "bread.md", DOCUMENT),
        ("tables", "levels.csv", TABLE),
        ("code", "shapes.py", CODE),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder
