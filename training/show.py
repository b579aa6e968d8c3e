"""`show-batch`: the first batch as a person can read it: prompt, token ids, shifted targets, masks."""

from __future__ import annotations

from typing import Any

from .data import IGNORED, pad_examples
from .schedule import Order
from .setup import Job


def first_batch(job: Job) -> dict[str, Any]:
    """The first batch of the first epoch as plain values, in the padded form that the reference text shows."""
    train = job.examples["train"]
    order = Order(job.config.seed).start_epoch(len(train))[: job.group]
    chosen = [train[index] for index in order]
    inputs, targets = pad_examples(chosen, job.vocabulary.end_of_text)
    packed = job.slices(chosen)
    rows = []
    for index, example, row, wanted in zip(order, chosen, inputs, targets, strict=True):
        pair = job.pairs["train"][index]
        rows.append(
            {
                "id": pair.id,
                "prompt": job.style.prompt(pair.instruction, pair.input),
                "text": job.vocabulary.decode(list(example.inputs)),
                "inputs": row,
                "targets": wanted,
                "mask": [int(target != IGNORED) for target in wanted],
                "labels": example.labels,
                "cut": example.cut,
            }
        )
    return {
        "shape": [len(inputs), len(inputs[0])],
        "padded_tokens": len(inputs) * len(inputs[0]),
        "tokens": sum(len(example.inputs) for example in chosen),
        "computed_tokens": sum(len(part.ids) for part in packed),
        "shared_tokens": packed[0].shared if packed else 0,
        "labels": sum(example.labels for example in chosen),
        "end_of_text": job.vocabulary.end_of_text,
        "ignored": IGNORED,
        "examples": rows,
    }


def as_text(batch: dict[str, Any], job: Job) -> str:
    """The same for people: each example's prompt, and one line per token with what it must predict."""
    lines = [
        f"first batch: {batch['shape'][0]} examples, padded to {batch['shape'][1]} tokens each "
        f"({batch['padded_tokens']} in all, {batch['tokens']} of them text)",
        f"computed: {batch['computed_tokens']} tokens, since the first {batch['shared_tokens']} are the same in all "
        f"and padding is left out; {batch['labels']} labels",
        f"a target of {IGNORED} has no loss; {batch['end_of_text']} is end-of-text, learnt once, then padding",
    ]
    for number, row in enumerate(batch["examples"], 1):
        lines += [
            "",
            f"--- example {number} (id {row['id']}): {row['labels']} labels, {row['cut']} tokens cut",
        ]
        lines += [_visible(line) for line in row["prompt"].split("\n")]
        lines += ["", "inputs:  " + " ".join(map(str, row["inputs"]))]
        lines += ["targets: " + " ".join(map(str, row["targets"]))]
        lines += ["mask:    " + "".join(map(str, row["mask"]))]
        lines += ["", "position   input  ->  target"]
        for place, (token, target) in enumerate(zip(row["inputs"], row["targets"], strict=True)):
            wanted = "(no loss)" if target == IGNORED else f"{target:>6} {_token(job, target)}"
            lines.append(f"{place:>8}  {token:>6} {_token(job, token):<16} -> {wanted}")
    return "\n".join(lines)


def _token(job: Job, token: int) -> str:
    return _visible(repr(job.vocabulary.decode([token])))


def _visible(text: str) -> str:
    """Text that can do nothing to a terminal."""
    return "".join(letter if letter.isprintable() else f"<U+{ord(letter):04X}>" for letter in text)
