"""Every error that a user can cause becomes one line and an exit code; only bugs keep their traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pairsmith.backends.errors import BackendError, UnknownBackend
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError

from .output import Failed


def failed_by(error: Exception) -> Failed | None:
    """The failure that a command ends with for this error; None where it is a bug of ours."""
    if isinstance(error, PairsmithError):
        return Failed(error.message, error.exit_code, advice=error.advice, kind=_kind(error))
    if isinstance(error, BackendError):
        code = 2 if isinstance(error, UnknownBackend) else 1
        return Failed(error.message, code, advice=error.advice, kind=error.kind)
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, OSError) and error.filename:
        return Failed(f"{one_line(str(error.filename))}: {one_line(error.strerror or 'cannot be used')}")
    return None


def _kind(error: PairsmithError) -> str:
    name = type(error).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip().removesuffix(" error")


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn the errors that a user can cause into `Failed`."""
    try:
        yield
    except Failed:
        raise
    except Exception as error:
        failure = failed_by(error)
        if failure is None:
            raise
        raise failure from error
