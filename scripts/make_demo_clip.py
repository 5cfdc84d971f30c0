"""Cut the demo clip out of Sports2D's demo video: ``python scripts/make_demo_clip.py DEMO.mp4 [OUT.mp4]``.

The input is ``Sports2D/Demo/demo.mp4`` of the ``sports2d`` package (1768x994, 30 frames a second, BSD-3-Clause; see
``assets/demo/ATTRIBUTION.md``). The cut begins where the walking woman has come out from behind the tree and ends
before she leaves the louvred wall; the crop leaves out the man on the roof and is scaled to 960 pixels width.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.video_io import VideoReader  # noqa: E402  (the project is not installed, its root is the folder above)
from utils.video_probe import probe  # noqa: E402
from utils.video_writer import VideoWriter  # noqa: E402

FIRST, LAST = 54, 166  # one past the last frame
LEFT, TOP, WIDTH, HEIGHT = 244, 453, 1320, 539  # source pixels
SIZE = (960, 392)
CRF = 16


def cut_sound(source: Path, target: Path, start: Fraction, end: Fraction) -> None:
    """Encode the sound from ``start`` to ``end`` seconds as AAC."""
    with av.open(str(source)) as reader, av.open(str(target), "w", format="mp4") as writer:
        rate = reader.streams.audio[0].codec_context.sample_rate
        out = writer.add_stream("aac", rate=rate)
        # The fifo lets the encoder's frames begin exactly at the cut.
        fifo = av.AudioFifo()
        for frame in reader.decode(audio=0):
            frame.pts = None
            fifo.write(frame)
        fifo.read(round(start * rate))
        kept = fifo.read(round((end - start) * rate), partial=True)
        kept.pts, kept.time_base = 0, Fraction(1, rate)
        writer.mux(out.encode(kept))
        writer.mux(out.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, nargs="?", default=ROOT / "assets" / "demo" / "walk.mp4")
    arguments = parser.parse_args()
    info = probe(arguments.source)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.m4a"
        cut_sound(info.path, sound, FIRST / info.rate, LAST / info.rate)
        with VideoWriter(
            arguments.target, SIZE, info.rate, crf=CRF, preset="slow", audio_from=sound, color=info.color
        ) as writer:
            for rgb in VideoReader(info).frames(FIRST, LAST):
                crop = rgb[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
                writer.write(cv2.resize(crop, SIZE, interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main()
