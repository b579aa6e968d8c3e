"""Reading the address of a server: strictly, so that what is checked is exactly what will be connected to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import BadRequest
from .text import one_line

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!-~]*)?",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address in its parts: `host` in lower case without brackets, `path` without final "/"."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def origin(self) -> str:
        """scheme://host:port, the port left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        """The whole address, as `read_url` reads it."""
        return self.origin + self.path


def read_url(url: str) -> Address:
    """The parts of an http(s) address. Raises `BadRequest` for anything else: user names, queries, odd characters."""
    match = _URL.fullmatch(url.strip())
    if match is None or any(c in (match["path"] or "") for c in "?#\\@"):
        shown = one_line(url.split("@")[-1], 80)
        raise BadRequest(
            f"not the address of a server: {shown!r}",
            advice="Give scheme, host and path only, like http://127.0.0.1:8000/v1 (a key goes into its variable)",
            reached=False,
        )
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 0 < port < 65536:
        raise BadRequest(f"no such port: {port}", advice="Ports go from 1 to 65535", reached=False)
    return Address(
        scheme, match["host"].lower().strip("[]").rstrip("."), port, (match["path"] or "").rstrip("/")
    )
