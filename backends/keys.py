"""API keys: where they come from, and to which server alone each may go.

A key is found in the environment, else in the system's keyring, and is bound to one origin (scheme, host, port).
It travels as a `Secret`, which shows itself to nobody: not in a repr, a log, a traceback or a pickle.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NoReturn

from .addresses import Address
from .errors import BadRequest, Unauthorized
from .local_only import is_local_host

KEYRING_PATIENCE_S = 2.0
"""How long a keyring may take. One that asks for a password would otherwise hold up a job that nobody watches."""


class Secret:
    """A text that must not be shown. `reveal` gives it; everything else gives three stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself. Call it only where it goes onto the wire."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def redact(self, text: str) -> str:
        """The text with every occurrence of the secret replaced by three stars."""
        return text.replace(self._value, "***") if len(self._value) >= 4 else text


def find_key(name: str, env: Mapping[str, str], origin: str = "") -> Secret | None:
    """The key called `name` (e.g. NVIDIA_API_KEY) from `env`, else from the keyring's entry for `origin`.

    None where there is none, where there is no keyring, or where it does not answer within two seconds.
    Raises `Unauthorized` where the value cannot be a key (it would break the request's header). May block for
    those two seconds: call it in a thread where an event loop runs and `env` may lack the key.
    """
    secret = Secret(env.get(name, "").strip().strip("\"'").strip()) or Secret(_from_keyring(name, origin))
    if not secret:
        return None
    if not _fits_a_header(secret):
        raise Unauthorized(
            f"{name} holds characters that no key has",
            advice="Copy the key again, on one line",
            reached=False,
        )
    return secret


def store_key(name: str, origin: str, key: Secret) -> None:
    """Put a key into the system's keyring, for one origin. Raises `Unauthorized` where no keyring takes it."""
    try:
        import keyring

        keyring.set_password(_service(origin), name, key.reveal())
    except Exception:  # keyring backends raise anything; the cause may quote the key
        raise Unauthorized(
            "this system has no keyring that keeps keys",
            advice=f"Set {name} in the environment instead",
            reached=False,
        ) from None


def check_key_may_go(name: str, address: Address) -> None:
    """Raise `BadRequest` unless a key may be sent to this address: over https, or to this machine."""
    if address.scheme != "https" and not is_local_host(address.host):
        raise BadRequest(
            f"{name} is not sent to {address.origin}: the connection is not encrypted",
            advice=f"Use https, or unset {name} if the server needs no key",
            reached=False,
        )


def _fits_a_header(secret: Secret) -> bool:
    value = secret.reveal()
    return value.isascii() and value.isprintable() and " " not in value


def _service(origin: str) -> str:
    return f"pairsmith {origin}".strip()


def _from_keyring(name: str, origin: str) -> str:
    """What the keyring holds, or "". Asked in a thread that is left behind if it hangs."""
    if not origin:
        return ""
    found: list[str] = []

    def ask() -> None:
        try:
            import keyring

            found.append((keyring.get_password(_service(origin), name) or "").strip())
        except Exception:  # no keyring, a locked one, a broken plug-in: all mean "no key here"
            return

    thread = threading.Thread(target=ask, daemon=True, name="keyring")
    thread.start()
    thread.join(KEYRING_PATIENCE_S)
    return found[0] if found else ""
