"""What the server takes from others: how large a clip may be, and which names settings may hold."""

from __future__ import annotations

from pathlib import Path

from core.errors import SettingError
from core.settings import MeshSettings, ReplaceSettings, ServerSettings
from interfaces.jobs.errors import TooLarge
from interfaces.settings_from import file_settings

#: Clips that a take may have, and files of its calibration.
MOST_CLIPS, MOST_CALIBRATIONS = 32, 2


def check_upload_size(size: int, limits: ServerSettings) -> None:
    """Refuse a file by its length in bytes.

    Raises
    ------
    TooLarge
        It is longer than ``max_upload_mb``.
    """
    if size > limits.max_upload_mb * 1_000_000:
        raise upload_too_large(limits.max_upload_mb)


def upload_too_large(max_upload_mb: int) -> TooLarge:
    """The error for an upload over the limit, also for one whose length is not known yet."""
    return TooLarge(
        f"The upload is larger than {max_upload_mb} MB.",
        "Cut or compress the clip, or start the server with a higher --max-upload-mb.",
    )


def check_clip(size: tuple[int, int], duration_s: float, limits: ServerSettings) -> None:
    """Refuse a clip by its picture size (width, height, pixels) and length (seconds).

    Raises
    ------
    TooLarge
        It is over ``max_pixels`` or ``max_duration_s``.
    """
    width, height = size
    if width * height > limits.max_pixels:
        raise TooLarge(
            f"The clip's pictures have {width}x{height} = {width * height} pixels, the limit is {limits.max_pixels}.",
            "Scale the clip down, or start the server with a higher --max-pixels.",
        )
    if duration_s > limits.max_duration_s:
        raise TooLarge(
            f"The clip is {duration_s:.1f} s long, the limit is {limits.max_duration_s:g} s.",
            "Cut the clip, or start the server with a higher --max-duration-s.",
        )


def check_names(settings: ReplaceSettings | MeshSettings) -> None:
    """Refuse settings that would make the server open a file that the user names.

    On the command line an avatar may be any YAML file and a checkpoint any path; over the network they are names.

    Raises
    ------
    SettingError
        ``avatar`` is none of the shipped ones and no ``random-N``, or ``checkpoint`` none of the engine's; for a mesh, any
        setting is a file.
    """
    if isinstance(settings, MeshSettings):
        given = next((name for name in file_settings(MeshSettings) if getattr(settings, name) is not None), None)
        if given is not None:
            raise SettingError(given, f"The setting {given} cannot be a path on the server.", "Use the command line.")
        return
    from pipelines.catalogue import avatar, avatars, engines

    if avatar(settings.avatar) is None:
        names = ", ".join(card.name for card in avatars())
        raise SettingError("avatar", "There is no such avatar.", f"Avatars: {names}; or random-N, N being any number.")
    offered = next((card.checkpoints for card in engines() if card.name == settings.engine), ())
    if settings.checkpoint and settings.checkpoint not in offered:
        raise SettingError(
            "checkpoint",
            f"The engine {settings.engine} offers no such checkpoint here.",
            f"Checkpoints: {', '.join(offered) or 'none'}; paths are for the command line.",
        )


def check_picture(path: Path) -> None:
    """Refuse a reference picture that cannot be read.

    Raises
    ------
    SettingError
        The file is no picture.
    """
    import cv2

    if cv2.imread(str(path), cv2.IMREAD_COLOR) is None:
        raise SettingError("reference", "The reference is no picture that can be read.", "Give a PNG or JPEG file.")
