"""Make the README's picture of the mesh from a run of the bundled clip: ``python scripts/make_mesh_picture.py RUN``.

Source, overlay and turntable, one above the other, at three moments, cut to the person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.runs import RunFolder  # noqa: E402
from utils.video_io import VideoReader  # noqa: E402
from utils.video_probe import probe  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "mesh.jpg"
#: Moments of the clip, and width and height of each of the nine parts, pixels.
FRAMES, PART = (14, 58, 98), (256, 314)


def frames_of(clip: Path) -> list[np.ndarray]:
    """The chosen frames, (H, W, 3) uint8 RGB."""
    with VideoReader(probe(clip)) as reader:
        return [rgb for _, rgb in reader.at(FRAMES)]


def cut(rgb: np.ndarray, middle: float) -> np.ndarray:
    """The part of a picture around a column, in full height."""
    height, width = rgb.shape[:2]
    wanted = min(width, round(height * PART[0] / PART[1]))
    left = int(np.clip(middle - wanted / 2, 0, width - wanted))
    return cv2.resize(rgb[:, left : left + wanted], PART, interpolation=cv2.INTER_AREA)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished mesh run with overlay and turntable")
    run = RunFolder.open(parser.parse_args().run)
    boxes = run.load_arrays("person.npz")["xyxy"][list(FRAMES)]
    rows = [
        [cut(rgb, (box[0] + box[2]) / 2) for rgb, box in zip(frames_of(clip), boxes, strict=True)]
        for clip in (run.source, run.file("overlay.mp4"))
    ]
    rows.append([cut(rgb, rgb.shape[1] / 2) for rgb in frames_of(run.file("turntable.mp4"))])
    picture = np.vstack([np.hstack(row) for row in rows])
    cv2.imwrite(str(PICTURE), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
