"""The promise of a local-only workspace: an address outside this machine is refused before any socket opens.

Nothing is looked up: a name is local by its spelling or it is not, so that not even a DNS query leaves.
"""

from __future__ import annotations

import ipaddress

from .addresses import read_url
from .errors import BadRequest, NotAllowed
from .text import one_line

_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})


def is_local_host(host: str) -> bool:
    """Whether a host (lower case, no brackets) is this machine: a loopback literal, or `localhost` and its kin."""
    if host in _NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_local(url: str) -> bool:
    """Whether requests to this http(s) address stay on the machine. False for what cannot be read."""
    try:
        return is_local_host(read_url(url).host)
    except BadRequest:
        return False


def check_local(url: str, local_only: bool) -> None:
    """Raise `NotAllowed` where the workspace is local-only and the address is not on this machine."""
    if local_only and not is_local(url):
        raise NotAllowed(
            f"this workspace is local-only, and {one_line(url.split('@')[-1], 80)} is outside this machine",
            advice="Use llama-cpp, ollama, or a server on 127.0.0.1",
            reached=False,
        )
