"""Attributes of product titles, learned for real: 300 titles from templates, 60 steps, 100 titles that are new."""

import json
from pathlib import Path
from random import Random

import pytest

from understudy.evals.answering import Models, Prompt
from understudy.evals.task_measures import json_object
from understudy.training import train

pytestmark = pytest.mark.slow

BRANDS = """Alder Birk Corvan Delmo Erlin Fontz Gravo Helmur Ivorel Jantar Kestro Lumel Morvi Nordal Ostar Pelwin Quarry
Rundel Selvo Tarnow Ulver Vantel Wexham Yorvik Zemble""".split()  # noqa: SIM905
KINDS = "lamp,kettle,rake,backpack,pan,notebook,blanket,mug,tent,whisk,scarf,clock".split(",")  # noqa: SIM905
COLOURS = "red,blue,green,black,white,yellow,grey,brown".split(",")  # noqa: SIM905
FORMS = (
    "{brand} {kind}, {colour}, {size}",
    "{brand} {colour} {kind} ({size})",
    "{kind} by {brand} - {size} - {colour}",
)


def titles(count: int) -> list[tuple[str, dict[str, str]]]:
    """Titles that differ, each with what stands in it."""
    rng, found = Random(7), dict[str, dict[str, str]]()
    while len(found) < count:
        record = {
            "brand": f"{rng.choice(BRANDS)} {rng.choice(BRANDS)}" if rng.random() < 0.3 else rng.choice(BRANDS),
            "kind": rng.choice(KINDS), "colour": rng.choice(COLOURS),
            "size": f"{rng.randint(2, 90)} {rng.choice(('cm', 'l', 'oz'))}",
        }  # fmt: skip
        found[rng.choice(FORMS).format(**record)] = record
    return list(found.items())


def asked(title: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "JSON only."}, {"role": "user", "content": title}]


def test_titles_are_read_as_json_after_sixty_steps_and_every_value_stands_in_its_title(tmp_path: Path) -> None:
    made = titles(400)
    lines = [
        {"messages": [*asked(title), {"role": "assistant", "content": json.dumps(record)}]}
        for title, record in made[:300]
    ]
    (tmp_path / "titles.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    block = {"data": ["titles.jsonl"], "steps": 60, "batch_size": 5, "learning_rate": 0.001, "max_tokens": 128}
    (tmp_path / "recipe.yaml").write_text(
        json.dumps({"name": "titles", "seeds": [{"path": "titles.jsonl"}], "accept": 1, "training": block})
    )
    trained = train(tmp_path / "recipe.yaml", tmp_path / "vm")
    assert trained.steps == 60 and trained.rows == 300
    models, prompts = (
        Models(Path(trained.base_path), tmp_path / "vm"),
        [Prompt(tuple(asked(title))) for title, _ in made[300:]],
    )
    with models.as_base() as model:
        before = [one[0] for one in models.answering(model).answers(prompts, 48)]
    with models.as_vm() as model:
        after = [one[0] for one in models.answering(model).answers(prompts, 48)]

    def exact(said: list[str]) -> float:
        return sum(json_object(text) == record for text, (_, record) in zip(said, made[300:], strict=True)) / 100

    assert exact(before) <= 0.10 and exact(after) >= 0.60, (exact(before), exact(after))
    read = [(json_object(text), title) for text, (title, _) in zip(after, made[300:], strict=True)]
    values = [(value, title) for record, title in read if record for value in record.values()]
    assert sum(value in title for value, title in values) / len(values) >= 0.95
