"""From a task to figures: its rows, what a model says to them, and what that is worth.

Read `task_file.py` for what a task is, `task_measures.py` for what is measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.corpus.conversations import conversation, values
from understudy.errors import UserError
from understudy.evals import task_measures
from understudy.evals.answering import Prompt, Watch
from understudy.evals.task_file import Task
from understudy.evals.task_measures import Measured, normal


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out row."""

    line: int
    """In its file, or the number of the row."""
    prompt: Prompt
    reference: str
    """What the last turn says."""
    answer: str
    """What of it answers are compared with."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one model said to all rows of a task: replies, or how likely it finds what it was shown."""

    replies: tuple[tuple[str, ...], ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()
    """Log-probabilities of the task's choices."""
    logprobs: tuple[tuple[float, ...], ...] = ()
    """Of the reference's tokens."""


class Speaker(Protocol):
    """A model that can be asked: `answering.Answering`, or an SM through `sm_answering.Spoken`."""

    def answers(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> list[list[str]]:
        """What is said to each prompt, `samples` times."""
        ...

    def scores(
        self, prompts: Sequence[Prompt], choices: Sequence[str], *, watch: Watch | None = None
    ) -> list[list[float]]:
        """The log-probability of each choice as the answer to each prompt."""
        ...

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]], *, watch: Watch | None = None) -> list[list[float]]:
        """Log-probabilities of the tokens of an answer to a prompt."""
        ...


def cases(task: Task) -> tuple[list[Case], list[tuple[int, str]]]:
    """A task's rows, and (line, reason) of those that cannot be used.

    Raises:
        UserError: when the file cannot be read, or no row can be used.
    """
    found: list[Case] = []
    refused: list[tuple[int, str]] = []
    for line, value in values(task.path):
        try:
            row = conversation(value() if callable(value) else value)
        except ValueError as error:
            refused.append((line, str(error)))
            continue
        *asked, last = row["messages"]
        if not last["content"].strip():
            refused.append((line, "the last turn is a call of a tool, not an answer"))
            continue
        answer = extracted(task.pattern, last["content"])
        if answer is None:
            refused.append((line, f"`answer_pattern` is not found in the reference {last['content'][:60]!r}"))
        elif task.choices and normal(answer) not in {normal(one) for one in task.choices}:
            refused.append((line, f"the reference {answer[:60]!r} is none of the `choices`"))
        elif task.measure == "fields" and task_measures.json_object(answer) is None:
            refused.append((line, f"the reference is not a JSON object: {answer[:60]!r}"))
        else:
            found.append(Case(line, Prompt(tuple(asked), tuple(row.get("tools", ()))), last["content"], answer))
    if not found:
        raise UserError(
            "holds no row that can be measured",
            where=str(task.path),
            expected="conversations that end with the reference answer",
            remedy="; ".join(f"row {line}: {reason}" for line, reason in sorted(refused)[:3]) or None,
        )
    return found[: task.limit], sorted(refused)


def extracted(pattern: re.Pattern[str] | None, text: str) -> str | None:
    """What of a text is the answer: the last match of the pattern, or its first group; None where there is none."""
    if pattern is None:
        return text
    match = None
    for match in pattern.finditer(text):  # noqa: B007 - the last is wanted
        pass
    if match is None:
        return None
    found: str | None = match[1] if pattern.groups else match[0]
    return found


def ask(task: Task, rows: Sequence[Case], speaker: Speaker, *, seed: int = 0, watch: Watch | None = None) -> Said:
    """Ask a model what the task's measure needs to know."""
    prompts = [case.prompt for case in rows]
    if task.measure == "perplexity":
        logprobs = speaker.logprobs([(case.prompt, case.reference) for case in rows], watch=watch)
        return Said(logprobs=tuple(map(tuple, logprobs)))
    if task.choices:
        return Said(scores=tuple(map(tuple, speaker.scores(prompts, task.choices, watch=watch))))
    drawn: dict[str, Any] = {"samples": task.samples or 1, "temperature": task.temperature or 0.0, "seed": seed}
    replies = speaker.answers(prompts, task.max_new_tokens, watch=watch, **drawn)
    return Said(replies=tuple(map(tuple, replies)))


def measure(task: Task, rows: Sequence[Case], said: Said) -> Measured:
    """What a model's answers are worth.

    Raises:
        UserError: when the rows are too few, or none of them is what a ranking looks for.
    """
    references = [case.answer for case in rows]
    try:
        match task.measure:
            case "perplexity":
                return task_measures.perplexity(said.logprobs)
            case "ranking":
                assert task.choices and task.positive and task.k  # noqa: S101 - `Task` has seen to it
                place = task.choices.index(task.positive)
                scores = [one[place] - _logsumexp(one) for one in said.scores]
                relevant = [normal(one) == normal(task.positive) for one in references]
                return task_measures.ranking(scores, relevant, task.k)
            case "pass@k":
                assert task.k  # noqa: S101 - `Task` has seen to it
                right = [
                    [(found := extracted(task.pattern, one)) is not None and normal(found) == normal(reference)
                     for one in replies]
                    for replies, reference in zip(said.replies, references, strict=True)
                ]  # fmt: skip
                return task_measures.pass_at_k(right, task.k)
        answers = [answer_of(task, said, place) for place in range(len(rows))]
        return _MEASURES[task.measure](answers, references)
    except ValueError as error:
        raise UserError(str(error), where=str(task.path)) from error


def answer_of(task: Task, said: Said, place: int) -> str | None:
    """What a model answered to one row, in the words that are compared; None where it gave no answer."""
    if said.scores:
        best = max(range(len(said.scores[place])), key=lambda choice: said.scores[place][choice])
        return (task.choices or ())[best]
    return extracted(task.pattern, said.replies[place][0])


def overlap(rows: Iterable[Case], training: Iterable[Sequence[dict[str, Any]]]) -> list[Case]:
    """The rows whose prompt stands in the training conversations, but for case and spaces: all turns that lead to an
    answer there, or the last of them alone.
    """  # noqa: D205
    known: set[str] = set()
    for messages in training:
        for place, turn in enumerate(messages):
            if turn["role"] == "assistant" and place:
                known |= {_asked(messages[:place]), _asked(messages[place - 1 : place])}
    return [case for case in rows if _asked(case.prompt.messages) in known]


def _asked(messages: Sequence[dict[str, Any]]) -> str:
    return "\n".join(normal(turn["content"] or "") for turn in messages if turn["role"] != "system")


def _logsumexp(values: Sequence[float]) -> float:
    highest = max(values)
    return highest + math.log(sum(math.exp(one - highest) for one in values))


_MEASURES = {
    "exact": task_measures.exact,
    "fields": task_measures.fields,
    "classes": task_measures.classes,
    "f1": task_measures.token_f1,
}
