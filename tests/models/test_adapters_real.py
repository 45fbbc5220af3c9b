"""LoRA adapters on the embedded model, in one batch with it. About 1,500 SM tokens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.models import SM, Request
from understudy.models.embedded import embedded_path
from understudy.models.local import Local
from understudy.prompt import Sampling

pytestmark = pytest.mark.slow

WARM = Sampling(temperature=0.8, max_tokens=16)
ASKED = ["Name a river and say where it flows.", "What is bread made of?", "Why do boats need locks?"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, small_models: Any) -> dict[str, Path]:
    home, base = tmp_path_factory.mktemp("loras"), embedded_path()
    return {"one": small_models.lora(home / "one", base, 1), "v1.2": small_models.lora(home / "two", base, 2, rank=8)}


@pytest.fixture
async def base(folders: dict[str, Path]) -> AsyncIterator[Local]:
    model = Local.open(embedded_path(), folders, dtype="float32", batch_size=9)
    yield model
    await model.aclose()


@pytest.fixture
async def plain() -> AsyncIterator[Local]:
    model = Local.open(embedded_path(), dtype="float32")
    yield model
    await model.aclose()


async def say(sm: SM, text: str, seed: int = 3) -> str:
    (reply,) = await sm.complete(Request(({"role": "user", "content": text},), WARM, seed))
    return reply.text


async def test_a_row_says_beside_rows_of_other_adapters_what_it_says_alone(base: Local, plain: Local) -> None:
    voices = [base, base.adapted("one"), base.adapted("v1.2")]
    alone = [[await say(voice, text) for text in ASKED] for voice in voices]
    together = await asyncio.gather(*(say(voice, text) for text in ASKED for voice in voices))
    assert [together[place::3] for place in range(3)] == alone
    assert len({text for texts in alone for text in texts}) == 9
    # A model that was never given an adapter says what the base says here.
    assert [await say(plain, text) for text in ASKED] == alone[0]


async def test_going_from_one_adapter_to_another_and_back_changes_nothing(base: Local) -> None:
    one, two = base.adapted("one"), base.adapted("v1.2")
    first, other, again = await say(one, ASKED[0]), await say(two, ASKED[0]), await say(one, ASKED[0])
    assert first == again != other


async def test_what_one_adapter_has_read_is_not_taken_for_what_another_reads(base: Local) -> None:
    messages = ({"role": "user", "content": "The lock at Heron Weir was built in 1874. " * 6 + "When?"},)
    cached = []
    for voice in (base, base.adapted("one"), base.adapted("v1.2"), base.adapted("one"), base):
        (reply,) = await voice.complete(Request(messages, WARM, 1))
        cached.append(reply.cached_tokens)
    assert cached[:3] == [0, 0, 0] and cached[3] == cached[4] > 50


async def test_an_adapter_scores_and_embeds_by_its_own_weights_as_peft_does(
    base: Local, plain: Local, folders: dict[str, Path]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    asked = ({"role": "user", "content": "What is the capital of France?"},)
    scores = [(await voice.score(asked, "Paris.")).total for voice in (plain, base, base.adapted("one"))]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4) and abs(scores[2] - scores[1]) > 0.01
    vectors = [await voice.embed(["Boats wait at the lock."]) for voice in (plain, base, base.adapted("one"))]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    assert float((vectors[0] @ vectors[2].T).item()) < 0.9999
    tokenizer = base._loaded.tokenizer
    prompt = tokenizer.apply_chat_template(list(asked), add_generation_prompt=True, return_dict=False)
    tail = tokenizer.encode("Paris.", add_special_tokens=False)
    model = AutoModelForCausalLM.from_pretrained(embedded_path(), dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(folders["one"])).eval()
    with torch.inference_mode():
        chances = torch.log_softmax(model(torch.tensor([prompt + tail])).logits[0].float(), dim=-1)
    expected = sum(float(chances[len(prompt) - 1 + place, token]) for place, token in enumerate(tail))
    assert scores[2] == pytest.approx(expected, abs=1e-3)


async def test_an_adapted_model_has_a_name_of_its_own(base: Local) -> None:
    one, two = base.adapted("one"), base.adapted("v1.2")
    assert one.identity.startswith(f"{base.identity}+one@") and two.identity.startswith(f"{base.identity}+v1.2@")
    assert one.adapted("v1.2").identity == two.identity
    assert base.capabilities.adapters
