"""List the topics of a workspace, ask the generator for more, or change them by hand."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.limits import LimitReached
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.errors import TopicError
from pairsmith.pairs.store.topics import Topic, add_topic, list_topics, prune_topic, rename_topic, set_quota
from pairsmith.pairs.store.workspace import Workspace

from .arguments import add_limits, add_workspace, limits, model, whole
from .environment import Choice, add_backend_arguments, check_usable, present_generator, read_environment
from .opening import opened
from .output import Failed, counted, note, say, table

EXAMPLE = """
pairsmith topics git.pairsmith --count 5 --generator ollama:llama3.1
pairsmith topics git.pairsmith --add 'Merging' --add 'Rebasing'
pairsmith topics git.pairsmith --rename 3 'Resolving conflicts' --quota 3 200 --prune 4
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("--count", type=whole, metavar="N", help="ask the generator for N more topics")
    parser.add_argument(
        "--add", action="append", default=[], metavar="NAME", help="add a topic (may be repeated)"
    )
    parser.add_argument(
        "--under", type=whole, metavar="ID", help="the topic under which --add puts the new ones"
    )
    parser.add_argument(
        "--prune", action="append", default=[], type=whole, metavar="ID", help="take a topic out; pairs stay"
    )
    parser.add_argument("--rename", action="append", default=[], nargs=2, metavar=("ID", "NAME"))
    parser.add_argument(
        "--quota",
        action="append",
        default=[],
        nargs=2,
        metavar=("ID", "N"),
        help="its share of each run, in proportion to the others' quotas ('even' takes the quota away)",
    )
    parser.add_argument(
        "--generator",
        type=model,
        metavar="BACKEND:MODEL",
        help="who is asked; becomes the workspace's generator",
    )
    add_backend_arguments(parser)
    add_limits(parser)


def run(arguments: Namespace) -> int:
    """Change and list. Raises TopicError, and with --count what generating raises."""
    changes = [(int_of(number), text) for number, text in arguments.rename]
    quotas = [(int_of(number), None if text == "even" else int_of(text)) for number, text in arguments.quota]
    if arguments.under is not None and not arguments.add:
        raise Failed("--under needs --add NAME", 2, kind="usage")
    with opened(arguments) as workspace:

        def change(conn: sqlite3.Connection) -> None:
            for topic_id, name in changes:
                rename_topic(conn, topic_id, name)
            for topic_id, quota in quotas:
                set_quota(conn, topic_id, quota)
            for topic_id in arguments.prune:
                prune_topic(conn, topic_id)
            for name in arguments.add:
                add_topic(conn, name, parent_id=arguments.under)

        if changes or quotas or arguments.prune or arguments.add:
            workspace.write(change)
        suggested: list[str] = []
        code = 0
        if arguments.count is not None or arguments.generator is not None:
            suggested, code = _suggest(workspace, arguments)
        topics = workspace.read(list_topics)
    data = {"suggested": suggested, "topics": [topic_data(topic) for topic in topics]}
    say(arguments, lambda: _lines(topics, suggested), data)
    return code


def int_of(text: str) -> int:
    """A topic's number or a quota. Raises TopicError."""
    try:
        return int(text)
    except ValueError:
        raise TopicError(
            f"{one_line(text, 40)!r} is not a number", "pairsmith topics WORKSPACE lists them"
        ) from None


def _suggest(workspace: Workspace, arguments: Namespace) -> tuple[list[str], int]:
    environment = read_environment(arguments, workspace)
    wanted = arguments.generator or present_generator(workspace, environment)
    (spec,) = check_usable([wanted], environment)
    choice = Choice(
        workspace,
        {"generator": spec if arguments.generator else None, "base_url": arguments.base_url},
    )
    choice.store()
    if arguments.count is None:
        return [], 0
    from pairsmith.pairs.topic_suggestions import add_suggested_topics

    try:
        names = asyncio.run(
            add_suggested_topics(
                workspace,
                environment.settings,
                arguments.count,
                limits=limits(arguments),
                generator=environment.user.generator,
                on_wait=note,
            )
        )
    except LimitReached as reached:
        note(f"stopped: the limit of {reached.what} is reached")
        return [], 3
    except BaseException:
        choice.take_back()
        raise
    if len(names) < arguments.count:
        note(f"the generator named {counted(len(names), 'new topic')}, not {arguments.count}")
        return names, 3
    return names, 0


def topic_data(topic: Topic) -> dict[str, Any]:
    """A topic for --json."""
    return {
        "id": topic.id,
        "name": topic.name,
        "path": list(topic.path),
        "parent": topic.parent_id,
        "quota": topic.quota,
        "pairs": topic.pairs,
        "maker": topic.maker,
    }


def _lines(topics: Sequence[Topic], suggested: Sequence[str]) -> list[str]:
    if not topics:
        return [
            "no topics yet: --count N asks the generator for some, --add NAME adds your own, generate does it itself"
        ]
    rows = [
        (
            str(topic.id),
            "  " * topic.depth + one_line(topic.name, 100),
            counted(topic.pairs, "pair"),
            "" if topic.quota is None else f"quota {topic.quota:,}",
            "new" if topic.name in suggested else "",
        )
        for topic in topics
    ]
    return table(rows, right=(0, 2))
