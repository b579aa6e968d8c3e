"""The child's command line: `python -m pairsmith.training VERB …`, or `python -m training VERB …` from a source tree.

The contract (verbs, files, events, exit codes) is in docs/training.md.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path

from .errors import TrainingError
from .events import CANCELLED, Control, Event, Printer, event

FAILED, WRONG_USAGE = 1, 2


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    top = argparse.ArgumentParser(prog="python -m pairsmith.training", description=__doc__.splitlines()[0])
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    train = verbs.add_parser("train", help="fine-tune by FOLDER/config.json")
    train.add_argument("folder", type=Path)
    train.add_argument("--resume", action="store_true", help="continue from the newest valid checkpoint")
    evaluate = verbs.add_parser("evaluate", help="answer test.jsonl and measure the answers")
    evaluate.add_argument("folder", type=Path)
    evaluate.add_argument("--model", help='default: FOLDER/model; "base": what the run started from')
    evaluate.add_argument("--name", help="name of the files in FOLDER/evaluation")
    evaluate.add_argument("--choices", type=Path, help="multiple-choice questions in MMLU's CSV layout")
    generate = verbs.add_parser("generate", help="answer every line of a JSONL file")
    generate.add_argument("model")
    generate.add_argument("--prompts", type=Path, required=True)
    generate.add_argument("--to", type=Path, required=True)
    perplexity = verbs.add_parser("perplexity", help="perplexity of a JSONL file of pairs, or of plain text")
    perplexity.add_argument("model")
    perplexity.add_argument("--file", type=Path, required=True)
    perplexity.add_argument("--text", action="store_true", help="the file is plain text")
    perplexity.add_argument("--stride", type=int, default=512)
    choices = verbs.add_parser("choices", help="multiple-choice accuracy by likelihood")
    choices.add_argument("model")
    choices.add_argument("--file", type=Path, required=True)
    chat = verbs.add_parser("chat", help="requests on stdin, answers on stdout")
    chat.add_argument("model")
    export = verbs.add_parser("export", help="write a model for other tools")
    export.add_argument("model")
    export.add_argument("--to", type=Path, required=True)
    export.add_argument("--format", required=True)
    export.add_argument("--name", default="pairsmith-gpt2")
    batch = verbs.add_parser("show-batch", help="the first batch, for people who learn")
    batch.add_argument("folder", type=Path)
    batch.add_argument("--json", action="store_true")
    estimate = verbs.add_parser("estimate", help="steps, tokens and memory before a start")
    estimate.add_argument("folder", type=Path)
    verbs.add_parser("devices", help="devices, free memory, precision")
    inspect = verbs.add_parser("inspect", help="shape, vocabulary and style of a model")
    inspect.add_argument("model")
    fetch = verbs.add_parser("fetch", help="download a model from the Hub")
    fetch.add_argument("name")
    verbs.add_parser("interval", help="mean, 95 %% interval and paired test of numbers on stdin")
    report = verbs.add_parser("report", help="report.md and losses.svg of a run")
    report.add_argument("folder", type=Path)
    for verb in (train, evaluate, generate, perplexity, choices, chat, export, fetch):
        verb.add_argument(
            "--parent-pipe", action="store_true", help="stdin is the parent: obey it, end with it"
        )
    for verb in (evaluate, generate, perplexity, choices, chat, export, inspect):
        _add_model_options(verb)
    fetch.add_argument("--models-dir")
    return top


def _add_model_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="auto")
    verb.add_argument("--precision", default="fp32", choices=("auto", "fp32", "bf16"))
    verb.add_argument("--threads", type=int)
    verb.add_argument("--models-dir")
    verb.add_argument("--offline", action="store_true")
    verb.add_argument("--prompt-style", choices=("alpaca", "phi3", "short"))
    verb.add_argument("--header", action="store_true", help="put the response header into the prompt")
    verb.add_argument("--batch", type=int, default=128, help="the most prompts answered at a time")
    verb.add_argument("--max-new-tokens", type=int, default=256)
    verb.add_argument("--temperature", type=float, default=0.0)
    verb.add_argument("--top-k", type=int)
    verb.add_argument("--top-p", type=float)
    verb.add_argument("--seed", type=int, default=123)


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit code."""
    chosen = parser().parse_args(arguments)
    chosen.world_rank = int(os.environ.get("RANK", "0"))
    quiet = chosen.world_rank != 0
    printer = Printer(Path(os.devnull).open("w") if quiet else None)  # noqa: SIM115
    control = Control()
    control.listen()
    if getattr(chosen, "parent_pipe", False) and chosen.verb != "chat":
        control.follow_parent()
    from . import verbs

    try:
        return verbs.run(chosen, printer, control)
    except TrainingError as error:
        printer.write(event("error", kind=error.kind, message=_line(error.message), advice=error.advice))
        return WRONG_USAGE if error.kind == "config" else FAILED
    except KeyboardInterrupt:
        return CANCELLED
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kind, advice = ("disk_full", "Make room and start again with --resume.") if full else ("internal", "")
        printer.write(event("error", kind=kind, message=_line(str(error)), advice=advice))
        return FAILED
    except Exception as error:
        shortage = _out_of_memory(error, printer.started)
        if shortage is not None:
            printer.write(event("error", kind="oom", message=shortage.message, advice=shortage.advice))
            return FAILED
        import traceback

        traceback.print_exc(file=sys.stderr)
        message = _line(f"{type(error).__name__}: {error}")
        printer.write(event("error", kind="internal", message=message, advice="Please report this."))
        return FAILED


def _out_of_memory(error: Exception, started: Event | None) -> TrainingError | None:
    """The error to report where memory ran out: before a run could be estimated (while its weights were read), or at
    what a loaded model was `started` for."""
    from . import devices

    if not devices.is_out_of_memory(error):
        return None
    if started is not None:
        return TrainingError(
            "oom",
            f"out of memory on {started['device']} in {started['verb']}, after the model was loaded",
            "Take a smaller --batch, fewer --max-new-tokens or --device cpu, or unload models that Ollama or another "
            "worker holds.",
        )
    import torch

    free = devices.free_memory(torch.device("cpu")) >> 20
    return TrainingError(
        "oom",
        f"out of memory while the model was loaded: {free} MB are free now",
        "Fine-tuning needs about 16 bytes a parameter (2 GB for 124M, 6 GB for 355M), with lora_rank 16 about 6. "
        "Take a smaller base, or unload models that Ollama or another worker holds.",
    )


def _line(text: str) -> str:
    """One line that can do nothing to a terminal."""
    shown = " ".join(text.split())[:500]
    return "".join(letter if letter.isprintable() else f"<U+{ord(letter):04X}>" for letter in shown)


if __name__ == "__main__":
    sys.exit(main())
