"""The arguments of `pairsmith train`."""

from __future__ import annotations

from argparse import ArgumentParser

from .arguments import above_zero, add_workspace, device, not_negative, whole, whole_or_zero


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="gpt2-small|gpt2-medium|gpt2-large|gpt2-xl, scratch:tiny|small|medium|large|xl (random weights), embedded,"
        " owner/name on the Hub, or a path",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run of these settings, or the newest"
    )
    parser.add_argument(
        "--verdict", choices=("not-rejected", "accepted", "any"), help="default: not-rejected"
    )
    parser.add_argument("--where", metavar="EXPR", help="only pairs of which this is true")
    _add_recipe(parser)
    _add_machine(parser)
    looking = parser.add_argument_group("instead of training")
    looking.add_argument("--show-batch", action="store_true", help="print the first batch, token by token")
    looking.add_argument("--estimate", action="store_true", help="print steps, tokens and memory")
    parser.add_argument("--env-file", metavar="PATH", help="read HF_TOKEN and addresses from this .env file")


def _add_recipe(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("how it is trained").add_argument
    add("--epochs", type=whole, metavar="N", help="default: 2")
    add("--batch-size", type=whole, metavar="N", help="examples in a step; default: 8")
    add("--lr", dest="learning_rate", type=above_zero, metavar="X", help="default: 5e-5")
    add("--weight-decay", type=not_negative, metavar="X", help="default: 0.1")
    add(
        "--max-length",
        type=whole,
        metavar="N",
        help="tokens of an example; longer ones are cut; default: 1024",
    )
    add("--seed", type=whole_or_zero, metavar="N", help="default: 123")
    add("--prompt-style", choices=("alpaca", "phi3", "short"), help="default: alpaca; for embedded: short")
    add("--mask-instructions", action="store_true", default=None, help="no loss on the prompt")
    add("--lora", dest="lora_rank", type=whole, metavar="RANK", help="train low-rank additions only")
    add(
        "--parity",
        action="store_true",
        default=None,
        help="the reference text's recipe to the letter, its split too",
    )
    add(
        "--schedule", choices=("constant", "linear", "cosine"), help="of the learning rate; default: constant"
    )
    add("--warmup", dest="warmup_steps", type=whole_or_zero, metavar="STEPS", help="default: 0")
    add("--clip", dest="clip_norm", type=above_zero, metavar="NORM", help="clip the gradient's norm")
    add("--dropout", type=not_negative, metavar="X", help="default: 0")
    add("--early-stop", type=whole, metavar="N", help="stop after N validations that are no better")
    add("--max-steps", type=whole, metavar="N", help="stop after so many steps")
    add(
        "--validate-every",
        type=whole_or_zero,
        metavar="STEPS",
        help="0: once an epoch; default: four times an epoch",
    )
    add("--vocabulary", metavar="NAME", help="scratch only: gpt2, bytes, train:N, or a folder")
    add("--precision", choices=("auto", "fp32", "bf16"), help="default: auto, by a timed product")


def _add_machine(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("on this machine (may differ when a run is gone on with)")
    add = group.add_argument
    add("--device", metavar="DEVICE", type=device, help="auto, cpu, cuda or mps; default: auto")
    add("--gpus", type=whole, default=1, metavar="N", help="together, each with its --batch-size of a step")
    add("--accumulate", type=whole, metavar="N", help="compute a batch in N slices, for memory")
    add("--threads", type=whole, metavar="N", help="of the CPU")
    add(
        "--no-cuda-graph",
        dest="cuda_graph",
        action="store_const",
        const=False,
        help="on a GPU: start every kernel by itself, which is slower",
    )
    add("--checkpoint-every", type=whole_or_zero, metavar="STEPS", help="0: once an epoch (default)")
    add("--sample-tokens", type=whole_or_zero, metavar="N", help="length of the sample answers; 0: none")
    add(
        "--unload",
        action="store_true",
        help="first free the memory of models that Ollama or our worker holds",
    )
