"""What can go wrong when a model is asked: one exception class for each cause a caller treats differently.

Every message is one line, safe to show (untrusted server text has passed `text.visible`), and holds no key.
`advice` says what the user can do about it.
"""

from __future__ import annotations

from typing import ClassVar


class BackendError(Exception):
    """Any failure of a backend. Subclasses say which; `kind` is the name the ledger counts it under."""

    kind: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later without anybody changing anything."""
    fatal: ClassVar[bool] = False
    """Whether every further request to this backend and model would fail alike: the job must ask the user."""

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.status = status
        """HTTP status, where there was one."""
        self.retry_after = retry_after
        """Seconds that the server asked us to wait, already clamped to a sane range; None where it said nothing."""
        self.reached = reached
        """Whether a completion request left this process: only then does the ledger count a call as made."""

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class NotReachable(BackendError):
    """No connection: nothing listens there, the name does not resolve, TLS fails, or the program is not installed."""

    kind = "not reachable"
    retryable = True


class Unauthorized(BackendError):
    """The key is missing, wrong, or may not use this (HTTP 401, and NIM's 403)."""

    kind = "unauthorized"
    fatal = True


class NoSuchModel(BackendError):
    """The server does not know the model, this account may not use it, or it was retired (404, 410)."""

    kind = "no such model"
    fatal = True


class OutOfCredit(BackendError):
    """The account has run out of money or credits (402)."""

    kind = "out of credit"
    fatal = True


class RateLimited(BackendError):
    """Too many requests (429)."""

    kind = "rate limited"
    retryable = True


class Unavailable(BackendError):
    """The server or the worker is there but cannot answer now (5xx, NIM's 400 DEGRADED, a dead worker)."""

    kind = "unavailable"
    retryable = True


class ContextOverflow(BackendError):
    """Prompt and answer do not fit the context window, or the server silently cut the prompt."""

    kind = "context overflow"


class Refused(BackendError):
    """The server's policy forbade the request or the answer (content filter)."""

    kind = "refused"


class BadRequest(BackendError):
    """The server rejected a field of the request, or the request cannot be put to this backend."""

    kind = "bad request"
    fatal = True


class FieldRejected(BadRequest):
    """The server does not take one optional field of the request for this model. The backend remembers it:
    `capabilities` no longer offer what the field was for, and the next try goes without it."""

    retryable = True
    fatal = False

    def __init__(
        self,
        message: str,
        *,
        field: str,
        advice: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(message, advice=advice, status=status, retry_after=retry_after, reached=reached)
        self.field = field


class MalformedReply(BackendError):
    """An answer that is not what the protocol promises: cut, not JSON, without text, too large."""

    kind = "malformed reply"
    retryable = True


class TimedOut(BackendError):
    """No complete answer before the deadline."""

    kind = "timed out"
    retryable = True


class Cancelled(BackendError):
    """The caller, or the user, gave the request up."""

    kind = "cancelled"


class NotAllowed(BackendError):
    """The workspace is local-only and this would leave the machine. Raised before any socket opens."""

    kind = "not allowed"
    fatal = True


class UnknownBackend(BackendError):
    """The name before the colon is none of ours, or the spec has no model where one is needed."""

    kind = "unknown backend"
    fatal = True
