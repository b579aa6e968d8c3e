"""The trained model as a GGUF file, where `llama-cpp:` finds it; and then as the workspace's generator."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.model_download import models_place
from pairsmith.pairs.store.runs import Run, list_runs
from pairsmith.pairs.tour import note_tuned_file
from pairsmith.pairs.training_runs import base_of, tuned_model_of

from ..working import begin
from .ask import Choice, FormScreen, Text, Values
from .progress import Check, ProgressScreen, Tell

if TYPE_CHECKING:
    from ..app import PairsmithApp

FORMATS = (
    ("gguf-f16", "GGUF, 16 bits: what it was trained to be"),
    ("gguf-q8_0", "GGUF, 8 bits: half the size, hardly worse"),
    ("gguf-f32", "GGUF, 32 bits"),
)


async def tuned_form(app: PairsmithApp, *, first: int | None = None) -> FormScreen:
    """Ask which run (`first`: that one stands there), to which file and in which form, and whether it shall write then.

    Raises PairsmithError.
    """
    workspace = app.session.workspace
    assert workspace is not None
    runs = [
        run for run in await workspace.aread(lambda conn: list_runs(conn, "train")) if run.state == "done"
    ]
    if not runs:
        raise UsageError("no model is trained yet", "6 Train makes one")
    home = (await app.session.backend_settings()).home
    stem = re.sub(r"[^\w.-]+", "-", workspace.path.stem)[:60] or "pairsmith"

    async def do(values: Values) -> str | None:
        run = next(run for run in runs if str(run.id) == values["run"])
        text = values["file"].strip()
        path = Path(text).expanduser().absolute() if text else models_place(home) / f"{stem}-run{run.id}.gguf"
        if path.suffix != ".gguf":
            return "The file's name must end in .gguf"
        model = await asyncio.to_thread(tuned_model_of, home, workspace, run)
        if not text:
            await asyncio.to_thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        begin(app, _write, app, model, path, values["format"], values["use"] == "yes")
        return None

    fields: list[Text | Choice] = [
        Choice("run", "which run", [(str(run.id), _said(run)) for run in runs[:20]], str(first or "")),
        Text("file", "file", "", f"empty: {stem}-run{runs[0].id}.gguf among the models of this machine"),
        Choice("format", "form", FORMATS),
        Choice("use", "then", (("yes", "it writes in this workspace"), ("no", "only the file"))),
    ]
    return FormScreen("Write a trained model to a file", fields, do)


def _said(run: Run) -> str:
    loss = (run.result or {}).get("validation_loss")
    end = f", validation loss {loss:.3f}" if isinstance(loss, float) else ""
    return f"run {run.id}: {one_line(base_of(run), 40)} trained{end}"


async def _write(app: PairsmithApp, model: Path, path: Path, form: str, use: bool) -> None:
    from pairsmith.pairs.model_export import export_model

    def write(tell: Tell, check: Check) -> list[Path]:
        def told(_what: str, done: int, total: int) -> None:
            check()
            tell(done, total)

        return asyncio.run(export_model(model, path, form, path.stem, told))

    work: ProgressScreen[list[Path]] = ProgressScreen(f"Writing {one_line(path.name, 60)}", write, "tensors")
    files = await app.push_screen_wait(work)
    workspace = app.session.workspace
    if not files or workspace is None:
        return
    try:
        await workspace.awrite(lambda conn: note_tuned_file(conn, path))
        if use:
            from .models import take_model

            home = (await app.session.backend_settings()).home
            ours = path.parent == models_place(home)
            await take_model(app, "generator", f"llama-cpp:{path.stem if ours else path}")
        else:
            app.notify(f"Written: {path}. G on it in 2 Backends lets it write")
        await app.look_again()
    except (PairsmithError, BackendError) as error:
        app.notify(str(error), severity="error")
