"""Telling a model's reasoning from its answer, where both come in one text."""

from __future__ import annotations

import re

_NAMES = r"think|thinking|thought|reasoning|analysis|seed:think"
_OPEN = re.compile(rf"\s*<({_NAMES})>", re.IGNORECASE)
_CLOSE = re.compile(rf"</({_NAMES})>\s*", re.IGNORECASE)
_LONE_CLOSE = re.compile(r"</think>\s*", re.IGNORECASE)
_ANY_OPEN = re.compile(rf"<({_NAMES})>", re.IGNORECASE)
_LONGEST_TAG = len("<seed:think>")


def split_reasoning(text: str) -> tuple[str, str | None]:
    """(answer, reasoning or None). Only what stands before the answer counts as reasoning.

    The opening tag of `</think>` may be missing (the prompt held it); a block that is never closed is all reasoning.
    """
    opened = _OPEN.match(text)
    if opened is None:
        closed = _LONE_CLOSE.search(text)
        if closed is None or _ANY_OPEN.search(text, 0, closed.start()):
            return text, None
        return text[closed.end() :], text[: closed.start()].strip() or None
    end = re.compile(rf"</{re.escape(opened[1])}>\s*", re.IGNORECASE).search(text, opened.end())
    if end is None:
        return "", text[opened.end() :].strip() or None
    answer, more = split_reasoning(text[end.end() :])
    own = text[opened.end() : end.start()].strip()
    return answer, "\n\n".join(t for t in (own, more) if t) or None


class ReasoningGate:
    """For a streamed text: holds back what is, or may become, a reasoning block at its beginning."""

    def __init__(self) -> None:
        self._held = ""
        self._open = False

    def feed(self, piece: str) -> str:
        """The part of the text so far that may be shown now and was not before."""
        if self._open:
            return piece
        self._held += piece
        if self._undecided():
            return ""
        answer, reasoning = split_reasoning(self._held) if _OPEN.match(self._held) else (self._held, None)
        if reasoning is not None and not answer:
            return ""
        self._open, self._held = True, ""
        return answer

    def finish(self) -> str:
        """What was held back and proved to be no reasoning."""
        held, self._held = self._held, ""
        return "" if self._open or _OPEN.match(held) else held

    def _undecided(self) -> bool:
        start = self._held.lstrip()
        if not start:
            return True
        if start[0] == "<" and len(start) < _LONGEST_TAG and ">" not in start:
            return True
        opened = _OPEN.match(self._held)
        return opened is not None and _CLOSE.search(self._held, opened.end()) is None
