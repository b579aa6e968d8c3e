"""Where the Ollama server is: every form of OLLAMA_HOST, as the server and the `ollama` package read it."""

from __future__ import annotations

import re
from dataclasses import replace

from .addresses import Address, read_url
from .errors import BadRequest
from .text import one_line

DEFAULT_PORT = 11434
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def parse_host(text: str | None) -> tuple[Address, str]:
    """The address that an OLLAMA_HOST means, and a warning ("" for none).

    Port: 11434, but 80 after http:// and 443 after https://; a bad one means the default, with a warning, as
    the server does it. 0.0.0.0 and :: are addresses to listen on: this machine is connected to instead. Raises
    `BadRequest` for what is no address. Source: ollama envconfig/config.go, ollama-python `_parse_host`.
    """
    host = (text or "").strip().strip("\"'").strip()
    scheme, marked, rest = host.partition("://")
    if not marked:
        scheme, rest = "", host
    port = {"http": 80, "https": 443}.get(scheme.lower(), DEFAULT_PORT)
    rest, slash, path = rest.partition("/")
    if _BARE_IPV6.fullmatch(rest):
        rest = f"[{rest}]"
    name, colon, given = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not colon:
        name = rest
    warning = ""
    if "@" in rest:
        name = rest
    elif colon and given:
        if given.isascii() and given.isdigit() and len(given) < 6 and 0 < int(given) < 65536:
            port = int(given)
        else:
            warning = f"OLLAMA_HOST has a bad port {one_line(given, 20)!r}: using {port}"
    try:
        address = read_url(f"{scheme or 'http'}://{name or '127.0.0.1'}:{port}{slash}{path}")
    except BadRequest as problem:
        raise BadRequest(
            f"OLLAMA_HOST is {problem.message}", advice="Set it like 127.0.0.1:11434", reached=False
        ) from None
    return replace(address, host=_ANY.get(address.host, address.host)), warning
