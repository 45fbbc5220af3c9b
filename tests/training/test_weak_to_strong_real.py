"""A student on the embedded base does better than the weak teacher whose soft labels it learned from."""

import json
from pathlib import Path
from random import Random

import pytest

from understudy.evals.interval import paired_bootstrap
from understudy.training import train
from understudy.training.heads import Headed

pytestmark = pytest.mark.slow

GOOD = ("great", "lovely", "brilliant", "superb", "excellent", "charming", "wonderful", "delightful", "perfect", "amazing",
        "fantastic", "beautiful", "enjoyable", "impressive", "thrilling", "funny", "warm", "clever", "gripping", "moving")  # fmt: skip
BAD = ("awful", "boring", "terrible", "dull", "horrible", "stupid", "bad", "ugly", "weak", "annoying", "dreadful", "poor",
       "lousy", "tedious", "painful", "clumsy", "messy", "cheap", "disappointing", "silly")  # fmt: skip


def review(rng: Random) -> tuple[str, int, float]:
    """A text, whether it is good, and how likely a teacher finds it who knows a third of the words."""
    good = rng.randrange(2)
    words = rng.sample(GOOD if good else BAD, 2)
    known = [word for word in words if (GOOD if good else BAD).index(word) % 3 == 0]
    share = (0.85 if good else 0.15) if known else 0.5 + rng.uniform(-0.3, 0.3)
    return f"The film was {words[0]} and the music {words[1]}.", good, share


def test_the_student_is_better_than_its_teacher(tmp_path: Path) -> None:
    rng = Random(1)
    texts = [review(rng) for _ in range(2000)]
    held_out = [review(rng) for _ in range(300)]
    rows = [{"text": text, "probabilities": [1 - share, share]} for text, _, share in texts]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "reviews", "seeds": [{"path": "none"}], "accept": 1,
        "training": {"objective": "soft", "data": ["reviews.jsonl"], "steps": 60, "batch_size": 16,
                     "learning_rate": 0.0005, "max_tokens": 64},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    trained = train(tmp_path / "recipe.yaml", tmp_path / "vm")
    student = Headed(tmp_path / "vm", Path(trained.base_path), "soft", labels=2)
    found = student.classes([text for text, _, _ in held_out])
    right = [float((own[1] > 0.5) == bool(good)) for own, (_, good, _) in zip(found, held_out, strict=True)]
    teacher = [float((share > 0.5) == bool(good)) for _, good, share in held_out]
    assert 0.6 < sum(teacher) / len(teacher) < 0.85
    assert paired_bootstrap(right, teacher).low > 0, (sum(right), sum(teacher))
