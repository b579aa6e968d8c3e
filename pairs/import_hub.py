"""Importing a dataset of the Hugging Face Hub: its size is asked first, its data files alone are downloaded, each is
checked against its hash, and they are read as files of the same kinds are. No script of anybody's is ever run."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import PairsmithError
from .hub_access import HubAccess
from .hub_names import HubSource
from .hub_process import TIMEOUT_S, HubFailed, Note, Tell, explained, run_job

MOST_BYTES = 500_000_000
KINDS = ("json", "jsonl", "csv", "tsv", "parquet")
"""What is read of a download. A database, say, is not, whatever its name is: the file is a stranger's."""
_FORGOTTEN_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Download:
    """Data files of one revision. `commit` is its full hash; `folder` holds them and is the caller's to `forget`."""

    source: HubSource
    commit: str
    files: tuple[Path, ...]
    bytes: int
    folder: Path

    @property
    def name(self) -> str:
        """What provenance calls it: the dataset, the revision that was read, configuration and split."""
        return str(HubSource(self.source.repo, self.commit, self.source.config, self.source.split))

    def forget(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def download_dataset(
    source: HubSource,
    access: HubAccess,
    home: Path,
    *,
    most_bytes: int = MOST_BYTES,
    timeout_s: float = TIMEOUT_S,
    tell: Tell = lambda what, done, total: None,
    note: Note = lambda text: None,
    check: Callable[[], None] = lambda: None,
) -> Download:
    """Download the data files that a source means (blocking). What has arrived of a download that is cut is kept.

    Raises HubFailed, PairsmithError where they are larger than `most_bytes` together, and for the disk.
    """
    place = home / "hub" / "import" / source.repo.replace("/", "--")
    _forget_old(place.parent)
    try:
        place.mkdir(parents=True, exist_ok=True)
        os.utime(place)  # kept for a week from the last try on
    except OSError as error:
        from .store.errors import from_os

        raise from_os(error, place) from error
    job = {
        "job": "download",
        "repo": source.repo,
        "revision": source.revision,
        "config": source.config,
        "split": source.split,
        "max_bytes": most_bytes,
        "folder": str(place.absolute()),
    }
    try:
        done = run_job(job, access, timeout_s=timeout_s, tell=tell, note=note, check=check)
    except HubFailed as failed:
        if failed.kind == "too_large":
            raise _too_large(source, int(failed.facts.get("bytes") or 0), most_bytes) from None
        raise explained(failed, access, source.repo, writing=False) from None
    # The configuration and split as they were understood: `:train` may mean either.
    understood = HubSource(source.repo, source.revision, done["config"], done["split"])
    given = source.config is not None or source.split is not None
    return Download(
        understood if given else source,
        str(done["commit"]),
        tuple(Path(path) for path in done["files"]),
        int(done["bytes"]),
        place / str(done["commit"])[:40],
    )


def _too_large(source: HubSource, size: int, most: int) -> PairsmithError:
    needed = -(-size // 1_000_000)
    return PairsmithError(
        f"the data files of {source} are {size / 1e6:,.0f} MB, and {most / 1e6:,.0f} MB are allowed",
        f"Nothing was downloaded. --max-size {needed} allows them; hf:OWNER/NAME:CONFIG/SPLIT takes a part",
    )


def _forget_old(folder: Path) -> None:
    """Remove what previews and cut downloads left here a week ago."""
    with contextlib.suppress(OSError):
        for place in folder.iterdir():
            if time.time() - place.stat().st_mtime > _FORGOTTEN_S:
                shutil.rmtree(place, ignore_errors=True)
