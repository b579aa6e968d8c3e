"""A Hugging Face Hub on loopback: the endpoints that `huggingface_hub` and `datasets` call with Xet off, and faults.

Repositories are lists of commits over content-addressed files; large files go through the LFS batch endpoint to a store
with an address of its own, where no token may arrive. Threads, so that it serves child processes beside any test.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import socket
import struct
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Literal, Self

TOKEN = "hf_CanaryCanaryCanaryCanaryCanaryCa"
READ_TOKEN = "hf_ReaderReaderReaderReaderReaderRe"
LFS_ABOVE = 100_000
_LFS_SUFFIXES = (".parquet", ".safetensors", ".gguf", ".bin", ".arrow")
_PAGE = 50


@dataclass(frozen=True)
class Stored:
    """A file of a commit."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blob(self) -> str:
        data = self.data
        if self.lfs:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "file", "oid": self.blob, "size": len(self.data), "path": path}
        if self.lfs:
            found["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}
        return found


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    oid: str
    files: dict[str, Stored]
    message: str = ""


@dataclass
class Repo:
    """One repository. The first commit is the Hub's own, with .gitattributes alone."""

    kind: str
    name: str
    private: bool = True
    gated: bool = False
    commits: list[Commit] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.commits:
            self.commit({".gitattributes": b"*.parquet filter=lfs\n"}, "initial commit")

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def commit(self, files: dict[str, bytes], message: str = "by hand") -> Commit:
        """Add a commit that holds exactly these files."""
        return self.add(
            {path: Stored(data, is_large(path, len(data))) for path, data in files.items()}, message
        )

    def add(self, files: dict[str, Stored], message: str) -> Commit:
        listing = [
            self.name,
            str(len(self.commits)),
            *(f"{path} {file.sha256}" for path, file in files.items()),
        ]
        commit = Commit(hashlib.sha1("\n".join(listing).encode()).hexdigest(), dict(files), message)
        self.commits.append(commit)
        return commit

    def at(self, revision: str) -> Commit | None:
        if revision == "main":
            return self.head
        return next((one for one in self.commits if one.oid.startswith(revision)), None)

    def data(self, path: str) -> bytes:
        return self.head.files[path].data


@dataclass
class Fault:
    """What happens to the next `times` requests of which "METHOD /path" matches `where`, after `after` good ones.

    `cut`: the connection is reset before an answer; `cut_body`: in the middle of it; `slow`: one byte a second;
    `hang`: silence; `lost`: the request is carried out, and its answer is lost; `spoil`: a good answer of which one
    byte is another one; `half`: half of a good answer, then silence; `broken`: half of it, then the connection is
    reset; `whole`: ranges are not known; `elsewhere`: another range than was asked for; a number: this status.
    """

    where: str
    what: (
        Literal["cut", "cut_body", "slow", "hang", "lost", "spoil", "half", "broken", "whole", "elsewhere"]
        | int
    )
    times: int = 1
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"error": "told to fail"}'

    def __str__(self) -> str:
        return f"{self.where.rstrip('/').rsplit('/', 1)[-1]}-{self.what}-{len(self.body)}"

    def hits(self, line: str) -> bool:
        if self.times <= 0 or re.search(self.where, line) is None:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    size: int


class Hub:
    """`with Hub() as hub:` serves until the block ends; `hub.url` is what HF_ENDPOINT should be."""

    def __init__(self) -> None:
        self.users = {TOKEN: "me", READ_TOKEN: "reader"}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.store: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.everything_public = False
        self.part_size: int | None = None
        """Where set, larger files are uploaded in parts of this size."""
        self.parts: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._cdn = _Server(self)
        self.cdn = f"http://localhost:{self._cdn.server_address[1]}"
        return self

    def __exit__(self, *exc: object) -> None:
        for server in (self._server, self._cdn):
            server.shutdown()
            server.server_close()

    def dataset(self, name: str, files: dict[str, bytes] | None = None, **fields: Any) -> Repo:
        """A dataset that is there already."""
        repo = self.repos["dataset", name] = Repo("dataset", name, **fields)
        if files is not None:
            repo.commit(files)
        return repo

    def lines(self) -> list[str]:
        """What was asked: "METHOD /path" without queries."""
        return [f"{one.method} {one.path.partition('?')[0]}" for one in self.seen]

    def count(self, pattern: str) -> int:
        """How many requests match."""
        return sum(re.search(pattern, line) is not None for line in self.lines())


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class _Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    # ---- the frame -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        hub = self.server.hub
        line = f"{self.command} {self.path.partition('?')[0]}"
        with hub.lock:
            fault = next((one for one in hub.faults if one.hits(line)), None)
        what = fault.what if fault is not None else None
        if what == "cut":
            self._reset()
            return
        if what == "cut_body":
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            self._note(0)
            self._reset()
            return
        self.body = self._read()
        self._note(len(self.body))
        if what == "hang":
            time.sleep(3600)
        if isinstance(what, int):
            assert fault is not None
            self._send(
                _Answer(what, fault.body.encode(), {"Content-Type": "application/json", **fault.headers})
            )
            return
        if what in ("whole", "elsewhere"):
            del self.headers["Range"]
        if what == "elsewhere":
            self.headers["Range"] = "bytes=10-"
        try:
            with hub.lock:
                answer = self._answer()
        except _Refused as refused:
            headers = {"X-Error-Message": str(refused), "X-Error-Code": refused.code} if refused.code else {}
            answer = _json({"error": str(refused)}, refused.status, headers)
        if what == "lost":
            self._reset()
            return
        if what == "spoil":
            answer.body = answer.body[:-1] + bytes([answer.body[-1] ^ 1])
        if what in ("half", "broken"):
            self._begin(answer)
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.wfile.flush()
            time.sleep(0.3)
            if what == "broken":
                self._reset()
            time.sleep(3600)
        self._send(answer, slow=what == "slow")

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _note(self, size: int) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.hub.seen.append(Seen(self.command, self.path, headers, size))

    def _begin(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, answer: _Answer, *, slow: bool = False) -> None:
        self._begin(answer)
        if self.command == "HEAD":
            return
        if slow:
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(1)
        else:
            self.wfile.write(answer.body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        raise ConnectionResetError

    # ---- who asks ------------------------------------------------------------------------------------------

    @property
    def token(self) -> str | None:
        given = self.headers.get("Authorization", "")
        return given.removeprefix("Bearer ") if given.startswith("Bearer ") else None

    @property
    def user(self) -> str | None:
        if self.token is None:
            return None
        if self.token not in self.server.hub.users:
            raise _Refused(401, "Invalid credentials in Authorization header")
        return self.server.hub.users[self.token]

    def _writer(self, owner: str) -> None:
        if self.user is None:
            raise _Refused(401, "Invalid username or password.")
        if self.token == READ_TOKEN or owner != self.user:
            raise _Refused(403, "You don't have the rights to create or write there")

    def _repo(self, kind: str, name: str) -> Repo:
        repo = self.server.hub.repos.get((kind, name))
        if repo is None or (repo.private and self.user != name.partition("/")[0]):
            raise _Refused(404 if self.user else 401, "Repository not found", "RepoNotFound")
        return repo

    def _readable(self, repo: Repo) -> None:
        if repo.gated and self.user != repo.name.partition("/")[0]:
            raise _Refused(403, "Access to this dataset is restricted: accept its terms", "GatedRepo")

    # ---- endpoints -----------------------------------------------------------------------------------------

    def _answer(self) -> _Answer:
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.query = urllib.parse.parse_qs(self.path.partition("?")[2])
        if path == "/api/whoami-v2":
            return self._whoami()
        if path == "/api/repos/create":
            return self._create()
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if path == "/complete":
            return self._complete(json.loads(self.body))
        if path.startswith("/store/"):
            return self._store(path.removeprefix("/store/"))
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/(objects/batch|verify)", path):
            return self._lfs("dataset" if match[1] else "model", match[2], match[3])
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve("dataset" if match[1] else "model", match[2], match[3], match[4])
        if match := re.fullmatch(
            r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/([a-z-]+)(?:/([^/]+)(?:/(.*))?)?)?", path
        ):
            return self._api(*match.groups())
        raise _Refused(404, f"no such endpoint: {path}")

    def _whoami(self) -> _Answer:
        if self.user is None:
            raise _Refused(401, "Invalid username or password.")
        role = "read" if self.token == READ_TOKEN else "write"
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        return _json({"type": "user", "name": self.user, "orgs": [], "auth": auth})

    def _create(self) -> _Answer:
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.user or ""
        self._writer(owner)
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        hub = self.server.hub
        if (kind, name) in hub.repos:
            raise _Refused(409, "You already created this repo")
        private = asked.get("private", asked.get("visibility") == "private")
        hub.repos[kind, name] = Repo(kind, name, private=bool(private) and not hub.everything_public)
        return _json({"url": f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}", "name": name})

    def _api(self, kind: str, name: str, verb: str | None, revision: str | None, path: str | None) -> _Answer:
        repo = self._repo(kind, name)
        if verb == "preupload":
            return self._preupload(repo)
        if verb == "commit":
            return self._commit(repo)
        if verb == "refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head.oid}
            return _json({"branches": [branch], "converts": [], "tags": [], "pullRequests": []})
        commit = repo.at(revision or "main")
        if commit is None:
            raise _Refused(404, "Invalid rev id", "RevisionNotFound")
        if verb in (None, "revision"):
            siblings = [{"rfilename": name} for name in commit.files]
            about = {"id": name, "_id": "0", "sha": commit.oid, "private": repo.private, "gated": repo.gated}
            return _json(
                {**about, "disabled": False, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0}
            )
        if verb == "tree":
            return self._tree(commit, path or "")
        if verb == "paths-info":
            return self._paths(commit)
        raise _Refused(404, f"no such endpoint: {verb}")

    def _tree(self, commit: Commit, folder: str) -> _Answer:
        prefix = f"{folder}/" if folder else ""
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for path, file in sorted(commit.files.items()):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
                place = prefix + "/".join(parts[:depth])
                entries[place] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": place}
            if recursive or len(parts) == 1:
                entries[path] = file.entry(path)
        if folder and not entries:
            raise _Refused(404, f"{folder} does not exist", "EntryNotFound")
        start = int(self.query.get("cursor", ["0"])[0])
        listed = list(entries.values())
        headers = {}
        if start + _PAGE < len(listed):
            query = urllib.parse.urlencode({"recursive": str(recursive), "cursor": start + _PAGE})
            headers["Link"] = f'<{self.server.hub.url}{self.path.partition("?")[0]}?{query}>; rel="next"'
        return _json(listed[start : start + _PAGE], headers=headers)

    def _paths(self, commit: Commit) -> _Answer:
        if "json" in self.headers.get("Content-Type", ""):
            wanted = json.loads(self.body)["paths"]
        else:
            wanted = urllib.parse.parse_qs(self.body.decode()).get("paths", [])
        found = []
        for path in [wanted] if isinstance(wanted, str) else wanted:
            if path in commit.files:
                found.append(commit.files[path].entry(path))
            elif any(name.startswith(f"{path}/") for name in commit.files):
                found.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": path})
        return _json(found)

    def _preupload(self, repo: Repo) -> _Answer:
        self._writer(repo.name.partition("/")[0])
        there, files = repo.head.files, []
        ignored = there[".gitignore"].data.decode().split() if ".gitignore" in there else []
        for asked in json.loads(self.body)["files"]:
            path = asked["path"]
            mode = "lfs" if is_large(path, asked["size"]) else "regular"
            known = there.get(path)
            oid = None if known is None else known.sha256 if known.lfs else known.blob
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": path in ignored, "oid": oid})
        return _json({"files": files})

    def _lfs(self, kind: str, name: str, verb: str) -> _Answer:
        repo, hub = self._repo(kind, name), self.server.hub
        self._writer(repo.name.partition("/")[0])
        asked = json.loads(self.body)
        if verb == "verify":
            if len(hub.store.get(asked["oid"], b"")) != asked["size"]:
                raise _Refused(400, "the upload is not complete")
            return _json({})
        objects = []
        for item in asked["objects"]:
            oid, size = item["oid"], item["size"]
            found = {"oid": oid, "size": size}
            if oid not in hub.store:
                upload = {"href": f"{hub.cdn}/store/{oid}?signature=secret", "header": {}}
                verify = {
                    "href": f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}.git/info/lfs/verify"
                }
                if hub.part_size is not None and size > hub.part_size:
                    upload = {
                        "href": f"{hub.url}/complete?signature=secret",
                        "header": self._parts(oid, size),
                    }
                found["actions"] = {"upload": upload, "verify": {**verify, "header": {}}}
            objects.append(found)
        return _json({"transfer": "basic", "objects": objects})

    def _parts(self, oid: str, size: int) -> dict[str, str]:
        hub = self.server.hub
        assert hub.part_size is not None
        count = -(-size // hub.part_size)
        urls = {str(n): f"{hub.cdn}/store/{oid}?part={n}&signature=secret" for n in range(1, count + 1)}
        return {"chunk_size": str(hub.part_size), **urls}

    def _complete(self, asked: dict[str, Any]) -> _Answer:
        hub = self.server.hub
        parts = hub.parts.get(asked["oid"], {})
        data = b"".join(parts[number] for number in sorted(parts))
        if hashlib.sha256(data).hexdigest() != asked["oid"] or len(asked["parts"]) != len(parts):
            raise _Refused(400, "BadDigest: the parts do not make that file")
        hub.store[asked["oid"]] = data
        return _json({})

    def _store(self, oid: str) -> _Answer:
        hub = self.server.hub
        if self.command == "PUT" and "part" in self.query:
            hub.parts.setdefault(oid, {})[int(self.query["part"][0])] = self.body
            return _Answer(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise _Refused(400, "BadDigest: what came has another checksum")
            hub.store[oid] = self.body
            return _Answer(200, b"", {"ETag": f'"{oid}"'})
        if oid not in hub.store:
            raise _Refused(404, "no such object")
        return self._ranged(hub.store[oid], {"ETag": f'"{oid}"'})

    def _commit(self, repo: Repo) -> _Answer:
        self._writer(repo.name.partition("/")[0])
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        parent = lines[0]["value"].get("parentCommit")
        if parent is not None and parent != repo.head.oid:
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.head.files)
        for line in lines[1:]:
            key, value = line["key"], line["value"]
            if key == "file":
                files[value["path"]] = Stored(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in self.server.hub.store:
                    raise _Refused(400, "LFS pointer pointed to a file that does not exist")
                files[value["path"]] = Stored(self.server.hub.store[value["oid"]], True)
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise _Refused(400, f"no such operation: {key}")
        commit = repo.add(files, lines[0]["value"]["summary"])
        prefix = "datasets/" if repo.kind == "dataset" else ""
        url = f"{self.server.hub.url}/{prefix}{repo.name}/commit/{commit.oid}"
        return _json({"success": True, "commitOid": commit.oid, "commitUrl": url})

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> _Answer:
        repo = self._repo(kind, name)
        self._readable(repo)
        commit = repo.at(revision)
        if commit is None:
            raise _Refused(404, "Invalid rev id", "RevisionNotFound")
        file = commit.files.get(path)
        if file is None:
            raise _Refused(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if not file.lfs:
            return self._ranged(file.data, {**headers, "ETag": f'"{file.blob}"'})
        self.server.hub.store[file.sha256] = file.data
        headers |= {"X-Linked-Size": str(len(file.data)), "X-Linked-Etag": f'"{file.sha256}"'}
        headers["Location"] = f"{self.server.hub.cdn}/store/{file.sha256}?signature=secret"
        return _Answer(302, b"", headers)

    def _ranged(self, data: bytes, headers: dict[str, str]) -> _Answer:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return _Answer(200, data, headers)
        start, end = int(asked[1]), int(asked[2] or len(data) - 1)
        if start >= len(data):
            return _Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        piece = data[start : end + 1]
        between = f"bytes {start}-{start + len(piece) - 1}/{len(data)}"
        return _Answer(206, piece, {**headers, "Content-Range": between})


def is_large(path: str, size: int) -> bool:
    """Whether the Hub keeps a file in its store of large files."""
    return size > 0 and (path.endswith(_LFS_SUFFIXES) or size > LFS_ABOVE)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> _Answer:
    return _Answer(
        status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
    )
