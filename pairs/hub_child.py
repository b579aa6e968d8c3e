"""The child process that talks to the Hub through `huggingface_hub`: `python -m pairsmith.pairs.hub_child`.

A process of its own, because some calls there retry for ever or have no deadline: the parent (hub_process.py) ends it.
Its first line of standard input is the job as JSON, the token with it; it writes JSON lines; it ends with its parent.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading

from .hub_talk import Refused, Talk, told

_EXPECTED = "No files have been modified"


class _Relay(logging.Handler):
    """What huggingface_hub warns of (retries, rate limits) becomes a note."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(logging.WARNING)
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith(_EXPECTED):
            self._talk.note(text)


def main() -> int:
    """Do the job of the first line; 0 where it is done."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no event
    job = json.loads(_first_line())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    talk = Talk(out, str(job.get("token") or ""))
    try:
        _listen(talk)
        if job["job"] == "upload":
            from .hub_upload import upload

            talk.done(**upload(job, talk))
        elif job["job"] == "model":
            from .hub_model import download_model

            talk.done(**download_model(job, talk))
        else:
            from .hub_download import download

            talk.done(**download(job, talk))
        return 0
    except Refused as refused:
        talk.failed(refused.kind, str(refused), **refused.facts)
    except Exception as error:
        kind, message, facts = told(error)
        talk.failed(kind, message, **facts)
    return 1


def _listen(talk: Talk) -> None:
    importlib.import_module("huggingface_hub")
    logger = logging.getLogger("huggingface_hub")
    logger.handlers[:] = [_Relay(talk)]
    logger.propagate = False


def _first_line() -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            os._exit(1)
        data += piece
    return data


def _end_with_the_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
