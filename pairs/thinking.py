"""Taking a model's thinking out of its answer, where the server has left it in."""

from __future__ import annotations

import re

_NAMES = (
    r"(?:seed:)?(?:think|thinking|thoughts?|reason|reasoning|analysis|reflection|scratchpad|inner_monologue)"
)
_TAG = re.compile(
    rf"<(?P<slash>/?)\s*{_NAMES}\b[^<>\n]{{0,80}}>|\[(?P<slash2>/?)THINK\]|◁(?P<slash3>/?)think▷"
    r"|<\|(?P<begin>begin|end)_of_thought\|>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"<\|channel\|>(\w+)[^<]{0,80}<\|message\|>|<\|(?:end|return|start)\|>(?:assistant(?=<))?"
)


def without_thinking(text: str) -> str:
    """The text without `<think>...</think>` and its like in other spellings.

    A tag that closes without having been opened ends the thinking that the prompt began; one that is never closed
    leaves nothing after it. Tags in the middle of a line of the answer are text.
    """
    if "<|channel|>" in text:
        text = _final_channel(text)
    kept: list[str] = []
    place = 0
    depth = 0
    for match in _TAG.finditer(text):
        closes = (
            any(match[name] == "/" for name in ("slash", "slash2", "slash3"))
            or (match["begin"] or "").lower() == "end"
        )
        if closes and depth:
            depth -= 1
            place = match.end()
        elif closes and _at_an_edge(text, match.start(), match.end()):
            kept.clear()
            place = match.end()
        elif not closes and (depth or _begins_line(text, match.start())):
            if not depth:
                kept.append(text[place : match.start()])
            depth += 1
    if not depth:
        kept.append(text[place:])
    return "".join(kept)


def _final_channel(text: str) -> str:
    """The last `final` channel of the format that gpt-oss writes; nothing if it never came to one."""
    channel = "final"
    place = 0
    answer = ""
    for match in _CHANNEL.finditer(text):
        if channel == "final":
            answer = text[place : match.start()] or answer
        channel = match[1] or ("none" if match[1] is None else match[1])
        place = match.end()
    return text[place:] if channel == "final" else answer


def _begins_line(text: str, place: int) -> bool:
    return not text[text.rfind("\n", 0, place) + 1 : place].strip()


def _at_an_edge(text: str, start: int, end: int) -> bool:
    after = text[end : end + 1]
    return _begins_line(text, start) or after in ("", "\n", "\r")
