"""A first model for somebody who has none: which one, what it takes, and from where; then it is brought."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pairsmith.pairs.model_download import hub_for_models, is_here
from pairsmith.pairs.recommended_models import RECOMMENDED, HubModel

from ..widgets.meters import size
from .ask import Choice, FormScreen, Values

if TYPE_CHECKING:
    from ..app import PairsmithApp


def get_model_form(app: PairsmithApp) -> FormScreen:
    """Ask which model; below, everything that matters before a byte is downloaded."""

    def chosen(values: Values) -> HubModel:
        return next(model for model in RECOMMENDED if model.id == values["model"])

    async def do(values: Values) -> str | None:
        model = chosen(values)
        around = await app.session.surroundings()
        if await asyncio.to_thread(is_here, model, around.settings.home):
            return f"It is here already: 2 Backends, llama-cpp:{model.id}"
        workspace = app.session.workspace
        local_only = workspace is not None and workspace.local_only
        await asyncio.to_thread(lambda: hub_for_models(around.env, local_only=local_only))
        app.pulls.start_gguf(model)
        app.notify(f"{model.name} is on its way; 2 Backends shows how far it is, and x gives it up")
        return None

    async def say(values: Values) -> str:
        model = chosen(values)
        around = await app.session.surroundings()
        return await asyncio.to_thread(_said, model, around.settings.home)

    options = [(model.id, f"{model.name}, {size(model.bytes)}, {model.licence}") for model in RECOMMENDED]
    intro = (
        "A small open model, brought once from the Hugging Face Hub and run on this machine. Its SHA-256 is"
        " compared with the Hub's; what was interrupted goes on where it stopped."
    )
    return FormScreen(
        "Download a model", [Choice("model", "model", options)], do, say=say, intro=intro,
        hint="← → another one   enter downloads it   esc leaves",
    )  # fmt: skip


def _said(model: HubModel, home: Path) -> str:
    """What a model is and takes (blocking)."""
    if is_here(model, home):
        return f"{model.file} is here already: llama-cpp:{model.id}"
    memory = _memory()
    has = f" (this machine has {size(memory)})" if memory else ""
    return (
        f"{model.about}. {model.repo}, {model.file}: {model.licence}.\n"
        f"It takes about {size(model.memory)} of memory{has} and {size(model.bytes)} of the disk"
        f" ({size(_free(home))} free)."
    )


def _free(home: Path) -> int:
    place = home
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
