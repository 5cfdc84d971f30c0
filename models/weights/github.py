"""A repository on GitHub with large files, over plain HTTP: no git is needed.

What git itself keeps comes as one archive of the commit. In place of each large file the archive holds a pointer with its
SHA-256 and size; the file comes from the repository's large-file storage (the LFS batch protocol), and goes on where it
stopped. ``UNDERSTUDY_GITHUB`` names another host that offers the same.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import http.client
import json
import os
import re
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import ModelUnavailable, ResourceError, UnderstudyError
from models.weights.hub import PASSING
from models.weights.manifest import PIECE, FileRecord, Meter
from models.weights.table import GitRepository, WeightSet

#: Environment variable that names the host, and the host without it.
VARIABLE, HOST = "UNDERSTUDY_GITHUB", "https://github.com"
#: Seconds after which a silent host is given up.
TIMEOUT = 30.0
#: Large files whose addresses are asked for at once.
BATCH = 50
#: Seconds before an address expires at which it is no longer used.
EXPIRY_MARGIN = 30.0
#: Pointers are shorter than this, bytes.
LONGEST_POINTER = 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\s*$"
)
_JSON = "application/vnd.git-lfs+json"


@dataclass(frozen=True)
class _Address:
    """Where the storage gives out one large file."""

    url: str
    headers: dict[str, str]
    expires: float
    """Monotonic seconds."""


class GitHub:
    """One set that comes from GitHub.

    Parameters
    ----------
    row:
        The set.
    folder:
        Its folder, in which the archive lies until all is there.
    """

    def __init__(self, row: WeightSet, folder: Path) -> None:
        assert row.github is not None
        self._row, self._folder = row, folder
        self._repository: GitRepository = row.github
        self._url = f"{os.environ.get(VARIABLE) or HOST}".rstrip("/") + f"/{row.github.name}"
        self._waiting: list[FileRecord] = []
        self._addresses: dict[str, _Address] = {}
        self._lock = threading.Lock()

    # -- what there is -----------------------------------------------------------------------------------------------

    def list_files(self, meter: Meter) -> tuple[FileRecord, ...]:
        """Fetch the archive of the branch's newest commit and see which files the set consists of.

        Raises
        ------
        ModelUnavailable
            No network, or the repository is gone.
        UnderstudyError
            The repository does not hold what the table says.
        """
        with self.plain_errors(self._repository.name):
            commit = self._commit()
            with zipfile.ZipFile(self._archive(commit, meter)) as archive:
                files = [self._record(archive, member, path, commit) for member, path in _members(archive)]
        found = tuple(file for file in files if file is not None)
        if not found:
            raise UnderstudyError(
                f"{self._repository.name} holds none of the files that are needed any more.",
                f"Look at {self._repository.page}.",
            )
        return found

    def _commit(self) -> str:
        """The newest commit of the branch, from the list that git's own protocol begins with."""
        branch = self._repository.branch
        wanted = branch if branch == "HEAD" else f"refs/heads/{branch}"
        with _open(f"{self._url}.git/info/refs?service=git-upload-pack") as answer:
            text = answer.read().decode("utf-8", "replace")
        found = re.search(rf"([0-9a-f]{{40}}) {re.escape(wanted)}(?=[\n\0]|$)", text)
        if found is None:
            raise UnderstudyError(
                f"{self._repository.name} has no branch {branch} any more.",
                f"Look at {self._repository.page}.",
            )
        return found[1]

    def _archive(self, commit: str, meter: Meter) -> Path:
        """The archive of a commit, fetched if it is not in the folder. Archives cannot be continued: they are made anew."""
        path = self._folder / f".archive-{commit[:12]}.zip"
        if zipfile.is_zipfile(path):
            return path
        self._folder.mkdir(parents=True, exist_ok=True)
        with (
            _open(f"{self._url}/archive/{commit}.zip") as answer,
            tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as out,
        ):
            try:
                while piece := answer.read(PIECE):
                    out.write(piece)
                    meter(len(piece))
            except BaseException:
                os.unlink(out.name)
                raise
        if not zipfile.is_zipfile(out.name):
            os.unlink(out.name)
            raise UnderstudyError(
                f"The archive of {self._repository.name} did not arrive whole.", f"Run again: {self._row.command}"
            )
        os.replace(out.name, path)
        return path

    def _record(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str, commit: str) -> FileRecord | None:
        wanted = any(fnmatch.fnmatchcase(path, pattern) for pattern in self._repository.files)
        if not wanted or any(fnmatch.fnmatchcase(path, pattern) for pattern in self._repository.left_out):
            return None
        if path.startswith("/") or ".." in PurePosixPath(path).parts or "\\" in path:
            raise UnderstudyError(f"{self._repository.name} names a file {path!r}, which leaves its folder.")
        content = archive.read(member)
        pointer = _POINTER.match(content) if len(content) < LONGEST_POINTER else None
        size, digest = (int(pointer[2]), pointer[1].decode()) if pointer else (len(content), _sha256(content))
        return FileRecord(path, size, self._repository.name, commit, path, digest, lfs=pointer is not None)

    # -- bytes -------------------------------------------------------------------------------------------------------

    def begin(self, files: Sequence[FileRecord]) -> None:
        """Note which files will be fetched, so that their addresses are asked for together."""
        self._waiting = [file for file in files if file.lfs]

    def finish(self) -> None:
        """Remove the archive: all of it that was wanted is in place."""
        for path in self._folder.glob(".archive-*.zip"):
            path.unlink()

    def stream(self, file: FileRecord, start: int) -> Iterator[tuple[bool, bytes]]:
        """The bytes of a file from ``start`` on; see :func:`models.weights.hub.stream`."""
        if not file.lfs:
            yield from self._unpack(file, start)
            return
        address = self._address(file)
        headers = dict(address.headers)
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            answer = _open(address.url, headers)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 410):
                # It expired early: the next try asks for another.
                with self._lock:
                    self._addresses.pop(file.sha256 or "", None)
                raise ConnectionError(f"the storage's address has expired ({error.code})") from error
            raise
        with answer:
            anew = start > 0 and answer.status != 206
            while piece := answer.read(PIECE):
                yield anew, piece
                anew = False

    def _unpack(self, file: FileRecord, start: int) -> Iterator[tuple[bool, bytes]]:
        with self._lock:
            path = self._archive(file.commit, lambda _count: None)
        with zipfile.ZipFile(path) as archive:
            member = next((member for member, name in _members(archive) if name == file.source), None)
            if member is None:
                raise UnderstudyError(f"The archive of {file.repository} has no {file.source}.", "Try later.")
            content = archive.read(member)
        yield False, content[start:]

    def _address(self, file: FileRecord) -> _Address:
        digest = file.sha256 or ""
        with self._lock:
            known = self._addresses.get(digest)
            if known is None or known.expires < time.monotonic():
                others = [other for other in self._waiting if other.sha256 != digest][: BATCH - 1]
                self._ask([file, *others])
                asked = {digest, *(other.sha256 for other in others)}
                self._waiting = [other for other in self._waiting if other.sha256 not in asked]
                known = self._addresses.get(digest)
        if known is None:
            raise UnderstudyError(f"GitHub gives no address for {file.source} of {file.repository}.", "Try later.")
        return known

    def _ask(self, files: list[FileRecord]) -> None:
        """Ask for the addresses of large files."""
        objects = [{"oid": file.sha256, "size": file.size} for file in {file.sha256: file for file in files}.values()]
        body = json.dumps({"operation": "download", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects})
        headers = {"Accept": _JSON, "Content-Type": _JSON}
        with _open(f"{self._url}.git/info/lfs/objects/batch", headers, body.encode()) as answer:
            content = json.loads(answer.read())
        now = time.monotonic()
        for entry in content.get("objects", []):
            self._addresses.update(_address_of(entry, now))
        wanted = files[0]
        refused = {entry.get("oid"): entry["error"] for entry in content.get("objects", []) if "error" in entry}
        if wanted.sha256 in refused:
            reason = str(refused[wanted.sha256].get("message", "no reason given"))
            raise UnderstudyError(
                f"GitHub does not give out {wanted.source} of {wanted.repository}: {reason.rstrip('.')}.",
                f"Try later: {self._row.command}",
            )

    # -- errors ------------------------------------------------------------------------------------------------------

    def is_passing(self, error: Exception) -> bool:
        """Whether a connection broke or the host is busy, so that another try may do."""
        if isinstance(error, urllib.error.HTTPError):
            return error.code in PASSING
        if isinstance(error, urllib.error.URLError):
            return isinstance(error.reason, ConnectionError | TimeoutError)
        return isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException)

    @contextmanager
    def plain_errors(self, repository: str) -> Iterator[None]:
        """Say in one sentence what went wrong; see :func:`models.weights.hub.plain_errors`."""
        try:
            yield
        except (OSError, http.client.HTTPException, zipfile.BadZipFile, ValueError) as error:
            raise self._plain(error, repository) from error

    def _plain(self, error: Exception, repository: str) -> UnderstudyError:
        again = f"Run again: {self._row.command}"
        if isinstance(error, urllib.error.HTTPError):
            if error.code in (401, 403, 404, 410):
                return ModelUnavailable(
                    f"GitHub does not give out {repository} ({error.code}): it is private, moved, gone, or over its quota.",
                    f"Look at {self._repository.page}.",
                )
            return UnderstudyError(f"GitHub answered {error.code} for {repository}.", again)
        if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError | http.client.HTTPException):
            return ModelUnavailable(
                f"GitHub cannot be reached ({type(error).__name__}).",
                f"Check the network, then run again: {self._row.command}. What has come is kept.",
            )
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ResourceError(
                f"The disk is full: the weights {self._row.name} did not fit.",
                "Free some space, or choose another disk with --cache DIR. What has come is kept.",
            )
        if isinstance(error, OSError):
            return UnderstudyError(
                f"The weights {self._row.name} could not be written: {error}.", "Choose another --cache DIR."
            )
        return UnderstudyError(f"GitHub's answer for {repository} cannot be understood: {error}.", again)


def _open(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Any:
    # Compressed answers could not be continued.
    sent = {"User-Agent": "understudy", "Accept-Encoding": "identity", **(headers or {})}
    if not url.startswith(("https://", "http://")):
        raise UnderstudyError(f"{url} is no web address.", f"Check {VARIABLE}.")
    return urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=TIMEOUT)


def _address_of(entry: dict[str, Any], now: float) -> dict[str, _Address]:
    action = entry.get("actions", {}).get("download")
    if action is None:
        return {}
    seconds = float(action.get("expires_in") or 600.0)
    expires = now + max(seconds - EXPIRY_MARGIN, 1.0)
    return {entry["oid"]: _Address(action["href"], dict(action.get("header") or {}), expires)}


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """The files of an archive with their paths in the repository: everything lies in one folder."""
    for member in archive.infolist():
        if not member.is_dir():
            yield member, member.filename.partition("/")[2]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
