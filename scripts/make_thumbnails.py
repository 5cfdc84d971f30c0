"""Draw every avatar's thumbnail, front and three-quarter, in a neutral studio light.

Usage: python scripts/make_thumbnails.py [NAME ...]

Writes assets/avatars/NAME.png (384 x 384, two views side by side, at most 60 KB) with the project's own renderer, and
docs/images/avatars.jpg with all of them from the front. Run it after changing an avatar's file or the wardrobe.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.body.anny_body import AnnyBody
from models.body.wardrobe import AVATAR_FOLDER, list_avatars, load_avatar
from pipelines.avatars_studio import thumbnail
from pipelines.pictures import jpeg

MAX_BYTES = 60_000
#: The picture of everybody, and how many stand in a row of it.
EVERYBODY, ROW = Path(__file__).resolve().parents[1] / "docs" / "images" / "avatars.jpg", 6


def encode(picture: np.ndarray) -> bytes:
    """PNG of at most ``MAX_BYTES``: fewer shades where it would be larger."""
    for step in (1, 2, 4, 8, 16):
        shades = (picture // step) * step + step // 2
        done, data = cv2.imencode(".png", shades[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        if done and len(data) <= MAX_BYTES:
            return data.tobytes()
    raise RuntimeError(f"the thumbnail does not fit into {MAX_BYTES} bytes")


def main(names: list[str]) -> None:
    """Draw the thumbnails of the avatars ``names``, or of all."""
    bodies = AnnyBody()
    for spec in [load_avatar(name) for name in names] or list_avatars():
        data = encode(thumbnail(spec, bodies))
        (AVATAR_FOLDER / f"{spec.name}.png").write_bytes(data)
        print(f"{spec.name}: {len(data) / 1000:.0f} KB")
    EVERYBODY.write_bytes(jpeg(everybody()))


def everybody() -> np.ndarray:
    """(H, W, 3) uint8: the front views of all thumbnails, in rows on a ground of their colour."""
    fronts = [cv2.imread(str(AVATAR_FOLDER / f"{spec.name}.png"))[:, :192, ::-1] for spec in list_avatars()]
    empty = np.full_like(fronts[0], fronts[0].mean(axis=(0, 1)).astype(np.uint8))
    fronts += [empty] * (-len(fronts) % ROW)
    return np.concatenate([np.concatenate(fronts[i : i + ROW], axis=1) for i in range(0, len(fronts), ROW)])


if __name__ == "__main__":
    main(sys.argv[1:])
