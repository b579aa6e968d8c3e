"""The train job: choose and split the pairs, write the run's folder, run the child, keep what it says.

The child does the work (docs/training.md); here it becomes a run of the workspace that can be paused, cancelled,
killed and gone on with. What decides the curve is frozen in the folder, so a run goes on with the data it began with.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairsmith.backends.registry import Settings
from pairsmith.backends.text import one_line

from .control import Control
from .errors import UsageError
from .events import Ended, Event, Notice
from .hub_access import token_for_training
from .memory_holders import find_holders, free_memory, may_have_gpu, unload
from .splits import store_sides
from .store.driver import sqlite3
from .store.joblock import JobLock
from .store.runs import (
    Run,
    RunState,
    add_event,
    get_run,
    set_result,
    set_state,
    start_run,
)
from .store.workspace import Workspace
from .training_child import TrainingChild, TrainingFailed, models_folder
from .training_choice import Choice, choose_and_split, find_unfinished
from .training_events import TrainingPlanned, read_training_event
from .training_folder import folder_of, read_config, replace_config, write_run_folder
from .training_result import result_of
from .training_settings import TrainSettings, located_base, settings_of

_HOPELESS = frozenset(
    ["config", "data", "weights", "pickle", "vocabulary", "offline", "not_finite", "checkpoint"]
)
"""Causes that a second start of the same run would meet again."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One start. `resume`: go on with the unfinished run of these settings; `judge`: whose scores `where` means."""

    resume: bool = False
    unload: bool = False
    judge: str | None = None
    free: Mapping[str, Any] = field(default_factory=dict)
    """Fields of config.json for this start that change no curve (`training_settings.FREE`)."""


@dataclass(slots=True)
class _Begun:
    run: Run
    folder: Path
    resumed: bool
    pairs: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    sides: Mapping[str, int] = field(default_factory=dict)


class TrainJob:
    """One start of a training run. `settings` None (only with `resume`): those of the newest unfinished run."""

    def __init__(
        self,
        workspace: Workspace,
        backend_settings: Settings,
        settings: TrainSettings | None,
        options: TrainOptions | None = None,
        control: Control | None = None,
    ) -> None:
        self.control = control or Control()
        self._workspace = workspace
        self._backends = backend_settings
        self._options = options or TrainOptions()
        if settings is None and not self._options.resume:
            raise UsageError("no base model is named", "Give --base, such as scratch:tiny")
        self._settings = settings
        self._child: TrainingChild | None = None
        self._cancelled = asyncio.Event()
        self._outcome: Mapping[str, Any] | TrainingFailed | None = None

    @property
    def pid(self) -> int | None:
        """Of the child while it runs."""
        return None if self._child is None else self._child.pid

    def cancel(self) -> None:
        """End at once; what the last checkpoint holds stays, and the run can be gone on with."""
        self._cancelled.set()

    async def events(self) -> AsyncIterator[Event]:
        """Run the job and tell of it; the last event is `Ended`.

        Raises PairsmithError where it could not begin: nothing to train on, no such base, the workspace is busy.
        """
        workspace = self._workspace
        lock = await asyncio.to_thread(JobLock(workspace.path).acquire, "train")
        open_run: int | None = None
        try:
            begun = await self._begin()
            open_run = begun.run.id
            yield TrainingPlanned(
                begun.run.id, begun.folder, begun.resumed, begun.pairs, begun.verdicts, begun.sides
            )
            async for notice in self._make_room(begun):
                yield notice
            async with contextlib.aclosing(self._train(begun)) as told:
                async for event in told:
                    if isinstance(event, Ended):
                        open_run = None
                    yield event
        finally:
            if open_run is not None:
                await asyncio.shield(self._set_state(open_run, "unfinished", "interrupted"))
            lock.release()

    async def _begin(self) -> _Begun:
        workspace, settings = self._workspace, self._settings
        if self._options.resume:
            run = await workspace.aread(lambda conn: find_unfinished(conn, settings))
            return await self._go_on(run)
        assert settings is not None
        base = await asyncio.to_thread(located_base, settings.base, self._backends.home)
        choice = await choose_and_split(workspace, settings, self._options.judge)

        def begin(conn: sqlite3.Connection) -> int:
            store_sides(conn, choice.fresh)
            return start_run(conn, "train", settings.identity())

        run_id = await workspace.awrite(begin)
        run = await workspace.aread(lambda conn: get_run(conn, run_id))
        folder = folder_of(self._backends.home, workspace.id, run.uid)
        try:
            await self._write_folder(folder, base, settings, choice)
        except BaseException as error:
            await asyncio.shield(self._set_state(run_id, "failed", one_line(str(error), 500)))
            raise
        return _Begun(run, folder, False, len(choice.sides), choice.verdicts, choice.counts())

    async def _go_on(self, run: Run) -> _Begun:
        settings = self._settings or settings_of(run)
        folder = folder_of(self._backends.home, self._workspace.id, run.uid)
        base = await asyncio.to_thread(located_base, settings.base, self._backends.home)
        try:
            kept = await asyncio.to_thread(read_config, folder)
        except (OSError, ValueError):
            # Killed before the folder was whole: nothing was trained, so it is made anew.
            choice = await choose_and_split(self._workspace, settings, self._options.judge)
            await self._workspace.awrite(lambda conn: store_sides(conn, choice.fresh))
            await self._write_folder(folder, base, settings, choice)
        else:
            changed = kept | settings.free | dict(self._options.free) | self._places(base)
            changed.pop("version", None)
            await asyncio.to_thread(replace_config, folder, changed)
        await self._set_state(run.id, "running", "")
        return _Begun(run, folder, True)

    async def _write_folder(self, folder: Path, base: str, settings: TrainSettings, choice: Choice) -> None:
        config = {**settings.config, **self._options.free, **self._places(base)}
        await self._workspace.aread(lambda conn: write_run_folder(conn, folder, config, choice.sides))

    def _places(self, base: str) -> dict[str, Any]:
        return {
            "base": base,
            "models_dir": str(models_folder(self._backends.home)),
            "offline": self._workspace.local_only,
        }

    async def _make_room(self, begun: _Begun) -> AsyncIterator[Notice]:
        """On a GPU: what is free, and who holds a model there. With `unload`: everywhere, and they let go."""
        config = await asyncio.to_thread(read_config, begun.folder)
        gpu = may_have_gpu(str(config.get("device", "auto")))
        if not (gpu or self._options.unload):
            return
        lines = await free_memory() if gpu else []
        for line in lines:
            yield await self._notice(begun.run.id, "memory", line)
        if gpu and not lines and not self._options.unload:
            return
        holders = await find_holders(self._backends)
        if self._options.unload:
            for line in await unload(self._backends, holders):
                yield await self._notice(begun.run.id, "memory", line)
            return
        for holder in holders:
            text = f"{holder.who} holds {one_line(holder.model, 80)} in memory: train --unload frees it first"
            yield await self._notice(begun.run.id, "memory", text)

    async def _train(self, begun: _Begun) -> AsyncGenerator[Event, None]:
        resume = begun.resumed
        while True:
            if not (self.control.stopping or self._cancelled.is_set()):
                async with contextlib.aclosing(self._follow(begun, resume)) as told:
                    async for event in told:
                        yield event
            outcome = self._outcome
            state = outcome.get("state") if isinstance(outcome, Mapping) else None
            if state != "paused" or self.control.stopping or self._cancelled.is_set():
                yield await self._end(begun, outcome)
                return
            await self._set_state(begun.run.id, "paused", "paused by the user")
            while self.control.paused and not (self.control.stopping or self._cancelled.is_set()):
                await self._change()
            if self.control.stopping or self._cancelled.is_set():
                yield await self._end(begun, outcome)
                return
            await self._set_state(begun.run.id, "running", "")
            resume = True

    async def _change(self) -> None:
        """Wait until somebody asks for something, a cancellation among it."""
        waiting = {
            asyncio.ensure_future(self.control.change()),
            asyncio.ensure_future(self._cancelled.wait()),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _follow(self, begun: _Begun, resume: bool) -> AsyncGenerator[Event, None]:
        """One child from its start to its end; what came of it is then in `_outcome`."""
        arguments = ["train", str(begun.folder), "--parent-pipe", *(["--resume"] if resume else [])]
        processes = int(begun.run.settings.get("processes", 1))
        child = self._child = TrainingChild(arguments, token=self._token(), processes=processes)
        self._outcome = None
        watching = [
            asyncio.create_task(self._pass_on(child)),
            asyncio.create_task(self._pass_cancel(child)),
        ]
        try:
            async with contextlib.aclosing(child.events()) as lines:
                async for line in lines:
                    if line["event"] == "done":
                        self._outcome = line
                    elif line["event"] == "warning":
                        text = one_line(str(line.get("message", "")), 500)
                        yield await self._notice(
                            begun.run.id, one_line(str(line.get("kind") or "warning"), 40), text
                        )
                    elif (event := read_training_event(begun.run.id, line)) is not None:
                        yield event
        except TrainingFailed as error:
            self._outcome = error
        finally:
            for task in watching:
                task.cancel()
            self._child = None

    def _token(self) -> str | None:
        return token_for_training(self._backends.env, local_only=self._workspace.local_only)

    async def _pass_on(self, child: TrainingChild) -> None:
        """A pause or a stop becomes a checkpoint and the end of the child."""
        while not (self.control.paused or self.control.stopping):
            await self.control.change()
        await _tell(child, "pause")

    async def _pass_cancel(self, child: TrainingChild) -> None:
        await self._cancelled.wait()
        await _tell(child, "cancel")

    async def _end(self, begun: _Begun, outcome: Mapping[str, Any] | TrainingFailed | None) -> Ended:
        state: RunState
        error: TrainingFailed | None = None
        if isinstance(outcome, TrainingFailed):
            error, reason = outcome, str(outcome)
            state = "failed" if outcome.kind in _HOPELESS else "unfinished"
        elif self._cancelled.is_set() or (outcome is not None and outcome.get("state") == "cancelled"):
            state, reason = "unfinished", "cancelled by the user"
        elif outcome is None or outcome.get("state") == "paused":
            state, reason = "paused", "stopped by the user"
        else:
            state, reason = "done", "stopped early" if outcome.get("state") == "stopped_early" else ""
        result = await asyncio.to_thread(
            result_of, begun.folder, outcome if isinstance(outcome, Mapping) else None
        )

        def store(conn: sqlite3.Connection) -> None:
            set_state(conn, begun.run.id, state, one_line(reason, 1000))
            set_result(conn, begun.run.id, result)

        await self._workspace.awrite(store)
        return Ended(begun.run.id, state, reason, None, error)

    async def _set_state(self, run_id: int, state: RunState, reason: str) -> None:
        await self._workspace.awrite(lambda conn: set_state(conn, run_id, state, reason))

    async def _notice(self, run_id: int, kind: str, text: str) -> Notice:
        await self._workspace.awrite(lambda conn: add_event(conn, run_id, kind, text))
        return Notice(kind, text)


async def _tell(child: TrainingChild, command: str) -> None:
    while child.pid is None:
        await asyncio.sleep(0.01)
    await child.send(command)
