"""Pushing a dataset or a tuned model to the Hugging Face Hub: staged here, looked through for keys, sent in one commit.

Everything is made anew for every push and comes out the same, so that a push that was cut goes on where it stopped:
what the Hub's store holds already is recognised by its hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .chosen_pairs import verdicts_said
from .export_formats import HUB
from .export_settings import ExportSettings, check_licence
from .exporting import ExportReport, export_pairs
from .hub_access import HubAccess
from .hub_names import check_repo
from .hub_process import TIMEOUT_S, HubFailed, Note, Tell, explained, run_job
from .manifest import BEGINS
from .manifest import NAME as MANIFEST
from .model_card import public_base, write_model_card
from .model_export import export_model
from .published import sweep
from .secret_scan import Scan
from .store.errors import refusals_of_os
from .store.publish import temporary_name
from .store.workspace import Workspace
from .training_runs import base_of, config_of, find_run, tuned_model_of

_DATASET_STALE = r"data/(train|validation|test)-\d{5}-of-\d{5}\.parquet"
_MODEL_STALE = r"[^/]+\.gguf"
_MODEL_MARK = "pairsmith.json"
_TEXTS = (".json", ".md", ".txt")
_VOCABULARY = ("vocab.json", "merges.txt", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that is to be uploaded: its path in the repository, where it lies here, bytes."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Staged:
    """What would be uploaded. `mark`: the file that says that a repository is ours, `begins`: how ours begins; `stale`:
    what a new push replaces though its name is another one."""

    repo: str
    repo_type: str
    files: tuple[StagedFile, ...]
    said: str
    mark: str
    stale: str
    report: ExportReport | None = None
    begins: str = ""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of it. `sent`: bytes that the Hub's store lacked; `changed`: False where all was there already."""

    url: str
    commit: str
    changed: bool
    made: bool
    sent: int
    private: bool
    notes: tuple[str, ...] = field(default=())


@contextlib.contextmanager
def staging(home: Path) -> Iterator[Path]:
    """A folder to stage in, removed afterwards; so is what a killed push left behind. Raises PairsmithError."""
    path = home / "hub" / "push"
    temporary = temporary_name(path)
    try:
        with refusals_of_os(temporary):
            temporary.mkdir(parents=True)
            sweep(path)
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def stage_dataset(
    workspace: Workspace,
    folder: Path,
    repo: str,
    settings: ExportSettings,
    scan: Scan,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> Staged:
    """Write what a dataset's repository will hold, looking every row through for keys (blocking).

    Raises UsageError for a bad name or choice, PairsmithError where nothing is chosen.
    """
    target = folder / check_repo(repo).partition("/")[2]
    chosen = replace(settings, format=HUB.name, spreadsheet=False, card=False)
    report = export_pairs(workspace, target, chosen, look=scan.pair, progress=progress, check=check)
    scan.file(target / "README.md", "the dataset card", shapes=True)
    said = verdicts_said(report.pairs, report.verdicts)
    return Staged(repo, "dataset", _files(target), said, MANIFEST, _DATASET_STALE, report, BEGINS)


def stage_model(
    workspace: Workspace,
    folder: Path,
    repo: str,
    run: str | None,
    home: Path,
    scan: Scan,
    *,
    licence: str = "",
    tell: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> Staged:
    """Write what a tuned model's repository will hold: safetensors, GGUF, tokenizer, card (blocking).

    `run`: number or beginning of the uid of a training run; None: the newest that is done. `licence`: for the card.
    Raises UsageError, PairsmithError where its model is not here, TrainingFailed.
    """
    check_licence(licence)
    name = check_repo(repo).partition("/")[2]
    found = workspace.read(lambda conn: find_run(conn, run))
    model = tuned_model_of(home, workspace, found)
    target = folder / name

    def told(what: str, done: int, total: int) -> None:
        check()
        tell(done, total)

    async def write() -> None:
        await export_model(model, target, "safetensors", name, told)
        check()
        await export_model(model, target / f"{name}.gguf", "gguf-f16", name, told)

    asyncio.run(write())
    # The export's own notes name the folder on this machine; its manifest is of the notes too, and the Hub has hashes.
    style = str(config_of(found).get("prompt_style", "alpaca"))
    base = public_base(base_of(found))
    notes = {"prompt_style": style, "run": found.uid, **({"base": base} if base else {})}
    (target / _MODEL_MARK).write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8", newline="\n")
    (target / "MANIFEST.json").unlink(missing_ok=True)
    names = [file.name for file in _files(target)]
    card = workspace.read(lambda conn: write_model_card(conn, found, repo, names, licence))
    (target / "README.md").write_text(card, encoding="utf-8", newline="\n")
    files = _files(target)
    for file in files:
        check()
        texts = file.name.endswith(_TEXTS) and file.name not in _VOCABULARY
        scan.file(file.path, file.name, shapes=texts)
    return Staged(repo, "model", files, f"the model of run {found.id}", _MODEL_MARK, _MODEL_STALE)


def _files(folder: Path) -> tuple[StagedFile, ...]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(StagedFile(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in paths)


def push(
    staged: Staged,
    access: HubAccess,
    *,
    private: bool = True,
    timeout_s: float = TIMEOUT_S,
    tell: Tell = lambda what, done, total: None,
    note: Note = lambda text: None,
    check: Callable[[], None] = lambda: None,
) -> Pushed:
    """Make the repository hold exactly what is staged, in one commit (blocking). A second call sends what is missing.

    Nothing of anybody else's is replaced: a repository that Pairsmith did not fill is refused, and so is one that is
    public where `private` is wanted. Raises HubFailed, and what `check` raises.
    """
    notes: list[str] = []

    def noted(text: str) -> None:
        if text not in notes and len(notes) < 20:
            notes.append(text)
        note(text)

    job = {
        "job": "upload",
        "repo": staged.repo,
        "repo_type": staged.repo_type,
        "private": private,
        "files": [{"name": file.name, "path": str(file.path), "size": file.size} for file in staged.files],
        "mark": staged.mark,
        "begins": staged.begins,
        "stale": staged.stale,
        "message": f"{staged.said[:1].upper()}{staged.said[1:]}, with Pairsmith",
    }
    try:
        done = run_job(job, access, timeout_s=timeout_s, tell=tell, note=noted, check=check)
    except HubFailed as failed:
        raise explained(failed, access, staged.repo, writing=True) from None
    return Pushed(
        url=str(done["url"]),
        commit=str(done["commit"]),
        changed=bool(done["changed"]),
        made=bool(done["made"]),
        sent=int(done["sent"]),
        private=private,
        notes=tuple(notes),
    )
