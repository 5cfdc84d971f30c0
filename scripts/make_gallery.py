"""Draw every avatar's contact sheets and write the page that shows them.

Usage: python scripts/make_gallery.py [--shared DIR] [--work DIR] [--studio-only] [NAME ...]

Writes docs/gallery/NAME.jpg (studio light: front, side, back, close-ups of head, hand and feet), docs/gallery/NAME-footage.jpg
(frames of runner, demo and tennis: the picture, and the person from close by) and docs/gallery/README.md, with the
project's own renderer. The clips are looked for in ../shared; the survey of each is kept in the work folder, so remove that
after a change of the survey. Run it after changing an avatar's file or the wardrobe, look at what it drew, and write what
is worst in docs/gallery/flaws.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Workplace
from benchmarks.surveyed import SurveyedClip
from models.body.anny_body import AnnyBody
from models.body.wardrobe import AvatarSpec, list_avatars, load_avatar
from pipelines.avatars_studio import contact_sheet
from pipelines.pictures import jpeg

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "gallery"
FLAWS = FOLDER / "flaws.yaml"
#: Largest file of a sheet, and the JPEG qualities tried for it.
MAX_BYTES, QUALITIES = 150_000, (84, 78, 72, 66, 60, 54, 48, 42)
CLIPS = ("runner", "demo", "tennis")
#: Where in the time that the person is there the frames of a clip lie.
MOMENTS = (0.12, 0.37, 0.63, 0.88)
#: Width of each picture in a sheet of footage, and of the gap between them, pixels; height of a close-up.
WIDTH, GAP, CLOSE_HEIGHT = 200, 4, 230
#: Room around the person in a close-up, parts of the person's height.
ROOM = 0.08
HEAD = """\
# Gallery

The avatars that come with the program, drawn by its own renderer: in the light of a studio from three sides with head (twice),
hand and feet, then in frames of three clips, with the person from close by below each. Above the pictures stands what is worst.
`make gallery` draws the sheets anew and writes this page from [flaws.yaml](flaws.yaml); see [avatars](../avatars.md) for the
avatars' files.
"""


def close_up(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(CLOSE_HEIGHT, WIDTH, 3) uint8: the person's surroundings, in the shape of the sheet's cells."""
    x0, y0, x1, y1 = (float(v) for v in box)
    height = max((y1 - y0) * (1 + 2 * ROOM), (x1 - x0) * (1 + 2 * ROOM) * CLOSE_HEIGHT / WIDTH)
    centre = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
    size = round(height * WIDTH / CLOSE_HEIGHT), round(height)
    cut = cv2.getRectSubPix(np.ascontiguousarray(picture), size, centre)
    shrinks = size[1] > CLOSE_HEIGHT
    return cv2.resize(cut, (WIDTH, CLOSE_HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def footage_rows(clip: SurveyedClip, avatar: str) -> list[np.ndarray]:
    """Two rows of pictures: whole frames of a clip with an avatar in it, and the avatar from close by."""
    there = np.flatnonzero(clip.present)
    frames = [int(there[round(moment * (len(there) - 1))]) for moment in MOMENTS]
    drawn = [picture for _, picture in clip.frames(avatar, frames)]
    height = round(WIDTH * drawn[0].shape[0] / drawn[0].shape[1])
    small = [cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA) for picture in drawn]
    close = [close_up(picture, clip.box(frame)) for picture, frame in zip(drawn, frames, strict=True)]
    return [_joined(small, 1), _joined(close, 1)]


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Pictures in a row (axis 1) or under each other (axis 0), with a white gap."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=axis)


def save(picture: np.ndarray, file: Path) -> None:
    """Write a JPEG of at most MAX_BYTES.

    Raises
    ------
    RuntimeError
        It does not fit.
    """
    for quality in QUALITIES:
        data = jpeg(picture, quality)
        if len(data) <= MAX_BYTES:
            file.write_bytes(data)
            print(f"{file.name}: {len(data) / 1000:.0f} kB", flush=True)
            return
    raise RuntimeError(f"{file.name} does not fit into {MAX_BYTES} bytes")


def page(specs: Sequence[AvatarSpec], flaws: dict[str, str]) -> str:
    """The gallery's page.

    Raises
    ------
    KeyError
        An avatar has no entry in flaws.yaml.
    """
    parts = [HEAD]
    for spec in specs:
        parts.append(
            f"\n## {spec.name}\n\n{spec.description}\n\n{flaws[spec.name].strip()}\n\n![{spec.title}]({spec.name}.jpg)\n"
        )
        if (FOLDER / f"{spec.name}-footage.jpg").is_file():
            parts.append(f"\n![{spec.title} in three clips]({spec.name}-footage.jpg)\n")
    return "".join(parts)


def surveyed_clips(shared: Path, work: Path) -> list[SurveyedClip]:
    """The clips, looked at."""
    place = Workplace(shared.resolve(), work.resolve(), "balanced")
    place.work.mkdir(parents=True, exist_ok=True)
    return [SurveyedClip(place.clip(name), place.work / name) for name in CLIPS]


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all avatars by default")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with footage/ and eval/")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "gallery", help="where surveys are kept")
    parser.add_argument("--studio-only", action="store_true", help="leave the sheets of footage as they are")
    args = parser.parse_args()
    bodies = AnnyBody()
    specs = [load_avatar(name) for name in args.names] or [*list_avatars()]
    clips = [] if args.studio_only else surveyed_clips(args.shared, args.work)
    for spec in specs:
        save(contact_sheet(spec, bodies), FOLDER / f"{spec.name}.jpg")
        if clips:
            rows = [row for clip in clips for row in footage_rows(clip, spec.name)]
            save(_joined(rows, 0), FOLDER / f"{spec.name}-footage.jpg")
    flaws = yaml.safe_load(FLAWS.read_text(encoding="utf-8"))
    (FOLDER / "README.md").write_text(page(list_avatars(), flaws), encoding="utf-8")


if __name__ == "__main__":
    main()
