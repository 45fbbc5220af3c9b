import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from understudy.errors import EngineError, EngineRefused, EngineTransient, ModelError
from understudy.models import Constraint, Reply, Request, endpoint, open_sm
from understudy.models.endpoint import Endpoint
from understudy.prompt import Sampling
from understudy.recipe import Recipe
from understudy.sms import OpenAISM

from .stub import Stub, chat, listing, serving

ASK = ({"role": "system", "content": "Be true."}, {"role": "user", "content": "Why?"})
SCHEMA = {"type": "object", "properties": {"passes": {"type": "boolean"}}, "required": ["passes"]}


@pytest.fixture
async def twin(stub: Stub) -> AsyncIterator[Stub]:
    async with serving() as made:
        yield made


@pytest.fixture
async def sm(stub: Stub) -> AsyncIterator[Callable[..., Endpoint]]:
    opened: list[Endpoint] = []

    def open_(**settings: Any) -> Endpoint:
        base = {"backend": "openai", "base_url": stub.url, "model": "m", "retries": 2, "timeout_s": 5}
        opened.append(Endpoint.open(OpenAISM.model_validate(base | settings)))
        return opened[-1]

    yield open_
    for engine in opened:
        await engine.aclose()


Open = Callable[..., Endpoint]


async def ask(sm: Endpoint, **changes: Any) -> Reply:
    (reply,) = await sm.complete(Request(ASK, **changes))
    return reply


async def test_a_reply_comes_with_its_usage(stub: Stub, sm: Open):
    message = await ask(sm(), sampling=Sampling(temperature=0.3, max_tokens=40), seed=2**63 + 5)
    assert message.text == "Water flows downhill."
    assert (message.prompt_tokens, message.completion_tokens, message.cached_tokens) == (12, 5, 0)
    (asked,) = stub.asked
    assert asked["messages"] == list(ASK)
    assert (asked["model"], asked["temperature"], asked["top_p"], asked["seed"]) == ("m", 0.3, 0.95, 5)
    assert asked.get("max_tokens", asked.get("max_completion_tokens")) == 40
    assert "response_format" not in asked


async def test_a_schema_is_passed_on_where_the_endpoint_honours_it(stub: Stub, sm: Open):
    stub.replies = [(200, chat('{"passes": true}'))]
    message = await ask(sm(), seed=0, constraint=Constraint("schema", SCHEMA))
    assert message.text == '{"passes": true}'
    assert stub.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    await ask(sm(structured=False), seed=0, constraint=Constraint("schema", SCHEMA))
    assert "response_format" not in stub.asked[1]
    assert not sm(structured=False).capabilities.schema and not sm().capabilities.regex


@pytest.mark.parametrize("constraint", [None, Constraint("schema", SCHEMA)], ids=["text", "schema"])
async def test_a_reply_that_was_cut_off_says_so(stub: Stub, sm: Open, constraint: Constraint | None):
    stub.replies = [(200, chat('{"pass', finish="length"))]
    message = await ask(sm(), seed=0, constraint=constraint)
    assert (message.text, message.truncated) == ('{"pass', True)


async def test_an_empty_reply_is_an_empty_text(stub: Stub, sm: Open):
    stub.replies = [(200, chat(None))]
    assert (await ask(sm(), seed=0)).text == ""


@pytest.mark.parametrize("status", [500, 503, 429, 408, 0], ids=["500", "503", "429", "408", "hung up"])
async def test_a_failure_that_may_pass_is_tried_again(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, "{}"), (status, "{}"), (200, chat())]
    assert (await ask(sm(retries=2), seed=0)).text == "Water flows downhill."
    assert len(stub.asked) == 3


async def test_an_endpoint_where_nothing_succeeds_is_given_up_after_the_patience(stub: Stub, sm: Open):
    stub.replies = [(500, '{"error": {"message": "out of memory"}}')]
    with pytest.raises(EngineTransient, match="out of memory") as caught:
        await ask(sm(patience_s=0.2), seed=0)
    assert len(stub.asked) > 3
    assert caught.value.where == stub.url


async def test_a_reply_that_takes_too_long_is_a_failure_that_may_pass(stub: Stub, sm: Open):
    stub.delay_s = 1
    with pytest.raises(EngineTransient):
        await ask(sm(timeout_s=0.1, patience_s=0.2), seed=0)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_request_that_the_endpoint_refuses_is_not_repeated(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, '{"error": {"message": "context length exceeded"}}')]
    with pytest.raises(EngineRefused, match="context length exceeded"):
        await ask(sm(), seed=0)
    assert len(stub.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_for_the_user_to_mend(stub: Stub, sm: Open, status: int):
    stub.replies = [(status, "{}")]
    with pytest.raises(ModelError, match="refused the key"):
        await ask(sm(), seed=0)
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    "body",
    ["<html>Sign in</html>", "{}", '{"choices": null}', '{"choices": []}', '{"error": {"message": "busy"}}'],
    ids=["HTML", "empty", "null", "no choices", "error in a 200"],
)
async def test_a_reply_that_is_no_completion_is_an_engine_error(stub: Stub, sm: Open, body: str):
    stub.replies = [(200, body)]
    with pytest.raises(EngineError):
        await ask(sm(patience_s=0.2), seed=0)


async def test_no_more_requests_are_under_way_than_allowed(stub: Stub, sm: Open):
    stub.delay_s = 0.05
    engine = sm(max_concurrency=2)
    await asyncio.gather(*(ask(engine, seed=n) for n in range(6)))
    assert stub.busiest == 2


async def test_an_endpoint_can_be_opened_again_after_it_was_closed(stub: Stub, sm: Open):
    first = sm()
    await ask(first, seed=0)
    await first.aclose()
    assert (await ask(sm(), seed=0)).text == "Water flows downhill."


async def test_an_endpoint_that_serves_the_model_passes_the_check(stub: Stub):
    recipe = Recipe.model_validate(
        {"name": "x", "accept": 1, "seeds": [{"path": "a"}],
         "sm": {"backend": "openai", "base_url": stub.url, "model": "n", "structured": False}}
    )  # fmt: skip
    engine = await open_sm(recipe)
    assert engine.identity == "openai:n"
    await engine.aclose()


async def test_a_server_without_a_list_of_models_passes_the_check(stub: Stub, sm: Open):
    stub.models = (404, "{}")
    await sm().check()


async def test_a_model_that_is_not_served_lists_those_that_are(sm: Open):
    with pytest.raises(ModelError, match="does not serve `gpt`") as caught:
        await sm(model="gpt").check()
    assert caught.value.expected == "one of: m, n"
    assert "`model`" in str(caught.value.remedy)


async def test_an_endpoint_that_is_down_says_how_to_start_it(stub: Stub, sm: Open):
    with pytest.raises(ModelError, match="endpoint down") as caught:
        await sm(base_url="http://127.0.0.1:9/v1").check()
    assert caught.value.where == "http://127.0.0.1:9/v1"
    assert "vllm serve m" in str(caught.value.remedy) and "`base_url`" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "reply", [(500, "{}"), (200, "<html>Sign in</html>"), (200, '{"data": null}')], ids=["500", "HTML", "no data"]
)
async def test_an_address_that_is_no_endpoint_fails_the_check(stub: Stub, sm: Open, reply: tuple[int, str]):
    stub.models = reply
    with pytest.raises(ModelError) as caught:
        await sm().check()
    assert caught.value.where == stub.url


async def test_a_refused_key_names_its_variable(stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "secret-value")
    stub.models = (401, "{}")
    with pytest.raises(ModelError, match="refused the key") as caught:
        await sm(api_key_env="MY_KEY").check()
    assert caught.value.remedy == "check MY_KEY"
    assert "secret-value" not in str(caught.value)
    assert "authorization: bearer secret-value" in stub.headers[0].lower()


async def test_a_key_that_is_not_set_is_told_before_anything_is_sent(
    stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ModelError, match="environment variable MY_KEY is not set") as caught:
        sm(api_key_env="MY_KEY")
    assert "export MY_KEY" in str(caught.value.remedy)
    assert stub.headers == []


def choices(*texts: str, **usage: Any) -> str:
    listed = [{"index": n, "finish_reason": "stop", "message": {"content": text}} for n, text in enumerate(texts)]
    return json.dumps({"choices": listed[::-1], "usage": {"prompt_tokens": 12} | usage})


async def test_of_several_replies_each_is_charged_its_share_and_the_prompt_once(stub: Stub, sm: Open):
    stub.replies = [(200, choices("one", "two", "three", completion_tokens=20))]
    replies = await sm().complete(Request(ASK, n=3, seed=7))
    assert [reply.text for reply in replies] == ["one", "two", "three"]
    assert [reply.completion_tokens for reply in replies] == [7, 7, 6]
    assert [reply.prompt_tokens for reply in replies] == [12, 0, 0]
    assert [asked["n"] for asked in stub.asked] == [3]


async def test_a_server_that_gives_one_reply_whatever_is_asked_is_asked_for_each_with_a_seed_of_its_own(
    stub: Stub, sm: Open
):
    stub.replies = [(200, chat(text)) for text in ("one", "two", "three")]
    replies = await sm().complete(Request(ASK, n=3, seed=2**31 - 2))
    assert [reply.text for reply in replies] == ["one", "two", "three"]
    assert [asked["seed"] for asked in stub.asked] == [2**31 - 2, 2**31 - 1, 0]
    assert [asked.get("n", 1) for asked in stub.asked] == [3, 1, 1]
    assert [reply.prompt_tokens for reply in replies] == [12, 12, 12]


async def test_a_server_that_gives_more_replies_than_were_asked_for_is_not_listened_to_further(stub: Stub, sm: Open):
    stub.replies = [(200, choices("one", "two", "three"))]
    assert [reply.text for reply in await sm().complete(Request(ASK, n=2))] == ["one", "two"]


@pytest.mark.parametrize(
    ("details", "cached"), [({"cached_tokens": 8}, 8), (None, 0), ({}, 0), ({"cached_tokens": None}, 0)]
)
async def test_prompt_tokens_from_a_cache_are_told_where_the_server_tells(
    stub: Stub, sm: Open, details: Any, cached: int
):
    stub.replies = [(200, chat(prompt_tokens_details=details))]
    assert (await ask(sm())).cached_tokens == cached


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}], ids=["null", "empty", "null inside"])
async def test_a_server_that_counts_nothing_is_charged_nothing(stub: Stub, sm: Open, usage: Any):
    stub.replies = [(200, json.dumps(json.loads(chat()) | {"usage": usage}))]
    reply = await ask(sm())
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("Water flows downhill.", 0, 0)


VLLM = {"id": "m", "owned_by": "vllm", "max_model_len": 4096, "parent": None}
SPOKEN = {"id": "spoken", "owned_by": "vllm", "parent": "m"}


async def test_what_only_vllm_takes_is_sent_to_vllm_alone(stub: Stub, sm: Open):
    regex = Constraint("regex", "Why .*")
    stub.models = listing(VLLM)
    by_vllm, by_another = sm(), sm()
    await by_vllm.check()
    stub.models = listing(VLLM | {"owned_by": "llamacpp"})
    await by_another.check()
    assert (by_vllm.capabilities.regex, by_vllm.capabilities.score) == (True, True)
    assert (by_another.capabilities.regex, by_another.capabilities.score) == (False, False)
    assert by_vllm.capabilities.context_tokens == 4096
    await ask(by_vllm, constraint=regex)
    await ask(by_another, constraint=regex)
    assert [asked.get("structured_outputs") for asked in stub.asked] == [{"regex": "Why .*"}, None]


async def test_several_endpoints_are_vllm_only_when_each_says_so(stub: Stub, twin: Stub, sm: Open):
    stub.models, twin.models = listing(VLLM), (404, "{}")
    both = sm(base_url=None, endpoints=[{"base_url": stub.url}, {"base_url": twin.url}])
    await both.check()
    assert not both.capabilities.regex
    twin.models = listing(VLLM | {"max_model_len": 2048})
    await both.check()
    assert (both.capabilities.regex, both.capabilities.context_tokens) == (True, 2048)


async def test_an_adapter_is_another_model_behind_the_same_address(stub: Stub, sm: Open):
    stub.models = listing(VLLM, SPOKEN, {"id": "stranger", "owned_by": "vllm", "parent": None})
    base = sm()
    assert not base.capabilities.adapters
    await base.check()
    assert base.capabilities.adapters
    spoken = base.adapted("spoken")
    assert (spoken.identity, base.identity) == ("openai:m+spoken", "openai:m")
    stub.replies = [(200, chat().replace('"model": "m"', '"model": "spoken"')), (200, chat())]
    await ask(spoken)
    await ask(base)
    assert [asked["model"] for asked in stub.asked] == ["spoken", "m"]
    assert spoken.throttle is base.throttle
    with pytest.raises(ModelError, match="no adapter `stranger`") as caught:
        base.adapted("stranger")
    assert caught.value.expected == "one of: spoken"


async def test_another_model_behind_the_address_stops_the_run_with_both_names(stub: Stub, sm: Open):
    stub.models = listing(VLLM)
    engine = sm()
    await engine.check()
    stub.replies = [(200, chat().replace('"model": "m"', '"model": "other"'))]
    with pytest.raises(ModelError, match="answers as `other`") as caught:
        await ask(engine)
    assert caught.value.expected == "`m`"


async def test_an_endpoint_without_adapters_says_who_has_them(stub: Stub, sm: Open):
    with pytest.raises(ModelError, match="runs no LoRA adapters, which adapter `spoken` needs") as caught:
        sm().adapted("spoken")
    assert "`vllm-server`" in str(caught.value.remedy)


async def test_an_adapter_that_only_one_of_several_endpoints_has_is_none(stub: Stub, twin: Stub, sm: Open):
    stub.models, twin.models = listing(VLLM, SPOKEN), listing(VLLM)
    both = sm(base_url=None, endpoints=[{"base_url": stub.url}, {"base_url": twin.url}])
    await both.check()
    assert not both.capabilities.adapters


def tokenised(asked: dict[str, Any]) -> dict[str, Any]:
    if "messages" in asked:
        assert asked["add_generation_prompt"]
        return {"tokens": [1, 2, 3]}
    assert asked["add_special_tokens"] is False
    return {"tokens": [40 + len(word) for word in asked["prompt"].split()]}


def scored(asked: dict[str, Any]) -> dict[str, Any]:
    rest = asked["prompt"][1:]
    places = [{str(t): {"logprob": -t / 100, "rank": 9, "decoded_token": f"<{t}>"}, "7": {"logprob": 0}} for t in rest]
    return {"choices": [{"text": "x", "prompt_logprobs": [None, *places]}]}


async def test_a_continuation_is_scored_by_the_log_probabilities_of_its_own_tokens(stub: Stub, sm: Open):
    stub.models = listing(VLLM)
    stub.at = {"/tokenize": tokenised, "/v1/completions": scored}
    engine = sm()
    await engine.check()
    score = await engine.score(ASK, "it is downhill")
    assert score.tokens == ("<42>", "<42>", "<48>")
    assert score.logprobs == (-0.42, -0.42, -0.48)
    assert score.total == pytest.approx(-1.32)
    assert stub.paths[1:] == ["/tokenize", "/tokenize", "/v1/completions"]
    assert stub.asked[-1]["prompt"] == [1, 2, 3, 42, 42, 48]
    assert (await engine.score(ASK, "")).total == 0


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": []}, {"choices": [{"prompt_logprobs": None}]}, {"choices": [{"prompt_logprobs": [None] * 4}]}],
    ids=["empty", "no choices", "no log-probabilities", "too few"],
)
async def test_an_answer_without_scores_is_refused(stub: Stub, sm: Open, answer: Any):
    stub.models = listing(VLLM)
    stub.at = {"/tokenize": tokenised, "/v1/completions": lambda _: answer}
    engine = sm()
    await engine.check()
    with pytest.raises(EngineRefused, match="not the log-probabilities"):
        await engine.score(ASK, "it is downhill")


async def test_an_endpoint_that_cannot_score_says_who_can(stub: Stub, sm: Open):
    with pytest.raises(ModelError, match="cannot score") as caught:
        await sm().score(ASK, "it is")
    assert "`transformers`" in str(caught.value.remedy)
    assert stub.paths == []


async def test_texts_become_vectors_of_length_one_in_their_own_order(stub: Stub, sm: Open):
    stub.at["/v1/embeddings"] = lambda asked: {
        "data": [{"index": n, "embedding": [3.0 * n, 4.0]} for n in reversed(range(len(asked["input"])))]
    }
    vectors = await sm().embed(["a", "b"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[0, 1], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    "answer",
    [{}, {"data": []}, {"data": [{"index": 0}]}, {"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}],
    ids=["empty", "too few", "no vector", "ragged"],
)
async def test_an_answer_without_vectors_is_refused(stub: Stub, sm: Open, answer: Any):
    stub.at["/v1/embeddings"] = lambda _: answer
    with pytest.raises(EngineRefused, match="not embeddings"):
        await sm().embed(["a", "b"])


async def test_a_model_that_does_not_embed_is_refused_with_the_server_s_words(stub: Stub, sm: Open):
    stub.at["/v1/embeddings"] = lambda _: (400, '{"error": {"message": "does not support Embeddings API"}}')
    with pytest.raises(EngineRefused, match="does not support Embeddings API"):
        await sm().embed(["a"])


async def test_several_endpoints_share_the_seeds_and_keep_each_seed_together(stub: Stub, twin: Stub, sm: Open):
    both = sm(base_url=None, endpoints=[{"base_url": stub.url}, {"base_url": twin.url + "/"}])
    await both.check()
    for seed in range(32):
        for agent in range(2):
            user = {"role": "user", "content": f"Seed {seed:02}{'.' * 200}{agent}"}
            await both.complete(Request(({"role": "system", "content": "S"}, user)))
    for one in (stub, twin):
        starts = [asked["messages"][1]["content"][:200] for asked in one.asked]
        assert len(starts) >= 4 and all(starts.count(start) == 2 for start in starts)
    assert both.capabilities.slots == 2 * 256


async def test_further_replies_to_a_prompt_come_from_where_the_first_did(stub: Stub, twin: Stub, sm: Open):
    both = sm(base_url=None, endpoints=[{"base_url": stub.url}, {"base_url": twin.url}])
    for seed in range(24):
        await both.complete(Request(({"role": "user", "content": f"Seed {seed}"},), n=3))
    for one in (stub, twin):
        starts = [asked["messages"][0]["content"] for asked in one.asked]
        assert starts and all(starts.count(start) == 3 for start in starts)


async def test_when_one_of_several_endpoints_dies_the_others_take_its_requests(stub: Stub, twin: Stub, sm: Open):
    twin.replies = [(503, "{}")]
    both = sm(base_url=None, endpoints=[{"base_url": stub.url}, {"base_url": twin.url}])
    asked = [both.complete(Request(({"role": "user", "content": f"Seed {seed}"},))) for seed in range(32)]
    assert len(await asyncio.gather(*asked)) == 32
    assert len(stub.asked) == 32 and twin.asked
    assert {point.endpoint for point in both.throttle.trace if point.event == "503"} == {twin.url}


async def test_one_of_several_endpoints_that_is_down_at_the_start_is_named(stub: Stub, sm: Open):
    gone = "http://127.0.0.1:9/v1"
    both = sm(base_url=None, endpoints=[{"base_url": stub.url}, {"base_url": gone}])
    with pytest.raises(ModelError, match="endpoint down") as caught:
        await both.check()
    assert caught.value.where == gone


async def test_each_of_several_endpoints_gets_its_own_key(
    stub: Stub, twin: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KEY_A", "aaa")
    monkeypatch.setenv("KEY_B", "bbb")
    both = sm(
        base_url=None,
        endpoints=[{"base_url": stub.url, "api_key_env": "KEY_A"}, {"base_url": twin.url, "api_key_env": "KEY_B"}],
    )
    await both.check()
    assert ("Bearer aaa" in stub.headers[0], "Bearer bbb" in twin.headers[0]) == (True, True)
    twin.models = (401, "{}")
    with pytest.raises(ModelError) as caught:
        await both.check()
    assert (caught.value.where, caught.value.remedy) == (twin.url, "check KEY_B")


def in_(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("0.3", 0.3, 0.3),
        (in_(3000), 100, 121),
        (in_(-3000), 0, 0.1),
        ("soon", 0, 0.1),
        ("-5", 0, 0.1),
        ("nan", 0, 0.1),
        ("inf", 0, 0.1),
        ("", 0, 0.1),
        ("Wed, 21 Oct 2099 07:28:00", 0, 121),
        ("99999999999999999999", 119, 121),
    ],
    ids=["seconds", "date", "past date", "word", "negative", "nan", "inf", "empty", "no zone", "absurd"],
)
async def test_the_time_that_an_endpoint_asks_for_is_read_whatever_its_form(
    stub: Stub, sm: Open, said: str, least: float, most: float
):
    stub.replies = [(429, "{}", f"Retry-After: {said}\r\n"), (200, chat())]
    engine = sm(patience_s=0.0001)
    (lane,) = engine.throttle.lanes
    asking = asyncio.create_task(ask(engine))
    async with asyncio.timeout(5):
        while not lane.open_at:
            await asyncio.sleep(0.001)
    assert least - 0.1 <= lane.open_at - time.monotonic() <= most
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_with_the_key(
    stub: Stub, twin: Stub, sm: Open, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", "secret-value")
    stub.replies = [(status, "{}", f"Location: {twin.url}/chat/completions\r\n")]
    with pytest.raises(EngineRefused, match=f"HTTP {status}"):
        await ask(sm(api_key_env="MY_KEY"))
    assert twin.headers == []


async def test_an_answer_larger_than_any_reply_is_refused(stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoint, "_LARGEST_ANSWER", 2**20)
    stub.replies = [(200, chat("x" * 2**21))]
    with pytest.raises(EngineRefused, match="more than 1 MiB"):
        await ask(sm())
    stub.replies = [(200, chat("x" * 2**19))]
    assert len((await ask(sm())).text) == 2**19


@pytest.mark.parametrize("status", [400, 401, 500, 200])
async def test_a_key_is_in_no_message_even_when_the_server_repeats_it(
    stub: Stub, sm: Open, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", "secret-value")
    stub.replies = [(status, '{"error": {"message": "what is secret-value?"}}' if status != 200 else "<secret-value>")]
    with pytest.raises((EngineError, ModelError)) as caught:
        await ask(sm(api_key_env="MY_KEY", patience_s=0.01))
    assert "secret-value" not in str(caught.value)
    assert "what is" in str(caught.value) or status == 200


async def test_space_around_a_key_is_no_part_of_it(stub: Stub, sm: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", " secret-value\r\n")
    await ask(sm(api_key_env="MY_KEY"))
    assert "\r\nAuthorization: Bearer secret-value\r\n" in stub.headers[0]
    monkeypatch.setenv("MY_KEY", " \n")
    with pytest.raises(ModelError, match="MY_KEY is not set"):
        sm(api_key_env="MY_KEY")


async def test_a_key_that_is_refused_in_the_middle_of_a_run_gives_its_slot_back(stub: Stub, sm: Open):
    stub.replies = [(200, chat()), (401, "{}"), (200, chat())]
    engine = sm(max_concurrency=1)
    await ask(engine)
    with pytest.raises(ModelError, match="refused the key"):
        await ask(engine)
    assert (await ask(engine)).text == "Water flows downhill."
    assert [point.event for point in engine.throttle.trace] == [None]


async def test_a_request_that_is_cancelled_gives_its_slot_back(stub: Stub, sm: Open):
    stub.delay_s = 5
    engine = sm(max_concurrency=1)
    asking = asyncio.create_task(ask(engine))
    while not stub.asked:
        await asyncio.sleep(0.001)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    stub.delay_s = 0
    async with asyncio.timeout(3):
        await ask(engine)
    assert engine.throttle.lanes[0].in_flight == 0


async def test_a_penalty_is_sent_only_where_there_is_one(stub: Stub, sm: Open):
    await ask(sm())
    await ask(sm(), sampling=Sampling(repetition_penalty=1.1))
    assert [asked.get("repetition_penalty") for asked in stub.asked] == [None, 1.1]


async def test_langchain_s_own_call_reaches_the_endpoint_and_tells_usage(stub: Stub, sm: Open):
    stub.replies = [(200, chat(finish="length", prompt_tokens_details={"cached_tokens": 4}))]
    message = await sm().ainvoke([("system", "Be true."), ("human", "Why?")], sampling=Sampling(max_tokens=9), seed=3)
    assert stub.asked[0]["messages"] == list(ASK) and (stub.asked[0]["max_tokens"], stub.asked[0]["seed"]) == (9, 3)
    assert message.usage_metadata is not None and message.usage_metadata["input_token_details"] == {"cache_read": 4}
    assert message.response_metadata["finish_reason"] == "length"
    with pytest.raises(EngineRefused, match="does not take stop"):
        await sm().ainvoke("Why?", stop=["\n"])
