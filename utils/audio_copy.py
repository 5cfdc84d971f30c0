"""Sound of one file carried into another, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from core.errors import InputError

_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}


class AudioCopy:
    """All audio streams of a file, muxed into an open MP4 as time goes on.

    Packets are copied as they are. A codec that MP4 cannot hold is encoded to AAC (mono or stereo), which ``warnings``
    then says.

    Parameters
    ----------
    path:
        The file with the sound; it may have none.
    target:
        The container that is being written; no packet may have been muxed yet.
    """

    def __init__(self, path: Path, target: Any) -> None:
        self.warnings: list[str] = []
        self._path, self._target = path, target
        try:
            self._source = av.open(str(path.absolute()), metadata_errors="ignore")
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"The sound of {path} cannot be read: {error.strerror}.", "Check the file.") from error
        self._encoders: dict[int, tuple[Any, Any]] = {}
        self._copies: dict[int, Any] = {}
        streams = list(self._source.streams.audio)
        for number, stream in enumerate(streams):
            self._add(number, stream)
        self._packets: Iterator[Any] = self._source.demux(streams) if streams else iter(())
        self._waiting: Any = next(self._packets, None)

    def _add(self, number: int, stream: Any) -> None:
        codec = stream.codec_context.codec
        if {codec.name, codec.canonical_name} & self._target.supported_codecs:
            self._copies[stream.index] = self._target.add_stream_from_template(stream)
            return
        rate = stream.codec_context.sample_rate
        rate = rate if rate in _AAC_RATES else 48000
        layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
        encoder = self._target.add_stream("aac", rate=rate, layout=layout)
        resampler = av.AudioResampler("fltp", layout, rate, frame_size=1024)
        self._encoders[stream.index] = (resampler, encoder)
        name = codec.canonical_name
        self.warnings.append(f"Audio stream {number + 1} is {name}, which MP4 cannot hold: encoded to AAC {layout}.")

    def copy_until(self, seconds: float) -> None:
        """Mux the sound up to a time of the source's clock; infinity muxes all that is left."""
        while self._waiting is not None:
            packet = self._waiting
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None and float(stamp * packet.time_base) > seconds:
                return
            self._carry(packet)
            self._waiting = next(self._packets, None)

    def close(self) -> None:
        """Let go of the source."""
        self._waiting = None
        self._source.close()

    def _carry(self, packet: Any) -> None:
        if packet.stream_index in self._encoders:
            self._encode(packet)
        elif packet.size and packet.dts is not None:
            packet.stream = self._copies[packet.stream_index]
            self._target.mux(packet)

    def _encode(self, packet: Any) -> None:
        resampler, encoder = self._encoders[packet.stream_index]
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            self.warnings.append(
                f"The sound of {self._path} is damaged at {float(packet.pts * packet.time_base):.2f} s."
            )
            return
        # An empty packet marks the end: what the decoder, resampler and encoder still hold comes out.
        pieces = [piece for frame in frames for piece in resampler.resample(frame)]
        if packet.size == 0:
            pieces += resampler.resample(None)
        for piece in pieces:
            self._target.mux(encoder.encode(piece))
        if packet.size == 0:
            self._target.mux(encoder.encode())
