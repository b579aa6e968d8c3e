"""May the Hub be asked, where is it, and with which token? Nothing here opens a socket."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pairsmith.backends.addresses import Address, read_url
from pairsmith.backends.errors import NotAllowed, Unauthorized
from pairsmith.backends.keys import Secret, check_key_may_go, find_key

from .errors import UsageError

ENDPOINT = "https://huggingface.co"
NAME = "HF_TOKEN"
_TRUE = ("1", "on", "yes", "true")
_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class HubAccess:
    """The Hub's address, and the token for it where there is one."""

    endpoint: str
    token: Secret | None = field(default=None, repr=False)

    @property
    def tokens_page(self) -> str:
        """Where a person makes a token."""
        return f"{self.endpoint}/settings/tokens"


def find_access(env: Mapping[str, str], *, local_only: bool) -> HubAccess:
    """The Hub as the environment means it, with the token of HF_TOKEN or of the cached login (`hf auth login`).

    Raises NotAllowed for a local-only workspace, UsageError where HF_HUB_OFFLINE is set, BadRequest for an address
    that is none or not encrypted, Unauthorized for a token that cannot be one.
    """
    if local_only:
        raise NotAllowed(
            "this workspace is local-only, and the Hub is outside this machine",
            advice="Export to a file instead, or use a workspace that is not local-only",
            reached=False,
        )
    if env.get("HF_HUB_OFFLINE", "").strip().lower() in _TRUE:
        raise UsageError("HF_HUB_OFFLINE is set: the Hub is not contacted", "Unset it to use the Hub")
    address = read_url(env.get("HF_ENDPOINT", "").strip() or ENDPOINT)
    found = find_token(env)
    return HubAccess(address.url) if found is None else with_token(HubAccess(address.url), found.token)


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A token, and where it is from, for a person to read."""

    token: Secret = field(repr=False)
    source: str


def find_token(env: Mapping[str, str]) -> FoundToken | None:
    """The token of HF_TOKEN, else of the cached login; None without one. Raises Unauthorized: it cannot be one."""
    if (token := find_key(NAME, env)) is not None:
        return FoundToken(token, NAME)
    path = _login_file(env)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST).strip()
    except (OSError, UnicodeDecodeError):
        return None
    token = find_key(NAME, {NAME: text})
    return None if token is None else FoundToken(token, f"the login that hf auth login keeps in {path}")


def token_for_training(env: Mapping[str, str], *, local_only: bool) -> str | None:
    """The token that a training child may download a base model with: that of HF_TOKEN alone."""
    return None if local_only else env.get(NAME) or None


def with_token(access: HubAccess, token: Secret) -> HubAccess:
    """The same Hub with this token. Raises BadRequest where a token may not go there unencrypted."""
    address: Address = read_url(access.endpoint)
    check_key_may_go(NAME, address)
    return HubAccess(access.endpoint, token)


def typed_token(text: str) -> Secret:
    """A token as somebody typed it. Raises Unauthorized where it cannot be one."""
    found = find_key(NAME, {NAME: text})
    if found is None:
        raise Unauthorized("no token was given", advice=f"Set {NAME}, or run hf auth login", reached=False)
    return found


def _login_file(env: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps the token of `hf auth login`."""
    caches = env.get("XDG_CACHE_HOME", "").strip() or str(Path(env.get("HOME", "").strip() or "~") / ".cache")
    home = Path(env.get("HF_HOME", "").strip() or Path(caches) / "huggingface")
    path = Path(env.get("HF_TOKEN_PATH", "").strip() or home / "token")
    with contextlib.suppress(RuntimeError):  # no home folder
        path = path.expanduser()
    return path
