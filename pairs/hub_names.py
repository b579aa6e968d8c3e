"""Names on the Hugging Face Hub: repositories, and the datasets that `hf:OWNER/NAME@REVISION:CONFIG/SPLIT` means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pairsmith.backends.text import one_line

from .errors import UsageError

PREFIX = "hf:"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_PART}/{_PART}")
_SOURCE = re.compile(
    r"hf:(?P<repo>[^@:\s]+)(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{0,199}))?(?::(?P<part>[^:@\s]{1,200}))?"
)
_FORM = "It is like hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME:CONFIG/SPLIT"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A dataset on the Hub. None: the Hub's main revision; the default configuration; every split."""

    repo: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        part = (
            f":{self.config or ''}{f'/{self.split}' if self.split else ''}"
            if self.config or self.split
            else ""
        )
        return f"{PREFIX}{self.repo}{f'@{self.revision}' if self.revision else ''}{part}"


def check_repo(name: str) -> str:
    """A repository's name, OWNER/NAME. Raises UsageError."""
    if _REPO.fullmatch(name) is None or ".." in name or "--" in name or name.endswith(".git"):
        raise UsageError(
            f"{one_line(name, 80)!r} is not the name of a repository on the Hub",
            "Give OWNER/NAME: letters, digits, single - and _ and . within",
        )
    return name


def is_hub_source(text: str) -> bool:
    """Whether a text means a dataset on the Hub and not a file."""
    return text.startswith(PREFIX)


def read_hub_source(text: str) -> HubSource:
    """`hf:OWNER/NAME[@REVISION][:CONFIG/SPLIT]`; `:CONFIG` and `:/SPLIT` alone will do. Raises UsageError."""
    match = _SOURCE.fullmatch(text.strip())
    if match is None or (match["revision"] and ".." in match["revision"]):
        raise UsageError(f"{one_line(text, 120)!r} names no dataset on the Hub", _FORM)
    repo = match["repo"]
    if _REPO.fullmatch(repo) is None or ".." in repo:
        raise UsageError(f"{one_line(repo, 80)!r} is not the name of a dataset on the Hub", _FORM)
    config, mark, split = (match["part"] or "").partition("/")
    if mark and not split:
        raise UsageError(f"no split stands after the / in {one_line(text, 120)!r}", _FORM)
    return HubSource(repo, match["revision"], config or None, split or None)
