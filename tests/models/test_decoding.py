"""The batch against a decoder that reads everything anew for every token."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from understudy.errors import EngineError, ModelError
from understudy.models.decoding import Decoder
from understudy.models.keyvalues import BLOCK, PrefixStore
from understudy.models.local import _deliver
from understudy.models.sampler import Row, draw, uniform
from understudy.prompt import Sampling

END = 1
SHAPE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 1024, "eos_token_id": END, "bos_token_id": 0,
    "pad_token_id": 0,
}  # fmt: skip
GREEDY = Sampling(temperature=0, max_tokens=12)
WARM = Sampling(temperature=1.5, top_p=0.9, max_tokens=12, repetition_penalty=1.3)


def made(model: Any, config: Any) -> Any:
    torch.manual_seed(7)
    built = model(config).float().eval()
    with torch.no_grad():
        for weight in built.parameters():  # the usual first weights are so small that every prompt reads alike
            weight.mul_(4 if weight.ndim > 1 else 1)
    return built


@pytest.fixture(scope="module")
def llama() -> Any:
    return made(LlamaForCausalLM, LlamaConfig(**SHAPE))


@pytest.fixture
def decoders() -> Iterator[Callable[..., Decoder]]:
    opened: list[Decoder] = []

    def open_(model: Any, size: int = 4, **options: Any) -> Decoder:
        opened.append(Decoder(model, frozenset({END}), size, **options))
        return opened[-1]

    yield open_
    for decoder in opened:
        decoder.close()
        assert not decoder._thread.is_alive()


Open = Callable[..., Decoder]


@dataclass
class Asked:
    """Rows and how often each was said to be finished."""

    decoder: Decoder
    rows: list[Row] = field(default_factory=list)
    finished: list[Row] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def row(self, prompt: list[int], sampling: Sampling = GREEDY, seed: int = 0, **changes: Any) -> Row:
        self.rows.append(Row(prompt, sampling, seed, self._finish, **changes))
        return self.rows[-1]

    def _finish(self, row: Row) -> None:
        with self.news:
            self.finished.append(row)
            self.news.notify_all()

    def wait(self, rows: list[Row] | None = None) -> None:
        rows = self.rows if rows is None else rows
        with self.news:
            assert self.news.wait_for(lambda: all(row in self.finished for row in rows), 20)

    def decode(self, *asked: tuple[list[int], Sampling, int]) -> list[list[int]]:
        rows = [self.row(*one) for one in asked]
        self.decoder.submit(*rows)
        self.wait(rows)
        assert [row.error for row in rows] == [None] * len(rows)
        return [row.written for row in rows]


def reference(model: Any, prompt: list[int], sampling: Sampling, seed: int) -> list[int]:
    """The same rules written as one would write them first."""
    written: list[int] = []
    while len(written) < sampling.max_tokens:
        with torch.inference_mode():
            scores = model(input_ids=torch.tensor([prompt + written]), use_cache=False).logits[0, -1].double().numpy()
        for token in set(written):
            scores[token] *= sampling.repetition_penalty if scores[token] < 0 else 1 / sampling.repetition_penalty
        if sampling.temperature == 0:
            token = int(scores.argmax())
        else:
            scores = scores / sampling.temperature
            chance = np.exp(scores - scores.max())
            chance /= chance.sum()
            likeliest = sorted(range(len(scores)), key=lambda token: -scores[token])
            mass, kept = 0.0, []
            for token in likeliest:
                if mass >= sampling.top_p:
                    break
                kept.append(token)
                mass += chance[token]
            row = np.array([[seed]], dtype=np.uint64)
            noise = uniform(row, np.array([[len(written)]], dtype=np.uint64), np.array([kept]))[0]
            token = max(zip(kept, noise, strict=True), key=lambda one: scores[one[0]] - np.log(-np.log(one[1])))[0]
        written.append(token)
        if token == END:
            break
    return written


def prompts(count: int, least: int = 1, most: int = 60, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 64, rng.integers(least, most)).tolist() for _ in range(count)]


MIXED = [
    (prompt, Sampling(temperature=heat, top_p=p, max_tokens=length, repetition_penalty=penalty), seed)
    for seed, (prompt, (heat, p, length, penalty)) in enumerate(
        zip(
            prompts(10),
            [(0, 1, 12, 1), (1, 1, 3, 1), (0.7, 0.9, 20, 1.2), (2, 0.5, 1, 1), (1.5, 0.99, 9, 2)] * 2,
            strict=True,
        )
    )
]


@pytest.fixture(scope="module")
def expected(llama: Any) -> list[list[int]]:
    written = [reference(llama, *one) for one in MIXED]
    assert len({tuple(one) for one in written}) == len(written)
    return written


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("keep", [True, False], ids=["prefix cache", "no prefix cache"])
def test_a_batch_writes_what_each_prompt_alone_would(
    llama: Any, decoders: Open, expected: list[list[int]], size: int, keep: bool
):
    assert Asked(decoders(llama, size, keep_prefixes=keep)).decode(*MIXED) == expected


def test_a_batch_writes_the_same_in_any_order(llama: Any, decoders: Open, expected: list[list[int]]):
    asked = Asked(decoders(llama, 3))
    assert asked.decode(*MIXED[::-1]) == expected[::-1]
    assert asked.decode(*MIXED[5:], *MIXED[:5]) == expected[5:] + expected[:5]


def test_seeds_draw_differently_and_each_as_before(llama: Any, decoders: Open):
    asked = Asked(decoders(llama, 4))
    written = asked.decode(*[([5, 6, 7], WARM, seed) for seed in (1, 2, 3, 2**64 - 1, 1)])
    assert written[0] == written[4] and len({tuple(one) for one in written}) == 4
    assert written == [reference(llama, [5, 6, 7], WARM, seed) for seed in (1, 2, 3, 2**64 - 1, 1)]


def test_a_seed_outside_of_64_bits_is_taken_within_them(llama: Any, decoders: Open):
    written = Asked(decoders(llama)).decode(*[([5, 6, 7], WARM, seed) for seed in (-1, 2**64 - 1, 2**64, 0)])
    assert written[0] == written[1] and written[2] == written[3]


def test_what_prompts_share_at_their_start_is_read_once_and_changes_nothing(llama: Any, decoders: Open):
    (seed,) = prompts(1, 40, 41)
    tails = prompts(6, 3, 30, seed=1)
    asked = [([*seed, *tail], WARM, turn) for turn, tail in enumerate(tails)]
    one = Asked(decoders(llama, 3))
    assert one.decode(*asked) == [reference(llama, *each) for each in asked]
    assert [row.cached for row in one.rows] == [0, 32, 32, 32, 32, 32]
    two = Asked(one.decoder)
    assert two.decode(*asked) == [row.written for row in one.rows]
    assert [row.cached for row in two.rows] == [(len(prompt) - 1) // BLOCK * BLOCK for prompt, *_ in asked]
    none = Asked(decoders(llama, 3, keep_prefixes=False))
    assert none.decode(*asked) == [row.written for row in one.rows]
    assert {row.cached for row in none.rows} == {0}


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_the_last_token_of_a_prompt_is_always_read(llama: Any, decoders: Open, length: int):
    (prompt,) = prompts(1, length, length + 1, seed=length)
    asked = Asked(decoders(llama))
    first, again = asked.decode((prompt, WARM, 3))[0], asked.decode((prompt, WARM, 3))[0]
    assert first == again == reference(llama, prompt, WARM, 3)
    assert [row.cached for row in asked.rows] == [0, (length - 1) // BLOCK * BLOCK]


def test_a_block_is_known_by_all_that_leads_up_to_it(llama: Any, decoders: Open):
    a, b, shared = prompts(3, BLOCK, BLOCK + 1, seed=9)
    asked = Asked(decoders(llama, 1))
    asked.decode(([*a, *shared, 5], WARM, 0))
    assert asked.decode(([*b, *shared, 5], WARM, 0)) == [reference(llama, [*b, *shared, 5], WARM, 0)]
    assert [row.cached for row in asked.rows] == [0, 0]


def test_what_was_not_used_for_longest_is_forgotten_first(llama: Any, decoders: Open):
    decoder = decoders(llama, 1)
    decoder._store = PrefixStore(4 * BLOCK)
    asked = Asked(decoder)
    brief = Sampling(temperature=0, max_tokens=1)
    one, two, three = prompts(3, 2 * BLOCK + 1, 2 * BLOCK + 2, seed=3)
    for prompt in (one, two, one, three, one, two):
        asked.decode((prompt, brief, 0))
    assert [row.cached for row in asked.rows] == [0, 0, 32, 0, 32, 0]


def test_a_long_prompt_may_arrive_while_short_ones_are_written(llama: Any, decoders: Open):
    long = Sampling(temperature=1.0, max_tokens=90)
    decoder = decoders(llama, 4)
    asked = Asked(decoder)
    short = [asked.row([5 + turn], long, turn) for turn in range(2)]
    decoder.submit(*short)
    while not all(len(row.written) > 5 for row in short):
        time.sleep(0.001)
    columns = decoder._cache.columns
    (prompt,) = prompts(1, 500, 501, seed=4)
    late = asked.row(prompt, WARM, 9)
    decoder.submit(late)
    asked.wait()
    assert decoder._cache.columns > columns
    assert [row.written for row in short] == [reference(llama, row.prompt, long, row.seed) for row in short]
    assert late.written == reference(llama, prompt, WARM, 9)


def test_a_row_that_ends_early_gives_its_place_to_the_next(llama: Any, decoders: Open):
    asked = Asked(decoders(llama, 2))
    long = asked.row([5], Sampling(temperature=0.9, max_tokens=60), 4)
    brief = [asked.row([6, turn + 2], Sampling(temperature=0, max_tokens=2), turn) for turn in range(8)]
    asked.decoder.submit(long, *brief)
    asked.wait()
    assert len(long.written) > 2 * 8
    assert asked.finished[-1] is long and asked.finished[:-1] == brief


def test_a_row_that_ends_by_itself_is_told_from_one_that_reached_its_limit(llama: Any, decoders: Open):
    asked = Asked(decoders(llama, 8))
    asked.decode(*[([turn], Sampling(temperature=2.0, max_tokens=100), turn) for turn in range(2, 26)])
    ended = [row for row in asked.rows if row.ended]
    assert ended and all(row.written[-1] == END and END not in row.written[:-1] for row in ended)
    others = [row for row in asked.rows if not row.ended]
    assert all(len(row.written) == 100 and END not in row.written for row in others)


def test_rows_of_the_lowest_priority_are_begun_first_and_equals_as_they_came(llama: Any, decoders: Open):
    asked = Asked(decoders(llama, 1))
    brief = Sampling(temperature=0, max_tokens=1)
    rows = [asked.row([7], brief, turn, priority=priority) for turn, priority in enumerate([3, 1, 2, 1, 0, 3])]
    asked.decoder.submit(*rows)
    asked.wait()
    assert [row.seed for row in asked.finished] == [4, 1, 3, 2, 0, 5]


def test_a_row_that_nobody_waits_for_any_more_leaves_the_batch(llama: Any, decoders: Open):
    asked = Asked(decoders(llama, 1))
    endless = Sampling(temperature=0, max_tokens=900, repetition_penalty=2)
    first, never, last = asked.row([5], endless), asked.row([6], endless), asked.row([7], GREEDY)
    asked.decoder.submit(first, never, last)
    while not first.written:
        time.sleep(0.001)
    never.dropped = first.dropped = True
    asked.wait([last])
    assert len(first.written) < 900 and never.written == []
    assert last.written == reference(llama, [7], GREEDY, 0)


class Failing:
    """A model that raises when it meets a token."""

    def __init__(self, model: Any, token: int) -> None:
        self.model, self.token = model, token

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, **asked: Any) -> Any:
        if self.token in asked["input_ids"]:
            raise RuntimeError("out of memory")
        return self.model(**asked)


def test_a_failure_of_the_model_fails_the_rows_under_way_and_no_others(llama: Any, decoders: Open):
    asked = Asked(decoders(Failing(llama, 63), 2, keep_prefixes=False))
    long = asked.row([5], Sampling(temperature=0, max_tokens=900, repetition_penalty=2))
    asked.decoder.submit(long)
    while not long.written:
        time.sleep(0.001)
    bad = asked.row([6, 63])
    asked.decoder.submit(bad)
    asked.wait([bad])
    assert str(bad.error) == str(long.error) == "out of memory"
    assert asked.decode(([7, 8], WARM, 2)) == [reference(llama, [7, 8], WARM, 2)]
    assert len(asked.finished) == len(asked.rows)


def test_a_failure_does_not_reach_rows_that_were_finished_before_it(llama: Any, decoders: Open):
    asked = Asked(decoders(Failing(llama, 63), 2, keep_prefixes=True))
    (prompt,) = prompts(1, 20, 21)
    prompt = [token - (token == 63) for token in prompt]
    one = Sampling(temperature=0, max_tokens=1)
    # They share a block: the second is read after the first, in the same turn.
    good, bad = asked.row([*prompt, 5], one), asked.row([*prompt, 63], one)
    asked.decoder.submit(good, bad)
    asked.wait()
    assert (good.error, str(bad.error)) == (None, "out of memory")
    assert asked.finished == [good, bad]


def test_a_row_whose_asker_has_gone_with_its_event_loop_disturbs_nobody(llama: Any, decoders: Open):
    asked = Asked(decoders(llama, 2))
    loop = asyncio.new_event_loop()
    gone = Row([5], Sampling(temperature=0, max_tokens=1), 0, partial(_deliver, loop, loop.create_future()))
    loop.close()
    stays = asked.row([6], WARM, 1)
    asked.decoder.submit(stays, gone)
    asked.wait()
    assert (stays.error, stays.written) == (None, reference(llama, [6], WARM, 1))
    assert gone.over


def test_a_closed_decoder_fails_who_is_under_way_who_waits_and_who_comes_later(llama: Any):
    decoder = Decoder(llama, frozenset({END}), 1)
    asked = Asked(decoder)
    endless = Sampling(temperature=0, max_tokens=900, repetition_penalty=2)
    first, second = asked.row([5], endless), asked.row([6], endless)
    decoder.submit(first, second)
    while not first.written:
        time.sleep(0.001)
    decoder.close()
    late = asked.row([7])
    decoder.submit(late)
    asked.wait()
    assert [type(row.error) for row in asked.rows] == [EngineError] * 3
    assert len(asked.finished) == 3


def test_what_was_asked_between_two_steps_is_done_even_when_the_decoder_closes(llama: Any):
    decoder = Decoder(llama, frozenset({END}), 1)
    done: list[str] = []
    started = threading.Event()
    decoder.between(lambda: (started.set(), time.sleep(0.05)))  # type: ignore[arg-type, return-value]
    started.wait(5)
    decoder.between(lambda: done.append("before"))
    decoder.close()
    assert done == ["before"]
    with pytest.raises(EngineError, match="stopped"):
        decoder.between(lambda: done.append("after"))


WINDOWED = {
    "mistral": lambda: made(MistralForCausalLM, MistralConfig(**SHAPE, sliding_window=8)),
    "qwen2": lambda: made(
        Qwen2ForCausalLM,
        Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    ),
    "gemma3": lambda: made(
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            **SHAPE, head_dim=16, sliding_window=8, layer_types=["sliding_attention", "full_attention"],
            query_pre_attn_scalar=16,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWED)
def test_layers_that_look_back_only_so_far_do_so_in_a_batch_too(name: str, decoders: Open):
    model = WINDOWED[name]()
    asked = [(prompt, WARM, seed) for seed, prompt in enumerate(prompts(4, 3, 50, seed=5))]
    expected = [reference(model, *one) for one in asked]
    decoder = Asked(decoders(model, 3))
    assert decoder.decode(*asked) == expected
    assert decoder.decode(*asked) == expected
    assert any(row.cached for row in decoder.rows)


def test_the_window_of_the_small_models_is_felt(decoders: Open):
    model = WINDOWED["mistral"]()
    a, b = prompts(2, 40, 41, seed=6)
    full = made(MistralForCausalLM, MistralConfig(**SHAPE, sliding_window=None))
    prompt = [*a, *b[-30:]]
    assert reference(model, prompt, GREEDY, 0) != reference(full, prompt, GREEDY, 0)


def test_a_model_with_other_state_than_keys_and_values_is_refused_with_a_way_out(llama: Any):
    class Config:
        num_hidden_layers = 2
        layer_types = ("full_attention", "linear_attention")

        def get_text_config(self) -> Any:
            return self

    class Model:
        config = Config()

    before = threading.active_count()
    with pytest.raises(ModelError, match="has linear_attention layers") as caught:
        Decoder(Model(), frozenset(), 1)
    assert "vLLM" in str(caught.value.remedy)
    assert threading.active_count() == before


ROWS = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(1, 40), st.integers(1, 6), st.integers(0, 3), st.integers(0, 20), st.booleans()
    ),
    max_size=12,
)


@given(ROWS, st.integers(1, 5))
@settings(max_examples=12)
def test_every_row_is_finished_once_whatever_comes_together(llama: Any, rows: list[tuple[Any, ...]], size: int):
    decoder = Decoder(llama, frozenset({END}), size)
    asked = Asked(decoder)
    starts = prompts(4, 40, 41, seed=8)
    for start, length, most, priority, seed, apart in rows:
        sampling = Sampling(temperature=seed % 3, max_tokens=most)
        decoder.submit(asked.row(starts[start][:length], sampling, seed, priority=priority))
        if apart:
            time.sleep(0.001)
    asked.wait()
    decoder.close()
    assert sorted(map(id, asked.finished)) == sorted(map(id, asked.rows))
    for row in asked.rows:
        assert row.error is None and row.cached % BLOCK == 0
        assert 1 <= len(row.written) <= row.sampling.max_tokens
        assert row.ended == (row.written[-1] == END)
    for row in asked.rows[:2]:
        assert row.written == reference(llama, row.prompt, row.sampling, row.seed)


def row(sampling: Sampling, seed: int = 0, written: tuple[int, ...] = ()) -> Row:
    return Row([2], sampling, seed, lambda _: None, written=list(written))


def test_draws_follow_the_distribution_that_the_scores_say():
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = [row(Sampling(temperature=1.0, top_p=1.0), seed) for seed in range(8000)]
    found = np.bincount(draw(chances.log().repeat(len(rows), 1), rows), minlength=4) / len(rows)
    np.testing.assert_allclose(found, chances.numpy(), atol=0.02)


def test_top_p_leaves_only_the_likeliest_that_together_have_it():
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    for top_p, left in ((0.4, {0}), (0.5, {0}), (0.6, {0, 1}), (0.96, {0, 1, 2, 3})):
        rows = [row(Sampling(temperature=1.0, top_p=top_p), seed) for seed in range(400)]
        assert set(draw(chances.log().repeat(400, 1), rows).tolist()) == left


def test_a_temperature_of_zero_takes_the_likeliest_and_a_penalty_can_change_which_that_is():
    scores = torch.tensor([[1.0, 1.5, -1.0], [1.0, 1.5, -1.0], [-1.0, -1.1, -1.05]])
    rows = [
        row(Sampling(temperature=0)),
        row(Sampling(temperature=0, repetition_penalty=2), written=(1,)),
        row(Sampling(temperature=0, repetition_penalty=2), written=(0, 0)),
    ]
    assert draw(scores, rows).tolist() == [1, 0, 2]


def test_a_draw_does_not_depend_on_who_else_is_drawn():
    scores = torch.randn(20, 300, generator=torch.Generator().manual_seed(1))
    rows = [row(WARM, seed, (seed,) * (seed % 4)) for seed in range(20)]
    together = draw(scores.clone(), rows).tolist()
    assert together == [int(draw(scores[[n]].clone(), [rows[n]])[0]) for n in range(20)]
    assert together[::-1] == draw(scores.flip(0), rows[::-1]).tolist()


def test_noise_is_uniform_and_independent_of_seed_step_and_token():
    seeds, steps = np.arange(40, dtype=np.uint64)[:, None], np.zeros((40, 1), dtype=np.uint64)
    tokens = np.arange(500)[None, :].repeat(40, 0)
    found = uniform(seeds, steps, tokens)
    assert found.min() > 0 and found.max() < 1
    counts, _ = np.histogram(found, 20, (0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # χ² with 19 degrees of freedom: one in a thousand
    others = uniform(seeds, steps + np.uint64(1), tokens)
    for pair in ((found, others), (found[1:], found[:-1]), (found[:, 1:], found[:, :-1])):
        assert abs(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]) < 0.03
    assert len(np.unique(found)) == found.size
