"""What the demonstration model that ships with Pairsmith knows, and what is said where it is asked for more.

It is trained on Git commands and on nothing else. For another domain it would write nonsense about Git, so it is
refused there before any call, as generator and as judge.
"""

from __future__ import annotations

import re

from pairsmith.backends.text import one_line

from .errors import UsageError

EMBEDDED = "llama-cpp:embedded"
"""BACKEND:MODEL of the demonstration model."""

_KNOWN = re.compile(
    r"\bgit\b|\b(?:version|revision|source)[- ](?:code[- ])?(?:control|management)\b", re.IGNORECASE
)
"""The words of a domain that it knows: Git, version control and their other names. GitHub and GitLab are not."""

PLAIN = "the demonstration model: small, made for Git commands alone"
REAL = (
    "A real model: --generator (or --judge) nim:MODEL, openai:MODEL with --base-url, ollama:MODEL or"
    " llama-cpp:/path/to/model.gguf"
)


def is_demonstration(spec: str | None) -> bool:
    """Whether a BACKEND:MODEL is the model that ships with Pairsmith."""
    return spec == EMBEDDED


def knows(domain: str) -> bool:
    """Whether a domain speaks of Git or version control."""
    return _KNOWN.search(domain) is not None


def check_domain(spec: str | None, domain: str) -> None:
    """Refuse the demonstration model for a domain that it does not know. Raises UsageError naming what would serve."""
    if is_demonstration(spec) and not knows(domain):
        raise UsageError(
            f"{EMBEDDED} is the demonstration model and knows Git commands only, not {one_line(domain, 80)!r}",
            REAL,
        )
