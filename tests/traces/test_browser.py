"""The viewer in a real browser: what it looks like to a person with keys, a pointer or a reader, and to an attacker."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium, such as Debian's package of that name"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SIZES = {"desktop": {"width": 1200, "height": 900}, "phone": {"width": 390, "height": 844}}
VIEWS = ("/", "/graph", "/examples", "/personas", "/judges", "/cost", "/compare")


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Starts the command and gives the address that it prints."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    children = []

    def start(corpus: Path, *options: str) -> str:
        command = [str(Path(sys.executable).with_name("understudy")), "traces", str(corpus), "--no-open", *options]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for line in children[-1].stdout or ():
            if found := re.search(r"http://\S+", line):
                return found[0]
        raise AssertionError("no address was printed")

    yield start
    for child in children:
        child.terminate()
        child.wait()
        assert child.stdout
        child.stdout.close()


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


def looked_at(context: Any, address: str) -> tuple[Any, list[str]]:
    """A page of the viewer, and what its console says."""
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    return page, said


def all_read(page: Any, root: str) -> None:
    """Wait until the viewer has read the corpus."""
    page.goto(f"{root}/graph")
    while "have been read so far" in page.content() or "No drafts yet" in page.content():
        page.wait_for_timeout(200)
        page.reload()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", sorted(SIZES))
def test_every_view_is_clean_and_accessible(
    viewer: Callable[..., str], browser: Any, hostile: Path, size: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    address = viewer(hostile, "--beside", str(hostile))
    root = address.split("/?")[0]
    # axe is put into the page, which the viewer's policy would forbid to anybody.
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, bypass_csp=True)
    page, said = looked_at(context, address)
    all_read(page, root)
    page.goto(f"{root}/examples")
    examples = page.eval_on_selector_all("a.id", "links => links.map(link => link.getAttribute('href'))")
    assert len(examples) == 4
    for path in (*VIEWS, *examples, "/examples?status=rejected", "/nothing"):
        page.goto(root + path)
        assert page.title() != "run", f"a text of the corpus ran on {path}"
        # The page is as wide as the window: what is wider scrolls by itself.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (path, size)
        page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
        found = Axe().run(page).response["violations"]
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, (path, serious)
    assert [text for text in said if "404" not in text] == []


def test_keys_and_pointer_lead_from_view_to_view(viewer: Callable[..., str], browser: Any, hostile: Path) -> None:
    address = viewer(hostile)
    root = address.split("/?")[0]
    page, said = looked_at(browser.new_context(), address)
    all_read(page, root)
    page.keyboard.press("e")
    page.wait_for_url("**/examples")
    page.select_option("select[name=status]", "rejected")
    page.wait_for_url("**status=rejected**")
    assert page.locator("tbody tr").count() == 1
    assert page.url.endswith("/examples?status=rejected")
    page.click("a.chip.clear")
    page.wait_for_url("**/examples")
    page.click("tbody tr:first-child a.id")
    page.wait_for_url("**/examples/*")
    first = page.url
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != first)
    page.keyboard.press("k")
    page.wait_for_url(first)
    page.keyboard.press("u")
    page.wait_for_url(lambda url: "/examples/" not in url)
    page.keyboard.press("/")
    page.keyboard.type("onerror")
    page.keyboard.press("Enter")
    page.wait_for_url("**words=onerror**")
    assert page.locator("tbody tr").count() == 4
    page.click("tbody tr:first-child a.id")
    page.wait_for_url("**/examples/*")
    reviewed = page.url
    page.keyboard.press("a")
    page.wait_for_url(lambda url: url != reviewed)
    page.goto(f"{root}/examples?review=accept")
    assert page.locator("tbody tr").count() == 1
    page.keyboard.press("g")
    page.wait_for_url("**/graph")
    page.locator("svg.graph a:has(text.loss.duplicate)").first.click()
    page.wait_for_url("**status=duplicate**")
    page.goto(f"{root}/personas")
    before = page.locator("thead th").nth(1)
    before.locator("button").click()
    assert before.get_attribute("aria-sort") == "descending"
    assert said == []


def test_the_way_of_a_call_can_be_copied(viewer: Callable[..., str], browser: Any, hostile: Path) -> None:
    address = viewer(hostile)
    root = address.split("/?")[0]
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=root)
    page, _ = looked_at(context, address)
    all_read(page, root)
    page.goto(f"{root}/examples")
    page.click("tbody tr:first-child a.id")
    page.wait_for_url("**/examples/*")
    page.click("details.again summary")
    page.click("[data-copy=curl-1]")
    page.wait_for_selector("text=copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl http://localhost:8000/v1/chat/completions")


ATTACK = """<!doctype html><title>other</title><iframe src="{root}/"></iframe><script src="{root}/static/viewer.js"></script>
<form id="form" method="post" action="{root}/examples"><input name="a"></form><script>
window.got = [];
Promise.allSettled([
  fetch("{root}/", {{credentials: "include"}}).then((answer) => answer.text()).then((text) => got.push(text)),
  fetch("{root}/", {{mode: "no-cors", credentials: "include"}}).then((answer) => answer.text()).then((text) => text && got.push(text)),
]).then(() => {{ window.done = true; }});
</script>"""


class Other(BaseHTTPRequestHandler):
    """Another site on this machine."""

    def __init__(self, root: str, *args: Any) -> None:
        self.root = root
        super().__init__(*args)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(ATTACK.format(root=self.root).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_another_site_reads_nothing_and_posts_nothing(viewer: Callable[..., str], browser: Any, hostile: Path) -> None:
    address = viewer(hostile)
    root = address.split("/?")[0]
    context = browser.new_context()
    page, _ = looked_at(context, address)
    assert page.title().startswith("by-hand")  # this browser is let in
    other = HTTPServer(("127.0.0.1", 0), partial(Other, root))
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        attacker = context.new_page()
        attacker.goto(f"http://localhost:{other.server_port}/")
        attacker.wait_for_function("window.done")
        assert attacker.evaluate("window.got") == []
        assert attacker.frames[1].url.startswith(("chrome-error", "about:blank")) or not attacker.frames[1].title()
        with attacker.expect_navigation() as went:
            attacker.evaluate("document.getElementById('form').submit()")
        assert went.value.status in (401, 403)
    finally:
        other.shutdown()
        other.server_close()
