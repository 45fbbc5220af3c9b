"""SMs as a recipe names them: each backend with its keys, and the voices that agents speak with."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from understudy.sections import Strict

# Keys of an SM's section that say where and how fast it is served, not what it writes.
_SERVING = (
    "batch_size", "price_in", "price_out", "price_hour", "delay_s", "base_url", "endpoints", "max_concurrency",
    "timeout_s", "retries", "patience_s", "api_key_env", "device", "memory", "tensor_parallel", "prefix_cache",
    "block_tokens", "compile", "replicas", "start_s",
)  # fmt: skip


class Priced(Strict):
    """What an SM's tokens cost, for the accounting."""

    price_in: float = Field(0.0, ge=0)
    """Money per million prompt tokens, for the accounting."""
    price_out: float = Field(0.0, ge=0)
    """Money per million generated tokens."""
    price_hour: float = Field(0.0, ge=0)
    """Money per hour in which it works on this run's requests, for an engine that is rented by time."""

    def money(self, prompt_tokens: int, completion_tokens: int, busy_s: float = 0.0) -> float:
        """What so many tokens, and so many seconds of work, cost."""
        by_token = (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6
        return by_token + busy_s * self.price_hour / 3600


class EmbeddedSM(Priced):
    """SmolLM2-135M-Instruct on this machine's CPU: shows that everything works, writes simple text."""

    backend: Literal["embedded"] = "embedded"
    """Which engine: this one needs nothing but the `[local]` extra."""
    batch_size: int = Field(16, ge=1, le=256)
    """Requests decoded together."""


class TransformersSM(Priced):
    """Any Hugging Face causal LM in a folder, through transformers, decoded in continuous batches."""

    backend: Literal["transformers"]
    """Which engine."""
    path: str
    """Folder with config.json, safetensors weights and a tokenizer with a chat template; `embedded` is
    SmolLM2-135M-Instruct."""
    device: str = "auto"
    """`auto` takes CUDA where there is one; else a torch device such as `cpu` or `cuda:1`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is bfloat16 on a GPU and on CPUs that compute in it, else float32."""
    batch_size: int = Field(16, ge=1, le=1024)
    """Requests decoded together."""
    adapters: dict[str, str] = Field({})
    """LoRA adapters by name, each a folder as peft writes it; `voices` says who speaks through which."""


class VLLMModel(Priced):
    """What vLLM loads, in this process or in a server."""

    path: str
    """Folder with config.json, safetensors weights and a tokenizer with a chat template; `embedded` is
    SmolLM2-135M-Instruct."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is what the model's config says."""
    context_tokens: int | None = Field(None, ge=128)
    """Longest prompt plus reply; null means the model's own, which may want more memory than there is."""
    max_concurrency: int = Field(256, ge=1, le=4096)
    """Requests decoded together."""
    memory: float | None = Field(None, gt=0, le=1)
    """Share of a GPU's memory (of the machine's, without a GPU) that the engine may take; null means 0.9 (0.3)."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs that share one copy of the model."""
    prefix_cache: bool = True
    """Whether what prompts have in common at their start is read once."""
    block_tokens: int | None = Field(None, ge=16, le=256)
    """How fine the prefix cache is: what prompts share counts in whole blocks. Null leaves it to vLLM (128 on CPUs)."""
    compile: bool | None = None
    """Whether the engine compiles the model first: faster replies, a slower start. Null leaves it to vLLM, but in this
    process a model on a CPU is not compiled."""
    adapters: dict[str, str] = Field({})
    """LoRA adapters by name, each a folder as peft writes it; `voices` says who speaks through which."""


class VLLMSM(VLLMModel):
    """A model in vLLM's engine, in this process: needs vllm in the same environment."""

    backend: Literal["vllm"]
    """Which engine."""


class VLLMServerSM(VLLMModel):
    """A model behind `vllm serve`, which a run starts, waits for and stops; vllm may live in another environment."""

    backend: Literal["vllm-server"]
    """Which engine. The command is the `vllm` on the PATH, or what the environment variable UNDERSTUDY_VLLM names."""
    replicas: int = Field(1, ge=1)
    """Copies of the model behind the one address (data parallelism)."""
    start_s: float = Field(900, gt=0)
    """Longest time the server may take to become healthy."""
    timeout_s: float = Field(600, gt=0)
    """Total time one request may take."""


def _without_password(url: str) -> str:
    """A recipe is written into cards and folders; a password must not be."""
    if "@" in urlsplit(url).netloc:
        raise PydanticCustomError("password", "an address must hold no user or password")
    return url


Address = Annotated[str, Field(pattern=r"^https?://"), AfterValidator(_without_password)]


class Served(Strict):
    """One of several endpoints that serve the same model."""

    base_url: Address
    """Where it is served, up to and with `/v1`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself never stands in a recipe."""
    weight: float = Field(1.0, gt=0)
    """Its share of the requests, relative to the others'."""
    max_concurrency: int = Field(256, ge=1, le=4096)
    """Most requests under way at once; how many really are is found out while running."""


class Remote(Priced):
    """A model that others serve."""

    timeout_s: float = Field(120, gt=0)
    """Total time one request may take."""
    retries: int = Field(4, ge=0, le=20)
    """Further tries of a request that fails while others succeed; after these its draft fails."""
    patience_s: float = Field(600, gt=0)
    """How long all requests may fail before the run stops, to be resumed."""


class OpenAISM(Remote):
    """Any OpenAI-compatible endpoint: `vllm serve`, llama.cpp, a hosted model; or several that serve the same model."""

    backend: Literal["openai"]
    """Which engine."""
    base_url: Address | None = None
    """Where it is served, up to and with `/v1`; for several, `endpoints` instead."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself never stands in a recipe."""
    max_concurrency: int = Field(256, ge=1, le=4096)
    """Most requests under way at once; how many really are is found out while running."""
    endpoints: tuple[Served, ...] = ()
    """Several endpoints in place of `base_url`."""
    model: str
    """Name under which the endpoint serves the model."""
    structured: bool = True
    """Whether the endpoint honours `response_format` with a JSON schema."""

    @model_validator(mode="after")
    def _one_or_several(self) -> OpenAISM:
        if (self.base_url is None) == (not self.endpoints):
            raise ValueError("`base_url`, or a list of `endpoints`, and not both")
        urls = [one.base_url for one in self.endpoints]
        if twice := next((url for url in urls if urls.count(url) > 1), None):
            raise ValueError(f"{twice} stands twice in `endpoints`; give it the sum of the weights once")
        return self

    @property
    def served(self) -> tuple[Served, ...]:
        """The endpoints, however they were given."""
        if self.base_url is None:
            return self.endpoints
        one = Served(base_url=self.base_url, api_key_env=self.api_key_env, max_concurrency=self.max_concurrency)
        return (one,)


class LangChainSM(Remote):
    """Any chat model that LangChain integrates, by `provider:model`."""

    backend: Literal["langchain"]
    """Which engine: this one needs `langchain` and the provider's package, such as `langchain-anthropic`."""
    model: str = Field(pattern=r"^[a-z0-9_-]+:.+$")
    """Provider and model, such as `anthropic:claude-sonnet-5` or `ollama:qwen3`."""
    options: dict[str, str | int | float | bool | None] = Field({})
    """Further arguments of the provider's class, by its own names; keys of accounts come from its usual environment
    variables."""
    structured: bool = False
    """Whether the model takes a JSON schema (`with_structured_output`)."""
    max_concurrency: int = Field(16, ge=1, le=4096)
    """Most requests under way at once; how many really are is found out while running."""


class ScriptedSM(Priced):
    """No model: replies are a function of the request. For tests and for trying a recipe's mechanics."""

    backend: Literal["scripted"]
    """Which engine."""
    delay_s: float = Field(0.0, ge=0)
    """How long each reply takes."""


def _backend_or_embedded(value: Any) -> Any:
    """`sm:` without a backend is the embedded one."""
    return {"backend": "embedded", **value} if isinstance(value, dict) else value


SMSpec = Annotated[
    EmbeddedSM | TransformersSM | VLLMSM | VLLMServerSM | OpenAISM | LangChainSM | ScriptedSM,
    Field(discriminator="backend"),
    BeforeValidator(_backend_or_embedded),
]
# What the recipe calls the SM of its `sm:` section, beside the names under `sms:`.
MAIN = "sm"


class Voice(Strict):
    """Who speaks for an agent, and how its replies are drawn; what is left out stays as the prompt file has it."""

    sm: str = MAIN
    """`sm`, or a name under `sms`."""
    adapter: str | None = None
    """One of that SM's LoRA adapters."""
    temperature: float | None = Field(None, ge=0, le=2)
    """0 always takes the likeliest token."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Only the likeliest tokens that together have this probability are drawn."""
    max_tokens: int | None = Field(None, ge=1, le=8192)
    """Longest reply."""
    repetition_penalty: float | None = Field(None, ge=1, le=2)
    """Above 1, tokens that a reply already holds become less likely."""


def _one_or_several(value: Any) -> Any:
    """One voice may stand without a list around it."""
    return (value,) if isinstance(value, dict) else value


Voices = Annotated[tuple[Voice, ...], Field(min_length=1), BeforeValidator(_one_or_several)]


def unserved(spec: SMSpec) -> dict[str, Any]:
    """What an SM's section says of the model, without where and how fast it is served."""
    body = spec.model_dump(mode="json", exclude=set(_SERVING))
    if isinstance(spec, TransformersSM) and not spec.adapters:  # a key that came after the first release
        del body["adapters"]
    return body
