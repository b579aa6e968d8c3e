"""Talk to a model: one of a backend's, or one that was trained here, in the style that it was trained in. Every line is
a message; an empty line does nothing; /new forgets what was said; /quit or the end of input leaves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from pairsmith.backends.registry import NAMES, open_backend, parse_spec
from pairsmith.backends.text import one_line, visible
from pairsmith.pairs.chat import (
    Answer,
    BackendPartner,
    ChatOptions,
    ChildPartner,
    Partner,
    run_partner,
)
from pairsmith.pairs.store.workspace import open_workspace
from pairsmith.pairs.training_runs import find_run

from .arguments import device, expanded, not_negative, seed, whole
from .environment import Environment, add_backend_arguments, read_environment
from .output import note, say
from .stopping import graceful

EXAMPLE = """
pairsmith chat llama-cpp:/models/qwen.gguf
pairsmith chat git.pairsmith --run 3
echo 'How do I undo a commit?' | pairsmith chat ollama:llama3.2
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("who", metavar="BACKEND:MODEL|WORKSPACE", help="a backend's model, or a workspace")
    parser.add_argument(
        "--run", metavar="ID", help="of a workspace: the model of this training run; default: the newest"
    )
    parser.add_argument("--base", action="store_true", help="the model that this training run started from")
    parser.add_argument("--say", action="append", metavar="TEXT", help="say this and leave; may be repeated")
    parser.add_argument(
        "--system", default="", metavar="TEXT", help="a system message, for a backend's model"
    )
    parser.add_argument("--temperature", type=not_negative, metavar="X", help="0: always the likeliest token")
    parser.add_argument("--max-tokens", type=whole, metavar="N", help="of an answer")
    parser.add_argument("--seed", type=seed, metavar="N", help="for answers that can be repeated")
    parser.add_argument("--device", type=device, default="auto", help="of a trained model; default: auto")
    add_backend_arguments(parser)


def run(arguments: Namespace) -> int:
    """Talk until the input ends. Raises BackendError, TrainingFailed, UsageError."""
    environment = read_environment(arguments)
    partner = _partner(arguments, environment)
    turns: list[dict[str, Any]] = []
    with asyncio.Runner() as runner:
        try:
            if isinstance(partner, ChildPartner):
                started = runner.run(partner.start())
                style = one_line(str(started.get("prompt_style")), 20)
                note(f"{partner.name}: {style} style, on {one_line(str(started.get('device')), 80)}")
            for text in _messages(arguments):
                if text == "/new":
                    runner.run(partner.close())
                    partner = _partner(arguments, environment)
                    continue
                turns.append(_turn(runner, partner, text, quiet=arguments.json))
        finally:
            runner.run(partner.close())
    if arguments.json:
        say(arguments, list, {"with": partner.name, "turns": turns})
    return 0


def _partner(arguments: Namespace, environment: Environment) -> Partner:
    options = ChatOptions(arguments.system, arguments.temperature, arguments.max_tokens, arguments.seed)
    name = arguments.who.partition(":")[0].strip().lower().replace("_", "-")
    if arguments.run is None and not arguments.base and name in NAMES and ":" in arguments.who:
        return BackendPartner(open_backend(parse_spec(arguments.who), environment.settings), options)
    path = expanded(arguments.who)
    if arguments.run is None and not path.exists() and ":" in arguments.who:
        parse_spec(arguments.who)  # says which backends there are
    workspace = open_workspace(path, readonly=True)
    try:
        found = workspace.read(lambda conn: find_run(conn, arguments.run))
        home = environment.settings.home
        return run_partner(home, workspace, found, options, base=arguments.base, device=arguments.device)
    finally:
        workspace.close()


def _messages(arguments: Namespace) -> Iterator[str]:
    """What the user says, one message a line."""
    if arguments.say:
        yield from (text.strip() for text in arguments.say if text.strip())
        return
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() a history and line editing
    while True:
        try:
            line = input("> ") if terminal else sys.stdin.readline()
        except (EOFError, UnicodeDecodeError):
            return
        if not line and not terminal:
            return
        text = line.strip()
        if text in ("/quit", "/exit"):
            return
        if text:
            yield text


def _turn(runner: asyncio.Runner, partner: Partner, text: str, *, quiet: bool) -> dict[str, Any]:
    """One question and its answer, shown as it comes. An interrupt gives the answer up."""

    async def talk() -> Answer | None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        answer: Answer | None = None

        def give_up() -> None:
            loop.call_soon_threadsafe(task.cancel)

        with graceful(give_up):
            async with contextlib.aclosing(partner.reply(text)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Answer):
                        answer = piece
                    elif not quiet:
                        sys.stdout.write(visible(piece))
                        sys.stdout.flush()
        return answer

    try:
        answer = runner.run(talk())
    except asyncio.CancelledError:
        answer = None
    if not quiet:
        print(flush=True)
    if answer is None:
        note("(given up)")
        return {"asked": text, "answer": None}
    if answer.finish_reason == "length":
        note("(cut off: --max-tokens N allows more)")
    return {
        "asked": text,
        "answer": answer.text,
        "tokens": answer.tokens,
        "finish_reason": answer.finish_reason,
    }
