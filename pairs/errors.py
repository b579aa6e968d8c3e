"""What the domain refuses, one class for each kind of answer a front end gives."""

from __future__ import annotations


class PairsmithError(Exception):
    """A clear one-line message for the user; `advice` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class UsageError(PairsmithError):
    """The request itself makes no sense: quota 0, `where` without a judge."""

    exit_code = 2


class RecipeError(PairsmithError):
    """A recipe or rubric file that cannot be used."""

    exit_code = 2


class JobStopped(PairsmithError):
    """A job cannot go on until the user changes something (a key, a model, a server)."""
