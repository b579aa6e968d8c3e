"""Answers to 110 prompts: the reference text's loop (one by one, everything computed again) against ours.

    python benchmarks/generation.py --data instruction-data.json [--size 124M] [--sample 3] [--precision fp32]

Random weights of the true shape never say end-of-text, so every answer is as long as the data's own response (the
header included), which is what a tuned model would write. The slow loop is timed on `--sample` prompts spread over the
lengths and multiplied out: all 110 would take ten minutes and more. Greedy; the tokens of both are compared (fp32).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch

from pairsmith.training import vocabulary
from pairsmith.training.generate import Sampling, generate
from pairsmith.training.model import random_model
from pairsmith.training.prompts import STYLES
from pairsmith.training.reference import Reference
from pairsmith.training.reference import generate as slow
from pairsmith.training.shapes import OFFICIAL, Shape

SIZES = {"124M": "gpt2-small", "355M": "gpt2-medium"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", default="124M", choices=SIZES)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--threads", type=int)
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    entries = json.loads(chosen.data.read_text())
    start = int(len(entries) * 0.85)
    test = entries[start : start + int(len(entries) * 0.1)]
    words, style = vocabulary.gpt2(), STYLES["alpaca"]
    prompts = [words.encode(style.prompt(entry["instruction"], entry["input"])) for entry in test]
    lengths = [len(words.encode(style.header + entry["output"])) + 1 for entry in test]
    shape = Shape(**(OFFICIAL[SIZES[chosen.size]].as_json() | {"tied_head": False}))
    model = random_model(shape, 1)
    reference = Reference(model)
    if chosen.precision == "bf16":
        model.use(torch.bfloat16)
    # the slow loop's cost is linear in the answer's length and nearly so in the prompt's: take quantiles of the work
    work = sorted(
        range(len(prompts)), key=lambda index: lengths[index] * (len(prompts[index]) + lengths[index] / 2)
    )
    picked = [work[(2 * place + 1) * len(work) // (2 * chosen.sample)] for place in range(chosen.sample)]
    cost = [lengths[index] * (len(prompts[index]) + lengths[index] / 2) for index in range(len(prompts))]
    begun = clock()
    expected = [slow(reference, prompts[index], lengths[index], -1) for index in picked]
    slow_time = (clock() - begun) * sum(cost) / sum(cost[index] for index in picked)
    found, ours_time = _ours(model, prompts, lengths, clock)
    equal = sum(found[index] == answer for index, answer in zip(picked, expected, strict=True))
    total = sum(lengths)
    print(
        f"{chosen.size} {chosen.precision}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
        f"{len(prompts)} answers, {total} tokens: one by one {slow_time:.0f} s (from {chosen.sample}), "
        f"ours {ours_time:.1f} s ({total / ours_time:.0f} tokens/s): {slow_time / ours_time:.1f}x; "
        f"{equal} of {len(picked)} compared answers are equal"
    )
    return 0


def _ours(
    model: object, prompts: list[list[int]], lengths: list[int], clock: object
) -> tuple[list[list[int]], float]:
    """All answers, each ended at its own length; and the time of it."""
    begun = clock()  # type: ignore[operator]
    answers = generate(model, prompts, -1, Sampling(max(lengths)), limits=lengths)  # type: ignore[arg-type]
    return [answer.tokens for answer in answers], clock() - begun  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
