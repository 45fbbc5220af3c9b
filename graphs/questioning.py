"""Drafts the other way round for questions: the answer first, drawn from the seed, then a question that it answers."""

from __future__ import annotations

from random import Random

from langgraph.runtime import Runtime

from understudy.evals import INSTRUCTION_RULES, Pair, verdicts
from understudy.evals.spans import named, spans
from understudy.graphs.nodes import Update, ask, counted, draft_of, rejected
from understudy.graphs.state import Context, State
from understudy.nouns import Verdict, address


@counted
async def write_question(state: State, runtime: Runtime[Context]) -> Update:
    """Write the question for an answer of the draft's kind; of several in the seed, each draw takes another."""
    context, agent, seed, kind = runtime.context, state["asked_by"], state["seed"], state["label"]
    block = context.recipe.answers
    assert block is not None  # checked before the run  # noqa: S101
    able = spans(seed.content, kind, block.patterns)
    if not able:
        none = Verdict("rule/no-answer", False, 0.0, f"no {kind} in the seed")
        return rejected((none,)) | {"path": (agent.name,)}
    Random(address(context.recipe.seed, "answers", seed.id, kind)).shuffle(able)  # noqa: S311
    answer = able[state["draw"] % len(able)]
    said = await ask(state, runtime, agent, answer=answer.text, sentence=answer.sentence)
    update: Update = {"path": (agent.name,), "calls": said.calls, "instruction": said.value, "answer": answer.text}
    update |= {"round": 0, "improved": False}
    whole: State = {**state, **update}  # type: ignore[typeddict-item]
    told = named(said.value, answer.text, kind)
    leak = Verdict("rule/answer-leak", not told, float(not told), f"names {answer.text!r}" if told else None)
    pair = Pair(said.value, answer.text, seed.content, agent.prompt.attach, agent.prompt.task)
    found = (leak, *verdicts(pair, context.limits(state), INSTRUCTION_RULES))
    update |= {"draft": draft_of(whole, runtime, answer.text), "checked": found}
    return update | (rejected(found) if not all(verdict.passed for verdict in found) else {})
