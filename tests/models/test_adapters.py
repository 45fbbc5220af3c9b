"""Which adapters are taken, told from their folders alone; and a small model with some of them."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ModelError
from understudy.models import Request, adapters, open_sm
from understudy.models.folders import fingerprint
from understudy.models.local import Local
from understudy.prompt import Sampling
from understudy.recipe import Recipe
from understudy.sms import unserved


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, small_models: Any) -> Path:
    path: Path = small_models.base(tmp_path_factory.mktemp("models") / "base")
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, small_models: Any) -> Path:
    path: Path = small_models.base(tmp_path_factory.mktemp("models") / "other", seed=8)
    return path


def spec(path: Path, **folders: Path) -> Recipe:
    sm = {"backend": "transformers", "path": str(path), "dtype": "float32",
          "adapters": {name: str(folder) for name, folder in folders.items()}}  # fmt: skip
    return Recipe.model_validate({"name": "x", "seeds": [{"path": "."}], "accept": 1, "sm": sm})


async def test_a_recipe_s_adapters_write_in_one_batch_as_they_do_alone(
    base: Path, tmp_path: Path, small_models: Any
) -> None:
    folders = {name: small_models.lora(tmp_path / name, base, seed, scale=0.6) for seed, name in enumerate("abc")}
    sm = await open_sm(spec(base, **folders))
    voices = [sm, *(sm.adapted(name) for name in folders)]
    warm = Sampling(temperature=0.8, max_tokens=24)

    async def say(voice: Any, text: str) -> str:
        (reply,) = await voice.complete(Request(({"role": "user", "content": text},), warm, 5))
        return str(reply.text)

    texts = ["ba de fi", "go ku la ma na bar", "ben " * 40]
    alone = [[await say(voice, text) for text in texts] for voice in voices]
    for _ in range(2):  # once read anew, once partly from the prefix cache
        together = await asyncio.gather(*(say(voice, text) for text in texts for voice in voices))
        assert [together[place :: len(voices)] for place in range(len(voices))] == alone
    assert len({text for written in alone for text in written}) == 12
    await sm.aclose()


async def test_without_adapters_nobody_speaks_through_one(base: Path) -> None:
    sm = await open_sm(spec(base))
    assert not sm.capabilities.adapters
    with pytest.raises(ModelError, match="runs no LoRA adapters") as caught:
        sm.adapted("tutor")
    assert "`transformers`" in str(caught.value.remedy)


async def test_an_adapter_nobody_named_is_told_with_those_there_are(
    base: Path, tmp_path: Path, small_models: Any
) -> None:
    sm = Local.open(base, {"tutor": small_models.lora(tmp_path / "tutor", base, 1)})
    with pytest.raises(ModelError, match="no adapter is called `judge`") as caught:
        sm.adapted("judge")
    assert caught.value.expected == "one of: tutor"
    assert sm.identity.startswith("base@") and sm.adapted("tutor").identity.startswith(f"{sm.identity}+tutor@")


def test_an_adapter_of_another_base_is_refused_before_weights_are_read(
    base: Path, other: Path, tmp_path: Path, small_models: Any
) -> None:
    noted = small_models.lora(tmp_path / "noted", other, 1)
    with pytest.raises(ModelError, match=r"was trained on .*other") as caught:
        Local.open(base, {"x": noted})
    assert fingerprint(base) in str(caught.value.expected)
    # The lineage counts for more than a path, which may be another machine's.
    moved = small_models.lora(tmp_path / "moved", other, 1, base_model_name_or_path="/gone")
    (moved / "understudy.json").write_text(json.dumps({"base": f"b@{fingerprint(base)}"}))
    assert Local.open(base, {"x": moved}).capabilities.adapters
    (moved / "understudy.json").write_text(json.dumps({"base": "b@0123"}))
    with pytest.raises(ModelError, match="was trained on b@0123"):
        Local.open(base, {"x": moved})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": "LOHA"}, "is of type LOHA"),
        ({"use_dora": True}, "has DoRA"),
        ({"bias": "all"}, "changes the base's biases"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"trainable_token_indices": [1]}, "trained tokens"),
        ({"target_parameters": ["w"]}, "adapted parameters"),
        ({"layer_replication": [[0, 1]]}, "repeated layers"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_an_adapter_that_cannot_share_a_batch_is_refused(
    base: Path, tmp_path: Path, small_models: Any, changes: dict[str, Any], told: str
) -> None:
    folder = small_models.lora(tmp_path / "odd", base, 1, **changes)
    with pytest.raises(ModelError, match=told) as caught:
        Local.open(base, {"odd": folder})
    assert "cannot share a batch" in caught.value.message and "merge" in str(caught.value.remedy)


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_damaged_adapter_is_named(base: Path, tmp_path: Path, small_models: Any, text: str) -> None:
    folder = small_models.lora(tmp_path / "odd", base, 1)
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match="damaged") as caught:
        Local.open(base, {"odd": folder})
    assert "adapter_config.json" in str(caught.value.where)


async def test_an_adapter_whose_weights_do_not_fit_is_told_when_they_are_loaded(
    base: Path, tmp_path: Path, small_models: Any
) -> None:
    from safetensors.torch import load_file, save_file

    for name, change in (("narrow", lambda weight: weight[..., :-1]), ("half", None)):
        folder = small_models.lora(tmp_path / name, base, 1)
        weights = load_file(folder / "adapter_model.safetensors")
        kept = {key: change(weight).contiguous() if change else weight for key, weight in weights.items()}
        if change is None:
            kept.pop(next(iter(kept)))
        save_file(kept, folder / "adapter_model.safetensors")
        with pytest.raises(ModelError, match="does not fit the base") as caught:
            await Local.open(base, {name: folder}).load()
        assert caught.value.where == str(folder)


def test_a_recipe_without_adapters_keeps_the_plan_that_it_had() -> None:
    plain = spec(Path("m"))
    assert "adapters" not in unserved(plain.sm)
    assert spec(Path("m"), a=Path("b")).plan_version != plain.plan_version


def test_every_kind_that_is_refused_is_a_field_of_peft_s_config() -> None:
    from peft import LoraConfig

    assert set(adapters._ALONE) <= {field.name for field in dataclasses.fields(LoraConfig)}
