"""Sound of one file carried into another, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from core.errors import InputError


class AudioCopy:
    """All audio streams of a file, muxed into an open MP4 as time goes on.

    Packets are copied as they are. A codec that MP4 cannot hold is encoded to AAC, which ``warnings`` then says.

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
            self._source = av.open(str(path), metadata_errors="ignore")
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"The sound of {path} cannot be read: {error.strerror}.", "Check the file.") from error
        self._encoders: dict[int, Any] = {}
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
        encoder = self._target.add_stream("aac", rate=stream.codec_context.sample_rate)
        encoder.layout = stream.codec_context.layout.name
        encoder.time_base = stream.time_base
        self._encoders[stream.index] = encoder
        name = codec.canonical_name
        self.warnings.append(f"Audio stream {number + 1} is {name}, which MP4 cannot hold: encoded to AAC.")

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
        encoder = self._encoders.get(packet.stream_index)
        if encoder is not None:
            for frame in packet.decode():
                self._target.mux(encoder.encode(frame))
            if packet.size == 0:
                self._target.mux(encoder.encode())
        elif packet.size and packet.dts is not None:
            packet.stream = self._copies[packet.stream_index]
            self._target.mux(packet)
