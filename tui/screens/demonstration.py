"""The plain statement that the demonstration model writes or judges, and the key that leads to a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairsmith.pairs.demonstration import REAL, is_demonstration, knows

from ..text import line, wrap
from ..widgets.line import Piece
from ..widgets.lines import Row

if TYPE_CHECKING:
    from ..session import Session

WAY_OUT = "2 chooses a real one"
SERVES = (
    "What serves: a model of Ollama, NVIDIA NIM, an OpenAI-compatible server or a GGUF file, chosen with G and J;"
    " d in 2 Backends downloads a small one"
)


def demonstrates(session: Session) -> str:
    """'writes and judges', 'writes' or 'judges' where the demonstration model does so; else empty."""
    works = [("writes", session.generator), ("judges", session.judge)]
    return " and ".join(work for work, spec in works if is_demonstration(spec)) if session.embedded else ""


def may_judge(session: Session) -> bool:
    """Whether it judges where nobody named a judge: it is here and knows what the workspace is about."""
    return bool(session.embedded) and knows(session.domain)


def refusal(session: Session) -> str:
    """Why the demonstration model does not work on what the workspace is about, and what would; else empty."""
    works = demonstrates(session)
    if not works or not session.domain or knows(session.domain):
        return ""
    about = line(session.domain, 60)
    return f"The demonstration model {works}, and knows Git commands only: not “{about}”. {SERVES}"


def statement(session: Session, way_out: str = WAY_OUT) -> str:
    """The sentence; empty where real models do both."""
    if session.embedded is False and is_demonstration(session.generator):
        return f"No model writes yet, and this copy has none built in; {way_out}"
    works = demonstrates(session)
    if not works:
        return ""
    plain = f"The demonstration model {works}: small, and made for Git commands alone; {way_out}"
    return refusal(session) or plain


def note_rows(session: Session, width: int, way_out: str = WAY_OUT) -> list[Row]:
    """The sentence as lines; none where real models do both."""
    text = statement(session, way_out)
    lines = wrap(f"! {text}", max(20, width - 2))[:4] if text else []
    return [(Piece(f" {part}", "accent"),) for part in lines]


def in_the_application(text: str) -> str:
    """An error of the demonstration model, with what to press in the place of what to type in a shell."""
    return text.replace(REAL, SERVES)
