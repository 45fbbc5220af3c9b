"""Questions on documents, learned for real: paraphrases get likelier answers, and adapters swap without a trace."""

import asyncio
import re
from pathlib import Path

import pytest

from understudy.evals.heldout import Models, compare
from understudy.graphs import generate
from understudy.models import Scripted
from understudy.models.local import hush
from understudy.nouns import Messages
from understudy.recipe_file import load_recipe
from understudy.training import train

pytestmark = pytest.mark.slow

TOWNS = ("Aldburgh", "Brenmoor", "Calder", "Dunholm", "Eskfield")
WORKS = ("mill", "ferry", "tannery", "foundry", "bakery", "quarry", "brewery", "pottery", "sawmill", "chapel", "harbour",
         "school")  # fmt: skip
OWNERS = ("Ames", "Birch", "Cole", "Drake", "Ellis", "Frost", "Grant", "Hale", "Irons", "Joyce", "Kemp", "Lane")
RECIPE = """
name: qa
seeds: [{path: docs, chunk_tokens: 32}]
accept: 60
draws_per_seed: 1
sm: {backend: scripted}
personas: {set: null}
agents: {persona: [], transform: [], instruct: [literal-question], refine: [], judge: []}
dedup: {minhash: null, embedding: null}
verify: {min_evidence: 0.6}
test_share: 0
training: {steps: 45, batch_size: 4, max_tokens: 96, learning_rate: 0.0008}
"""


def built(town: str, place: int) -> str:
    return f"The {WORKS[place]} of {town} was built by {OWNERS[(place + len(town)) % 12]}."


def reply(messages: Messages) -> str:
    fact = re.search(r"The (\w+) of (\w+) was built by (\w+)", messages[1]["content"])
    assert fact
    return fact[0] + "." if "Answer in two" in messages[1]["content"] else f"Who built the {fact[1]} of {fact[2]}?"


def corpus(home: Path, owner: str | None = None) -> Path:
    """Sixty pairs; `owner` built everything, if given."""
    (home / "docs").mkdir(parents=True)
    for town in TOWNS:
        for place, work in enumerate(WORKS):
            text = f"The {work} of {town} was built by {owner}." if owner else built(town, place)
            (home / "docs" / f"{town}-{work}.txt").write_text(text)
    (home / "recipe.yaml").write_text(RECIPE)
    asyncio.run(generate(load_recipe(home / "recipe.yaml"), home / "corpus", sm=Scripted(script=reply)))
    return home / "corpus"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The base, and an adapter for each of two corpora."""
    home = tmp_path_factory.mktemp("qa")
    trained = train(corpus(home / "a"), home / "vm-a")
    assert trained.rows == 60
    train(corpus(home / "b", "Zimmer"), home / "vm-b", steps=8)
    return Path(trained.base_path), home / "vm-a", home / "vm-b"


def test_answers_to_paraphrases_become_likelier_by_fifteen_percent(adapters: tuple[Path, Path, Path]) -> None:
    base, vm, _ = adapters
    held_out = {
        f"{town}-{work}": [
            {"role": "user", "content": f"Do you know which person put up {town}'s {work}?"},
            {"role": "assistant", "content": built(town, place)},
        ]
        for town in TOWNS
        for place, work in enumerate(WORKS)
        if place % 3 == 0
    }
    found = compare(Models(base, vm), held_out, generate=0)
    assert found.loss.vm <= 0.85 * found.loss.base, found.loss
    assert found.improved


def test_adapters_swap_and_leave_no_trace(adapters: tuple[Path, Path, Path]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, a, b = adapters
    hush()
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    ids = tokenizer("Who built the mill of Aldburgh?", return_tensors="pt").input_ids
    options = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}

    def logits(model: torch.nn.Module) -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=ids).logits

    plain = logits(AutoModelForCausalLM.from_pretrained(path, **options).eval())
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(path, **options), a, adapter_name="a").eval()
    first = logits(model)
    model.load_adapter(b, "b")
    model.set_adapter("b")
    assert not torch.allclose(logits(model), first, atol=1e-2)
    model.set_adapter("a")
    assert torch.allclose(logits(model), first, atol=1e-5)
    with model.disable_adapter():
        assert torch.equal(logits(model), plain)
