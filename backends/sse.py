"""Server-sent events, as OpenAI-compatible servers write them: bytes in any portions -> the `data` of each event."""

from __future__ import annotations

import codecs

DONE = "[DONE]"


class EventReader:
    """Takes the bytes of a stream as they come and gives the events that are complete.

    CR, LF and CR LF end a line; lines that start with ":" are comments; several `data` lines are joined by line
    feeds; other fields are ignored. Bytes that are not UTF-8 become U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._data: list[str] = []

    def feed(self, portion: bytes) -> list[str]:
        """The data of the events that this portion completes."""
        return self._read(self._decoder.decode(portion), final=False)

    def finish(self) -> list[str]:
        """At the end of the stream: an event that lacks only its blank line is still one."""
        events = self._read(self._decoder.decode(b"", True), final=True)
        return events + self._event()

    def _read(self, text: str, *, final: bool) -> list[str]:
        lines = _lines(self._rest + text)
        held_back = lines.pop() if lines else ""
        if not final and held_back == "" and (self._rest + text).endswith("\r"):
            # The CR may be half of a CR LF that the next portion completes.
            held_back = lines.pop() + "\r"
        self._rest = held_back
        events: list[str] = []
        for line in lines:
            events += self._line(line)
        if final:
            if self._rest:
                events += self._line(self._rest)
            self._rest = ""
        return events

    def _line(self, line: str) -> list[str]:
        if not line:
            return self._event()
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return []

    def _event(self) -> list[str]:
        data, self._data = self._data, []
        return ["\n".join(data)] if data else []


def _lines(text: str) -> list[str]:
    """Split at CR LF, CR and LF only (not at what else Unicode calls a line break); the last one is unfinished."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if text else []
