"""How fast a VM is fine-tuned here, beside TRL's own trainer on the same rows.

    python benchmarks/training.py --base embedded --out training.json
    python benchmarks/training.py --base model --rows chats.jsonl --batch 8 --peak-tflops 989      on a GPU

Every arm is set up once: loading and tokenising are not measured. Then the arms take turns, a block of steps each, for
so many rounds; each block has the same rows in the same batches, and each arm has seen them once before it is measured,
since a CPU's kernels are made anew for every length that comes up, for whoever meets it first. Told are tokens a second
that are no padding (forward, backward, optimiser, and fetching the batch), and how often as fast ours was as each arm
in the same round.

Model-flops utilisation, with `--peak-tflops`: (4 N + 2 T) flops a token, of N parameters that a token is multiplied
with, T of them trained: 2 N forward, 2 N backward through activations, 2 T for the gradients of weights. With all
weights trained that is the usual 6 N. Attention's own products and what checkpointing computes again are left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import markdown, save, say

from understudy.corpus.conversations import read_conversations
from understudy.lessons import Training
from understudy.models.embedded import embedded_path
from understudy.nouns import address

OURS = "understudy"
PLAIN = "TRL as it comes"
_WORDS = ("the", "river", "was", "high", "and", "every", "boat", "stayed", "until", "a", "bell", "rang", "in", "town")
# One step of each block is not measured: `train` makes optimiser and loader anew before it.
_WARM_UP = 1


@dataclass(slots=True)
class Arm:
    """A trainer that is ready, and how it did."""

    name: str
    trainer: Any
    flops_per_token: float
    rates: list[float] = field(default_factory=list)
    """Tokens a second, by round."""
    tokens: int = 0


def flops_per_token(parameters: int, trained: int) -> float:
    """Forward and backward; parameters include those that are trained."""
    return 4 * parameters + 2 * trained


def summary(rates: dict[str, list[float]], flops: dict[str, float], peak: float | None) -> dict[str, dict[str, Any]]:
    """Of each arm median and range of its rates, and of ours by its in the same round.

    Args:
        rates: tokens a second by round.
        flops: for a token.
        peak: most flops a second of the device.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, own in rates.items():
        ratios = [ours / other for ours, other in zip(rates[OURS], own, strict=True)]
        found[name] = {
            "tokens_per_s": _spread(own),
            "ours_by_this": None if name == OURS else _spread(ratios),
            "utilisation": statistics.median(own) * flops[name] / peak if peak else None,
        }
    return found


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def generated(count: int, longest: int, seed: int) -> list[dict[str, Any]]:
    """Conversations of seeded, varying lengths: an answer of up to `longest` words, most of them short."""
    random = Random(seed)  # noqa: S311
    rows = []
    for number in range(count):
        length = max(4, round(longest * random.betavariate(1.5, 3)))
        answer = " ".join(random.choice(_WORDS) for _ in range(length))
        asked = f"Tell story number {number}."
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": f"{answer.capitalize()}."}]
        rows.append({"messages": turns})
    return rows


def arms(options: argparse.Namespace, folder: Path) -> tuple[list[Arm], int]:
    """The trainers, and how many rows were too long for all of them."""
    from datasets import Dataset, disable_progress_bars

    from understudy.models.local import hush, leave_a_core
    from understudy.training import sft
    from understudy.training.data import Row, order
    from understudy.training.job import Job, narrow
    from understudy.training.material import material

    disable_progress_bars()
    hush()
    leave_a_core()  # as `understudy train` does, for all arms: two threads on two busy cores wait for one another
    base = embedded_path() if options.base == "embedded" else Path(options.base)
    plan = Training(
        method=options.method, rank=options.rank, steps=options.steps + _WARM_UP,
        batch_size=options.batch, max_tokens=options.max_tokens, seed=options.seed, order="shuffled",
    )  # fmt: skip
    bodies = read_conversations(options.rows)[0] if options.rows else generated(options.count, options.words, plan.seed)
    found = material(plan, base, tuple(Row(address(body), body, "rows", "rows") for body in bodies))
    job = Job(plan, base, found.rows, found.tokenizer, folder / "ours")
    places = order(found.rows, found.lengths, plan)
    ours = sft.prepare(job, found.read, places).trainer
    made = [_arm(OURS, ours)]
    chats = [row.body["messages"] for row in found.rows]
    rows = [{"prompt": chats[place][:-1], "completion": chats[place][-1:]} for place in places]
    unchecked = {"activation_checkpointing": False}
    plain: dict[str, tuple[dict[str, Any], Any]] = {
        PLAIN: ({}, None),
        "TRL without activation checkpointing": (unchecked, None),
        "TRL without it, in our precision": ({**unchecked, "bf16": narrow()}, job.dtype),
    }
    for number, (name, (settings, dtype)) in enumerate(plain.items()):
        trainer = _plain(job, Dataset.from_list(rows), folder / str(number), settings, dtype)
        made.append(_arm(name, trainer))
    return made, found.figures.too_long


def _plain(job: Any, dataset: Any, out: Path, settings: dict[str, Any], dtype: Any) -> Any:
    """TRL's trainer with its defaults, but for `settings`, and for the order of rows, which is that of all arms."""
    import torch
    from trl import SFTConfig, SFTTrainer

    cuda = torch.cuda.is_available()
    config = SFTConfig(
        output_dir=str(out), per_device_train_batch_size=job.plan.batch_size, max_length=job.plan.max_tokens,
        max_steps=job.plan.steps, train_sampling_strategy="sequential", use_cpu=not cuda, report_to="none",
        disable_tqdm=True, dataloader_pin_memory=cuda,
        model_init_kwargs={"dtype": dtype} if dtype is not None else None, **settings,
    )  # fmt: skip
    return SFTTrainer(str(job.base), args=config, train_dataset=dataset, peft_config=job.lora())


def _arm(name: str, trainer: Any) -> Arm:
    """With nothing saved and nothing logged while it is measured."""
    from transformers import PrinterCallback

    trainer.args.save_strategy = trainer.args.logging_strategy = "no"
    trainer.remove_callback(PrinterCallback)
    model = trainer.model
    sizes = [(one.numel(), one.requires_grad) for one in model.parameters()]
    read = model.get_input_embeddings().weight
    # What is only looked up is multiplied with nothing; tied to the output, it is.
    looked_up = 0 if model.get_output_embeddings().weight is read else read.numel()
    parameters = sum(size for size, _ in sizes) - looked_up
    trained = sum(size for size, learns in sizes if learns) - looked_up * read.requires_grad
    return Arm(name, trainer, flops_per_token(parameters, trained))


def block(arm: Arm) -> tuple[float, int]:
    """Train on all rows once: seconds and tokens of all steps but the first."""
    import torch
    from transformers import TrainerCallback

    trainer = arm.trainer
    counts: list[int] = []
    times: list[float] = []
    step: Callable[..., Any] = type(trainer).training_step

    def counted(model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        mask = inputs.get("attention_mask")
        counts.append(int(mask.sum()) if mask is not None else inputs["input_ids"].numel())
        return step(trainer, model, inputs, *rest, **more)

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    clock = Clock()
    trainer.training_step = counted
    trainer.add_callback(clock)
    try:
        trainer.train()
    finally:
        trainer.remove_callback(clock)
        del trainer.training_step
    return times[-1] - times[_WARM_UP - 1], sum(counts[_WARM_UP:])


def measure(made: list[Arm], options: argparse.Namespace) -> None:
    """All rounds; who begins changes from round to round."""
    for arm in made:
        block(arm)
    for number in range(options.rounds):
        for turn in range(len(made)):
            arm = made[(number + turn) % len(made)]
            seconds, tokens = block(arm)
            arm.rates.append(tokens / seconds)
            arm.tokens += tokens
            say(
                f"round {number + 1} of {options.rounds}, {arm.name}: {tokens} tokens, {tokens / seconds:,.0f} a second"
            )


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures for people."""
    rows = []
    for name, one in found.items():
        cells = [_told(one["tokens_per_s"], ",.0f"), _told(one["ours_by_this"], ".2f")]
        used = one["utilisation"]
        rows.append([name, *cells, "-" if used is None else f"{used:.1%}"])
    return markdown(["trainer", "tokens/s, median (range)", "ours by this, median (range)", "utilisation"], rows)


def _told(one: dict[str, float] | None, form: str) -> str:
    if one is None:
        return "-"
    return f"{one['median']:{form}} ({one['low']:{form}} to {one['high']:{form}})"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="embedded", help="`embedded`, or the folder of a model")
    parser.add_argument("--rows", type=Path, help="a file of conversations; without, rows are made up")
    parser.add_argument("--count", type=int, default=256, help="rows to make up")
    parser.add_argument("--words", type=int, default=300, help="of the longest answer that is made up")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4, help="rows in a step")
    parser.add_argument("--max-tokens", type=int, default=512, help="longest row; longer ones are left out")
    parser.add_argument("--steps", type=int, default=4, help="measured steps of a block, after one that is not")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each arm")
    parser.add_argument("--peak-tflops", type=float, help="of the device, in the precision that is used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if min(options.count, options.words, options.batch, options.steps, options.rounds) < 1:
        parser.error("count, words, batch, steps and rounds must be above 0")
    return options


def main() -> None:
    """Measure, and tell it."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="understudy-training-") as folder:
        made, too_long = arms(options, Path(folder))
        if too_long:
            say(f"{too_long} rows are longer than {options.max_tokens} tokens and were left out of all arms")
        measure(made, options)
    peak = options.peak_tflops * 1e12 if options.peak_tflops else None
    found = summary({arm.name: arm.rates for arm in made}, {arm.name: arm.flops_per_token for arm in made}, peak)
    print(table(found))
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    settings |= {"too_long": too_long, "device": _device()}
    runs = {arm.name: _run(arm) for arm in made}
    save(options.out, "training", settings, {"arms": found, "runs": runs}, "torch", "transformers", "trl", "peft")


def _run(arm: Arm) -> dict[str, Any]:
    """What an arm ran with, and its rounds."""
    return {
        "rates": arm.rates,
        "tokens": arm.tokens,
        "flops_per_token": arm.flops_per_token,
        "bf16": arm.trainer.args.bf16,
        "weights": str(next(arm.trainer.model.parameters()).dtype),
        "activation_checkpointing": bool(arm.trainer.args.activation_checkpointing),
        "padding_free": bool(arm.trainer.args.padding_free),
    }


def _device() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
