"""In the Hub's child process: make a repository hold a set of files, by uploads that can be repeated and one commit."""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from .hub_talk import Refused, Talk, open_api, status_of, token_of

_UNTOUCHED = frozenset({".gitattributes", "README.md", ".gitignore"})
"""What a repository may hold that was made on the Hub's pages and never used."""
_TRANSPORT_S = 30.0


def upload(job: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    """Do an upload job; its result. Raises Refused, and what huggingface_hub raises."""
    api = open_api(job)
    talk.step("asking who you are")
    _check_token(api.whoami())
    where = {"repo_id": job["repo"], "repo_type": job["repo_type"]}
    talk.step("looking for the repository")
    info, made = _repository(api, job, where, talk)
    head = info.sha
    there = _tree(api, where, head, talk)
    if not made and set(there) - _UNTOUCHED and not _filled_by_us(job, there.get(job["mark"]), head):
        raise Refused("taken", files=len(there))
    with ExitStack() as stack:
        meter = _Meter(talk, sum(file["size"] for file in job["files"]))
        wanted = {file["name"]: _addition(stack, file, meter, talk) for file in job["files"]}
        stale = [path for path in sorted(there) if re.fullmatch(job["stale"], path) and path not in wanted]
        _send(api, where, list(wanted.values()), meter, talk)
        url = _commit(api, where, job, head, wanted, stale, talk)
        after = _checked(api, where, wanted, stale, talk)
    return {
        "url": f"{job['endpoint']}/{'datasets/' if job['repo_type'] == 'dataset' else ''}{job['repo']}",
        "commit": after,
        "commit_url": url,
        "changed": after != head,
        "sent": meter.sent,
        "made": made,
    }


def _check_token(who: Mapping[str, Any]) -> None:
    given = (who.get("auth") or {}).get("accessToken") or {}
    if given.get("role") == "read":
        raise Refused("read_only", name=str(who.get("name", ""))[:100])


def _repository(api: Any, job: Mapping[str, Any], where: Mapping[str, str], talk: Talk) -> tuple[Any, bool]:
    """The repository, made where it was missing; whether it was."""
    made = False
    info = _info(api, where)
    if info is None:
        made = True
        talk.step("making the repository")
        api.create_repo(**where, private=job["private"], exist_ok=True)
        info = _info(api, where)
        if info is None:
            raise Refused("vanished")
    # Never trusted: an older repository may be public, and so may what a server makes of our wish.
    if bool(info.private) != job["private"]:
        raise Refused("visibility", private=bool(info.private), made=made)
    return info, made


def _info(api: Any, where: Mapping[str, str]) -> Any:
    try:
        return api.repo_info(**where)
    except Exception as error:
        if status_of(error) == 404:
            return None
        raise


def _tree(api: Any, where: Mapping[str, str], revision: str | None, talk: Talk) -> dict[str, Any]:
    """Path -> file of a revision; empty for a repository without commits."""
    if revision is None:
        return {}
    talk.step("reading what is there")
    try:
        entries = list(api.list_repo_tree(**where, revision=revision, recursive=True))
    except Exception as error:
        if status_of(error) == 404:
            return {}
        raise
    return {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}


def _filled_by_us(job: Mapping[str, Any], mark: Any, head: str) -> bool:
    """Whether a push of ours made what is there: its mark is, and begins as ours does (others have files of that name).

    Raises what httpx raises.
    """
    begins = job["begins"].encode()
    if mark is None or mark.size < len(begins):
        return False
    if not begins:
        return True
    hub, httpx = importlib.import_module("huggingface_hub"), importlib.import_module("httpx")
    where = {"repo_type": job["repo_type"], "revision": head, "endpoint": job["endpoint"]}
    headers = {**hub.utils.build_hf_headers(token=token_of(job)), "Accept-Encoding": "identity"}
    headers["Range"] = f"bytes=0-{len(begins) - 1}"
    address, data = hub.hf_hub_url(job["repo"], mark.path, **where), b""
    with httpx.stream("GET", address, headers=headers, follow_redirects=True, timeout=_TRANSPORT_S) as answer:
        answer.raise_for_status()
        for piece in answer.iter_raw():  # a server that knows no ranges sends all of it
            data += piece
            if len(data) >= len(begins):
                break
    return data.startswith(begins)


class _Meter:
    """How far each file was read; several threads may tell it."""

    def __init__(self, talk: Talk, total: int) -> None:
        self._talk, self._total = talk, total
        self._at: dict[str, int] = {}
        self._lock = threading.Lock()
        self.uploading = False
        self.sent = 0
        """Bytes that went to the store of large files, those of repeated tries once."""

    def start(self) -> None:
        """From here on, what is read is sent."""
        self.uploading = True
        self._at.clear()

    def stop(self) -> None:
        """From here on, it is not."""
        self.uploading = False
        self.sent = sum(self._at.values())

    def at(self, name: str, position: int) -> None:
        """A file was read up to here."""
        with self._lock:
            self._at[name] = max(self._at.get(name, 0), position)
            done = sum(self._at.values())
        self._talk.progress(f"{'uploading' if self.uploading else 'checking'} {name}", done, self._total)


class _Counted(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: str, name: str, meter: _Meter) -> None:
        super().__init__(io.FileIO(path))
        self._label, self._meter = name, meter

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._meter.at(self._label, self.tell())
        return data


def _addition(stack: ExitStack, file: Mapping[str, Any], meter: _Meter, talk: Talk) -> Any:
    hub = importlib.import_module("huggingface_hub")
    talk.step(f"checking {file['name']}")
    return hub.CommitOperationAdd(
        file["name"], stack.enter_context(_Counted(file["path"], file["name"], meter))
    )


def _send(api: Any, where: Mapping[str, str], additions: Sequence[Any], meter: _Meter, talk: Talk) -> None:
    """Upload what the Hub's store of large files lacks; what is there already is not sent again."""
    meter.start()
    for addition in additions:  # one after another: a kill then leaves whole files, which are not sent again
        talk.step(f"uploading {addition.path_in_repo}")
        api.preupload_lfs_files(**where, additions=[addition], num_threads=1, free_memory=False)
        if addition._should_ignore:
            raise Refused("ignored", name=addition.path_in_repo)
    meter.stop()


def _commit(
    api: Any,
    where: Mapping[str, str],
    job: Mapping[str, Any],
    head: str | None,
    wanted: Mapping[str, Any],
    stale: Sequence[str],
    talk: Talk,
) -> str:
    hub = importlib.import_module("huggingface_hub")
    deletions = [hub.CommitOperationDelete(path, is_folder=False) for path in stale]
    given = {"parent_commit": head} if head is not None else {}
    talk.step("making the commit")
    try:
        done = api.create_commit(
            **where, operations=[*wanted.values(), *deletions], commit_message=job["message"], **given
        )
    except Exception as error:
        status = status_of(error)
        if status is not None and status < 500:
            raise
        # The answer was lost, not necessarily the commit.
        try:
            _checked(api, where, wanted, stale, talk)
        except Exception:
            raise error from None
        return ""
    return str(done.commit_url)


def _checked(
    api: Any, where: Mapping[str, str], wanted: Mapping[str, Any], stale: Sequence[str], talk: Talk
) -> str:
    """The commit that is there now, after every file was compared with ours. Raises Refused("incomplete")."""
    talk.step("checking what arrived")
    info = api.repo_info(**where)
    there = _tree(api, where, info.sha, talk)
    for name, addition in wanted.items():
        entry = there.get(name)
        if entry is None or not _is_ours(entry, addition):
            raise Refused("incomplete", name=name)
    if left := [path for path in stale if path in there]:
        raise Refused("incomplete", name=left[0])
    return str(info.sha)


def _is_ours(entry: Any, addition: Any) -> bool:
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == addition.upload_info.sha256.hex())
    with addition.as_file() as file:
        data = file.read()
    return bool(
        entry.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    )
