import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.errors import AccountingError
from understudy.nouns import Example

Make = Callable[..., Any]


def commit(folder: RunFolder, *examples: Example, turn: int = 0) -> list[int]:
    """Commit drafts and say how many tokens each was charged."""
    placed = [folder.seeds[position] for position in range(len(folder.seeds))]
    drafts = folder.commit(
        list(enumerate(examples, start=turn)), {seed.id: (seed, split) for seed, split in placed}, []
    )
    return [draft.tokens for draft in drafts]


@pytest.fixture
def finished(folder: RunFolder, call: Make, example: Make) -> RunFolder:
    """Four drafts of four seeds, one of each fate, and one call of a draft that never finished."""
    folder.ledger.add_calls([call("a"), call("b"), call("c", 10, 5), call("d"), call("lost", 7, 3)])
    seeds = [folder.seeds[position][0] for position in range(4)]
    commit(
        folder,
        example(seeds[0], calls=("a", "b")),
        example(seeds[1], calls=("c",), status="rejected", reason="rule/length"),
        example(seeds[2], calls=("d",), status="duplicate", reason="same words"),
        example(seeds[3], status="failed", reason="parse: judge/clear"),
    )
    return folder


def test_the_books_say_where_every_seed_draft_and_token_went(finished: RunFolder):
    books = finished.accounting()
    assert books.seeds == {"done": 3, "failed": 1, "pending": 11}
    assert books.drafts == {"accepted": 1, "rejected": 1, "duplicate": 1, "failed": 1}
    assert books.reasons == {"rejected: rule/length": 1, "duplicate: same words": 1, "failed: parse: judge/clear": 1}
    assert books.by_kind == {"text": 1}
    assert books.tokens == 3 * 120 + 15 + 10
    assert books.tokens_by_status == {"accepted": 240, "rejected": 15, "duplicate": 120, "failed": 0, "unfinished": 10}


def test_the_cost_follows_the_recipe_s_prices(finished: RunFolder):
    # 317 prompt tokens at 2 and 68 generated ones at 10 per million.
    assert finished.accounting().cost == pytest.approx((317 * 2 + 68 * 10) / 1e6)


def test_each_agent_s_calls_are_summed(finished: RunFolder):
    (cost,) = finished.accounting().agents.values()
    assert (cost.calls, cost.prompt_tokens, cost.completion_tokens, cost.seconds) == (5, 317, 68, 1.25)


def test_the_books_of_a_run_that_did_nothing_balance(folder: RunFolder):
    books = folder.accounting()
    assert books.seeds == {"done": 0, "failed": 0, "pending": 15}
    assert (books.tokens, books.cost, set(books.drafts.values())) == (0, 0, {0})


def test_a_call_that_two_drafts_share_is_paid_once(folder: RunFolder, call: Make, example: Make):
    folder.ledger.add_calls([call("shared"), call("own")])
    seed = folder.seeds[0][0]
    assert commit(folder, example(seed, 0, calls=("shared", "shared")), example(seed, 1, calls=("shared", "own"))) == [
        120,
        120,
    ]
    assert commit(folder, example(seed, 2, calls=("shared",)), turn=2) == [0]
    books = folder.accounting()
    assert books.tokens == 240
    assert books.tokens_by_status == {"accepted": 240, "unfinished": 0}


def test_a_seed_is_done_as_soon_as_one_of_its_drafts_did_not_fail(folder: RunFolder, example: Make):
    def states() -> tuple[int, int, int]:
        seeds = folder.accounting().seeds
        return seeds["done"], seeds["failed"], seeds["pending"]

    seeds = [folder.seeds[position][0] for position in range(len(folder.seeds))]
    first, *others = [example(seed, 0, status="failed", reason="engine") for seed in seeds]
    commit(folder, first)
    assert states() == (0, 1, 14)
    commit(folder, *others, turn=1)
    assert states() == (0, 15, 0)
    commit(folder, example(seeds[0], 1, status="rejected", reason="rule"), turn=15)
    assert states() == (1, 14, 0)
    commit(folder, *(example(seed, 1, status="failed", reason="engine") for seed in seeds[1:]), turn=16)
    commit(folder, example(seeds[0], 2, status="failed", reason="engine"), turn=30)
    assert states() == (1, 14, 0)


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("DELETE FROM drafts WHERE status = 1", "the ledger has 0 rejected drafts, the files have 1"),
        ("DELETE FROM files WHERE name LIKE 'data/%'", "the ledger has 1 accepted drafts, the files have 0"),
        ("UPDATE files SET rows = 2 WHERE name LIKE 'failed/%'", "the ledger has 1 failed drafts, the files have 2"),
        ("UPDATE drafts SET reason = NULL WHERE status = 2", "drafts without a reason"),
        ("UPDATE drafts SET tokens = 10000 WHERE turn = 0", "tokens do not add up"),
        ("DELETE FROM files WHERE name LIKE 'seeds/%'", "seeds do not add up"),
        ("DELETE FROM calls; UPDATE usage SET prompt = 0", "tokens do not add up"),
    ],
    ids=["row", "file", "rows", "reason", "tokens", "seeds", "calls"],
)
def test_books_that_do_not_balance_are_an_error(finished: RunFolder, tampering: str, said: str):
    beside = sqlite3.connect(finished.ledger.path)
    beside.executescript(tampering)
    beside.close()
    with pytest.raises(AccountingError, match=said):
        finished.accounting()
