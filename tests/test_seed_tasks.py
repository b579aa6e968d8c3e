"""Seed tasks: reading the paper's file and plain lines, clear errors with line numbers, storing, undo."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.instances import Instance
from pairsmith.pairs.seed_tasks import read_seed_tasks
from pairsmith.pairs.store.journal import redo, undo
from pairsmith.pairs.store.seed_tasks import (
    SeedTask,
    add_seed_tasks,
    change_seed_task,
    import_seed_tasks,
    list_seed_tasks,
    remove_seed_task,
    write_seed_task,
)

from .generation import make_workspace
from .pools import seed_rows, write_seeds


def test_the_papers_format_is_read_with_instances_and_kind(tmp_path: Path) -> None:
    tasks = read_seed_tasks(write_seeds(tmp_path / "seed_tasks.jsonl", seed_rows()))
    assert len(tasks) == 175
    assert sum(task.is_classification for task in tasks) == 25
    assert sum(bool(task.instances[0].input) for task in tasks) == 125
    first = tasks[0]
    assert (first.name, first.source, first.is_classification) == ("task_0", "seed_tasks.jsonl", False)
    assert first.instances == (Instance("", seed_rows()[0]["instances"][0]["output"]),)


def test_plain_lines_are_one_instruction_each(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_bytes(
        "\ufeffExplain rain.\r\n\r\n  解释什么是分支  \nName a river.\nexplain  RAIN.\n".encode()
    )
    assert [task.instruction for task in read_seed_tasks(path)] == [
        "Explain rain.",
        "解释什么是分支",
        "Name a river.",
    ]


def test_only_the_instruction_is_needed(tmp_path: Path) -> None:
    path = write_seeds(tmp_path / "s.jsonl", [{"instruction": "Name a river."}])
    assert read_seed_tasks(path) == [SeedTask("Name a river.", source="s.jsonl")]


GOOD = json.dumps({"instruction": "Name a river."})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Name a lake.", "line 3: not JSON"),
        ("7", "line 3: not a JSON object"),
        ('{"task": "x"}', "line 3: has no 'instruction'"),
        ('{"instruction": 7}', "line 3: 'instruction' is not a text"),
        ('{"instruction": "  "}', "line 3: the instruction is empty"),
        ('{"instruction": "x", "instances": {}}', "line 3: 'instances' is not a list"),
        ('{"instruction": "x", "instances": [{"input": "a"}]}', "line 3: an instance is not"),
        ('{"instruction": "x", "is_classification": "yes"}', "line 3: 'is_classification'"),
        ("[" * 100_000, "line 3: not JSON"),
        ('{"instruction": ' + "9" * 6000 + "}", "line 3: not JSON"),
        (json.dumps({"instruction": "x" * 100_001}), "line 3: the instruction has more than 100,000"),
    ],
)
def test_a_line_that_is_no_seed_task_is_named_by_its_number(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        read_seed_tasks(path)
    assert f"seeds.jsonl, {said}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no seed tasks"),
        (b" \n\n", "no seed tasks"),
        (b"\xff\xfe", "UTF-8"),
        (b"[\n{}]", "line 1: a JSON array"),
    ],
)
def test_a_file_that_is_no_seed_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "seeds"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_seed_tasks(path)


@pytest.mark.parametrize("name", ["nothing", "", "a\0b"])
def test_a_file_that_cannot_be_read_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read|JSON lines"):
        read_seed_tasks(tmp_path / name)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seeds"
        path.write_bytes(content)
        said = ""
        try:
            tasks = read_seed_tasks(path)
        except UsageError as error:
            tasks, said = [], str(error)
    assert "\n" not in said
    assert bool(tasks) != bool(said)
    assert all(task.instruction.strip() for task in tasks)


def test_a_seed_that_is_stored_already_is_not_stored_again(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        tasks = [SeedTask("Name a river.", (Instance("", "Nile"),)), SeedTask("Explain rain.")]
        assert len(workspace.write(lambda conn: add_seed_tasks(conn, tasks))) == 2
        assert workspace.write(lambda conn: add_seed_tasks(conn, [SeedTask("name a  RIVER.")])) == []
        assert [stored.task for stored in workspace.read(list_seed_tasks)] == tasks


def test_what_is_written_by_hand_can_be_undone_and_done_again(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        seed_id = workspace.write(lambda conn: write_seed_task(conn, SeedTask("Name a river.")))
        workspace.write(undo)
        assert workspace.read(list_seed_tasks) == []
        workspace.write(redo)
        assert [stored.id for stored in workspace.read(list_seed_tasks)] == [seed_id]
        workspace.write(lambda conn: remove_seed_task(conn, seed_id))
        assert workspace.read(list_seed_tasks) == []
        workspace.write(undo)
        assert len(workspace.read(list_seed_tasks)) == 1


def test_a_removed_seed_comes_back_with_the_file(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        task = SeedTask("Name a river.")
        (seed_id,) = workspace.write(lambda conn: add_seed_tasks(conn, [task]))
        workspace.write(lambda conn: remove_seed_task(conn, seed_id))
        assert workspace.write(lambda conn: add_seed_tasks(conn, [task])) == [seed_id]
        assert len(workspace.read(list_seed_tasks)) == 1


@pytest.mark.parametrize("text", ["", "  ", "x" * 100_001, "Name a RIVER."])
def test_by_hand_an_empty_a_too_long_and_a_repeated_one_are_refused(text: str, tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: write_seed_task(conn, SeedTask("Name a river.")))
        with pytest.raises(UsageError):
            workspace.write(lambda conn: write_seed_task(conn, SeedTask(text)))
        assert len(workspace.read(list_seed_tasks)) == 1


def test_removing_one_that_is_not_there_is_said(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace, pytest.raises(UsageError, match="no seed task 7"):
        workspace.write(lambda conn: remove_seed_task(conn, 7))


def test_another_text_is_one_act_and_undo_brings_the_first_back(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        first = SeedTask("Name a river.", (Instance("", "Nile"),))
        seed_id = workspace.write(lambda conn: write_seed_task(conn, first))
        changed = SeedTask("Name a river.", (Instance("Asia", "Ob"),), True)
        assert workspace.write(lambda conn: change_seed_task(conn, seed_id, changed)) == seed_id
        assert tasks_of(workspace) == [changed]
        other = SeedTask("Name a lake.", (Instance("", "Onega"),))
        workspace.write(lambda conn: change_seed_task(conn, seed_id, other))
        assert tasks_of(workspace) == [other]
        for wanted in ([changed], [first], []):
            workspace.write(undo)
            assert tasks_of(workspace) == wanted
        for wanted in ([first], [changed], [other]):
            workspace.write(redo)
            assert tasks_of(workspace) == wanted


def test_a_change_to_what_another_seed_says_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: add_seed_tasks(conn, [SeedTask("One."), SeedTask("Two.")]))
        before = workspace.read(list_seed_tasks)
        with pytest.raises(UsageError, match="says the same"):
            workspace.write(lambda conn: change_seed_task(conn, before[0].id, SeedTask("two.")))
        assert workspace.read(list_seed_tasks) == before
        assert workspace.write(undo) is None


def test_an_import_is_one_act_and_nothing_where_all_are_there(tmp_path: Path) -> None:
    with make_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: add_seed_tasks(conn, [SeedTask("One.")]))
        tasks = [SeedTask("one."), SeedTask("Two."), SeedTask("Three."), SeedTask("two.")]
        assert len(workspace.write(lambda conn: import_seed_tasks(conn, tasks, "s.jsonl"))) == 2
        assert workspace.write(lambda conn: import_seed_tasks(conn, tasks, "s.jsonl")) == []
        workspace.write(undo)
        assert [task.instruction for task in tasks_of(workspace)] == ["One."]
        workspace.write(redo)
        assert len(tasks_of(workspace)) == 3


@given(st.lists(st.tuples(st.sampled_from("awcidur"), st.integers(0, 3), st.booleans()), max_size=14))
@settings(max_examples=40, deadline=None)
def test_any_acts_undone_to_the_end_leave_the_seeds_that_were_there_and_redone_those_at_the_end(
    acts: list[tuple[str, int, bool]],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, make_workspace(Path(folder)) as workspace:
        workspace.write(lambda conn: add_seed_tasks(conn, [SeedTask("task 0", (Instance("", "first"),))]))
        start = workspace.read(list_seed_tasks)
        for act, number, label in acts:
            task = SeedTask(f"task {number}", (Instance("", f"{act}{number}"),), label)
            with contextlib.suppress(UsageError):
                workspace.write(lambda conn, act=act, number=number, task=task: _act(conn, act, number, task))
        while workspace.write(redo) is not None:
            pass
        end = workspace.read(list_seed_tasks)
        while workspace.write(undo) is not None:
            pass
        assert workspace.read(list_seed_tasks) == start
        while workspace.write(redo) is not None:
            pass
        assert workspace.read(list_seed_tasks) == end


def _act(conn: Any, act: str, number: int, task: SeedTask) -> None:
    known = [seed.id for seed in list_seed_tasks(conn)]
    here = known[number % len(known)] if known else 0
    if act in "aw":
        write_seed_task(conn, task)
    elif act == "c":
        change_seed_task(conn, here, task)
    elif act == "i":
        import_seed_tasks(conn, [task, SeedTask(f"task {number + 1}")], "s")
    elif act == "d":
        remove_seed_task(conn, here)
    elif act == "u":
        undo(conn)
    else:
        redo(conn)


def tasks_of(workspace: Any) -> list[SeedTask]:
    return [stored.task for stored in workspace.read(list_seed_tasks)]
