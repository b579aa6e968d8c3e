"""Looking for keys in what is about to leave the machine: known shapes of keys, and the values of the user's own.

A finding says where and what kind; the key itself is never kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.keys import Secret, find_key
from pairsmith.backends.preflight import address_of
from pairsmith.backends.registry import Settings
from pairsmith.backends.text import one_line

from .errors import PairsmithError
from .export_formats import ExportPair, own

_SHAPES = (
    ("nvidia", r"\bnvapi-[A-Za-z0-9_-]{16,}", "an NVIDIA API key"),
    ("huggingface", r"\b(?:hf|api_org)_[A-Za-z0-9]{16,}", "a Hugging Face token"),
    ("openai", r"\bsk-[A-Za-z0-9_-]*[A-Za-z0-9_]{16,}", "an API key (sk-)"),
    ("stripe", r"\b[rs]k_live_[A-Za-z0-9]{16,}", "a Stripe key"),
    ("github", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})", "a GitHub token"),
    ("gitlab", r"\bglpat-[A-Za-z0-9_-]{16,}", "a GitLab token"),
    # AWS's own documents use identifiers that end in EXAMPLE.
    ("aws", r"\b(?:AKIA|ASIA)(?![A-Z0-9]{9}EXAMPLE\b)[A-Z0-9]{16}\b", "an AWS access key"),
    (
        "aws_secret",
        r"(?i:aws.{0,20}secret.{0,20})[=:]\s*[\"']?(?![A-Za-z0-9/+]*EXAMPLE)[A-Za-z0-9/+]{40}\b",
        "an AWS secret key",
    ),
    ("google", r"\bAIza[0-9A-Za-z_-]{35}", "a Google API key"),
    ("slack", r"\bxox[abprs]-[A-Za-z0-9-]{10,}", "a Slack token"),
    ("private", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY", "a private key"),
)
_SHAPE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern, _ in _SHAPES))
_HINT = re.compile(
    r"nvapi-|hf_|api_org_|sk-|k_live_|gh[pousr]_|github_pat_|glpat-|A[KS]IA|AIza|xox|PRIVATE KEY|(?i:secret)"
)
_SAID = {name: said for name, _, said in _SHAPES}
_KEY_NAME = re.compile(
    r"(?:API_?KEY|_TOKEN|_SECRET|SECRET_KEY|ACCESS_KEY|_PASSWORD)(?:_ID)?$|^HF_TOKEN$", re.IGNORECASE
)
_OURS = ("NVIDIA_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")
_NO_KEYS = frozenset(
    [
        *("lm-studio", "llama.cpp", "not-needed", "no-key-required", "sk-no-key-required"),
        *("placeholder", "changeme", "password"),
    ]
)
"""What people set where a server of their own wants some key."""
_LEAST = 8
_LEAST_OTHERS = 12
_SHOWN = 50
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """A key: in a pair's field or in a file, and of which kind. `pair_id`: its number in the workspace, or None."""

    where: str
    kind: str
    pair_id: int | None = None

    def __str__(self) -> str:
        return f"{self.where} ({self.kind})"


class SecretsFound(PairsmithError):
    """What would be uploaded holds keys. `findings` are the first fifty; `total` counts all."""

    def __init__(self, findings: tuple[Finding, ...], total: int, workspace: str) -> None:
        shown = ", ".join(map(str, findings[:8])) + (f" and {total - 8:,} more" if total > 8 else "")
        super().__init__(
            f"{total:,} {'secret' if total == 1 else 'secrets'} would be uploaded: {shown}",
            f"Nothing was uploaded. Edit or reject these pairs (pairsmith review {one_line(workspace, 200)}) and take"
            " back the keys; if they are none, --allow-secrets uploads them all the same",
        )
        self.findings, self.total = findings, total


@dataclass
class Scan:
    """One scan. `own_keys`: names and values of the user's keys."""

    own_keys: Mapping[str, Secret]
    findings: list[Finding] = field(default_factory=list)
    total: int = 0
    _own: re.Pattern[str] | None = None
    _names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._names = {secret.reveal(): name for name, secret in self.own_keys.items()}
        if self._names:
            longest_first = sorted(self._names, key=len, reverse=True)
            self._own = re.compile("|".join(map(re.escape, longest_first)))

    def pair(self, pair: ExportPair) -> None:
        """Look at everything that a row and its line in the manifest say."""
        for name, value in (*own(pair).items(), ("provenance", pair.provenance)):
            for text in _texts(value):
                for kind in self.kinds(text):
                    self._add(Finding(f"pair {pair.pair_id} {name}", kind, pair.pair_id))

    def file(self, path: Path, name: str, *, shapes: bool) -> None:
        """Look at a file's bytes; `shapes`: at those of keys too, not only for the user's own (blocking, OSError)."""
        longest = max(map(len, self._names), default=0) + 200
        seen: set[str] = set()
        with path.open("rb") as file:
            rest = ""
            while data := file.read(_CHUNK):
                text = rest + data.decode("latin-1")
                seen.update(self.kinds(text, shapes=shapes))
                rest = text[-longest:]
        for kind in sorted(seen):
            self._add(Finding(one_line(name, 100), kind))

    def kinds(self, text: str, *, shapes: bool = True) -> Iterator[str]:
        """The kinds of keys in a text, each once."""
        if self._own is not None:
            yield from {f"the value of your {self._names[found]}" for found in self._own.findall(text)}
            text = self._own.sub(" ", text)
        if shapes and _HINT.search(text):
            yield from sorted({_SAID[str(match.lastgroup)] for match in _SHAPE.finditer(text)})

    def refuse(self, workspace: str) -> None:
        """Raises SecretsFound where anything was found."""
        if self.total:
            raise SecretsFound(tuple(self.findings), self.total, workspace)

    def _add(self, finding: Finding) -> None:
        self.total += 1
        if len(self.findings) < _SHOWN:
            self.findings.append(finding)


def own_keys(settings: Settings, token: Secret | None) -> dict[str, Secret]:
    """The keys that the user has: in variables that are called like keys, in the keyring, and the Hub's token.

    Blocks up to some seconds where a keyring must be asked.
    """
    found: dict[str, Secret] = {}
    for name, value in settings.env.items():
        least = _LEAST if name in _OURS else _LEAST_OTHERS
        if _KEY_NAME.search(name) and len(value.strip()) >= least:
            found[name] = Secret(value.strip())
    for name, backend in (("NVIDIA_API_KEY", "nim"), ("OPENAI_API_KEY", "openai")):
        try:
            kept = find_key(name, {}, address_of(backend, settings))
        except BackendError:
            continue
        if kept is not None:
            found[f"{name} (keyring)"] = kept
    if token is not None:
        found.setdefault("Hugging Face token", token)
    return {
        name: secret
        for name, secret in found.items()
        if len(secret.reveal()) >= _LEAST and secret.reveal().lower() not in _NO_KEYS
    }


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
