"""Every error that a user can cause becomes one line and an exit code; only bugs keep their traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pairsmith.backends.errors import BackendError, UnknownBackend
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.expressions import ExpressionError

from .output import Failed

_WHERE = "It is like: helpfulness >= 3 and (topic == 'Merging' or not verbosity > 2.5)"


def failed_by(error: Exception) -> Failed | None:
    """The failure that a command ends with for this error; None where it is a bug of ours."""
    if isinstance(error, ExpressionError):
        return Failed(f"--where: {error}", 2, advice=_WHERE, kind="usage")
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
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip().removesuffix(" error")
    return "failed" if words == "pairsmith" else words


@contextlib.contextmanager
def reported(workspace: Path | None = None) -> Iterator[None]:
    """Turn the errors that a user can cause into `Failed`, and a bug of ours too where the workspace it met is damaged:
    no code foresees every broken byte."""
    try:
        yield
    except Failed:
        raise
    except Exception as error:
        failure = failed_by(error) or (None if isinstance(error, OSError) else _damage(workspace))
        if failure is None:
            raise
        raise failure from error


def _damage(workspace: Path | None) -> Failed | None:
    if workspace is None:
        return None
    from pairsmith.pairs.store.errors import damaged
    from pairsmith.pairs.store.integrity import check_workspace

    try:
        problems = check_workspace(workspace, deep=False)
    except PairsmithError as error:
        return failed_by(error)
    except Exception:  # the check stumbles over the same bytes: they are broken
        return failed_by(damaged(workspace, "its contents make no sense"))
    return failed_by(damaged(workspace, problems[0].text)) if problems else None
