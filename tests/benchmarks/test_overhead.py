"""The overhead benchmark: what the mock server answers and counts, what the clients ask, what is reported."""

import asyncio
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


mock_server = _load("mock_server")
overhead = _load("overhead")


class Http:
    """One keep-alive connection to the mock server."""

    def __init__(self, url: str) -> None:
        self.host, _, self.port = url.removeprefix("http://").removesuffix("/v1").partition(":")

    async def __aenter__(self) -> "Http":
        self.reader, self.writer = await asyncio.open_connection(self.host, int(self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def raw(self, request: bytes) -> tuple[int, dict]:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
        return int(head.split(" ")[1]), json.loads(await self.reader.readexactly(length))

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\ncontent-length: {len(payload)}\r\n\r\n"
        return await self.raw(head.encode() + payload)


def _chat(text: str) -> dict:
    return {"model": "mock", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": text}]}


@pytest.fixture
async def url():
    server, address = await mock_server.serve(0, 0.05)
    yield address
    server.close()


async def test_the_server_answers_like_an_openai_endpoint(url):
    async with Http(url) as http:
        status, models = await http.ask("GET", "/v1/models")
        assert (status, models["data"][0]["id"]) == (200, "mock")
        status, reply = await http.ask("POST", "/v1/chat/completions", _chat("gears turn wheels"))
        text = reply["choices"][0]["message"]["content"]
        assert status == 200 and text.startswith("How does gears turn wheels go with mark") and text.endswith("?")
        assert reply["usage"]["total_tokens"] == sum(v for k, v in reply["usage"].items() if k != "total_tokens")


async def test_two_prompts_get_two_replies_and_one_prompt_gets_one():
    one, two, again = (mock_server.completion(text)["choices"] for text in ("a b", "a b c", "a b"))
    assert one != two and one == again


async def test_a_reply_takes_the_latency_however_many_are_under_way(url):
    async def one(number: int) -> None:
        async with Http(url) as http:
            await http.ask("POST", "/v1/chat/completions", _chat(f"text {number}"))

    start = time.perf_counter()
    await asyncio.gather(*map(one, range(20)))
    assert 0.05 <= time.perf_counter() - start < 20 * 0.05


async def test_the_server_counts_requests_the_most_at_once_and_prompts_sent_twice(url):
    async def one(text: str) -> None:
        async with Http(url) as http:
            await http.ask("POST", "/v1/chat/completions", _chat(text))

    await asyncio.gather(*map(one, ("a", "b", "c")))
    await one("a")
    async with Http(url) as http:
        _, counts = await http.ask("GET", "/stats")
        assert (counts["requests"], counts["most_under_way"], counts["duplicates"]) == (4, 3, 1)
        assert counts["under_way"] == 0 and counts["seconds"] >= 2 * 0.05
        assert await http.ask("POST", "/reset", {"latency": 0.001}) == (200, {"latency": 0.001})
        _, counts = await http.ask("GET", "/stats")
        assert not any(counts.values())


async def test_requests_that_come_in_pieces_or_together_are_all_answered(url):
    payload = json.dumps(_chat("in pieces")).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(payload), payload)
    async with Http(url) as http:
        http.writer.write(request[:40])
        await asyncio.sleep(0.01)
        http.writer.write(request[40:-5])
        await asyncio.sleep(0.01)
        assert (await http.raw(request[-5:] + request))[0] == 200
        assert (await http.raw(b""))[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 5\r\n\r\n{oops",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]",
        b'POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"messages": 1}',
        b'POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"stream":true}',
        b'POST /reset HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"latency": -1}',
    ],
)
async def test_a_malformed_request_is_told_so(url, request_bytes):
    async with Http(url) as http:
        status, reply = await http.raw(request_bytes)
        assert status == 400 and reply["error"]["message"]
    async with Http(url) as http:
        _, counts = await http.ask("GET", "/stats")
        assert (counts["refused"], counts["requests"]) == (1, 0)


async def test_an_unknown_path_is_not_found(url):
    async with Http(url) as http:
        assert (await http.ask("GET", "/v1/nothing"))[0] == 404


@pytest.mark.parametrize("client", ["bare", pytest.param("understudy", marks=pytest.mark.slow)])
def test_a_client_makes_three_calls_a_seed(client, tmp_path):
    if client == "bare":
        pytest.importorskip("aiohttp")
    options = overhead.parse(["--seeds", "6", "--concurrency", "4", "--latency", "0.01", "--timeout", "120"])
    overhead.write_seeds(tmp_path / "seeds.jsonl", 6)
    overhead.write_seeds(tmp_path / "warm-up.jsonl", 2, first=100)
    with overhead.mock_server(Path(sys.executable)) as server:
        took = overhead.run_client(client, Path(sys.executable), server, options, tmp_path)
    assert "error" not in took, took["error"]
    assert (took["rows"], took["server"]["requests"], took["flags"]) == (6, 18, [])
    assert took["server"]["most_under_way"] <= 4
    assert took["run_s"] >= took["server"]["seconds"] >= 18 * 0.01 / 4
    assert took["cpu_s"] > 0 and took["peak_mib"] > 0


def test_a_client_that_fails_or_hangs_is_reported_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "measure.py").write_text("print('so be it', flush=True)\nimport time\ntime.sleep(60)")
    monkeypatch.setattr(overhead, "HERE", tmp_path)
    monkeypatch.setattr(overhead, "ask", lambda *_: {})
    options = overhead.parse(["--timeout", "1"])
    took = overhead.run_client("bare", Path(sys.executable), "http://127.0.0.1:9", options, tmp_path)
    assert took == {"error": "not done after 1 s: so be it"}
    (tmp_path / "clients" / "measure.py").write_text("raise SystemExit('no such thing')")
    took = overhead.run_client("bare", Path(sys.executable), "http://127.0.0.1:9", options, tmp_path)
    assert took == {"error": "exit code 1: no such thing"}


def _took(seconds: float, requests: int = 30, rows: int = 10) -> dict:
    server = {"requests": requests, "duplicates": 0, "refused": 0, "most_under_way": 4, "seconds": seconds / 2}
    took = {"run_s": seconds, "cpu_s": 0.3, "rows": rows, "version": "1.0", "python": "3.11.7", "peak_mib": 50.0}
    return took | {"server": server, "flags": overhead.flags(took | {"server": server}, 10)}


@pytest.fixture
def report(monkeypatch):
    """Two rounds of three clients: one good, one that loses rows, one that cannot be installed."""
    times = iter([1.0, 4.0, 3.0, 2.0])  # bare and understudy, then the other way round

    def run_client(client, python, server, options, folder):
        return _took(next(times), *((29, 9) if client == "understudy" else ()))

    monkeypatch.setattr(overhead, "run_client", run_client)
    options = overhead.parse(["--seeds", "10", "--concurrency", "4", "--latency", "0.1", "--repeats", "2",
                              "--clients", "bare,understudy,sygra"])  # fmt: skip
    pythons = {"bare": Path(sys.executable), "understudy": Path(sys.executable), "sygra": "cannot be installed: no"}
    return overhead.measure(options, pythons, Path(sys.executable))


def test_clients_take_turns_and_are_compared_within_a_round(report):
    assert [run["client"] for run in report["runs"]] == ["bare", "understudy", "sygra", "understudy", "sygra", "bare"]
    bare, understudy, sygra = report["clients"]
    assert report["ideal_s"] == pytest.approx(0.75)
    assert (bare["run_s"], bare["least_run_s"], bare["by_ideal"]) == (1.5, 1.0, pytest.approx(2.0))
    assert (understudy["by_bare"], understudy["least_run_s"]) == (pytest.approx((4 + 1.5) / 2), 3.0)
    assert bare["cpu_s_per_1000_calls"] == pytest.approx(10)
    assert sygra["errors"] == ["cannot be installed: no"] * 2 and "run_s" not in sygra


def test_the_table_is_narrow_and_says_what_went_wrong(report):
    page = overhead.table(report)
    assert max(map(len, page.splitlines())) <= 110
    assert "| bare 1.0 | 1.50 (1.00) | 0.75 | 2.00 | 1.00 | 10.00 (10.00) | 50 | 4 | 30 | 10 |" in page
    assert "| sygra | - |" in page
    for note in ("understudy: 29 calls, not 30", "understudy: 9 rows, not 10", "sygra: cannot be installed: no"):
        assert page.count(note) == 1
    assert "No client can reach that here: the fastest, bare, made" in page


def test_the_report_is_json_with_every_run(report):
    again = json.loads(json.dumps(report))
    assert len(again["runs"]) == 6 and again["settings"]["clients"] == ["bare", "understudy", "sygra"]
    assert {"date", "hardware", "settings", "ideal_s", "clients", "runs"} == set(again)
    assert again["hardware"]["cores"] >= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clients", "bare,nobody"], "no client is called nobody; there are bare, understudy"),
        (["--clients", ""], "no client is called nothing"),
        (["--seeds", "0"], "must be above 0"),
    ],
)
def test_a_wrong_option_is_a_clear_error(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        overhead.parse(arguments)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_every_client_has_a_file_and_pinned_versions():
    for client in overhead.CLIENTS:
        assert (BENCHMARKS / "clients" / f"{client.replace('-', '_')}.py").is_file()
        lines = (BENCHMARKS / "requirements" / f"{client}.txt").read_text(encoding="utf-8").splitlines()
        pinned = [line for line in lines if line and not line.startswith(("#", "-"))]
        assert all("==" in line for line in pinned) and (pinned or client == "understudy")
