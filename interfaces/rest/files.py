"""What a finished run gives: which files, at which addresses, and what they are called when they are saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interfaces.jobs.status import JobStatus, display_name


@dataclass(frozen=True)
class RunFile:
    """A file of a finished run, or a folder that is sent as a zip."""

    kind: Literal["video", "export", "page", "data", "picture"]
    name: str
    """Last part of its address."""
    label: str
    """What it is, for people to read."""
    path: str
    """Where it lies in the run folder."""
    part: str
    """Its address after that of the run."""
    saved_as: str
    """What a saved file is called after the clip's name."""
    is_folder: bool = False


_REPLACE = (
    RunFile("video", "result", "The finished video", "result.mp4", "result", "understudy.mp4"),
    RunFile("video", "comparison", "Side by side", "comparison.mp4", "comparison", "comparison.mp4"),
    RunFile("page", "report", "Quality report", "report.html", "report", "report.html"),
)
#: With the avatar engine and a photo.
_FIGURE = RunFile("picture", "figure", "The person of the photo", "reference-figure.jpg", "figure", "figure.jpg")
_MESH = (
    RunFile("page", "report", "Quality page", "quality.html", "report", "quality.html"),
    RunFile("data", "quality", "Figures (JSON)", "quality.json", "quality", "quality.json"),
    RunFile("data", "body", "Body as arrays (NPZ)", "body.npz", "body", "body.npz"),
)

#: Media types by ending.
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".html": "text/html",
    ".json": "application/json",
    ".glb": "model/gltf-binary",
    ".csv": "text/csv",
    ".jpg": "image/jpeg",
    ".bvh": "text/plain",
}


def files_of(record: Mapping[str, Any]) -> tuple[RunFile, ...]:
    """All files that a run with this ``run.json`` has when it is done."""
    settings = record["settings"]
    if record["kind"] == "replace":
        files = tuple(file for file in _REPLACE if file.name != "comparison" or settings.get("comparison"))
        return (*files, _FIGURE) if settings["engine"] == "avatar" and settings.get("reference") else files
    if record["kind"] != "mesh":
        return ()
    # Loading this takes half a second, which servers without meshes need not wait for.
    from pipelines.mesh.offers import results_of

    made = []
    for result in results_of(settings):
        target = f"{Path(result.path).name}{'.zip' if result.is_folder else ''}"
        part = f"{result.kind}s/{result.name}"
        made.append(RunFile(result.kind, result.name, result.label, result.path, part, target, result.is_folder))
    return (*made, *_MESH)


def described(status: JobStatus) -> dict[str, Any]:
    """A run's status as REST answers it: with the files that it gives once it is done."""
    answer = status.public()
    files = files_of(status.record) if status.state == "done" else ()
    answer["files"] = [
        {"kind": file.kind, "name": file.name, "label": file.label, "address": f"/runs/{status.id}/{file.part}"}
        for file in files
    ]
    return answer


def saved_as(record: Mapping[str, Any], file: RunFile) -> str:
    """What a file is called when it is saved: the clip's name, then what it is."""
    slug = re.sub(r"[^\w-]+", "-", Path(display_name(dict(record))).stem).strip("-")[:60] or "clip"
    return f"{slug}-{file.saved_as}"
