"""What lies on disk: where the sets are, which are whole, and the folder of one for the code that loads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import ModelUnavailable
from models.weights.manifest import DAMAGED, MANIFEST, Digest, Manifest, Meter
from models.weights.table import CHECKPOINTS, WeightSet, weight_set

#: Environment variable that names the folder of all sets.
VARIABLE = "UNDERSTUDY_WEIGHTS"
#: Folder for the user's own checkpoints, beside the sets.
CHECKPOINT_FOLDER = "checkpoints"

Status = Literal["ready", "missing", "partial", "by hand"]


def weights_folder(cache: Path | None = None) -> Path:
    """The folder of all sets: ``cache`` where given, else ``UNDERSTUDY_WEIGHTS``, else one in the user's cache."""
    if cache is not None:
        return cache.expanduser()
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "understudy" / "weights"


@dataclass(frozen=True)
class SetState:
    """How much of a set is on disk."""

    status: Status
    """``by hand``: the user has to put files there."""
    folder: Path
    """Where it lies, or would."""
    lacking: tuple[str, ...] = ()
    """Files that are not there or have not their size, where that is known."""


def state_of(row: WeightSet, cache: Path | None = None) -> SetState:
    """Look at a set's folder. Cheap: sizes are compared, nothing is read."""
    folder = weights_folder(cache) / row.name
    if row.by_hand:
        lacking = tuple(name for name in row.by_hand if not os.path.isfile(folder / name))
        return SetState("by hand" if lacking else "ready", folder, lacking)
    manifest = Manifest.load(folder)
    if manifest is None:
        # Files without a manifest: nobody can say yet whether they are all.
        return SetState("partial", folder, (MANIFEST,)) if _holds_something(folder) else SetState("missing", folder)
    lacking = tuple(file.path for file in manifest.files if not _has_size(folder / file.path, file.size))
    # A manifest that an earlier version of the table asked for may leave out what is needed now.
    whole = not lacking and manifest.request == row.request
    return SetState("ready" if whole else "partial", folder, lacking)


def _holds_something(folder: Path) -> bool:
    try:
        return any(os.scandir(folder))
    except OSError:
        return False


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def by_hand_help(row: WeightSet, folder: Path) -> str:
    """One sentence: where to get the files that the user puts in place, and where to put them."""
    return f"Register at {row.page}, download {' and '.join(row.by_hand)} there and put it into {folder}."


def require(name: str, cache: Path | None = None) -> Path:
    """The folder of a set that is whole. Never fetches anything.

    Raises
    ------
    InputError
        There is no such set.
    ModelUnavailable
        It is not on disk, or not all of it; the hint says how to get it.
    """
    row = weight_set(name)
    state = state_of(row, cache)
    if state.status == "ready":
        return state.folder
    if state.status == "by hand":
        raise ModelUnavailable(f"The weights {name} are not there: they are licensed.", by_hand_help(row, state.folder))
    rest = f" ({state.lacking[0]} is missing)" if state.lacking else ""
    problem = "are not complete" + rest if state.status == "partial" else "are not there"
    raise ModelUnavailable(f"The weights {name} {problem}.", f"Get them with: {row.command}")


def missing(*names: str) -> tuple[str, str] | None:
    """What keeps an engine that needs these sets from running: what is missing and the command that gets it.

    For ``EngineEntry.missing``; cheap. ``None`` when all are ready.

    Raises
    ------
    InputError
        There is no such set.
    """
    for name in names:
        row = weight_set(name)
        if state_of(row).status != "ready":
            size = f"{row.size_gb:.3g} GB" if row.size_gb >= 1 else f"{row.size_gb * 1000:.0f} MB"
            return f"the weights {name} ({size})" if row.size_gb else f"the weights {name}", row.command
    return None


def variant_of(folder: Path) -> str | None:
    """``"fp16"`` where a model's folder holds its tensors under that variant's name (diffusers' ``variant=``)."""
    return "fp16" if any(folder.glob("*.fp16.safetensors")) else None


def local_checkpoints(cache: Path | None = None) -> dict[str, Path]:
    """The user's own checkpoints: every ``*.safetensors`` under ``checkpoints``, by its name without the ending."""
    folder = weights_folder(cache) / CHECKPOINT_FOLDER
    return {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.safetensors"))}


def checkpoint_names(cache: Path | None = None) -> tuple[str, ...]:
    """Names that ``checkpoint`` may be: the table's, then the user's own."""
    return (*CHECKPOINTS, *(name for name in local_checkpoints(cache) if name not in CHECKPOINTS))


# -- checking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A file that is not what it should be."""

    path: str
    """In the set's folder."""
    problem: str
    """What is wrong, in a few words."""


def verify(row: WeightSet, cache: Path | None = None, meter: Meter | None = None) -> tuple[Fault, ...]:
    """Read every file of a set and compare it with the manifest. A damaged file is set aside, so that nothing loads it
    and the next pull fetches it anew.

    Files that the user put in place have no known digest: only their presence is checked.

    Raises
    ------
    ModelUnavailable
        Nothing of the set is on disk, or its manifest cannot be read.
    """
    state = state_of(row, cache)
    manifest = Manifest.load(state.folder)
    if manifest is None:
        if state.status != "ready":
            require(row.name, cache)
        return ()
    faults = []
    for file in manifest.files:
        path = state.folder / file.path
        if not path.is_file():
            faults.append(Fault(file.path, "missing"))
            continue
        digest = Digest(file)
        try:
            digest.read(path, meter)
        except OSError as error:
            faults.append(Fault(file.path, f"cannot be read ({error.strerror})"))
            continue
        if not digest.is_right:
            faults.append(Fault(file.path, _set_aside(path)))
    return tuple(faults)


def _set_aside(path: Path) -> str:
    try:
        os.replace(path, path.with_name(path.name + DAMAGED))
    except OSError as error:
        return f"damaged, and could not be set aside ({error.strerror}): remove it"
    return "damaged"


def bytes_on_disk(row: WeightSet, cache: Path | None = None) -> int:
    """How many bytes :func:`verify` will read."""
    folder = state_of(row, cache).folder
    manifest = Manifest.load(folder)
    files = () if manifest is None else manifest.files
    return sum((folder / file.path).stat().st_size for file in files if (folder / file.path).is_file())
