import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from understudy.corpus import RunFolder
from understudy.corpus.reviews import Reviews
from understudy.errors import RunFolderError
from understudy.nouns import Persona, Seed, Verdict, Version
from understudy.traces.viewer import build_app, diffs
from understudy.traces.viewer.guard import POLICY

PORT, TOKEN = 8765, "a-token"
HOME = f"http://127.0.0.1:{PORT}"
PAGES = ("/", "/graph", "/examples", "/personas", "/judges", "/cost", "/compare")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))


def opened(corpus: Path, beside: Path | None = None, vm: Path | None = None) -> Iterator[TestClient]:
    """A browser that has opened the address which the command prints, once all is read."""
    with TestClient(build_app(corpus, PORT, TOKEN, "ann", beside, vm), base_url=HOME) as client:
        assert client.get(f"/?token={TOKEN}").status_code == 200
        for _ in range(200):
            if (
                "have been read so far" not in client.get("/graph").text
                and "No drafts" not in client.get("/graph").text
            ):
                break
        yield client


@pytest.fixture
def browser(hostile: Path) -> Iterator[TestClient]:
    yield from opened(hostile, hostile)


def addresses(client: TestClient) -> list[str]:
    """Every page that can be reached by links from the views, one step further."""
    found = list(PAGES)
    for page in PAGES:
        found += re.findall(r'href="(/[^"#]*)"', client.get(page).text)
    return sorted({address.replace("&amp;", "&") for address in found if not address.startswith("/static")})


# Who is let in


def test_nobody_without_the_token_reads_a_page(browser: TestClient) -> None:
    browser.cookies.clear()
    for path in (*PAGES, "/static/viewer.js", "/nothing", "/?token=wrong", "/?token=%C3%A9"):
        answer = browser.get(path, follow_redirects=False)
        assert answer.status_code == 401 and "understudy traces" in answer.text, path
    browser.cookies.set(f"understudy-{PORT}", "wrong")
    assert browser.get("/").status_code == 401


def test_the_token_leaves_the_address_and_the_rest_stays(browser: TestClient) -> None:
    browser.cookies.clear()
    answer = browser.get(f"/examples?status=rejected&token={TOKEN}", follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/examples?status=rejected"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:1", "", f"127.0.0.1.evil.example:{PORT}"]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(browser: TestClient, host: str) -> None:
    for path in ("/", f"/?token={TOKEN}"):
        answer = browser.get(path, headers={"host": host}, follow_redirects=False)
        assert answer.status_code == 421 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("headers", [
    {"origin": "http://evil.example"}, {"origin": "null"}, {}, {"origin": f"http://localhost:{PORT}"},
    {"origin": HOME, "sec-fetch-site": "cross-site"}, {"origin": HOME, "sec-fetch-site": "same-site"},
])  # fmt: skip
def test_another_origin_changes_nothing(browser: TestClient, headers: dict[str, str]) -> None:
    assert browser.post("/examples", headers=headers).status_code == 403


def test_every_answer_forbids_what_pages_do_not_need(browser: TestClient) -> None:
    for path in ("/", "/static/viewer.css", "/nothing", "/examples?status=odd"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"] == POLICY and headers["x-frame-options"] == "DENY"
        assert (
            headers["cross-origin-resource-policy"] == "same-origin" and headers["x-content-type-options"] == "nosniff"
        )
        assert "access-control-allow-origin" not in headers
    assert "unsafe" not in POLICY and "default-src 'none'" in POLICY


# What pages show


class Found(HTMLParser):
    """The tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_no_text_of_a_corpus_becomes_part_of_a_page(browser: TestClient) -> None:
    reached = addresses(browser)
    assert len(reached) > 25 and any(address.startswith("/examples/") for address in reached)
    attacked = 0
    for address in reached:
        answer = browser.get(address)
        assert answer.status_code == 200, (address, answer.text)
        page = Found()
        page.feed(answer.text)
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert scripts == [{"src": "/static/viewer.js", "defer": None}], address
        assert not [tag for tag, _ in page.tags if tag in {"img", "iframe", "object", "embed", "base", "style"}], (
            address
        )
        assert not [attrs for _, attrs in page.tags if any(name.startswith("on") or name == "style" for name in attrs)]
        links = [attrs.get("href") or "" for tag, attrs in page.tags if tag == "a"]
        assert all(link.startswith(("/", "#")) or not link for link in links), (address, links)
        attacked += "&lt;script&gt;" in answer.text
    assert attacked > 20  # the attacks are there, as text


def test_an_unknown_page_example_or_filter_says_so(browser: TestClient) -> None:
    assert browser.get("/nothing").status_code == 404
    for path, said in [
        ("/examples/ffffffffff", "no example"), ("/examples/zz", "no example"), ("/examples?status=lost", "expected: accepted"),
        ("/examples?after=x", "number of a turn"), ("/examples?by=a&least=much", "a number"),
    ]:  # fmt: skip
        answer = browser.get(path)
        assert answer.status_code == 400 and said in answer.text, path


def test_a_story_tells_everything(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seed = Seed.of("text", "Ovens are hot.", "bread.md:3")
    versions = (
        Version("answer/answer", 0, "How hot is it?", "Very hot.", "kept", score=0.5),
        Version("refine/longer:edit", 1, "How hot is it?", "Very, very warm.", "no gain", score=0.4),
    )
    said = (Verdict("rule/length", True, 0.9, "4 words"), Verdict("judge/relevant", True, 1.0, "it says how hot"))
    with by_hand.written(tmp_path, [seed]) as folder:
        first = by_hand.drawn(
            seed,
            0,
            "Very hot.",
            asked="How hot is it?",
            persona=Persona.of("A baker"),
            verdicts=said,
            versions=versions,
        )
        twin = by_hand.drawn(
            seed, 1, "Hot.", "duplicate", "same words", asked="How hot is that?", parents=(first[0].id,),
            verdicts=(Verdict("dedup/minhash", False, 0.912, None),),
        )  # fmt: skip
        by_hand.add(folder, [first, twin])
        corpus = folder.path
    for browser in opened(corpus):
        page = browser.get(f"/examples/{first[0].id}").text
        for text in ("Ovens are hot.", "bread.md:3", "A baker", "30 + 12 tokens, 10 of them cached", "it says how hot",
                     "<del>hot</del>", "warm</ins>", "no gain", "curl http://localhost:8000/v1/chat/completions",
                     "from openai import OpenAI", "extra_body={&#39;repetition_penalty&#39;: 1.1}"):  # fmt: skip
            assert text in page, text
        page = browser.get(f"/examples/{twin[0].id}").text
        assert "similarity 0.912" in page and f'href="/examples/{first[0].id}"' in page
        assert "<del>it</del><ins>that</ins>" in page
        assert f'rel="prev" href="/examples/{first[0].id}' in page and 'rel="next"' not in page
        run = browser.get("/").text
        assert "1 of 10 accepted, from 2 drafts of 1 seeds." in run and "84" in run
        cost = browser.get("/cost").text
        assert (
            "One accepted example took 84 SM tokens" in cost and "0.000108" in cost
        )  # 60 at 1, 24 at 2, for a million


def test_an_empty_corpus_has_all_pages(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    with by_hand.written(tmp_path, [Seed.of("text", "x", "y")]) as folder:
        corpus = folder.path
    with TestClient(build_app(corpus, PORT, TOKEN, "ann", corpus), base_url=HOME) as browser:
        browser.get(f"/?token={TOKEN}")
        for path in PAGES:
            assert browser.get(path).status_code == 200, path


def test_two_runs_side_by_side(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seeds = [Seed.of("text", f"seed {n}", "s.md") for n in range(2)]
    corpora = []
    for name, fates in (("old", ("rejected", "accepted")), ("new", ("accepted", "accepted"))):
        with by_hand.written(tmp_path, seeds, name) as folder:
            placed = [folder.seeds[place][0] for place in range(2)]
            why = [None if fate == "accepted" else "rule/length" for fate in fates]
            by_hand.add(folder, [by_hand.drawn(placed[n], 0, f"fruit {n}", fates[n], why[n]) for n in range(2)])
            corpora.append(folder.path)
    for browser in opened(corpora[1], corpora[0]):
        page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", browser.get("/compare").text))
        assert "1 that both runs have came out otherwise" in page
        assert "accepted 50.0 % 100.0 % +50.0 points" in page
        assert "rejected accepted the same 1" in page and "accepted accepted the same 1" in page


def test_what_a_run_adds_shows_up(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seed = Seed.of("text", "x", "y")
    with by_hand.written(tmp_path, [seed]) as folder:
        by_hand.add(folder, [by_hand.drawn(seed, 0, "one")])
        for browser in opened(folder.path):
            by_hand.add(folder, [by_hand.drawn(seed, 1, "two")])
            page = browser.get("/").text
            assert "1 of 2 drafts of corpus have been read so far" in page or "from 2 drafts" in page
            for _ in range(300):
                if "from 2 drafts" in (page := browser.get("/").text):
                    break
            assert "from 2 drafts" in page


def test_nothing_in_the_corpus_is_changed_by_looking(hostile: Path) -> None:
    def content() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes() for path in hostile.rglob("*") if path.is_file() and "ledger" not in path.name
        }

    with RunFolder.read(hostile) as folder:
        facts, before = folder.ledger.facts(), content()
    for browser in opened(hostile, hostile):
        for address in addresses(browser):
            browser.get(address)
    with RunFolder.read(hostile) as folder:
        assert folder.ledger.facts() == facts and content() == before


@pytest.mark.parametrize(("before", "after"), [
    ("a b c", "a x c"), ("", "new"), ("old", ""), ("", ""), ("same  text\n", "same  text\n"), ("one, two", "one; two three"),
])  # fmt: skip
def test_a_diff_holds_both_texts(before: str, after: str) -> None:
    parts = diffs.words(before, after)
    assert "".join(text for what, text in parts if what in ("same", "out")) == before
    assert "".join(text for what, text in parts if what in ("same", "in")) == after


SAME = {"origin": HOME}


def test_a_review_is_kept_and_leads_to_the_next(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seed = Seed.of("text", "x", "y")
    with by_hand.written(tmp_path, [seed]) as folder:
        drafts = [
            by_hand.drawn(seed, n, f"fruit {n}", "rejected" if n == 1 else "accepted", "r" if n == 1 else None)
            for n in range(4)
        ]
        by_hand.add(folder, drafts)
        corpus, ids = folder.path, [example.id for example, _ in drafts]
    for browser in opened(corpus):
        query = "?status=accepted&review=none"
        first = browser.post(
            f"/examples/{ids[0]}/review{query}",
            data={"label": "accept", "note": "fine"},
            headers=SAME,
            follow_redirects=False,
        )
        assert first.status_code == 303 and first.headers["location"] == f"/examples/{ids[2]}{query}"
        browser.post(
            f"/examples/{ids[2]}/review", data={"label": "edit", "answer": "A better\r\nanswer."}, headers=SAME
        )
        assert {key: (one.reviewer, one.label, one.note, one.answer) for key, one in Reviews(corpus).standing().items()} == {
            ids[0]: ("ann", "accept", "fine", None), ids[2]: ("ann", "edit", "", "A better\nanswer."),
        }  # fmt: skip
        listed = re.findall(r'class="id" href="/examples/(\w+)', browser.get(f"/examples{query}").text)
        assert listed == [ids[3]]
        assert re.findall(r'class="id" href="/examples/(\w+)', browser.get("/examples?review=edit").text) == [ids[2]]
        page = browser.get(f"/examples/{ids[0]}").text
        assert "ann: <strong>accept</strong>, fine" in page and "take back" in page
        browser.post(f"/examples/{ids[0]}/review", data={"label": "none"}, headers=SAME)
        assert ids[0] not in Reviews(corpus).standing()
        for data in ({"label": "perhaps"}, {}, {"label": "edit", "answer": "x" * 1_000_001}):
            assert browser.post(f"/examples/{ids[0]}/review", data=data, headers=SAME).status_code == 400
        assert browser.post("/examples/ffff/review", data={"label": "accept"}, headers=SAME).status_code == 400
        assert browser.post(f"/examples/{ids[0]}/review", data={"label": "accept"}).status_code == 403
        assert len(Reviews(corpus).standing()) == 1


def test_what_a_reviewer_writes_is_text(hostile: Path) -> None:
    run = "<script>document.title='run'</script>"
    for browser in opened(hostile):
        (first, *_) = re.findall(r'class="id" href="/examples/(\w+)', browser.get("/examples").text)
        browser.post(f"/examples/{first}/review", data={"label": "edit", "note": run, "answer": run}, headers=SAME)
        page = browser.get(f"/examples/{first}").text
        assert page.count("<script") == 1 and "&lt;script&gt;document.title" in page


def test_an_example_is_pinned_beside_the_recipe(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seed = Seed.of("text", "x", "y")
    with by_hand.written(tmp_path, [seed]) as folder:
        drafts = [by_hand.drawn(seed, 0, "one"), by_hand.drawn(seed, 1, "one", "duplicate", "same words")]
        by_hand.add(folder, drafts)
        corpus, ids = folder.path, [example.id for example, _ in drafts]
    for browser in opened(corpus):
        assert "as a test case" in browser.get(f"/examples/{ids[0]}").text
        assert "as a test case" not in browser.get(f"/examples/{ids[1]}").text
        answer = browser.post(f"/examples/{ids[0]}/pin?status=accepted", headers=SAME)
        assert (
            answer.status_code == 200 and "pin it again" in answer.text and str(answer.url).endswith("?status=accepted")
        )
        assert [path.name for path in (tmp_path / "cases").iterdir()] == [f"{ids[0][:12]}.json"]
        answer = browser.post(f"/examples/{ids[1]}/pin", headers=SAME)
        assert answer.status_code == 400 and "a duplicate is one beside other examples" in answer.text
        assert browser.post(f"/examples/{ids[0]}/pin").status_code == 403


def test_a_duplicate_of_an_earlier_corpus_is_told_without_it(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seed = Seed.of("text", "x", "y")
    with by_hand.written(tmp_path, [seed]) as folder:
        twin = by_hand.drawn(seed, 0, "one", "duplicate", "same words", parents=("ab" * 16,))
        by_hand.add(folder, [twin])
        corpus = folder.path
    for browser in opened(corpus):
        page = browser.get(f"/examples/{twin[0].id}")
        assert page.status_code == 200 and "an example of an earlier corpus" in page.text


def test_changes_of_two_runs_are_paged(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    seed, corpora = Seed.of("text", "x", "y"), []
    for name in ("old", "new"):
        with by_hand.written(tmp_path, [seed], name) as folder:
            by_hand.add(folder, [by_hand.drawn(seed, n, f"{name} {n}") for n in range(60)])
            corpora.append(folder.path)
    for browser in opened(corpora[1], corpora[0]):
        first = browser.get("/compare").text
        assert "60 that both runs have" in first and first.count("What is old") == 50
        (later,) = re.findall(r"/compare\?after=\d+", first)
        assert browser.get(later).text.count("What is old") == 10
        assert browser.get("/compare?after=0").text.count("What is old 0?") == 0


def test_a_story_ends_with_what_a_vm_made_of_it(tmp_path: Path, by_hand: SimpleNamespace) -> None:
    run = "<script>document.title='run'</script>"
    seeds = [Seed.of("text", f"seed {n}", "s.md") for n in range(8)]
    with by_hand.written(tmp_path, seeds) as folder:
        placed = [folder.seeds[place] for place in range(8)]
        by_hand.add(folder, [by_hand.drawn(seed, 0, f"fruit {n}") for n, (seed, _) in enumerate(placed)])
        ids = {split: next(folder.examples(split=split)).id for split in ("train", "test")}
        corpus, digest = folder.path, folder.digest
    vm = tmp_path / "vm"
    vm.mkdir()
    lineage = {"corpus_digest": digest, "rows": 5, "steps": 40}
    (vm / "understudy.json").write_text(json.dumps(lineage))
    for browser in opened(corpus, vm=vm):
        assert "40 steps over 5 rows, this one among them" in browser.get(f"/examples/{ids['train']}").text
        assert "It was not measured" in browser.get(f"/examples/{ids['test']}").text
    score = {
        "example": ids["test"],
        "base_loss": 1.25,
        "vm_loss": 0.75,
        "base": run,
        "vm": "Apples.",
        "base_f1": 0.1,
        "vm_f1": 0.5,
    }
    (vm / "eval.json").write_text(json.dumps({"per_example": [score]}))
    for browser in opened(corpus, vm=vm):
        page = browser.get(f"/examples/{ids['test']}").text
        assert "1.250" in page and "0.750" in page and "Apples." in page and page.count("<script") == 1
    (vm / "understudy.json").write_text(json.dumps(lineage | {"corpus_digest": "other"}))
    for browser in opened(corpus, vm=vm):
        assert "another state of it" in browser.get(f"/examples/{ids['train']}").text
    for damage in ("", "[]", "{}"):
        (vm / "understudy.json").write_text(damage)
        with pytest.raises(RunFolderError, match="understudy train"):
            build_app(corpus, PORT, TOKEN, "ann", vm=vm)
