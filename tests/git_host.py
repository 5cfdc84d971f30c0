"""A small GitHub on loopback: a branch, the archive of its commit, and large-file storage that can break off and resume."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
NAME = "makehumancommunity/makehuman-assets"


def pointer(content: bytes) -> bytes:
    """What git keeps in place of a large file."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


@dataclass
class GitHost:
    """What is offered and how. Change the fields while it runs."""

    files: dict[str, bytes]
    """Path -> content; pictures are large files."""
    branch: str = "trunk"
    empty: bool = False
    """Whether it has no branch at all."""
    cut_after: int | None = None
    """Close each connection to the storage after so many bytes."""
    damaged: set[str] = field(default_factory=set)
    """Paths of large files whose bytes are not those of their digest."""
    refused: dict[str, str] = field(default_factory=dict)
    """Path of a large file -> reason not to give it out."""
    expired: int = 0
    """How many more downloads are answered as if their address had expired."""
    archives: int = 0
    batches: list[int] = field(default_factory=list)
    """How many objects each batch asked for."""
    served: list[tuple[str, int]] = field(default_factory=list)
    """Path and first byte of each download from the storage."""

    def start(self) -> GitHost:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def environment(self, cache: Path, **more: str) -> dict[str, str]:
        """Environment of a process that knows this host alone."""
        return dict(os.environ) | {
            "UNDERSTUDY_GITHUB": self.url,
            "UNDERSTUDY_WEIGHTS": str(cache),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **more,
        }

    @property
    def large(self) -> dict[str, str]:
        """Digest -> path of the large files."""
        return {hashlib.sha256(c).hexdigest(): p for p, c in self.files.items() if p.endswith((".png", ".jpg"))}

    def archive(self) -> bytes:
        large = set(self.large.values())
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"makehuman-assets-{COMMIT}/", b"")
            for path, content in self.files.items():
                archive.writestr(f"makehuman-assets-{COMMIT}/{path}", pointer(content) if path in large else content)
        return data.getvalue()


def _handler(host: GitHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == f"/{NAME}.git/info/refs":
                first = f"{COMMIT} HEAD\0multi_ack symref=HEAD:refs/heads/{host.branch}\n"
                lines = [first, f"{'1' * 40} refs/heads/develop\n", f"{COMMIT} refs/heads/{host.branch}\n"]
                packets = "001e# service=git-upload-pack\n0000"
                packets += "".join(f"{len(line) + 4:04x}{line}" for line in lines if not host.empty) + "0000"
                self._answer(200, packets.encode())
            elif path == f"/{NAME}/archive/{COMMIT}.zip":
                # As the real host does: another host makes the archive.
                port = host.server.server_address[1]
                self._answer(302, b"", Location=f"http://localhost:{port}/{NAME}/zip/{COMMIT}")
            elif path == f"/{NAME}/zip/{COMMIT}":
                host.archives += 1
                self._answer(200, host.archive())
            elif found := re.fullmatch(r"/storage/([0-9a-f]{64})", path):
                self._give(found[1])
            else:
                self._answer(404, b"")

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            right = self.path == f"/{NAME}.git/info/lfs/objects/batch" and asked["operation"] == "download"
            if not right or self.headers["Accept"] != "application/vnd.git-lfs+json":
                self._answer(404, b"{}")
                return
            host.batches.append(len(asked["objects"]))
            objects = []
            for wanted in asked["objects"]:
                path = host.large.get(wanted["oid"])
                if path is None or path in host.refused:
                    reason = host.refused.get(path or "", "Object does not exist")
                    objects.append({**wanted, "error": {"code": 404, "message": reason}})
                    continue
                download = {
                    "href": f"{host.url}/storage/{wanted['oid']}",
                    "header": {"X-Ticket": "granted"},
                    "expires_in": 3600,
                }
                objects.append({**wanted, "authenticated": True, "actions": {"download": download}})
            body = json.dumps({"transfer": "basic", "objects": objects}).encode()
            self._answer(200, body, Content_Type="application/vnd.git-lfs+json")

        def _give(self, digest: str) -> None:
            path = host.large[digest]
            if self.headers.get("X-Ticket") != "granted":
                self._answer(401, b"")
                return
            if host.expired > 0:
                host.expired -= 1
                self._answer(403, b"expired")
                return
            content = bytes(len(host.files[path])) if path in host.damaged else host.files[path]
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            host.served.append((path, start))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = min(len(content), start + host.cut_after) if host.cut_after else len(content)
            self.wfile.write(content[start:end])
            self.close_connection = end < len(content)

    return Handler
