"""The command line: which command is asked for, and how every one of them ends.

Commands live in modules of their own that are imported only when they run, so that `pairsmith --help` costs nothing.
A command module offers `add_arguments(parser)`, `run(arguments) -> int` and `EXAMPLE`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pairsmith.backends.text import one_line

from . import stopping
from .output import Failed, end_output, fail, prepare_streams, table

INTERRUPTED = 130

COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("doctor", "every backend, key, device and file: its state, and what to do about it"),
    "new": ("new", "make a workspace: one file that holds one dataset project"),
    "topics": ("topics", "list, suggest, add, rename and prune topics, and set their quotas"),
    "seeds": ("seeds", "list, add and remove the seed tasks that self-instruct starts from"),
    "generate": ("generate", "make exactly so many pairs"),
    "judge": ("judge", "score pairs"),
    "filter": ("filter", "reject the undecided pairs that fall below a line"),
    "review": ("review", "open the application straight in the reviewer"),
    "import": ("import_file", "take pairs from a file"),
    "export": ("export_file", "write pairs to a file"),
    "push": ("push", "upload the dataset or a tuned model to the Hugging Face Hub"),
    "train": ("train", "fine-tune GPT-2 on the pairs"),
    "evaluate": ("evaluate", "measure a trained model: base against tuned, judged, compared"),
    "chat": ("chat", "talk to a model"),
    "model": ("model", "write a trained model for other tools"),
    "replay": ("replay", "ask a recorded question again and compare the answers"),
    "recipe": ("recipe", "write how this dataset is made to a file that others can use"),
    "stats": ("stats", "what the workspace holds"),
    "undo": ("undo", "take the last act back"),
    "redo": ("redo", "do the act that was undone again"),
    "verify": ("verify", "check every row against its hash"),
    "backup": ("backup", "copy a workspace, in use or not"),
    "demo": ("demo", "show the main job in a scratch workspace"),
}
"""Name -> (module in this package, one line for --help)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong usage, 3 stopped by a limit before the quota,
    4 workspace refused, 75 workspace busy, 130 interrupted. Never raises but for bugs."""
    prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with stopping.interruptible():
            code = _dispatch(words)
            sys.stdout.flush()
            return code
    except Failed as failure:
        return fail(failure, json_wanted="--json" in words)
    except (KeyboardInterrupt, stopping.Interrupted):
        print("pairsmith: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return end_output()
    except SystemExit as ending:  # argparse: --help, --version and wrong usage
        return ending.code if isinstance(ending.code, int) else 2


def _dispatch(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return run_command(words[0], words[1:])
    arguments = _top_parser().parse_args(words)
    return _application(arguments.workspace)


def run_command(name: str, words: list[str]) -> int:
    """Run one command; its exit code. Raises Failed for what a user can cause."""
    module = importlib.import_module(f".{COMMANDS[name][0]}", __package__)
    parser = Parser(
        prog=f"pairsmith {name}",
        description=module.__doc__,
        epilog=f"example:\n{_indented(module.EXAMPLE)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    from .errors import reported

    with reported():
        arguments = parser.parse_args(words)
    with reported(getattr(arguments, "workspace", None)):
        return int(module.run(arguments))


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    lines = "\n".join(f"  {name:<{width}}{line}" for name, (_, line) in COMMANDS.items())
    parser = _TopParser(
        prog="pairsmith",
        usage="pairsmith [WORKSPACE]\n       pairsmith COMMAND ...",
        description="Make an instruction-tuning dataset, and a small model out of it, on your own machine.",
        epilog=f"commands (each has --help with an example, and --json):\n{lines}\n\n"
        "example:\n  pairsmith new git.pairsmith --domain 'Git commands in plain language'\n"
        "  pairsmith generate git.pairsmith --pairs 100",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "workspace", nargs="?", metavar="WORKSPACE", help="open this workspace in the application"
    )
    parser.add_argument("--version", action=_Version, help="show the version and leave")
    return parser


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise Failed(message, 2, advice=f"See {self.prog} --help", kind="usage")


class _TopParser(Parser):
    """Says which command was probably meant where a word is none."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        words = list(args or ())
        if words and not words[0].startswith("-"):
            near = difflib.get_close_matches(words[0].lower(), COMMANDS, n=1)
            if len(words) > 1 or (near and not Path(words[0]).exists()):
                meant = f"; did you mean {near[0]}?" if near else "; pairsmith --help lists the commands"
                self.error(f"{one_line(words[0], 60)} is not a command{meant}")
        return super().parse_args(words, namespace)


class _Version(argparse.Action):
    """--version, without importing importlib.metadata for anything else."""

    def __init__(self, option_strings: list[str], dest: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pairsmith {version('pairsmith')}")
        parser.exit(0)


def _application(workspace: str | None) -> int:
    if (
        importlib.util.find_spec("pairsmith.tui") is None
        or importlib.util.find_spec("pairsmith.tui.app") is None
    ):
        return _from_the_shell("This copy of Pairsmith comes without the application", workspace)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _from_the_shell("The application needs a terminal, and here is none", workspace)
    from .errors import reported

    with reported(), stopping.left_to_others():
        start = importlib.import_module("pairsmith.tui.start")
        return int(start.main(workspace) or 0)


def _from_the_shell(why: str, workspace: str | None) -> int:
    name = one_line(workspace) if workspace else "my.pairsmith"
    rows = [
        (f"pairsmith new {name} --domain 'what the dataset is about'", "make a workspace"),
        (f"pairsmith generate {name} --pairs 50", "make pairs"),
        (f"pairsmith stats {name}", "see what is there"),
        ("pairsmith demo", "watch the main job in a scratch workspace"),
        ("pairsmith --help", "all commands"),
    ]
    if workspace is not None and os.path.exists(workspace):
        del rows[0]
    print("\n".join([f"{why}; everything works from the shell:", *(f"  {row}" for row in table(rows))]))
    return 0


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
