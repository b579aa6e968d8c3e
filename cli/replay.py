"""Ask a recorded question again and compare: the same text, or where the paths part, and how close it was."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from dataclasses import asdict

from pairsmith.backends.text import one_line, visible
from pairsmith.pairs.replaying import Replay, replay_pair
from pairsmith.pairs.store.pair_rows import get_pair
from pairsmith.pairs.store.workspace import Workspace

from .arguments import add_workspace, whole
from .environment import add_backend_arguments, read_environment
from .opening import opened
from .output import say

EXAMPLE = """
pairsmith replay git.pairsmith 217
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("pair", type=_pair, metavar="PAIR", help="the pair's number")
    add_backend_arguments(parser)


def run(arguments: Namespace) -> int:
    """Replay one pair; 0 where the same text came again, 1 where it did not."""
    with opened(arguments, readonly=True) as workspace:
        replay = asyncio.run(_replay(arguments, workspace))
    say(arguments, lambda: _lines(arguments.pair, replay), {"pair": arguments.pair, **asdict(replay)})
    return 0 if replay.identical else 1


async def _replay(arguments: Namespace, workspace: Workspace) -> Replay:
    pair = await workspace.aread(lambda conn: get_pair(conn, arguments.pair))
    return await replay_pair(workspace, pair, read_environment(arguments, workspace).settings)


def _pair(text: str) -> int:
    if not text.removeprefix("#").isdigit():
        raise ArgumentTypeError("is the number of a pair, like 217")
    return whole(text.removeprefix("#"))


def _lines(pair: int, replay: Replay) -> Iterator[str]:
    if replay.departure is None:
        yield f"pair {pair}: {one_line(replay.model)} wrote the same text again, token for token"
        return
    at = replay.departure
    yield f"pair {pair}: the texts part at token {at['token']} (character {at['character']})"
    yield f"  recorded  {visible(repr(at['recorded']), 80)}  probability {at['recorded_probability']:.4f}"
    yield f"  replayed  {visible(repr(at['replayed']), 80)}  probability {at['replayed_probability']:.4f}"
    if at["gap"] is not None:
        yield f"  their logits are {at['gap']:.2g} apart"
    if not replay.was_alone:
        yield (
            "  the recorded answer was computed beside others, which changes the last bits of the logits: only"
            " answers made alone (PAIRSMITH_LLAMA_REPRODUCIBLE=1) can be promised to come again"
        )
