"""Rows for the tools in which people review examples; what was said already comes along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from understudy.corpus.folder import RunFolder
from understudy.corpus.reviews import Review
from understudy.nouns import Example

Row = dict[str, Any]


def argilla(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """A record of Argilla 2: fields `prompt` (chat) and `answer`, questions `review` and `edited`."""
    *prompt, answer = example.payload["messages"]
    suggestions = {"review": {"value": "accept", "agent": "understudy"}}
    if review is not None:
        said = "reject" if review.label == "reject" else "accept"
        suggestions["review"] = {"value": said, "agent": review.reviewer}
        if review.answer is not None:
            suggestions["edited"] = {"value": review.answer, "agent": review.reviewer}
    yield {
        "id": example.id,
        "fields": {"prompt": [_turn(one) for one in prompt], "answer": answer["content"]},
        "metadata": _known(folder, example),
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
    }


def label_studio(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """A task of Label Studio, for the labelling interface in docs/how-to/review-examples.md."""
    *prompt, answer = example.payload["messages"]
    result: list[Row] = []
    if review is not None:
        said = "reject" if review.label == "reject" else "accept"
        result = [_control("review", "choices", {"choices": [said]})]
        if review.answer is not None:
            result.append(_control("edited", "textarea", {"text": [review.answer]}))
    asked = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
    yield {
        "data": {"prompt": asked, "answer": answer["content"], "example": example.id, **_known(folder, example)},
        "predictions": [{"model_version": review.reviewer, "result": result}] if review else [],
    }


def _control(name: str, kind: str, value: Row) -> Row:
    return {"from_name": name, "to_name": "answer", "type": kind, "value": value}


def _turn(message: dict[str, Any]) -> dict[str, str]:
    return {"role": str(message["role"]), "content": str(message["content"])}


def _known(folder: RunFolder, example: Example) -> Row:
    """What a reviewer may want to choose by."""
    planned = next((step for step in example.path if step.startswith("plan/")), "plan//").split("/")
    known = {"source": folder.seed_of(example).source, "skill": planned[1], "leaf": planned[2]}
    return {name: value for name, value in known.items() if value}
