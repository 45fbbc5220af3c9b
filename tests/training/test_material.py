"""What a training will read: labels on answers alone, lengths, and what is refused before a model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import RecipeError, UserError
from understudy.training import check
from understudy.training.preflight import histogram, preflight
from understudy.training.tokens import IGNORED, Sequence, sequence, shows_tools

Write = Callable[..., Path]


def talk(asked: str, answered: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


TALKS = [talk(f"What is {n} plus {n}?", f"It is {2 * n}.") for n in range(1, 9)]
PAIRS = [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": "I would rather not."} for n in range(8)]


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def learned(made: Sequence, tokenizer: Any) -> str:
    return str(tokenizer.decode([label for label in made.labels if label != IGNORED]))


def test_the_loss_is_on_the_last_answer_or_on_every_one_and_on_nothing_else(tokenizer: Any) -> None:
    turns = [*talk("One?", "Première.")["messages"], *talk("Two?", "Second 😀.")["messages"]]
    last, every = sequence(turns, tokenizer), sequence(turns, tokenizer, "all")
    assert learned(last, tokenizer) == "Second 😀.<|end|>"
    assert learned(every, tokenizer) == "Première.<|end|>Second 😀.<|end|>"
    assert last.ids == every.ids and last.ends and every.ends
    assert all(label in (IGNORED, token) for label, token in zip(every.labels, every.ids, strict=True))


def test_a_template_that_changes_a_turn_once_others_follow_is_refused(tokenizer: Any, monkeypatch: Any) -> None:
    counted = "{{ messages | length }}" + tokenizer.chat_template
    monkeypatch.setattr(tokenizer, "chat_template", counted)
    with pytest.raises(UserError, match="otherwise once others follow"):
        sequence(talk("One?", "First.")["messages"], tokenizer)


def test_an_end_of_turn_outside_the_loss_is_counted_and_refused_if_it_is_so_everywhere(
    tokenizer: Any, monkeypatch: Any
) -> None:
    whole = sequence(TALKS[0]["messages"], tokenizer)
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template.replace("<|end|>", ""))
    endless = sequence(TALKS[0]["messages"], tokenizer)
    assert not endless.ends
    assert preflight([whole, endless], 0, 64, "base").unended == 1
    with pytest.raises(UserError, match="would not learn to stop"):
        preflight([endless], 0, 64, "base")
    with pytest.raises(UserError, match="1 of 2 rows have no token to learn"):
        preflight([whole, Sequence([1, 2], [IGNORED, IGNORED], True)], 0, 64, "base")


def test_a_template_without_a_place_for_tools_shows_none(tokenizer: Any, monkeypatch: Any) -> None:
    assert not shows_tools(tokenizer)
    monkeypatch.setattr(tokenizer, "chat_template", "{% if tools %}{{ tools }}{% endif %}")
    assert shows_tools(tokenizer)


def test_lengths_fall_into_ten_bins_that_hold_them_all() -> None:
    assert histogram([1, 10, 11, 95, 100], 100) == (
        (10, 2), (20, 1), (30, 0), (40, 0), (50, 0), (60, 0), (70, 0), (80, 0), (90, 0), (100, 2),
    )  # fmt: skip
    assert sum(count for _, count in histogram(list(range(1, 513)), 512)) == 512


def test_figures_of_a_training_are_those_of_its_rows(recipe_of: Write) -> None:
    long = talk("Say much.", "much " * 30)
    plan, figures = check(recipe_of([*TALKS, long], max_tokens=100))
    assert plan.rate == 2e-4 and (figures.rows, figures.too_long) == (8, 1)
    assert figures.left_out_share == pytest.approx(1 / 9)
    assert figures.learned == sum(len(f"It is {2 * n}.") + 1 for n in range(1, 9))


@pytest.mark.parametrize(
    ("rows", "training", "said"),
    [
        (TALKS, {"max_tokens": 16}, "no training row fits 16 tokens"),
        ([{"messages": "x"}], {}, "messages"),
        (TALKS, {"data": ["gone.jsonl"]}, "no such file"),
        (PAIRS, {"objective": "process"}, "no `completions`"),
        ([PAIRS[0] | {"rejected": "0"}], {"objective": "dpo"}, "`chosen` is `rejected`"),
        ([{"prompt": "a", "completions": ["b"], "labels": [1, 0]}], {"objective": "process"}, "1 `completions` and 2"),
        ([{"text": "a", "probabilities": [0.5, 0.6]}], {"objective": "soft"}, "`probabilities` is not as it must be"),
        (TALKS, {"data": ["corpus"]}, "there is none"),
    ],
)
def test_what_cannot_be_learned_from_is_said_before_a_model_is_loaded(
    recipe_of: Write, rows: list[dict[str, Any]], training: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check(recipe_of(rows, **training))


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"packing": True, "objective": "dpo"}, "packing"),
        ({"beta": 0.2}, "beta"),
        ({"confidence": 0.5}, "confidence"),
        ({"merge": True, "method": "full"}, "merge"),
        ({"method": "lora", "objective": "retriever"}, "method"),
        ({"rank": 24}, "rank"),
        ({"drafts": "all"}, "drafts"),
        ({"data": ["rows.jsonl", "rows.jsonl"]}, "data"),
        ({"replay": {"path": "general.jsonl"}, "objective": "dpo"}, "replay"),
    ],
)
def test_senseless_combinations_name_the_key(recipe_of: Write, training: dict[str, Any], key: str) -> None:
    with pytest.raises(RecipeError, match=f"training.{key}"):
        check(recipe_of(TALKS, **training))
