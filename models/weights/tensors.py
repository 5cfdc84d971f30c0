"""Reading weights without running anything: safetensors, and pickles only through torch's ``weights_only`` reader."""

from __future__ import annotations

import contextlib
import io
import json
import pickletools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from core.errors import InputError, ModelUnavailable
from models.weights.store import checkpoint_names, local_checkpoints, require, weights_folder
from models.weights.table import CHECKPOINTS

if TYPE_CHECKING:
    import torch

#: Libraries whose classes a diffusers folder may name. Anything else would be code from the folder.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
#: Pickles in a file of torch's format before 1.6: magic number, version, system, content.
OLD_FORMAT_PICKLES = 4
#: Bytes of a pickle inside an archive up to which it is read for an error message.
MOST_DESCRIPTION = 1 << 26
#: How to turn a pickle into safetensors, in one line.
CONVERT = (
    "Ask its author for the safetensors file, or convert it on a machine where nothing can be lost: "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'NEW.safetensors')."
)


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint lies."""

    path: Path
    kind: Literal["folder", "file"]
    """``folder``: ``from_pretrained(path, use_safetensors=True)``; ``file``: ``from_single_file(path)``."""


def kind_of(path: Path) -> Literal["safetensors", "pickle", "zip", "other"]:
    """What a file is by its first bytes, whatever its name says.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", "Check the path.") from error
    # Eight bytes of header length, then a JSON object. Looked at first: the length may look like a pickle's first bytes.
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return "safetensors"
    if head[:4] == b"PK\x03\x04":
        return "zip"
    return "pickle" if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" else "other"


def checkpoint(text: str, cache: Path | None = None) -> Checkpoint:
    """Find a checkpoint by what the user typed: a name of the table, a name under ``checkpoints``, a ``.safetensors``
    file, or a diffusers folder. Empty takes the table's first.

    Raises
    ------
    InputError
        There is none of that name, it is damaged, or it is a pickle.
    ModelUnavailable
        It is the table's, and not on disk.
    """
    name = text or next(iter(CHECKPOINTS))
    if name in CHECKPOINTS:
        weights, folder = CHECKPOINTS[name]
        return Checkpoint(require(weights, cache) / folder, "folder")
    path = local_checkpoints(cache).get(name, Path(name).expanduser())
    if path.is_dir():
        check_model_folder(path)
        return Checkpoint(path, "folder")
    if not path.exists():
        raise InputError(
            f"There is no checkpoint {text!r}.",
            f"Choose one of: {', '.join(checkpoint_names(cache))}; put a .safetensors file into "
            f"{weights_folder(cache) / 'checkpoints'}; or give the path of one.",
        )
    check_safetensors(path)
    return Checkpoint(path, "file")


def check_safetensors(path: Path) -> None:
    """See that a file is safetensors and whole, reading its header only.

    Raises
    ------
    InputError
        It is a pickle, something else, or cut off.
    """
    from safetensors import SafetensorError, safe_open

    kind = kind_of(path)
    if kind in ("pickle", "zip") or (kind == "other" and path.suffix in (".ckpt", ".pt", ".pth", ".bin", ".pkl")):
        raise InputError(f"{path} is a pickle: loading it could run code, so it is not loaded.", CONVERT)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error


def check_model_folder(folder: Path) -> None:
    """See that a diffusers folder holds its weights as safetensors and brings no code along.

    Raises
    ------
    InputError
        It is no diffusers folder, its weights are pickles, or it names classes of its own.
    """
    try:
        index = json.loads((folder / "model_index.json").read_bytes())
        parts = {key: value for key, value in index.items() if isinstance(value, list) and not key.startswith("_")}
        libraries = {value[0] for value in parts.values() if value and value[0] is not None}
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no diffusers folder: it has no model_index.json.", "Check the path.") from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _damaged(folder / "model_index.json", type(error).__name__) from error
    own = sorted(str(library) for library in libraries if library not in LIBRARIES)
    if own or not isinstance(index.get("_class_name"), str):
        raise InputError(
            f"{folder} names code of its own ({own[0] if own else '_class_name'}), which is not run.",
            f"Its model_index.json may name classes of {', '.join(LIBRARIES[:2])} only.",
        )
    for part in sorted(parts):
        if any((folder / part).glob("*.bin")) and not any((folder / part).glob("*.safetensors")):
            raise InputError(f"{folder / part} holds pickles only: loading them could run code.", CONVERT)
    for file in sorted(folder.rglob("*.safetensors")):
        check_safetensors(file)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name, on the CPU: safetensors, or a pickle that holds tensors and nothing that runs.

    Raises
    ------
    InputError
        It wants to run code, is damaged, or holds no tensors.
    """
    import torch

    if kind_of(path) == "safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise _damaged(path, str(error)) from error
    content = _load_weights_only(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InputError(f"{path} holds no tensors by name.", "Give a file of weights.")
    return content


def load_yolo(path: Path) -> Any:
    """The network of an Ultralytics ``.pt`` file, in float32. Such a file is a pickle of the network itself; its classes
    are rebuilt from Ultralytics' own allow-list, by torch's ``weights_only`` reader.

    Raises
    ------
    InputError
        It wants to run something else, is damaged, or holds no network.
    ModelUnavailable
        This torch cannot read such a file safely.
    """
    import torch

    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise ModelUnavailable("This torch is too old to read a network safely.", "pip install -r requirements.txt")
    kind_of(path)
    from ultralytics.nn.tasks import torch_safe_load

    try:
        content, _ = torch_safe_load(path, safe_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # Bytes that are no pickle end the reader in any way they like.
        raise _unreadable(path, error) from error
    network = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"{path} holds no network.", "Give a .pt file that Ultralytics saved.")
    return network.float().eval()


def _load_weights_only(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # Bytes that are no pickle end the reader in any way they like.
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    """The error of a pickle that the ``weights_only`` reader refused: for what it names, or because it is damaged."""
    named = _foreign_names(path)
    if named:
        return InputError(f"{path} wants to run code ({', '.join(named[:3])}): it is not loaded.", CONVERT)
    return _damaged(path, type(error).__name__)


def _foreign_names(path: Path) -> list[str]:
    """What a pickle names beyond tensors and plain containers, read without running it; the strangest first."""
    named: dict[str, None] = {}
    with contextlib.suppress(ValueError, OverflowError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    # A network's description is far below this; more would only be there to fill the memory.
                    if member.filename.endswith(".pkl") and member.file_size < MOST_DESCRIPTION:
                        _add_names(io.BytesIO(archive.read(member)), named)
        else:
            with path.open("rb") as file:
                # torch's old format is several pickles in a row, then bare bytes, at which the reading ends.
                for _ in range(OLD_FORMAT_PICKLES):
                    _add_names(file, named)
    strange = [name for name in named if not name.startswith(("torch.", "collections."))]
    return sorted(strange, key=lambda name: name.startswith("ultralytics."))


def _add_names(file: IO[bytes], named: dict[str, None]) -> None:
    """Add what one pickle names, from its list of operations."""
    texts: list[str] = []
    for operation, argument, _position in pickletools.genops(file):
        if operation.name == "GLOBAL":
            named[str(argument).replace(" ", ".")] = None
        elif operation.name == "STACK_GLOBAL":
            named[".".join(texts[-2:])] = None
        elif isinstance(argument, str):
            texts.append(argument)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged or no file of weights ({reason}).",
        "Fetch it again; for a set of the table: python app.py weights verify, then pull.",
    )
