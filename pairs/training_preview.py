"""Before a run is started: what it would cost, and its first batch as people can read it. Nothing is stored."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from pairsmith.backends.registry import Settings

from .store.workspace import Workspace
from .training_child import ChildEvent, TrainingFailed, models_folder, run_plain, run_verb
from .training_choice import Choice, choose_and_split
from .training_folder import write_run_folder
from .training_settings import TrainSettings, located_base


@contextlib.asynccontextmanager
async def preview_folder(
    workspace: Workspace, backends: Settings, settings: TrainSettings, judge: str | None
) -> AsyncIterator[tuple[Path, Choice]]:
    """A run's folder for the time of a block. Raises PairsmithError where there is nothing to train on."""
    base = await asyncio.to_thread(located_base, settings.base, backends.home)
    choice = await choose_and_split(workspace, settings, judge)
    places = {"base": base, "models_dir": str(models_folder(backends.home)), "offline": True}
    with tempfile.TemporaryDirectory(prefix="pairsmith-", ignore_cleanup_errors=True) as place:
        folder = Path(place) / "run"
        config = {**settings.config, **places}
        await workspace.aread(lambda conn: write_run_folder(conn, folder, config, choice.sides))
        try:
            yield folder, choice
        except TrainingFailed as error:
            if error.kind != "offline" or workspace.local_only:
                raise
            advice = "A look ahead downloads nothing: the training itself does, once"
            raise TrainingFailed(error.message, advice, kind=error.kind) from error


async def estimate(
    workspace: Workspace, backends: Settings, settings: TrainSettings, judge: str | None = None
) -> tuple[ChildEvent, Choice]:
    """Steps, tokens, truncated examples, memory needed and free. Raises TrainingFailed."""
    async with preview_folder(workspace, backends, settings, judge) as (folder, choice):
        return await run_verb(["estimate", folder]), choice


async def first_batch(
    workspace: Workspace, backends: Settings, settings: TrainSettings, judge: str | None = None
) -> ChildEvent:
    """The first batch as values: prompts, token ids, shifted targets, masks. Raises TrainingFailed."""
    async with preview_folder(workspace, backends, settings, judge) as (folder, _):
        done = await run_verb(["show-batch", folder, "--json"])
        batch = done["batch"]
        assert isinstance(batch, dict)
        return batch


async def first_batch_text(
    workspace: Workspace, backends: Settings, settings: TrainSettings, judge: str | None = None
) -> str:
    """The same for people. Raises TrainingFailed."""
    async with preview_folder(workspace, backends, settings, judge) as (folder, _):
        return await run_plain(["show-batch", folder])
