import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from understudy.corpus import RunFolder
from understudy.errors import UserError
from understudy.graphs import generate
from understudy.nouns import Persona, Seed, Verdict
from understudy.recipe_file import load_recipe
from understudy.traces.filters import Filter
from understudy.traces.summary import Summary
from understudy.traces.viewer import tables

SEEDS = [Seed.of("text", f"seed {n}", f"s{n}.md") for n in range(3)]


def read(corpus: Path, home: Path) -> Summary:
    summary = Summary(corpus, home)
    summary.catch_up()
    return summary


def count(summary: Summary, **asked: str) -> int:
    (row,) = summary.rows("SELECT count(*) AS n FROM chosen", Filter.of(asked))
    return int(row["n"])


async def test_every_draft_of_a_run_is_counted_as_the_ledger_has_it(project: Path, tmp_path: Path) -> None:
    outcome = await generate(load_recipe(project / "recipe.yaml"), project / "out")
    with closing(read(outcome.folder, tmp_path / "home")) as summary, RunFolder.read(outcome.folder) as folder:
        assert summary.progress().whole
        by_status = {status: one["drafts"] for status, one in tables.counts(summary).items()}
        assert by_status == folder.ledger.drafts_by_status()
        tokens = {status: one["tokens"] for status, one in tables.counts(summary).items()}
        assert tokens == folder.ledger.tokens_by_status()
        reasons = Counter({(row["status"], row["reason"]): row["drafts"] for row in tables.reasons(summary)})
        assert reasons == Counter({(s, r): n for s, r, n in folder.ledger.drafts_by_reason() if s != "accepted"})
        calls = sum(row["calls"] for row in tables.agents(summary))
        assert calls == folder.ledger.count_calls()[1]
        stages, ways = tables.stages(summary, Filter())
        drafts = sum(by_status.values())
        assert stages[0].drafts == drafts
        for stage in stages:  # what comes in goes on or is lost
            going = sum(
                n
                for (one, to), n in ways.items()
                if one == stage.name and to not in ("rejected", "duplicate", "failed")
            )
            coming = sum(n for (_, to), n in ways.items() if to == stage.name) or drafts
            assert stage.drafts == coming == going + sum(stage.lost.values()), stage


def test_filters_find_what_they_say(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    ann, ben = Persona.of("Ann, who counts"), Persona.of("Ben, who reads")
    no, yes = Verdict("judge/relevant", False, 0.0), Verdict("judge/faithful", True, 1.0)
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(
            folder,
            [
                by_hand.drawn(SEEDS[0], 0, "apples", persona=ann, skill="coding", verdicts=(Verdict("rule/length", True, 0.7), yes)),
                by_hand.drawn(SEEDS[1], 0, "baking bread", "rejected", "judge/relevant", ben, skill="fermi", verdicts=(yes, no)),
                by_hand.drawn(SEEDS[2], 0, "the text above", "rejected", "rule/length", ben, verdicts=(Verdict("rule/length", False, 0.2),)),
                by_hand.drawn(SEEDS[0], 1, "apples", "duplicate", "same words", ann, verdicts=(Verdict("dedup/minhash", False, 0.97),)),
            ],
        )  # fmt: skip
        corpus = folder.path
    with closing(read(corpus, tmp_path / "home")) as summary:
        assert count(summary) == 4
        assert count(summary, status="rejected") == 2 and count(summary, reason="judge/relevant") == 1
        assert count(summary, skill="fermi") == 1 and count(summary, leaf="code-bug") == 4
        assert count(summary, persona=ann.id[:8]) == 2 and count(summary, seed=SEEDS[0].id) == 2
        assert count(summary, agent="answer/answer", status="accepted") == 1 and count(summary, agent="answer") == 0
        assert count(summary, by="judge/relevant") == 1 and count(summary, by="judge/faithful", said="no") == 0
        assert count(summary, by="judge/relevant", said="alone") == 1
        assert count(summary, by="rule/length", said="alone") == 0  # nobody else spoke
        assert count(summary, by="rule/length", least="0.5") == 1 and count(summary, by="rule/length", most="0.5") == 1
        assert count(summary, way="answer>verify") == 3 and count(summary, way="gate>answer") == 4
        # Words in any form, all of them, phrases in one piece; what would be an operator is a word.
        assert count(summary, words="bake") == 1 and count(summary, words="Apples") == 2
        assert count(summary, words='"text above"') == 1 and count(summary, words='"above text"') == 0
        assert count(summary, words="apples bread") == 0 and count(summary, words="apples OR bread") == 0
        assert count(summary, words="counts") == 2  # the persona
        for odd in ('"', "AND", "a*", "NEAR(", "text:", "-", "'; DROP TABLE words; --"):
            count(summary, words=odd)
        found = tables.facets(summary, Filter.of({"status": "rejected"}))
        assert {one["value"]: one["count"] for one in found["skill"]} == {"fermi": 1, "coding": 1}
        assert found["persona"] == [{"value": ben.id, "count": 2, "text": ben.text}]
        (pair,) = tables.agreements(summary)
        assert (pair["one"], pair["other"], pair["both"], pair["only_one"]) == (
            "judge/faithful",
            "judge/relevant",
            1,
            1,
        )


@pytest.mark.parametrize("asked", [{"status": "lost"}, {"by": "x", "said": "maybe"}, {"least": "much"}])
def test_a_filter_that_cannot_be_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(UserError, match="expected"):
        Filter.of(asked)


def test_pages_show_each_example_once_in_order(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(
            folder,
            [
                by_hand.drawn(
                    SEEDS[turn % 3],
                    turn // 3,
                    f"fruit {turn}",
                    "rejected" if turn % 2 else "accepted",
                    "x" if turn % 2 else None,
                )
                for turn in range(240)
            ],
        )
        corpus = folder.path
    with closing(read(corpus, tmp_path / "home")) as summary:
        chosen, seen, after = Filter.of({"status": "rejected"}), list[int](), None
        while (page := tables.page(summary, chosen, after)).rows:
            assert page.total == 120 and page.before == len(seen)
            seen += [row["turn"] for row in page.rows]
            after = page.last
        assert seen == list(range(1, 240, 2))
        back = tables.page(summary, chosen, before=seen[100])
        assert [row["turn"] for row in back.rows] == seen[50:100] and back.before == 50
        ids = {row["turn"]: row["id"] for row in summary.rows("SELECT turn, id FROM drafts")}
        assert tables.neighbours(summary, chosen, 5) == (ids[3], ids[7])
        assert tables.neighbours(summary, chosen, 1) == (None, ids[3])


def test_what_a_run_adds_is_read_and_nothing_twice(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(folder, [by_hand.drawn(SEEDS[0], 0, "one")])
        with closing(read(folder.path, tmp_path / "home")) as summary:
            by_hand.add(folder, [by_hand.drawn(SEEDS[1], 0, "two"), by_hand.drawn(SEEDS[2], 0, "three")])
            assert summary.progress().known == 1 and not summary.progress().whole
            summary.catch_up()
            assert count(summary) == 3 and count(summary, words="two") == 1
        with closing(read(folder.path, tmp_path / "home")) as summary:  # from what was kept
            assert summary.progress().whole and count(summary) == 3 and count(summary, words="one") == 1


def test_a_corpus_that_went_back_is_read_anew(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(folder, [by_hand.drawn(SEEDS[0], 0, "one")])
        by_hand.add(folder, [by_hand.drawn(SEEDS[1], 0, "two")])
        read(folder.path, tmp_path / "home").close()
        folder.ledger.go_back(1, [], [])
        by_hand.add(folder, [by_hand.drawn(SEEDS[1], 0, "another")])
        with closing(read(folder.path, tmp_path / "home")) as summary:
            assert count(summary) == 2 and count(summary, words="two") == 0 and count(summary, words="another") == 1


def test_a_snapshot_that_a_crash_left_half_made_is_made_anew(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(folder, [by_hand.drawn(SEEDS[0], 0, "one")])
        read(folder.path, tmp_path / "home").close()
        with closing(sqlite3.connect(tmp_path / "home" / "words.db")) as words:  # the words were written, the rest not
            words.execute("INSERT INTO words(rowid, text) VALUES (1, 'two')")
            words.execute("UPDATE made SET turns = 2")
            words.commit()
        by_hand.add(folder, [by_hand.drawn(SEEDS[1], 0, "two")])
        with closing(read(folder.path, tmp_path / "home")) as summary:
            assert count(summary, words="two") == 1 and count(summary) == 2


def test_a_second_viewer_of_the_same_corpus_has_summaries_of_its_own(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    program = (
        "import sys; from pathlib import Path; from understudy.traces.summary import Summary\n"
        "s = Summary(Path(sys.argv[1]), Path(sys.argv[2])); s.catch_up(); print(s.progress().known); s.close()"
    )
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(folder, [by_hand.drawn(SEEDS[0], 0, "one")])
        corpus = folder.path
        with closing(read(corpus, tmp_path / "home")) as summary, closing(read(corpus, tmp_path / "home")) as other:
            command = [sys.executable, "-c", program, str(corpus), str(tmp_path / "home")]
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
            by_hand.add(folder, [by_hand.drawn(SEEDS[1], 0, "two")])
            for one in (other, summary, other):
                one.catch_up()
            assert count(summary) == count(other) == 2 and count(summary, words="two") == 1


def test_speed_is_told_for_minutes_in_which_something_was_asked(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    with by_hand.written(tmp_path, SEEDS) as folder:
        times = (60.0, 119.0, 120.0, 90_000.0, None)
        by_hand.add(folder, [by_hand.drawn(SEEDS[n % 3], n, f"fruit {n}", at=at) for n, at in enumerate(times)])
        with closing(read(folder.path, tmp_path / "home")) as summary:
            assert tables.speeds(summary) == [84.0, 42.0, 42.0]
    assert [len(tables.speeds(one)) for one in (Long(1), Long(120), Long(121), Long(1000))] == [1, 120, 61, 112]


class Long:
    """Summaries of a run of so many minutes."""

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes

    def rows(self, select: str) -> list[dict[str, int]]:
        return [{"tokens": 1}] * self.minutes


def test_segments_of_earlier_versions_lack_columns(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    import pyarrow.parquet as pq

    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(folder, [by_hand.drawn(SEEDS[0], 0, "one")])
        (segment,) = (folder.path / "traces").glob("*.parquet")
        pq.write_table(pq.read_table(segment).drop_columns(["at", "reused"]), segment)
        with closing(read(folder.path, tmp_path / "home")) as summary:
            (row,) = tables.agents(summary)
            assert (row["calls"], row["reused"], row["tokens"]) == (1, 0, 42) and tables.speeds(summary) == []


def test_a_file_that_is_gone_for_a_moment_is_met_again_and_no_word_counted_twice(
    tmp_path: Path, by_hand: SimpleNamespace
) -> None:
    with by_hand.written(tmp_path, SEEDS) as folder:
        by_hand.add(folder, [by_hand.drawn(SEEDS[0], 0, "one")])
        (segment,) = (folder.path / "traces").glob("*.parquet")
        segment.rename(tmp_path / "aside")  # as when a run merges its files
        with closing(read(folder.path, tmp_path / "home")) as summary:
            assert summary.progress().known == 0
            (tmp_path / "aside").rename(segment)
            summary.catch_up()
            assert summary.progress().whole and count(summary, words="one") == 1
    with closing(sqlite3.connect(tmp_path / "home" / "words.db")) as words:
        assert words.execute("SELECT count(*) FROM words WHERE words MATCH 'one'").fetchone() == (1,)
