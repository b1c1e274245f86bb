"""A stand-in of the Hugging Face hub, as far as pushing and reading a dataset needs it.

It keeps repositories in memory: branches that point at commits, commits that hold files, small
files as they are and large ones by their SHA-256, as git and LFS do. It is written from what
`huggingface_hub` sends and expects back. A test may let requests fail, hang or be cut, and reads in
`log` what was asked. Xet is not spoken: a client uses LFS with HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in_token_of_a_test"
USER = "tester"
_LARGE = (".parquet", ".npy")  # what the hub's .gitattributes send to LFS


@dataclass
class Rule:
    """A fault: what happens to requests that match, so many times.

    Attributes:
        method: "POST", ...
        path: A pattern that is searched in the path.
        act: "503", or "hang", or "cut".
        times: How often; -1 for always.
        after: Let so many pass first.
    """

    method: str
    path: str
    act: str
    times: int = -1
    after: int = 0


@dataclass
class Repo:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes | str]] = field(default_factory=dict)  # str: a large file

    def commit(self, branch: str, files: dict[str, bytes | str], message: str) -> str:
        spelled = repr((sorted(files), self.branches.get(branch), message, len(self.commits)))
        oid = hashlib.sha1(spelled.encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid


class Hub:
    """What the server knows; made by `running_hub`.

    Attributes:
        address: For HF_ENDPOINT.
        repos: By USER/NAME.
        large: Contents of large files, by SHA-256.
        log: (method, path) of every request, in order.
        rules: Faults.
        puts: SHA-256 of every large file that arrived whole, in order.
        on_put: Called after each of them.
    """

    def __init__(self) -> None:
        self.address = ""
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.log: list[tuple[str, str]] = []
        self.rules: list[Rule] = []
        self.puts: list[str] = []
        self.on_put: Callable[[], None] = lambda: None
        self.lock = threading.RLock()
        self.stopping = threading.Event()

    def fault(self, method: str, path: str) -> str | None:
        with self.lock:
            self.log.append((method, path))
            for rule in self.rules:
                if rule.method == method and re.search(rule.path, path) and rule.times != 0:
                    if rule.after > 0:
                        rule.after -= 1
                        continue
                    rule.times -= 1
                    return rule.act
        return None

    def count(self, method: str, pattern: str) -> int:
        return sum(m == method and bool(re.search(pattern, path)) for m, path in self.log)

    def content(self, name: str, branch: str = "main") -> dict[str, bytes]:
        """The files of a branch, whole."""
        repo = self.repos[name]
        files = repo.commits[repo.branches[branch]]
        return {
            path: self.large[one] if isinstance(one, str) else one for path, one in files.items()
        }


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, text: str, code: str = "") -> None:
        headers = {"X_Error_Message": text} | ({"X_Error_Code": code} if code else {})
        self.answer(status, {"error": text}, **headers)

    def handle_all(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        act = self.hub.fault(self.command, path)
        if act == "hang":
            self.hub.stopping.wait(30)
        if act in ("hang", "cut"):
            self.close_connection = True
            return
        if act is not None:
            self.refuse(int(act), f"the stand-in was told so, token {TOKEN}")
            return
        if len(body) != length:
            self.close_connection = True  # the client died while it sent
            return
        with self.hub.lock:
            self.route(path, body)

    do_GET = do_POST = do_PUT = do_HEAD = handle_all

    def route(self, path: str, body: bytes) -> None:
        if path.startswith("/lfs/"):  # the address itself is the right to write
            return self.put_large(path.removeprefix("/lfs/"), body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "Invalid credentials in Authorization header")
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        for pattern, act in (
            (r"/api/datasets/([^/]+/[^/]+)/preupload/(.+)", self.preupload),
            (r"/api/datasets/([^/]+/[^/]+)/commit/(.+)", self.commit),
            (r"/api/datasets/([^/]+/[^/]+)/branch/(.+)", self.branch),
            (r"/api/datasets/([^/]+/[^/]+)/tree/(.+)", self.tree),
            (r"/api/datasets/([^/]+/[^/]+)/paths-info/(.+)", self.paths_info),
            (r"/api/datasets/([^/]+/[^/]+)/revision/(.+)", self.info),
            (r"/api/datasets/([^/]+/[^/]+)()", self.info),
            (r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/(batch)", self.batch),
            (r"/datasets/([^/]+/[^/]+)/resolve/(.+)", self.resolve),
        ):
            found = re.fullmatch(pattern, path)
            if found:
                name, rest = found.groups()
                if name not in self.hub.repos:
                    return self.refuse(404, "Repository not found", "RepoNotFound")
                return act(name, rest, body)
        return self.refuse(404, "Sorry, we can't find the page you are looking for.")

    def put_large(self, sha256: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != sha256:
            return self.refuse(400, "the content has another hash")
        self.hub.large[sha256] = body
        self.hub.puts.append(sha256)
        self.hub.on_put()
        return self.answer(200, {})

    def create(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or USER
        if owner != USER:
            text = f'You don\'t have the rights to create a dataset under the namespace "{owner}"'
            return self.refuse(403, text)
        name = f"{owner}/{asked['name']}"
        made = {"url": f"{self.hub.address}/datasets/{name}", "name": name, "id": name}
        if name in self.hub.repos:
            return self.answer(409, {**made, "error": "You already created this dataset repo"})
        repo = Repo(bool(asked.get("private")) or asked.get("visibility") == "private")
        repo.commit("main", {".gitattributes": b"*.parquet filter=lfs\n"}, "initial commit")
        self.hub.repos[name] = repo
        return self.answer(200, made)

    def files_at(self, name: str, revision: str) -> dict[str, bytes | str] | None:
        repo = self.hub.repos[name]
        return repo.commits.get(repo.branches.get(revision, revision))

    def info(self, name: str, revision: str, _: bytes) -> None:
        repo = self.hub.repos[name]
        sha = repo.branches.get(revision or "main", revision)
        if sha not in repo.commits:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        siblings = [{"rfilename": path} for path in repo.commits[sha]]
        found = {"id": name, "sha": sha, "private": repo.private, "siblings": siblings}
        return self.answer(200, {**found, "tags": [], "gated": False, "disabled": False})

    def branch(self, name: str, branch: str, _: bytes) -> None:
        repo = self.hub.repos[name]
        if branch in repo.branches:
            return self.refuse(409, f"Reference already exists: {branch}")
        repo.branches[branch] = repo.branches["main"]
        return self.answer(200, {})

    def entry(self, path: str, one: bytes | str) -> dict[str, Any]:
        if isinstance(one, bytes):
            return {"type": "file", "path": path, "size": len(one), "oid": git_oid(one)}
        size = len(self.hub.large[one])
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{one}\nsize {size}\n"
        lfs = {"oid": one, "size": size, "pointerSize": len(pointer)}
        oid = git_oid(pointer.encode())
        return {"type": "file", "path": path, "size": size, "oid": oid, "lfs": lfs}

    def tree(self, name: str, rest: str, _: bytes) -> None:
        revision, _, under = rest.partition("/")
        files = self.files_at(name, revision)
        if files is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        inside = {path: one for path, one in files.items() if path.startswith(under)}
        folders = sorted({path.rsplit("/", 1)[0] for path in inside if "/" in path})
        found = [{"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in folders]
        return self.answer(200, found + [self.entry(*pair) for pair in sorted(inside.items())])

    def paths_info(self, name: str, revision: str, body: bytes) -> None:
        files = self.files_at(name, revision) or {}
        wanted = json.loads(body)["paths"]
        return self.answer(200, [self.entry(path, files[path]) for path in wanted if path in files])

    def preupload(self, name: str, revision: str, body: bytes) -> None:
        files = self.files_at(name, revision) or {}
        answers = []
        for asked in json.loads(body)["files"]:
            path, one = asked["path"], files.get(asked["path"])
            oid = one if isinstance(one, str) else git_oid(one) if one is not None else None
            mode = "lfs" if path.endswith(_LARGE) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.answer(200, {"files": answers})

    def batch(self, _: str, __: str, body: bytes) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            one: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.large:
                href = f"{self.hub.address}/lfs/{asked['oid']}?X-Amz-Signature=secret-of-the-store"
                one["actions"] = {"upload": {"href": href}}
            objects.append(one)
        return self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, name: str, branch: str, body: bytes) -> None:
        repo = self.hub.repos[name]
        lines = [json.loads(line) for line in body.splitlines()]
        head = lines[0]["value"]
        parent = head.get("parentCommit")
        if parent and parent != repo.branches.get(branch):
            return self.refuse(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.commits[repo.branches[branch]])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    return self.refuse(400, "the large file was not uploaded")
                files[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                if value["path"] not in files:
                    return self.refuse(404, "A file with this name doesn't exist", "EntryNotFound")
                del files[value["path"]]
            else:
                return self.refuse(400, f"unknown operation {line['key']}")
        oid = repo.commit(branch, files, head["summary"])
        url = f"{self.hub.address}/datasets/{name}/commit/{oid}"
        return self.answer(200, {"success": True, "commitOid": oid, "commitUrl": url})

    def resolve(self, name: str, rest: str, _: bytes) -> None:
        revision, _, path = rest.partition("/")
        files = self.files_at(name, revision)
        if files is None or path not in files:
            return self.refuse(404, "Entry not found", "EntryNotFound")
        one = files[path]
        content = self.hub.large[one] if isinstance(one, str) else one
        repo = self.hub.repos[name]
        headers = {
            "ETag": f'"{one if isinstance(one, str) else git_oid(one)}"',
            "X_Repo_Commit": repo.branches.get(revision, revision),
            "Accept_Ranges": "bytes",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
            return self.answer(206, content[first : last + 1], **headers)
        return self.answer(200, content, **headers)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run the stand-in on a free port of this machine."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
