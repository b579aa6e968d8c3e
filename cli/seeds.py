"""The seed tasks that Self-Instruct starts from: list them, add some by hand or from a file, take one away."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pairsmith.backends.text import one_line
from pairsmith.pairs.instances import Instance
from pairsmith.pairs.seed_tasks import read_seed_tasks
from pairsmith.pairs.store.seed_tasks import (
    SeedTask,
    StoredSeedTask,
    add_seed_tasks,
    list_seed_tasks,
    remove_seed_task,
    write_seed_task,
)
from pairsmith.pairs.store.workspace import Workspace

from .arguments import add_workspace, path, whole
from .opening import opened
from .output import Failed, counted, say

EXAMPLE = """
pairsmith seeds tasks.pairsmith
pairsmith seeds tasks.pairsmith --file seed_tasks.jsonl
pairsmith seeds tasks.pairsmith --add 'Name three rivers of Asia.' --output 'Ganges, Yangtze, Lena'
pairsmith seeds tasks.pairsmith --remove 7
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--add", metavar="TEXT", help="write a seed task by hand (`undo` takes it back)")
    what.add_argument("--file", type=path, metavar="FILE", help="add those of a seed file that are not there")
    what.add_argument("--remove", type=whole, metavar="ID", help="take one away (`undo` brings it back)")
    parser.add_argument("--input", metavar="TEXT", help="with --add: its instance's input")
    parser.add_argument("--output", metavar="TEXT", help="with --add: its instance's output")
    parser.add_argument("--classification", action="store_true", help="with --add: it is a classification")


def run(arguments: Namespace) -> int:
    """List or change. Raises UsageError, WorkspaceRefused."""
    if arguments.add is None and (arguments.input or arguments.output or arguments.classification):
        raise Failed("--input, --output and --classification belong to --add", 2, kind="usage")
    if arguments.input and not arguments.output:
        raise Failed("an instance needs an --output too", 2, kind="usage")
    changes = arguments.add is not None or arguments.file is not None or arguments.remove is not None
    with opened(arguments, readonly=not changes) as workspace:
        said = _change(arguments, workspace) if changes else ""
        stored = workspace.read(list_seed_tasks)
    data = {
        "seed_tasks": [
            {
                "id": one.id,
                "name": one.task.name,
                "instruction": one.task.instruction,
                "instances": [{"input": i.input, "output": i.output} for i in one.task.instances],
                "is_classification": one.task.is_classification,
                "source": one.task.source,
            }
            for one in stored
        ]
    }
    say(arguments, lambda: [said] if said else [*map(_line, stored), counted(len(stored), "seed task")], data)
    return 0


def _change(arguments: Namespace, workspace: Workspace) -> str:
    if arguments.remove is not None:
        workspace.write(lambda conn: remove_seed_task(conn, arguments.remove))
        return f"removed seed task {arguments.remove}"
    if arguments.file is not None:
        tasks = read_seed_tasks(arguments.file)
        added = workspace.write(lambda conn: add_seed_tasks(conn, tasks))
        return f"added {counted(len(added), 'seed task')}; {len(tasks) - len(added):,} were there already"
    instances = (Instance(arguments.input or "", arguments.output),) if arguments.output else ()
    task = SeedTask(arguments.add, instances, arguments.classification)
    return f"added seed task {workspace.write(lambda conn: write_seed_task(conn, task))}"


def _line(stored: StoredSeedTask) -> str:
    kind = "  (classification)" if stored.task.is_classification else ""
    return f"{stored.id:>5}  {one_line(stored.task.instruction, 100)}{kind}"
