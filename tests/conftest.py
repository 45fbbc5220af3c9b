"""What every test can use: a small project with seeds of each kind, a recipe that needs no model, a table of faults, a
collector of OpenTelemetry traces.

`pytest --reliability docs/reliability.md` writes into that page what came of the faults; the text around it stays.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from understudy.corpus import RunFolder
from understudy.nouns import Example
from understudy.recipe import Recipe

# The same examples each time, so that a failure belongs to the change that is tested; HYPOTHESIS_PROFILE=default
# looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

DOCUMENT = """# Bread

Sourdough bread rises because wild yeast makes gas in the dough. The starter is fed with flour and water every
day, and it is ready when it doubles within six hours.

## Baking

The oven is heated to 240 degrees, and steam keeps the crust soft while the loaf grows. After twenty minutes the
steam is let out so that the crust turns brown and hard.
"""
TABLE = """station,day,level
Heron Lock,Monday,1.20
Heron Lock,Tuesday,1.45
Alder Bridge,Monday,0.80
Alder Bridge,Tuesday,0.95
"""
CODE = '''def area(width, height):
    """Area of a rectangle."""
    return width * height


def perimeter(width, height):
    """Length around a rectangle."""
    return 2 * (width + height)
'''
RECIPE = """name: small
seeds:
  - path: docs
    chunk_tokens: 60
  - path: tables
    rows_per_seed: 2
  - path: code
accept: 8
draws_per_seed: 16
sm: {backend: scripted}
dedup: {embedder: hashing, embedding: 0.97}
in_flight: 4
"""


BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"
_RESULTS = pytest.StashKey[list["Result"]]()


@dataclass
class Result:
    """One line of the table of faults in docs/reliability.md."""

    fault: str
    injections: int = 1
    lost: int = 0
    doubled: int = 0
    message: str = ""
    """What the user is told; empty where the run goes on without a word."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", type=Path, help="the page whose table of faults is to be written")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "fault" in getattr(item, "fixturenames", ()):
            item.add_marker("fault")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RESULTS] = []


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Callable[..., Result]]:
    """Enter what came of a fault: `fault("kind", injections=3, lost=0, doubled=0, message="…")`."""
    made: list[Result] = []

    def enter(*values: object, **named: object) -> Result:
        made.append(Result(*values, **named))  # type: ignore[arg-type]
        return made[-1]

    yield enter
    request.config.stash[_RESULTS] += made


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    page: Path | None = session.config.getoption("--reliability")
    if page is None or exitstatus:
        return
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(session.config.stash[_RESULTS])}\n\n{END}{after}", encoding="utf-8")


def table(results: list[Result]) -> str:
    """One line for each kind of fault."""
    kinds: dict[str, Result] = {}
    for one in results:
        kind = kinds.setdefault(one.fault, Result(one.fault, 0))
        kind.injections += one.injections
        kind.lost += one.lost
        kind.doubled += one.doubled
        kind.message = kind.message or one.message
    lines = ["| fault | injections | lost | doubled | what the user reads |", "| --- | ---: | ---: | ---: | --- |"]
    for kind in kinds.values():
        said = re.sub(r"/\S*/", "…/", " ".join(kind.message.split())).replace("|", "\\|")
        lines.append(f"| {kind.fault} | {kind.injections:,} | {kind.lost} | {kind.doubled} | {said} |")
    total = sum(kind.injections for kind in kinds.values())
    lines += ["", f"{len(kinds)} kinds of fault, {total:,} injections."]
    return "\n".join(lines)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with `recipe.yaml` and seeds of three kinds."""
    folder = tmp_path / "project"
    for name, file, text in (
        ("docs", "bread.md", DOCUMENT),
        ("tables", "levels.csv", TABLE),
        ("code", "shapes.py", CODE),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@dataclass
class Collector:
    """A server of OTLP over HTTP: what it was sent, and how it answers."""

    url: str
    answers: list[tuple[int, str, bytes]] = field(default_factory=list)
    """Status, content type and body of the next answers; then it takes everything."""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)

    @property
    def spans(self) -> list[Any]:
        """All spans that it took, in order."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def rejects(self, spans: int, why: str) -> None:
        """Answer once that so many spans were not taken."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        said = ExportTraceServiceResponse()
        said.partial_success.rejected_spans, said.partial_success.error_message = spans, why
        self.answers.append((200, "application/x-protobuf", said.SerializeToString()))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector on this machine, and an environment that says nothing of others."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.paths.append(self.path)
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, kind, answer = found.answers.pop(0) if found.answers else (200, "application/x-protobuf", b"")
            if status == 200:
                found.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a corpus of drafts: `written(seeds={"a.md": "text"}, drafts=[{...}, …])` returns its folder.

    Each draft is fields of an `Example` as a dictionary; `seed` numbers the seeds in plan order, `asked` and `said`
    are its messages, and `vector` is the embedding of an accepted one.
    """

    def write(seeds: dict[str, str], drafts: list[dict[str, Any]], **recipe: Any) -> Path:
        (tmp_path / "seeds").mkdir(exist_ok=True)
        for name, content in seeds.items():
            (tmp_path / "seeds" / name).write_text(content, encoding="utf-8")
        settings = {"name": "x", "accept": 1, "draws_per_seed": 16, "seeds": [{"path": "seeds"}], **recipe}
        made = Recipe.model_validate({"sm": {"backend": "scripted"}, **settings}).at(tmp_path)
        facts = {"index": "scheme hashing", "engines": json.dumps({"sm": {"identity": "scripted"}})}
        with RunFolder.start(tmp_path / "corpus", made, "plan", facts) as folder:
            placed = [folder.seeds[position] for position in range(len(folder.seeds))]
            examples, index = [], []
            for draft in drafts:
                draft = dict(draft)
                seed, draw = placed[draft.pop("seed", 0)][0], len(examples)
                asked, said = draft.pop("asked", f"Ask {draw}?"), draft.pop("said", "Said.")
                vector = draft.pop("vector", None)
                payload = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
                example = Example(
                    id=Example.address("chat", payload, seed.id, draw), kind="chat", payload=payload, seed=seed.id,
                    draw=draw, **{"persona": None, "parents": (), "path": (), "calls": (), "scores": {}, "verdicts": (),
                                  "status": "accepted", **draft},
                )  # fmt: skip
                examples.append(example)
                packed = None if vector is None else np.array(vector, np.float32).tobytes()
                row = {"example": example.id, "text": asked, "signature": None, "embedding": packed}
                stages = {"accepted": ("gate", "final"), "rejected": ("gate",)}.get(example.status, ())
                index += [{"stage": stage, **row} for stage in stages]
            origins = {seed.id: (seed, split) for seed, split in placed}
            for start in range(0, len(examples), 100):
                shard = list(enumerate(examples))[start : start + 100]
                ids = {example.id for _, example in shard}
                folder.commit(shard, origins, [row for row in index if row["example"] in ids])
        return tmp_path / "corpus"

    return write


def write_lora(folder: Path, base: Path, seed: int, rank: int = 4, scale: float = 0.05, **changes: Any) -> Path:
    """An adapter on four kinds of layer of a Llama, as peft's `save_pretrained` writes it."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((base / "config.json").read_text())
    wide, inner = config["hidden_size"], config["intermediate_size"]
    narrow = wide // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"self_attn.q_proj": (wide, wide), "self_attn.v_proj": (wide, narrow), "mlp.up_proj": (wide, inner),
              "mlp.down_proj": (inner, wide)}  # fmt: skip
    chance = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        for name, (into, out) in shapes.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(rank, into, generator=chance) * scale
            weights[f"{stem}.lora_B.weight"] = torch.randn(out, rank, generator=chance) * scale
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 16, "bias": "none",
                "target_modules": [name.partition(".")[2] for name in shapes],
                "base_model_name_or_path": str(base)}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings | changes))
    return folder


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_base(folder: Path, seed: int = 7) -> Path:
    """A Llama of two layers and random weights that knows some sixty words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<|im_start|>", "<|im_end|>", "system", "user", "assistant", "ha"]
    words += [f"{first}{second}" for first in "bdfgklmn" for second in ("a", "e", "i", "o", "u", "ar", "en")]
    plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", eos_token="<|im_end|>",
                                        additional_special_tokens=["<|im_start|>"], chat_template=CHATML)  # fmt: skip
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                    num_key_value_heads=1, max_position_embeddings=512, eos_token_id=2, bos_token_id=1, pad_token_id=2,
                    tie_word_embeddings=False)
    )  # fmt: skip
    with torch.no_grad():
        for weight in model.parameters():  # the usual first weights are so small that every prompt reads alike
            weight.mul_(4 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Models:
    """Writes small models for tests: random weights, but whole folders."""

    base: Callable[..., Path] = write_base
    lora: Callable[..., Path] = write_lora


@pytest.fixture(scope="session")
def small_models() -> Models:
    """`small_models.base(folder)` writes a model, `small_models.lora(folder, base, seed)` an adapter of one."""
    return Models()


_BYTES_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_BYTES_ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base small enough to train in seconds: a Llama of two layers over bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("tiny") / "base"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": _BYTES_ROLES[:3]})
    tokenizer.chat_template = _BYTES_TEMPLATE
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    return path
