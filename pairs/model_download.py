"""Bringing a GGUF model from the Hub: free room is looked at first, what was interrupted goes on, SHA-256 is compared.

What arrives lies beside the models until it is whole, so that nothing ever finds half a file there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from .errors import UsageError
from .hub_access import HubAccess, find_access
from .hub_process import TIMEOUT_S, HubFailed, Note, Tell, explained, run_job
from .recommended_models import HubModel
from .store.errors import from_os


def models_place(home: Path) -> Path:
    """The folder where `llama-cpp:` looks for models of ours."""
    return home / "models"


def is_here(model: HubModel, home: Path) -> bool:
    """Whether it was brought already (blocking)."""
    return (models_place(home) / model.file).is_file()


def hub_for_models(env: Mapping[str, str], *, local_only: bool) -> HubAccess:
    """The Hub to bring models from. Raises what `find_access` raises, UsageError in a local-only workspace."""
    if local_only:
        raise UsageError(
            "this workspace is local-only, and the Hub is outside this machine",
            "Bring the model while another workspace is open, or none: it is there for all of them then",
        )
    return find_access(env, local_only=False)


def bring_model(
    model: HubModel,
    access: HubAccess,
    home: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    tell: Tell = lambda what, done, total: None,
    note: Note = lambda text: None,
    check: Callable[[], None] = lambda: None,
) -> Path:
    """Download a model (blocking); its file. What `check` raises gives up; what has arrived is kept then.

    Raises HubFailed (no connection, no room, another checksum, ...), PairsmithError for what the disk refuses.
    """
    target = models_place(home) / model.file
    if target.is_file():
        return target
    parts = home / "hub" / "models" / model.repo.replace("/", "--")
    job = {
        "job": "model",
        "repo": model.repo,
        "revision": None,
        "file": model.file,
        "folder": str(parts.absolute()),
    }
    try:
        parts.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        done = run_job(job, access, timeout_s=timeout_s, tell=tell, note=note, check=check)
        # Where the models lie on another disk a move is a copy, and half a copy must not be found either.
        whole = target.with_name(f".{target.name}.part")
        shutil.move(str(done["path"]), whole)
        whole.replace(target)
        shutil.rmtree(parts, ignore_errors=True)
    except HubFailed as failed:
        raise _explained(failed, access, model) from None
    except OSError as error:
        raise from_os(error, target) from error
    return target


def _explained(failed: HubFailed, access: HubAccess, model: HubModel) -> HubFailed:
    facts = failed.facts
    if failed.kind == "no_room":
        needed, free = int(facts.get("needed") or 0), int(facts.get("free") or 0)
        return HubFailed(
            failed.kind,
            f"{model.name} needs {needed / 1e9:.2f} GB more of the disk, and {free / 1e9:.2f} GB are free",
            "Make room, or take a smaller model; nothing was downloaded now",
            facts,
        )
    if failed.kind == "busy":
        return HubFailed(failed.kind, f"another Pairsmith is bringing {model.file}", "Wait for it", facts)
    if failed.kind == "no_file":
        return HubFailed(
            failed.kind, f"{model.repo} has no file {model.file} any more", "Take another model", facts
        )
    if failed.kind == "no_checksum":
        return HubFailed(
            failed.kind,
            f"the Hub names no SHA-256 of {model.file}: it is not downloaded",
            "Take another model",
            facts,
        )
    return explained(failed, access, model.repo, writing=False)
