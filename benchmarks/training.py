"""Side by side in one run: the reference text's padded loop, and ours. Whole steps with optimiser, random weights.

    python benchmarks/training.py --data instruction-data.json [--sizes 124M 355M] [--precisions fp32 bf16] [--rounds 6]

Both train the same untied model of the true shape on the same batches of 8 (seed 123), in turns, so that whatever else
the machine does hits both. "Useful" tokens are those of the texts, without padding. `--tokens FILE` takes prepared ids
(a JSON list of lists) where tiktoken's files are missing. `--threads 1` reports CPU time, which a busy machine disturbs
less than wall time.

`--device cuda` (the default where there is one) measures on a GPU: the ratio, two whole epochs of our loop, and the
share of the GPU's bf16 arithmetic that the model's own operations take (MFU), at batches of 8 and at `--big-step`
tokens. MFU counts what the model needs for the tokens that were computed: a beginning that examples share counts once
where it is computed once. "Effective" counts it for each example. The GPU's rate is that of one big product measured in
the same run, or `--peak` in TFLOP/s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pairsmith.training import data, devices, evaluation_loss, forward, vocabulary
from pairsmith.training.batches import Packed, pack
from pairsmith.training.data import Example, Pair
from pairsmith.training.graphed import Graphed, budget
from pairsmith.training.model import GPT2, random_model
from pairsmith.training.optimiser import AdamW, Rates
from pairsmith.training.prompts import STYLES
from pairsmith.training.reference import Reference
from pairsmith.training.schedule import Order
from pairsmith.training.shapes import OFFICIAL, Shape

SIZES = {"124M": "gpt2-small", "355M": "gpt2-medium", "774M": "gpt2-large", "1558M": "gpt2-xl"}
BATCH = 8
END = 50256


def main() -> int:
    """Measure, print a table, and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="JSON list of instruction, input, output")
    parser.add_argument("--tokens", type=Path, help="JSON list of lists of token ids instead")
    parser.add_argument("--sizes", nargs="+", default=["124M", "355M"], choices=SIZES)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-validation", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--big-step", type=int, default=16384, help="tokens of the big step on a GPU")
    parser.add_argument("--peak", type=float, help="the GPU's bf16 TFLOP/s; default: measured")
    parser.add_argument("--no-graph", action="store_true", help="on a GPU: without the CUDA graph")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {chosen.device}: there is no CUDA device")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    train, validation = _examples(chosen)
    device = torch.device(chosen.device)
    results = []
    if device.type == "cuda":
        results = on_gpu(chosen, device, train)
        if chosen.json:
            chosen.json.write_text(json.dumps(results, indent=1) + "\n")
        return 0
    speedup = devices.bf16_speedup(torch.device("cpu"))
    print(
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, bf16 product {speedup:.1f}x fp32"
    )
    for size in chosen.sizes:
        for precision in chosen.precisions:
            result = measure(size, precision, train, validation, chosen.rounds, not chosen.no_validation)
            results.append(result)
            print(_line(result), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _examples(chosen: argparse.Namespace) -> tuple[list[Example], list[Example]]:
    if chosen.tokens:
        rows = json.loads(chosen.tokens.read_text())
        found = [Example(tuple(row), (*row[1:], END)) for row in rows]
    elif chosen.data:
        entries = json.loads(chosen.data.read_text())
        pairs = [Pair(i, e["instruction"], e.get("input", ""), e["output"]) for i, e in enumerate(entries)]
        found = data.examples(pairs, vocabulary.gpt2(), STYLES["alpaca"], 1024, masked=False)
    else:
        sys.exit("give --data or --tokens")
    train = int(len(found) * 0.85)
    test = int(len(found) * 0.1)
    return found[:train], found[train + test :]


def _clock() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = _clock()
    result = work()
    return _clock() - start, result


def _timed_on_gpu(work: Callable[[], Any]) -> tuple[float, Any]:
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    torch.cuda.synchronize()
    return time.perf_counter() - start, result


class Plain:
    """The recipe: padded batch, fp32, logits everywhere, torch's AdamW as it comes."""

    def __init__(self, model: GPT2) -> None:
        self.model, self.device = Reference(model), model.device
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=5e-5, weight_decay=0.1)

    def step(self, batch: list[Example]) -> float:
        inputs, targets = (torch.tensor(rows, device=self.device) for rows in data.pad_examples(batch, END))
        self.optimiser.zero_grad()
        loss = self.model.loss(inputs, targets)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def look(self, batch: list[Example]) -> float:
        inputs, targets = (torch.tensor(rows, device=self.device) for rows in data.pad_examples(batch, END))
        with torch.no_grad():
            return float(self.model.loss(inputs, targets))


class Ours:
    """The loop of `training/loop.py`, its step and its evaluation."""

    def __init__(self, model: GPT2, dtype: torch.dtype) -> None:
        self.model = model
        model.use(dtype)
        self.optimiser = AdamW(model, Rates(), dtype, dict(model.tensors))
        self.graphed: Graphed | None = None

    def record(self, packs: list[Packed]) -> None:
        """Record the CUDA graph for batches of these sizes."""
        room = budget(packs, self.model.shape.context)
        self.graphed = Graphed(self.model, room, packs[0])

    def step(self, batch: list[Example] | Packed) -> float:
        packed = batch if isinstance(batch, Packed) else pack(batch)
        loss = self.graphed.gradients(packed, float(packed.labels)) if self.graphed else None
        if loss is None:
            self.optimiser.start_step(self.model)
            total, _ = forward.losses(self.model, packed.to(self.model.device))
            total.backward()
            self.model.finish_step()
            loss = float(total.detach())
        self.optimiser.step(5e-5)
        return loss

    def look(self, batch: list[Example]) -> float:
        return evaluation_loss.mean(self.model, batch) or 0.0


def measure(
    size: str, precision: str, train: list[Example], validation: list[Example], rounds: int, validate: bool
) -> dict[str, Any]:
    """Times of both, in turns; the first step of each is a warm-up."""
    shape = Shape(**(OFFICIAL[SIZES[size]].as_json() | {"tied_head": False}))
    plain = Plain(random_model(shape, 1))
    ours = Ours(random_model(shape, 1), torch.bfloat16 if precision == "bf16" else torch.float32)
    order = Order(123).draw(len(train))
    batches = [[train[i] for i in order[k : k + BATCH]] for k in range(0, (rounds + 1) * BATCH, BATCH)]
    losses = plain.step(batches[0]), ours.step(batches[0])
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    tokens = 0
    for batch in batches[1:]:
        times["plain"].append(_timed(lambda batch=batch: plain.step(batch))[0])
        times["ours"].append(_timed(lambda batch=batch: ours.step(batch))[0])
        tokens += sum(len(example.inputs) for example in batch)
    result: dict[str, Any] = {
        "size": size,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "clock": "cpu" if torch.get_num_threads() == 1 else "wall",
        "load": os.getloadavg()[0],
        "first_losses": losses,
        "plain_s": statistics.median(times["plain"]),
        "ours_s": statistics.median(times["ours"]),
        "plain_best_s": min(times["plain"]),
        "ours_best_s": min(times["ours"]),
        "tokens_per_step": tokens / rounds,
    }
    result["ratio"] = result["plain_s"] / result["ours_s"]
    result["ratio_best"] = result["plain_best_s"] / result["ours_best_s"]
    if validate:
        result |= _with_validation(plain, ours, batches, train, validation, order, result)
    return result


def _with_validation(
    plain: Plain,
    ours: Ours,
    batches: list[list[Example]],
    train: list[Example],
    validation: list[Example],
    order: list[int],
    result: dict[str, Any],
) -> dict[str, Any]:
    """Five steps and the recipe's ten evaluation batches, measured; and one whole validation per epoch, composed."""
    looked = [[train[i] for i in order[-(k + 1) * BATCH : -k * BATCH or None]] for k in range(5)]
    looked += [validation[k * BATCH : (k + 1) * BATCH] for k in range(5)]
    looked = [batch for batch in looked if batch]
    plain_look = statistics.median(_timed(lambda batch=batch: plain.look(batch))[0] for batch in looked)
    ours_look = statistics.median(_timed(lambda batch=batch: ours.look(batch))[0] for batch in looked)
    whole = _timed(lambda: evaluation_loss.mean(ours.model, validation))[0]
    steps = len(train) // BATCH
    evaluations = steps // 5 + 1
    plain_epoch = steps * result["plain_s"] + evaluations * 10 * plain_look
    same = steps * result["ours_s"] + evaluations * 10 * ours_look
    once = steps * result["ours_s"] + whole
    return {"ratio_same_evaluations": plain_epoch / same, "ratio_validation_per_epoch": plain_epoch / once}


def on_gpu(chosen: argparse.Namespace, device: torch.device, train: list[Example]) -> list[dict[str, Any]]:
    """Everything that is measured on a GPU, told line by line."""
    torch.cuda.set_device(device)
    peak = (chosen.peak or _product_rate(device)) * 1e12
    print(f"{torch.cuda.get_device_name(device)}, {peak / 1e12:.0f} TFLOP/s in bf16")
    results = []
    for size in chosen.sizes:
        for precision in chosen.precisions:
            results.append(_one_on_gpu(chosen, size, precision, device, train, peak))
            print("; ".join(f"{name} {value}" for name, value in results[-1].items()), flush=True)
            torch.cuda.empty_cache()
    return results


def _one_on_gpu(
    chosen: argparse.Namespace,
    size: str,
    precision: str,
    device: torch.device,
    train: list[Example],
    peak: float,
) -> dict[str, Any]:
    shape = Shape(**(OFFICIAL[SIZES[size]].as_json() | {"tied_head": False}))
    orders = Order(123)
    drawn = [
        index for _ in range(2) for index in orders.start_epoch(len(train))[: len(train) // BATCH * BATCH]
    ]
    batches = [[train[i] for i in drawn[k : k + BATCH]] for k in range(0, len(drawn), BATCH)]
    rounds = batches[1 : chosen.rounds * 4 + 1]
    plain_s = _plain_on_gpu(Plain(random_model(shape, 1).to(device)), [batches[0], *rounds])
    torch.cuda.empty_cache()
    ours = Ours(random_model(shape, 1).to(device), torch.bfloat16 if precision == "bf16" else torch.float32)
    if not chosen.no_graph:
        ours.record([pack(batch) for batch in batches])
        for batch in batches[:3]:
            ours.step(batch)
    ours.step(batches[0])
    ours_s = statistics.median(_timed_on_gpu(lambda batch=batch: ours.step(batch))[0] for batch in rounds)
    two_epochs, _ = _timed_on_gpu(lambda: [ours.step(batch) for batch in batches])
    packs = [pack(batch) for batch in rounds]
    result = {
        "size": size,
        "precision": precision,
        "graph": ours.graphed is not None,
        "plain_s": plain_s,
        "ours_s": ours_s,
        "ratio": plain_s / ours_s,
        "two_epochs_s": two_epochs,
        "mfu": statistics.mean(_operations(shape, packed) for packed in packs) / ours_s / peak,
        "effective": statistics.mean(_operations(shape, packed, True) for packed in packs) / ours_s / peak,
    }
    return result | _big_step(chosen, ours, shape, train, peak)


def _plain_on_gpu(plain: Plain, batches: list[list[Example]]) -> float:
    """Seconds of a step; the first batch is a warm-up."""
    plain.step(batches[0])
    return statistics.median(_timed_on_gpu(lambda batch=batch: plain.step(batch))[0] for batch in batches[1:])


def _big_step(
    chosen: argparse.Namespace, ours: Ours, shape: Shape, train: list[Example], peak: float
) -> dict[str, Any]:
    """One step of many tokens, beginnings that are shared computed for each example, and once."""
    batch: list[Example] = []
    while sum(len(example.inputs) for example in batch) < chosen.big_step:
        batch.append(train[len(batch) % len(train)])
    result: dict[str, Any] = {"big_step_tokens": sum(len(example.inputs) for example in batch)}
    ours.graphed = None
    for share, name in ((False, "whole"), (True, "shared")):
        packed = pack(batch, share)
        if not chosen.no_graph:
            ours.record([packed])
            for _ in range(3):
                ours.step(packed)
        ours.step(packed)
        seconds = statistics.median(
            _timed_on_gpu(lambda packed=packed: ours.step(packed))[0] for _ in range(5)
        )
        result[f"big_step_{name}_s"] = seconds
        result[f"big_step_{name}_mfu"] = _operations(shape, packed) / seconds / peak
        ours.graphed = None
    result["big_step_shared_effective"] = _operations(shape, packed, True) / seconds / peak
    return result


def _operations(shape: Shape, packed: Packed, effective: bool = False) -> float:
    """Floating-point operations that the model needs for a step: 6 a weight and token, and those of attention.

    Of the rows and labels that are computed, or (`effective`) of all tokens of all examples.
    """
    rows, labels = (packed.tokens, packed.labels) if effective else (len(packed.ids), len(packed.targets))
    attention = 6 * shape.layers * shape.width * packed.tokens / packed.examples
    return (
        rows * (72 * shape.layers * shape.width**2 + attention) + 6 * labels * shape.vocabulary * shape.width
    )


def _product_rate(device: torch.device) -> float:
    """TFLOP/s of one big bf16 product."""
    left, right = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = min(_timed_on_gpu(lambda: torch.mm(left, right))[0] for _ in range(10))
    return 2 * 8192**3 / seconds / 1e12


def _line(result: dict[str, Any]) -> str:
    rate = result["tokens_per_step"]
    text = (
        f"{result['size']} {result['precision']}: plain {result['plain_s']:.3f} s/step "
        f"({rate / result['plain_s']:.0f} useful tokens/s), ours {result['ours_s']:.3f} s/step "
        f"({rate / result['ours_s']:.0f}): {result['ratio']:.2f}x (best against best {result['ratio_best']:.2f}x); "
        f"first losses {result['first_losses'][0]:.5f} and {result['first_losses'][1]:.5f}; load {result['load']:.1f}"
    )
    if "ratio_same_evaluations" in result:
        text += (
            f"; with the same evaluations {result['ratio_same_evaluations']:.2f}x, "
            f"with validation once per epoch {result['ratio_validation_per_epoch']:.2f}x"
        )
    return text


if __name__ == "__main__":
    sys.exit(main())
