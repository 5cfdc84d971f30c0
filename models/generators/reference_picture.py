"""The picture of the person to become, as the user gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.errors import InputError

#: What shows where a picture is transparent, sRGB.
GREY = 150


def check_reference(path: Path) -> None:
    """See that a picture can be read, without decoding it.

    Raises
    ------
    InputError
        It does not exist or is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path):
            pass
    except (OSError, UnidentifiedImageError, ImportError, Image.DecompressionBombError) as error:
        # An ImportError comes from ultralytics, which makes Pillow ask for a HEIF package once it is loaded.
        raise InputError(
            f"The reference picture {path} cannot be read.", "Give a PNG or JPEG with --reference."
        ) from error


def read_reference(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a picture, turned as its camera held it, on grey where it is transparent.

    Raises
    ------
    InputError
        It cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, SyntaxError, ValueError, ImportError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The reference picture {path} cannot be read.", "Give a PNG or JPEG with --reference."
        ) from error
    ground = Image.new("RGBA", picture.size, (GREY, GREY, GREY, 255))
    return np.asarray(Image.alpha_composite(ground, picture).convert("RGB"))
