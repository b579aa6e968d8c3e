"""A program in a pseudo-terminal: keys in, raw bytes out, and the moment at which each came."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

_SEQUENCE = re.compile(
    rb"\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78cM]"
)


class Terminal:
    """Starts a command on a new terminal of `columns` x `rows`; a thread reads everything that it writes."""

    def __init__(
        self, command: Sequence[str], columns: int = 120, rows: int = 40, env: Mapping[str, str] | None = None
    ) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(command[0], list(command), {**os.environ, **ENVIRONMENT, **(env or {})})
            finally:
                os._exit(127)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = bytearray()
        self._came = threading.Condition()
        self.ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            with self._came:
                if not data:
                    self.ended = True
                self.raw += data
                self._came.notify_all()
            if not data:
                return

    def send(self, keys: str | bytes) -> None:
        """Write keys to the program."""
        os.write(self._fd, keys.encode() if isinstance(keys, str) else keys)

    def mark(self) -> int:
        """Where the output is now, for `wait`."""
        with self._came:
            return len(self.raw)

    def wait(self, text: str | tuple[str, ...], since: int = 0, seconds: float = 30.0) -> float:
        """Wait until the text, or one of them, is in what was written since; the moment (perf_counter).

        Raises TimeoutError.
        """
        wanted = [one.encode() for one in ([text] if isinstance(text, str) else text)]
        end = time.monotonic() + seconds
        with self._came:
            while True:
                written = strip(bytes(self.raw[since:]))
                if any(one in written for one in wanted):
                    return time.perf_counter()
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    raise TimeoutError(
                        f"{text!r} did not come; the end was {strip(bytes(self.raw[-3000:]))!r}"
                    )
                self._came.wait(left)

    def quiet(self, seconds: float = 0.15, most: float = 10.0) -> None:
        """Wait until nothing was written for so long."""
        end = time.monotonic() + most
        while time.monotonic() < end:
            before = self.mark()
            time.sleep(seconds)
            if self.mark() == before:
                return

    def settle(self, begins: float = 0.15, seconds: float = 0.04, most: float = 5.0) -> None:
        """Wait until the answer to a key was written: its beginning at most so long, its end a short silence."""
        end = time.monotonic() + most
        with self._came:
            before = len(self.raw)
            self._came.wait(begins)
            while len(self.raw) > before and time.monotonic() < end:
                before = len(self.raw)
                self._came.wait(seconds)

    def rss_mb(self) -> float:
        """Resident memory of the program, in megabytes (10^6 bytes)."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the program by a signal and wait for it; its wait status."""
        os.kill(self.pid, number)
        return self.wait_end()

    def wait_end(self, seconds: float = 20.0) -> int:
        """Wait for the program's end, and for all that it wrote; its exit code, or minus the signal.

        Raises TimeoutError.
        """
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.pid = 0
                raise TimeoutError("the program did not end")
            time.sleep(0.01)
        self.pid = 0
        # Its last words may still lie in the terminal: without them the output ends anywhere, in a sequence, too.
        self._reader.join(5)
        return os.waitstatus_to_exitcode(status)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid:
            self.kill()
        self._reader.join(2)
        os.close(self._fd)


ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}


def strip(raw: bytes) -> bytes:
    """Output without control sequences."""
    return _SEQUENCE.sub(b"", raw)


def sequences(raw: bytes) -> set[bytes]:
    """Every control sequence of an output."""
    return set(_SEQUENCE.findall(raw))
