"""What ``checkpoint`` may say for the wan-animate engine: which weights, in which number format."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import InputError, ModelUnavailable
from models.weights import require

#: Name of the weight set.
WEIGHTS = "wan-animate"
#: Names that ``checkpoint`` may be; the first is the default. ``gguf:FILE`` and a folder may be given too.
CHECKPOINTS = ("bf16", "int8")
GGUF = "gguf:"

#: Packages that the number formats need beyond the requirements: module, how pip calls it.
PACKAGES = {"int8": ("bitsandbytes", "bitsandbytes"), "gguf": ("gguf", "gguf")}


@dataclass(frozen=True)
class WanCheckpoint:
    """Which weights to load, and how."""

    kind: Literal["bf16", "int8", "gguf"]
    """``bf16``: as they are, in half precision where the device has it. ``int8``: linear layers in 8 bits by bitsandbytes.
    ``gguf``: the transformer from a GGUF file, everything else from the folder."""
    gguf: Path | None = None
    """The GGUF file."""
    folder: Path | None = None
    """A diffusers folder of the user's own; the weight set's otherwise."""

    def weights(self) -> Path:
        """The diffusers folder.

        Raises
        ------
        ModelUnavailable
            The weight set is not on disk.
        """
        return self.folder if self.folder is not None else require(WEIGHTS)


def parse_checkpoint(text: str) -> WanCheckpoint:
    """Understand ``checkpoint``: empty, one of :data:`CHECKPOINTS`, ``gguf:FILE``, a ``.gguf`` file or a diffusers folder.

    Raises
    ------
    InputError
        It is none of these, or the file does not exist.
    ModelUnavailable
        The number format needs a package that is not installed; the hint has the command.
    """
    if text in ("", "bf16"):
        return WanCheckpoint("bf16")
    if text == "int8":
        _need_package("int8")
        return WanCheckpoint("int8")
    path = Path(text.removeprefix(GGUF)).expanduser()
    if text.startswith(GGUF) or path.suffix == ".gguf":
        if not path.is_file():
            raise InputError(f"The GGUF file {path} does not exist.", "Check the path after gguf:.")
        _need_package("gguf")
        return WanCheckpoint("gguf", gguf=path)
    if path.is_dir():
        return WanCheckpoint("bf16", folder=path)
    raise InputError(
        f"There is no wan-animate checkpoint {text!r}.",
        f"Choose one of: {', '.join(CHECKPOINTS)}; gguf:FILE; or the path of a diffusers folder.",
    )


def _need_package(kind: str) -> None:
    module, package = PACKAGES[kind]
    if importlib.util.find_spec(module) is None:
        raise ModelUnavailable(
            f"The checkpoint {kind} needs the package {package}.", f"Get it with: pip install {package}"
        )
