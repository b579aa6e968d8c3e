"""The train job with its real child on the CPU: folder, split, events, result; pauses, kills, resumes, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs import memory_holders
from pairsmith.pairs.control import Control
from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.events import Ended, Event, Notice
from pairsmith.pairs.splits import store_sides, stored_sides
from pairsmith.pairs.store.errors import WorkspaceBusy
from pairsmith.pairs.store.joblock import JobLock
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pairs
from pairsmith.pairs.store.runs import Run, get_run, list_runs
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.train_job import TrainJob, TrainOptions, choose_and_split
from pairsmith.pairs.training_child import TrainingChild, TrainingFailed
from pairsmith.pairs.training_events import (
    TrainingPlanned,
    TrainingSample,
    TrainingStarted,
    TrainingStep,
    TrainingValidation,
)
from pairsmith.pairs.training_folder import folder_of, read_config, read_items
from pairsmith.pairs.training_settings import canonical_base

from .servers.ollama import OllamaServer
from .stores import python
from .trained import backends_of, colour_texts, colour_workspace, ended, tiny, train

LONG = {"epochs": 200, "sample_tokens": 0, "validate_every": 50, "checkpoint_every": 20}
"""Long enough to be interrupted, saved often enough to be gone on with."""
SHORT = {"epochs": 4, "sample_tokens": 0, "validate_every": 10, "checkpoint_every": 5}


@dataclass(frozen=True)
class Done:
    workspace: Workspace
    home: Path
    events: list[Event]
    run: Run
    folder: Path


def run_of(workspace: Workspace, run_id: int) -> Run:
    return workspace.read(lambda conn: get_run(conn, run_id))


def folder(workspace: Workspace, home: Path, run: Run) -> Path:
    return folder_of(home, workspace.id, run.uid)


def losses(run: Run) -> dict[int, float]:
    assert run.result is not None
    return dict(run.result["losses"])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """A short run from its start to its end."""
    place = tmp_path_factory.mktemp("done")
    with colour_workspace(place) as workspace:
        events = asyncio.run(train(workspace, place / "home", tiny(epochs=2)))
        run = run_of(workspace, ended(events).run_id)
        yield Done(workspace, place / "home", events, run, folder(workspace, place / "home", run))


def test_a_run_tells_what_it_does_from_first_to_last(done: Done) -> None:
    kinds = [type(event) for event in done.events]
    assert kinds[:2] == [TrainingPlanned, TrainingStarted]
    assert kinds[2:4] == [TrainingValidation, TrainingSample]
    assert kinds[-1] is Ended
    steps = [event for event in done.events if isinstance(event, TrainingStep)]
    assert [step.step for step in steps] == list(range(1, steps[0].steps + 1))
    assert all(step.tokens_per_s > 0 and step.loss is not None for step in steps)
    started = done.events[1]
    assert isinstance(started, TrainingStarted)
    assert started.base_is_random
    assert "cpu" in started.device
    assert ended(done.events).state == "done"


def test_the_split_is_85_10_5_stored_and_what_the_folder_holds(done: Done) -> None:
    sides = done.workspace.read(stored_sides)
    pairs = done.workspace.read(lambda conn: get_pairs(conn, sorted(sides)))
    for side, share in (("train", 0.85), ("test", 0.10), ("validation", 0.05)):
        rows = read_items(done.folder / f"{side}.jsonl")
        assert [row["id"] for row in rows] == [pair.uid for pair in pairs if sides[pair.id] == side]
        assert abs(len(rows) - 120 * share) <= 1
    assert rows[0].keys() == {"id", "instruction", "input", "output"}


def test_the_result_is_in_the_workspace(done: Done) -> None:
    result = done.run.result
    assert result is not None
    assert (done.run.kind, done.run.state) == ("train", "done")
    assert result["published"]
    assert (done.folder / "model" / "model.safetensors").is_file()
    assert result["step"] == result["steps"] == len(result["losses"])
    assert result["validations"][0][0] == 0
    assert result["validations"][-1][3] == result["validation_loss"]
    assert result["samples"][0]["expected"]
    assert result["examples"] == {"train": 102, "validation": 6, "test": 12}
    assert json.loads(json.dumps(result)) == result


async def test_newcomers_do_not_move_who_was_there(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 60) as workspace:
        before = await choose_and_split(workspace, tiny(), None)
        workspace.write(lambda conn: store_sides(conn, before.fresh))
        new = [NewPair(asked, said) for asked, said in colour_texts(40, seed=9)]
        workspace.write(lambda conn: [add_pair(conn, pair) for pair in new])
        after = await choose_and_split(workspace, tiny(), None)
    assert len(after.sides) == 100
    assert {pair: after.sides[pair] for pair in before.sides} == before.sides
    assert after.fresh.keys() == set(range(61, 101))


async def test_only_the_chosen_pairs_are_trained_on(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 60) as workspace:
        workspace.write(lambda conn: decide(conn, range(1, 61, 3), "accepted"))
        workspace.write(lambda conn: decide(conn, range(2, 61, 3), "rejected"))
        chosen = {
            verdict: dict((await choose_and_split(workspace, tiny(verdict=verdict), None)).verdicts)
            for verdict in ("not-rejected", "accepted", "any")
        }
    assert chosen == {
        "not-rejected": {"accepted": 20, "undecided": 20},
        "accepted": {"accepted": 20},
        "any": {"accepted": 20, "undecided": 20, "rejected": 20},
    }


def test_parity_splits_by_file_order_and_ends_with_the_table(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 100) as workspace:
        events = asyncio.run(train(workspace, tmp_path / "home", tiny(parity=True)))
        run = run_of(workspace, ended(events).run_id)
        uids = [pair.uid for pair in workspace.read(lambda conn: get_pairs(conn, list(range(1, 101))))]
        assert workspace.read(stored_sides) == {}
        place = folder(workspace, tmp_path / "home", run)
    by_side = {side: [row["id"] for row in read_items(place / f"{side}.jsonl")] for side in ("train", "test")}
    assert by_side == {"train": uids[:85], "test": uids[85:95]}
    assert run.result is not None
    figures = {row["figure"]: row for row in run.result["table"]}
    assert figures["training set length"] == {
        "figure": "training set length",
        "published": 935,
        "ours": 85.0,
        "difference": -850.0,
    }
    assert "initial training loss" in figures
    assert "judge score" in figures


# ---- kills, pauses, resumes ------------------------------------------------------------------------------------------


async def at_step(job: TrainJob, step: int, act: Callable[[], Any]) -> list[Event]:
    """All events of a start, with something done once when that step is told."""
    events: list[Event] = []
    doing: Any = None
    async for event in job.events():
        events.append(event)
        if isinstance(event, TrainingStep) and event.step >= step and doing is None:
            doing = act() or True
    if asyncio.isfuture(doing):
        await doing
    return events


def once_paused(workspace: Workspace, act: Callable[[], None]) -> asyncio.Task[None]:
    """Do something as soon as the workspace says that its run no longer runs."""

    async def wait() -> None:
        while workspace.read(lambda conn: list_runs(conn, "train"))[0].state == "running":
            await asyncio.sleep(0.02)
        act()

    return asyncio.get_running_loop().create_task(wait())


async def until(events: AsyncIterator[Event], step: int) -> list[Event]:
    """Events up to a step."""
    seen = []
    async for event in events:
        seen.append(event)
        if isinstance(event, TrainingStep) and event.step >= step:
            break
    return seen


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Losses of the SHORT run when nothing interrupts it."""
    place = tmp_path_factory.mktemp("curve")
    with colour_workspace(place, 60) as workspace:
        events = asyncio.run(train(workspace, place / "home", tiny(**SHORT)))
        return losses(run_of(workspace, ended(events).run_id))


async def test_a_killed_child_leaves_a_clear_reason_and_goes_on_with_the_same_curve(
    tmp_path: Path, curve: dict[int, float]
) -> None:
    home = tmp_path / "home"
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(home), tiny(**SHORT))

        def kill() -> None:
            assert job.pid is not None
            os.kill(job.pid, signal.SIGKILL)

        stopped = ended(await at_step(job, 6, kill))
        assert stopped.state == "unfinished"
        assert isinstance(stopped.error, TrainingFailed)
        assert "killed by signal 9" in str(stopped.error)
        assert "--resume" in stopped.error.advice
        assert run_of(workspace, stopped.run_id).state == "unfinished"
        again = await train(workspace, home, tiny(**SHORT), TrainOptions(resume=True))
        run = run_of(workspace, ended(again).run_id)
        assert ended(again).run_id == stopped.run_id
        assert run.state == "done"
        assert isinstance(again[0], TrainingPlanned)
        assert again[0].resumed
        started = next(event for event in again if isinstance(event, TrainingStarted))
        assert started.resumed_from is not None
    assert losses(run) == curve


async def test_a_pause_saves_and_resuming_goes_on_from_there(tmp_path: Path, curve: dict[int, float]) -> None:
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**SHORT), None, control)

        def pause() -> asyncio.Task[None]:
            control.pause()
            return once_paused(workspace, control.resume)

        events = await at_step(job, 3, pause)
        run = run_of(workspace, ended(events).run_id)
    assert ended(events).state == "done"
    assert len([event for event in events if isinstance(event, TrainingStarted)]) == 2
    assert losses(run) == curve


async def test_a_stop_is_a_pause_that_another_start_goes_on_with(tmp_path: Path) -> None:
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**LONG), None, control)
        events = await at_step(job, 3, control.stop)
        assert (ended(events).state, ended(events).error) == ("paused", None)
        run = run_of(workspace, ended(events).run_id)
        assert run.state == "paused"
        assert list((folder(workspace, tmp_path / "home", run) / "checkpoints").glob("step-*"))


async def test_a_cancelled_run_ends_at_once(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**LONG))
        events = await at_step(job, 3, job.cancel)
        assert (ended(events).state, ended(events).reason) == ("unfinished", "cancelled by the user")


async def test_everybody_else_comes_before_the_child() -> None:
    child = TrainingChild(["interval"])  # it waits for its standard input
    lines = child.lines()
    reading = asyncio.ensure_future(anext(lines))
    while child.pid is None:
        await asyncio.sleep(0.01)
    try:
        assert os.getpriority(os.PRIO_PROCESS, child.pid) >= 10
        group = Path(f"/proc/{child.pid}/autogroup")
        if group.exists():
            assert os.sched_getscheduler(child.pid) == os.SCHED_BATCH
            assert group.read_text().split()[-1] == "10"
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await lines.aclose()


async def test_who_stops_listening_ends_the_child_and_frees_the_workspace(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**LONG))
        events = job.events()
        await until(events, 2)
        pid = job.pid
        await events.aclose()  # type: ignore[attr-defined]
        assert pid is not None
        assert not alive(pid)
        (run,) = workspace.read(lambda conn: list_runs(conn, "train"))
        assert (run.state, run.reason) == ("unfinished", "interrupted")
        JobLock(workspace.path).acquire("judge").release()


PARENT = """
import asyncio, sys
from pathlib import Path
from tests.trained import backends_of, tiny
from pairsmith.pairs.store.workspace import open_workspace
from pairsmith.pairs.train_job import TrainJob
from pairsmith.pairs.training_events import TrainingStep

async def main():
    workspace = open_workspace(Path(sys.argv[1]))
    job = TrainJob(workspace, backends_of(Path(sys.argv[2])), tiny(**eval(sys.argv[3])))
    async for event in job.events():
        if isinstance(event, TrainingStep) and event.step == 25:
            print(job.pid, flush=True)

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_child_dies_with_its_killed_parent_and_the_run_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    colour_workspace(tmp_path, 60).close()
    parent = python(PARENT, tmp_path / "w.pairsmith", tmp_path / "home", LONG, cwd=root)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.1)
    assert not alive(pid)
    from pairsmith.pairs.store.workspace import open_workspace

    with open_workspace(tmp_path / "w.pairsmith") as workspace:
        (run,) = workspace.read(lambda conn: list_runs(conn, "train"))
        assert run.state == "running"
        control = Control()
        job = TrainJob(workspace, backends_of(tmp_path / "home"), None, TrainOptions(resume=True), control)
        events = asyncio.run(at_step(job, 1, control.stop))
        started = next(event for event in events if isinstance(event, TrainingStarted))
        assert started.resumed_from in range(20, 1400, 20)  # the child went on until the kill reached it
        assert ended(events).run_id == run.id


async def test_settings_that_change_no_curve_may_change_when_it_goes_on(tmp_path: Path) -> None:
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        await at_step(
            TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**SHORT), None, control), 1, control.stop
        )
        options = TrainOptions(resume=True, free={"accumulate": 2})
        events = await train(workspace, tmp_path / "home", None, options)
        run = run_of(workspace, ended(events).run_id)
        assert run.state == "done"
        assert read_config(folder(workspace, tmp_path / "home", run))["accumulate"] == 2


async def test_a_pause_that_is_taken_back_at_once_loses_nothing(
    tmp_path: Path, curve: dict[int, float]
) -> None:
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**SHORT), None, control)
        events = []
        async for event in job.events():
            events.append(event)
            if isinstance(event, TrainingStep) and event.step == 3:
                control.pause()
                await asyncio.sleep(0.05)
                control.resume()
        assert ended(events).state == "done"
        assert losses(run_of(workspace, ended(events).run_id)) == curve


async def test_a_paused_run_can_be_cancelled(tmp_path: Path) -> None:
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**LONG), None, control)

        def pause() -> asyncio.Task[None]:
            control.pause()
            return once_paused(workspace, job.cancel)

        events = await at_step(job, 3, pause)
        assert (ended(events).state, ended(events).reason) == ("unfinished", "cancelled by the user")


async def test_several_processes_train_together_and_obey_a_stop(tmp_path: Path) -> None:
    settings = tiny(**LONG, device="cpu", batch_size=4)
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        together = replace(settings, processes=2)
        job = TrainJob(workspace, backends_of(tmp_path / "home"), together, None, control)
        events = await at_step(job, 3, control.stop)
        assert (ended(events).state, ended(events).error) == ("paused", None)
        assert run_of(workspace, ended(events).run_id).settings["processes"] == 2


# ---- refusals --------------------------------------------------------------------------------------------------------


async def begin(workspace: Workspace, home: Path, *arguments: Any, **fields: Any) -> None:
    await train(workspace, home, *arguments, **fields)


async def test_what_cannot_begin_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with colour_workspace(tmp_path, 4) as workspace:
        for options, settings, words in (
            (None, tiny(verdict="accepted"), "no pair accepted"),
            (None, tiny(where="verdict == 'rejected'"), "no pair"),
            (TrainOptions(resume=True), None, "no unfinished training run"),
            (TrainOptions(resume=True), tiny(), "no unfinished training run with these settings"),
            (None, tiny(base="embedded", shape=None), "embedded model"),
        ):
            with pytest.raises(PairsmithError, match=words):
                await begin(workspace, home, settings, options)
        with pytest.raises(UsageError, match="no base"):
            TrainJob(workspace, backends_of(home), None)
        assert workspace.read(list_runs) == []
        lock = JobLock(workspace.path).acquire("generate")
        try:
            with pytest.raises(WorkspaceBusy, match=str(os.getpid())):
                await begin(workspace, home, tiny())
        finally:
            lock.release()


@pytest.mark.parametrize(
    "name", ["", "gpt5", "scratch:huge", "scratch:", "nowhere/model.gguf", "./x", "a/b/c"]
)
def test_an_unknown_base_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        canonical_base(name)
    assert "tiny" in str(caught.value)


def test_known_bases_are_taken_as_they_are_and_paths_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    assert canonical_base("m") == str(tmp_path / "m")
    for name in ("gpt2-small", "scratch:xl", "embedded", "openai-community/gpt2"):
        assert canonical_base(name) == name


async def test_a_setting_that_the_child_refuses_ends_the_run_as_failed_usage(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 20) as workspace:
        end = ended(await train(workspace, tmp_path / "home", tiny(dropout=7)))
        assert (end.state, run_of(workspace, end.run_id).state) == ("failed", "failed")
        assert isinstance(end.error, TrainingFailed)
        assert end.error.exit_code == 2
        assert "dropout" in str(end.error)


async def test_a_local_only_workspace_downloads_nothing(tmp_path: Path) -> None:
    with colour_workspace(tmp_path, 20, local_only=True) as workspace:
        end = ended(
            await train(workspace, tmp_path / "home", tiny(base="gpt2-small", shape=None), local_only=True)
        )
        assert isinstance(end.error, TrainingFailed)
        assert end.error.kind == "offline"
        assert "scratch:tiny" in end.error.advice
        run = run_of(workspace, end.run_id)
        assert read_config(folder(workspace, tmp_path / "home", run))["offline"] is True


async def test_weights_with_a_pickle_inside_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "pytorch_model.bin"
    weights.write_bytes(b"\x80\x02}q\x00.")
    with colour_workspace(tmp_path, 20) as workspace:
        settings = tiny(base=canonical_base(str(weights)), shape=None)
        end = ended(await train(workspace, tmp_path / "home", settings))
        assert isinstance(end.error, TrainingFailed)
        assert end.error.kind == "pickle"


async def test_unload_frees_what_ollama_holds_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_holders, "_QUICK_S", 60.0)  # a busy machine answers later
    async with OllamaServer() as server:
        name = next(iter(server.installed))
        server.loaded[name] = (8192, True)
        with colour_workspace(tmp_path, 20) as workspace:
            events = await train(
                workspace, tmp_path / "home", tiny(), TrainOptions(unload=True), ollama_host=server.url
            )
        assert not server.loaded
    notices = [event.text for event in events if isinstance(event, Notice) and event.kind == "memory"]
    assert notices == [f"unloaded {name} from Ollama"]


# ---- odd data --------------------------------------------------------------------------------------------------------


async def test_pairs_with_odd_texts_are_trained_on(tmp_path: Path) -> None:
    """End-of-text spelled out, line separators, escapes, an emoji family, right-to-left text, a very long answer."""
    odd = [
        ("<|endoftext|> repeat", "a<|endoftext|>b"),
        ("line\u2028separator\u0085next", "one\r\ntwo\x1b[31m"),
        ("👩‍👩‍👧 who", "family"),
        ("مرحبا كيف الحال", "جيد"),
        ("long", "word " * 5000),
        ("### Response: inside", '{"a": 1}'),
    ]
    with colour_workspace(tmp_path, 60) as workspace:
        pairs = [NewPair(asked, said) for asked, said in odd]
        workspace.write(lambda conn: [add_pair(conn, pair) for pair in pairs])
        settings = tiny(max_steps=2, vocabulary="bytes", parity=False)
        events = await train(workspace, tmp_path / "home", settings)
        run = run_of(workspace, ended(events).run_id)
        place = folder(workspace, tmp_path / "home", run)
        rows = [
            row for side in ("train", "validation", "test") for row in read_items(place / f"{side}.jsonl")
        ]
    assert run.state == "done"
    assert {(row["instruction"], row["output"]) for row in rows} >= set(odd)
    warned = [event for event in events if isinstance(event, Notice) and event.kind == "truncated"]
    assert len(warned) == 1
    assert run.result is not None
    assert run.result["truncated_tokens"] > 20_000


async def test_a_damaged_folder_is_named_with_its_line(tmp_path: Path) -> None:
    control = Control()
    with colour_workspace(tmp_path, 60) as workspace:
        await at_step(
            TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**SHORT), None, control), 1, control.stop
        )
        (run,) = workspace.read(lambda conn: list_runs(conn, "train"))
        path = folder(workspace, tmp_path / "home", run) / "train.jsonl"
        lines = path.read_text().splitlines()
        lines[3] = lines[3][:-5]
        path.write_text("\n".join(lines))
        end = ended(await train(workspace, tmp_path / "home", None, TrainOptions(resume=True)))
    assert end.state == "failed"
    assert "train.jsonl, line 4" in str(end.error)


async def test_a_child_that_talks_nonsense_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "python"
    stub.write_text(
        "#!/bin/sh\necho not json\necho '[1]'\necho '{\"event\": 5}'\nprintf '\\033[31mboom\\n' >&2\nexit 3\n"
    )
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub))
    with colour_workspace(tmp_path, 20) as workspace:
        end = ended(await train(workspace, tmp_path / "home", tiny()))
    assert end.state == "unfinished"
    assert "exit 3" in str(end.error)
    assert "boom" in str(end.error)
    assert "\x1b" not in str(end.error)


@pytest.mark.faults
async def test_killed_ten_times_at_random_the_curve_is_that_of_an_uninterrupted_run(
    tmp_path: Path, curve: dict[int, float]
) -> None:
    draw = random.Random(7)
    kills = 0
    with colour_workspace(tmp_path, 60) as workspace:
        options = TrainOptions()
        while True:
            job = TrainJob(workspace, backends_of(tmp_path / "home"), tiny(**SHORT), options)
            options = TrainOptions(resume=True)
            kill_after = draw.randrange(1, 12) if kills < 10 else 10**6
            events = []
            async for event in job.events():
                events.append(event)
                if isinstance(event, TrainingStep):
                    kill_after -= 1
                    if kill_after == 0 and job.pid is not None:
                        kills += 1
                        os.kill(job.pid, signal.SIGKILL)
            if ended(events).state == "done":
                break
        assert losses(run_of(workspace, ended(events).run_id)) == curve
        assert kills >= 5
