"""Merging VMs of small random models, as a user would."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from understudy.models.folders import fingerprint

Call = Callable[..., Any]


def lineage(vm: Path, base: Path, method: str = "lora") -> None:
    """What `understudy train` writes beside a VM's weights."""
    known = {
        "corpus": "/data/corpus", "corpus_digest": "d", "recipe": "r", "recipe_version": "v",
        "base": f"{base.name}@{fingerprint(base)}", "base_path": str(base), "method": method, "rows": 3, "too_long": 0,
        "steps": 1, "learning_rate": 1e-4, "seed": 0, "losses": [[1, 2.0]],
    }  # fmt: skip
    (vm / "understudy.json").write_text(json.dumps(known))
    (vm / "README.md").write_text(
        "---\nlicense: cc-by-4.0\nlibrary_name: peft\ntags:\n- sft\n---\n\n# A VM\n\nLoad it.\n"
    )


@pytest.fixture
def base(tmp_path: Path, small_models: Any) -> Path:
    path: Path = small_models.base(tmp_path / "small-base")
    return path


@pytest.fixture
def vm(tmp_path: Path, base: Path, small_models: Any) -> Path:
    path: Path = small_models.lora(tmp_path / "tutor", base, 1, scale=0.3)
    AutoTokenizer.from_pretrained(base).save_pretrained(path)
    lineage(path, base)
    return path


def scores(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model(torch.tensor([[5, 9, 11, 40]])).logits.float()
    return out


def test_a_merged_vm_says_what_base_and_adapter_say_together(understudy: Call, vm: Path, base: Path) -> None:
    from peft import PeftModel

    said = understudy("merge", vm, "--out", "merged")
    assert said.code == 0 and "float32 weights, tokenizer and Modelfile" in said.out
    merged = vm.parent / "merged"
    apart = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(vm)).eval()
    whole = AutoModelForCausalLM.from_pretrained(merged).eval()
    torch.testing.assert_close(scores(whole), scores(apart), atol=1e-3, rtol=1e-3)
    assert (scores(whole) - scores(AutoModelForCausalLM.from_pretrained(base).eval())).abs().max() > 0.1
    assert not [name.name for name in merged.parent.iterdir() if name.name.startswith(".")]


def test_a_merged_folder_is_whole_and_keeps_where_it_came_from(understudy: Call, vm: Path, base: Path) -> None:
    understudy("merge", vm, "--out", "merged", "--dtype", "float16")
    merged = vm.parent / "merged"
    names = {path.name for path in merged.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
            "chat_template.jinja", "README.md", "understudy.json", "Modelfile"} <= names  # fmt: skip
    assert not any(name.startswith("adapter") or name.endswith((".bin", ".pt")) for name in names)
    assert {weight.dtype for weight in load_file(merged / "model.safetensors").values()} == {torch.float16}
    known = json.loads((merged / "understudy.json").read_text())
    assert known["merged_from"] == f"tutor@{fingerprint(vm)}" and known["corpus_digest"] == "d"
    assert known["base"] == f"small-base@{fingerprint(base)}"
    card = (merged / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "library_name: transformers" in card and "peft" not in card
    modelfile = (merged / "Modelfile").read_text()
    assert modelfile.startswith("FROM .\nTEMPLATE") and 'PARAMETER stop "<|im_end|>"' in modelfile
    assert "<|im_start|>assistant" in modelfile and "PARAMETER num_ctx 512" in modelfile


def test_every_tensor_of_a_merged_folder_has_a_name_in_llama_cpp_s_map(understudy: Call, vm: Path) -> None:
    understudy("merge", vm, "--out", "merged")
    merged = vm.parent / "merged"
    config = json.loads((merged / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    weights = load_file(merged / "model.safetensors")
    found = {name: names.get_name(name, try_suffixes=(".weight", ".bias")) for name in weights}
    assert len(found) == 21 and None not in found.values()
    assert len(set(found.values())) == len(found)
    adapter = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert names.get_name(adapter, try_suffixes=(".weight", ".bias")) is None


def test_a_vm_of_its_own_weights_is_copied(understudy: Call, base: Path) -> None:
    vm = base.parent / "whole"
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    model.save_pretrained(vm)
    AutoTokenizer.from_pretrained(base).save_pretrained(vm)
    lineage(vm, base, "full")
    assert understudy("merge", vm, "--out", "copy").code == 0
    one, two = (load_file(folder / "model.safetensors") for folder in (vm, vm.parent / "copy"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    # A base that has gone is not needed for that.
    (base / "config.json").unlink()
    assert understudy("merge", vm, "--out", "again").code == 0


@pytest.mark.parametrize(
    ("change", "arguments", "told"),
    [
        (lambda vm, base: (base / "config.json").unlink(), (), "the VM's base model is gone: small-base@"),
        (lambda vm, base: (vm / "understudy.json").unlink(), (), "not a VM"),
        (lambda vm, base: (vm / "understudy.json").write_text("{"), (), "damaged"),
        (lambda vm, base: (vm / "adapter_model.safetensors").write_bytes(b"x"), (), "cannot be merged"),
        (lambda vm, base: (base / "tokenizer_config.json").write_text("{} "), (), "was trained on small-base@"),
        (lambda vm, base: None, ("--dtype", "int4"), "--dtype int4"),
    ],
    ids=["base gone", "no lineage", "lineage damaged", "weights damaged", "base changed", "dtype"],
)
def test_what_cannot_be_merged_is_told_and_leaves_nothing(
    understudy: Call, vm: Path, base: Path, change: Any, arguments: tuple[str, ...], told: str
) -> None:
    change(vm, base)
    said = understudy("merge", vm, "--out", "merged", *arguments)
    assert said.code == 2 and told in re.sub(r"\s+", " ", said.err)
    assert not [path for path in vm.parent.iterdir() if "merg" in path.name]


def test_a_folder_in_the_way_stays_as_it_is(understudy: Call, vm: Path) -> None:
    (vm.parent / "merged").mkdir()
    (vm.parent / "merged" / "mine.txt").write_text("mine")
    said = understudy("merge", vm, "--out", "merged")
    assert said.code == 2 and "is not empty" in said.err
    assert [path.name for path in (vm.parent / "merged").iterdir()] == ["mine.txt"]
    assert "no such folder" in understudy("merge", "nowhere", "--out", "x").err
