"""The Hugging Face hub: what a repository offers, one file's bytes, and its errors in plain words.

Files are streamed here rather than by ``hf_hub_download``: since version 1.31 that starts an interrupted download anew
under another temporary name, which for tens of gigabytes is no way to go on.
"""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from core.errors import ModelUnavailable, ResourceError, UnderstudyError
from models.weights.manifest import FileRecord, Meter
from models.weights.table import WANTED, Repository, WeightSet

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

#: Seconds after which a silent hub is given up when asked what it offers.
ASK_TIMEOUT = 20.0
#: Answers after which another try may do better.
PASSING = (408, 429, 500, 502, 503, 504)


class Hub:
    """One set that comes from the Hugging Face hub."""

    def __init__(self, row: WeightSet) -> None:
        self._row = row

    def list_files(self, _meter: Meter) -> tuple[FileRecord, ...]:
        """See :func:`list_files`."""
        return list_files(self._row)

    def begin(self, files: Sequence[FileRecord]) -> None:
        """Nothing is prepared: each file has an address of its own."""

    def finish(self) -> None:
        """Nothing is left to remove."""

    def stream(self, file: FileRecord, start: int) -> Iterator[tuple[bool, bytes]]:
        """See :func:`stream`."""
        return stream(file, start)

    def is_passing(self, error: Exception) -> bool:
        """See :func:`is_passing`."""
        return is_passing(error)

    def plain_errors(self, repository: str) -> AbstractContextManager[None]:
        """See :func:`plain_errors`."""
        return plain_errors(self._row, repository)


def list_files(row: WeightSet) -> tuple[FileRecord, ...]:
    """Ask the hub which files a set consists of now, with sizes and digests.

    Raises
    ------
    ModelUnavailable
        No network, offline mode, or a repository that is gated or gone.
    UnderstudyError
        A repository does not hold what the table says.
    """
    from huggingface_hub import HfApi

    files: list[FileRecord] = []
    for repository in row.repositories:
        with plain_errors(row, repository.name):
            info = HfApi().model_info(
                repository.name, revision=repository.revision, files_metadata=True, timeout=ASK_TIMEOUT
            )
        commit = info.sha or repository.revision
        for sibling in _chosen(repository, info.siblings or []):
            files.append(_record(repository, commit, sibling))
    return tuple(files)


def _chosen(repository: Repository, offered: list[RepoSibling]) -> Iterator[RepoSibling]:
    """What is offered and wanted, each file once."""
    by_path = {sibling.rfilename: sibling for sibling in offered}
    taken: set[str] = set()
    for wanted in repository.files:
        if "*" not in wanted and wanted not in by_path:
            raise UnderstudyError(
                f"{repository.name} on the hub has no {wanted} any more.", f"Look at {repository.page}/tree/main."
            )
        for path in fnmatch.filter(by_path, wanted) if "*" in wanted else [wanted]:
            if path not in taken and (path == wanted or path.endswith(WANTED)):
                taken.add(path)
                yield by_path[path]


def _record(repository: Repository, commit: str, sibling: RepoSibling) -> FileRecord:
    """What the hub says of a file, held against the table."""
    source = sibling.rfilename
    parts = PurePosixPath(source).parts
    if source.startswith("/") or ".." in parts or "\\" in source:
        raise UnderstudyError(f"{repository.name} names a file {source!r}, which leaves its folder.")
    offered = sibling.lfs.sha256 if sibling.lfs is not None else None
    known = repository.sha256.get(source)
    if known is not None and offered is not None and known != offered:
        raise UnderstudyError(
            f"{repository.name} offers another {source} than the table knows: nothing was fetched.",
            f"Compare {repository.page}/blob/{commit}/{source} with docs/weights.md.",
        )
    if sibling.size is None or (known or offered or sibling.blob_id) is None:
        raise UnderstudyError(f"The hub gives no size or no digest for {source} of {repository.name}.", "Try later.")
    path = str(PurePosixPath(repository.folder, source))
    digest = known or offered
    return FileRecord(path, sibling.size, repository.name, commit, source, digest, None if digest else sibling.blob_id)


def stream(file: FileRecord, start: int) -> Iterator[tuple[bool, bytes]]:
    """The bytes of a file from ``start`` on, as they come.

    Yields
    ------
    ``(from_start, bytes)``: ``from_start`` is true where the hub did not go on at ``start`` but began anew.
    """
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    # Compressed answers could not be continued.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    url = hf_hub_url(file.repository, file.source, revision=file.commit)
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        anew = start > 0 and response.status_code != 206
        for piece in response.iter_bytes():
            yield anew, piece
            anew = False


def is_passing(error: Exception) -> bool:
    """Whether a connection broke or the hub is busy, so that another try may do."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, HTTPError) and not isinstance(error, OfflineModeIsEnabled)


@contextmanager
def plain_errors(row: WeightSet, repository: str) -> Iterator[None]:
    """Say in one sentence what the hub's client raises in many.

    Raises
    ------
    ModelUnavailable
        No network, offline mode, or a repository that is gated or gone.
    ResourceError
        The disk is full.
    UnderstudyError
        The hub answered with an error.
    """
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (HTTPError, OSError) as error:
        raise _plain(error, row, repository) from error


def _plain(error: Exception, row: WeightSet, repository: str) -> UnderstudyError:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"https://huggingface.co/{repository}"
    if isinstance(error, OfflineModeIsEnabled):
        return offline(row)
    if isinstance(error, GatedRepoError):
        return ModelUnavailable(
            f"{repository} is gated: its licence has to be accepted first.",
            f"Accept it at {page}, set HF_TOKEN to a token of that account, and run again: {row.command}",
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelUnavailable(
            f"The hub no longer has the revision of {repository} that is needed.", f"Look at {page}."
        )
    if isinstance(error, RepositoryNotFoundError) or _status(error) in (401, 403):
        return ModelUnavailable(
            f"The hub does not give out {repository}: it is private, moved or gone, or HF_TOKEN is not valid.",
            f"Look at {page}.",
        )
    if isinstance(error, HfHubHTTPError):
        return UnderstudyError(f"The hub answered {_status(error)} for {repository}.", f"Run again: {row.command}")
    if isinstance(error, HTTPError):
        return ModelUnavailable(
            f"The hub cannot be reached ({type(error).__name__}).",
            f"Check the network, then run again: {row.command}. What has come is kept.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"The disk is full: the weights {row.name} did not fit.",
            "Free some space, or choose another disk with --cache DIR. What has come is kept.",
        )
    return UnderstudyError(f"The weights {row.name} could not be written: {error}.", "Choose another --cache DIR.")


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else response.status_code


def offline(row: WeightSet) -> ModelUnavailable:
    """The error for offline mode."""
    return ModelUnavailable(
        f"The weights {row.name} are not all there, and offline mode is on (HF_HUB_OFFLINE).",
        f"Unset HF_HUB_OFFLINE and run `{row.command}`, or copy the folder {row.name} of a machine that has it.",
    )
