"""A small Hugging Face hub on loopback: the real client talks to it over HTTP, and it counts what it gives out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: What the hub keeps in git itself; all else is large-file storage, given out by another host.
SMALL = (".json", ".txt")


@dataclass
class Served:
    """One answer with bytes of a file."""

    path: str
    """``owner/name/file``."""
    start: int
    sent: int = 0


@dataclass
class Hub:
    """What is offered and how. Change the fields while it runs."""

    files: dict[str, dict[str, bytes]]
    """Repository -> path -> content."""
    gated: set[str] = field(default_factory=set)
    announced: dict[str, int] = field(default_factory=dict)
    """Path -> a size to announce instead of the true one."""
    false_digest: set[str] = field(default_factory=set)
    """Paths whose announced digest is not that of the bytes."""
    cut_after: int | None = None
    """Close each connection after so many bytes of a large file."""
    pause: float = 0.0
    """Seconds between pieces of 4096 bytes of a large file."""
    ignore_range: bool = False
    served: list[Served] = field(default_factory=list)
    tokens_at_storage: list[str] = field(default_factory=list)
    """Authorization headers that reached the host with the large files."""

    def start(self) -> Hub:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def environment(self, cache: Path, **more: str) -> dict[str, str]:
        """Environment of a process that knows no other hub, no token and no weights but those in ``cache``."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return own | {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "HF_HOME": str(cache.parent / "hf"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "UNDERSTUDY_WEIGHTS": str(cache),
            **more,
        }

    def info(self, repository: str) -> dict:
        siblings = []
        for path, content in self.files[repository].items():
            size = self.announced.get(path, len(content))
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict = {"rfilename": path, "size": size, "blobId": git}
            if not path.endswith(SMALL):
                told = b"another" if path in self.false_digest else content
                entry["lfs"] = {"sha256": hashlib.sha256(told).hexdigest(), "size": size, "pointerSize": 134}
            siblings.append(entry)
        gated = "manual" if repository in self.gated else False
        return {"_id": "1", "id": repository, "sha": COMMIT, "private": False, "gated": gated, "siblings": siblings}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
                self._info(found[1])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(found[1], found[2], found[3])
            elif found := re.fullmatch(r"/storage/([^/]+/[^/]+)/(.+)", path):
                hub.tokens_at_storage.extend(self.headers.get_all("Authorization", []))
                self._content(found[1], found[2], hub.files[found[1]][found[2]])
            else:
                self._fail(404, "EntryNotFound")

        def _info(self, repository: str) -> None:
            if repository not in hub.files:
                self._fail(401, "RepoNotFound")
                return
            body = json.dumps(hub.info(repository)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _resolve(self, repository: str, revision: str, path: str) -> None:
            if repository in hub.gated and self.headers.get("Authorization") != "Bearer hf_accepted":
                self._fail(403, "GatedRepo")
            elif revision != COMMIT or path not in hub.files.get(repository, {}):
                self._fail(404, "EntryNotFound")
            elif path.endswith(SMALL):
                self._content(repository, path, hub.files[repository][path])
            else:
                self.send_response(302)
                # Another host, as the real hub has for its storage.
                self.send_header("Location", f"http://localhost:{hub.port}/storage/{repository}/{path}")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _content(self, repository: str, path: str, content: bytes) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked and not hub.ignore_range else 0
            served = Served(f"{repository}/{path}", start)
            hub.served.append(served)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            large = not path.endswith(SMALL)
            end = min(len(content), start + hub.cut_after) if large and hub.cut_after else len(content)
            for at in range(start, end, 4096):
                piece = content[at : min(at + 4096, end)]
                try:
                    self.wfile.write(piece)
                except OSError:
                    return
                served.sent += len(piece)
                if large and hub.pause:
                    time.sleep(hub.pause)
            if end < len(content):
                self.close_connection = True

        def _fail(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
