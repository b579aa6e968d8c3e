"""How a document becomes tokens: the short style of `training/`, which is also what the exported chat template renders.

One form everywhere: the model is trained on exactly the prompts that llama.cpp renders for a request (system text in
front of the user's), and `train --base embedded` goes on in the same style.
"""

from __future__ import annotations

from collections.abc import Sequence

from pairsmith.training.prompts import STYLES

STYLE = STYLES["short"]


def prompt_text(messages: Sequence[tuple[str, str]]) -> str:
    """(role, content) messages, the last of them the user's, as the chat template renders them; the answer opened.

    Raises ValueError for a conversation of another shape: the model knows one question and one answer.
    """
    roles = [role for role, _ in messages]
    if roles not in (["user"], ["system", "user"]):
        raise ValueError(f"not a question with or without a system text: {roles}")
    return STYLE.prompt("\n".join(content for _, content in messages), "") + STYLE.header
