"""Pictures on surfaces, sampled without shimmer: every sample is a mean over its own footprint (trilinear mip mapping).

Texels are kept as bytes, four to the texel, in one array for all levels: a float pyramid of ten garments would take a
gigabyte. Levels are averaged in linear light, colours weighted by their opacity, so that the colour of what is
transparent bleeds nowhere.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from models.body.character import Character, Texture

#: Longest side of a texture in texels; larger pictures are reduced. A garment has about a millimetre a texel then.
LARGEST = 2048
#: The same for normals, which are seen less sharply.
LARGEST_NORMAL = 1024
#: Opacity from which a sample counts as closed.
CLOSED = 0.98
#: Luminance of linear RGB.
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@cache
def _curves() -> tuple[np.ndarray, np.ndarray]:
    """(256,) float32: linear light of an sRGB byte, and the byte over 255."""
    level = np.arange(256, dtype=np.float32) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32), level


@cache
def _encoding() -> np.ndarray:
    """(4096,) uint8: sRGB bytes of linear light in even steps, each at most one level off."""
    light = np.arange(4096) / 4095
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-8) ** (1 / 2.4) - 0.055)
    return np.clip(srgb * 255 + 0.5, 0, 255).astype(np.uint8)


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 4) uint8 RGBA of a picture file; opaque where it has no alpha.

    Raises
    ------
    core.errors.InputError
        The file is missing or is no picture that can be read.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"The texture {path} cannot be read: {error.strerror}.", "Check the path.") from None
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if picture is None:
        raise InputError(f"The texture {path} is no picture that can be read.", "Replace it, or fetch it anew.")
    if picture.dtype == np.uint16:
        picture = (picture // 257).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise InputError(f"The texture {path} has {picture.dtype} texels.", "Save it with 8 bits a channel.")
    if picture.ndim == 2 or picture.shape[2] == 1:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGBA)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _power_of_two(length: int, most: int) -> int:
    return int(min(most, 2 ** round(np.log2(max(length, 1)))))


class MipMap:
    """One texture, ready to be sampled.

    Parameters
    ----------
    texture:
        What it is; the picture is read here.
    corners:
        (F, 3, 2) float32, texture coordinates of the faces that it lies on. What lies between their islands is painted
        over from their edges, so that it does not bleed into them from afar.
    """

    def __init__(self, texture: Texture, corners: np.ndarray | None = None) -> None:
        picture = read_picture(texture.path)
        if texture.opacity is not None:
            mask = read_picture(texture.opacity)[..., 1]
            picture[..., 3] = cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
        elif not texture.alpha:
            picture[..., 3] = 255
        most = LARGEST_NORMAL if texture.kind == "normal" else LARGEST
        size = _power_of_two(picture.shape[1], most), _power_of_two(picture.shape[0], most)
        if size != picture.shape[1::-1]:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self.kind = texture.kind
        self.is_open = bool((picture[..., 3] < 255 * CLOSED).any())
        self._curve = _curves()[0 if texture.kind != "normal" else 1]
        used = _islands(corners, size) if corners is not None else None
        levels = _pyramid(picture, self._curve, None if self.is_open else used)
        self.size = np.array([(level.shape[1], level.shape[0]) for level in levels], np.int32)
        self._start = np.cumsum([0, *(level.shape[0] * level.shape[1] for level in levels[:-1])]).astype(np.int32)
        # v runs upwards, rows run down.
        texels = np.concatenate([level[::-1].reshape(-1, 4) for level in levels])
        self._texels = texels.view(np.uint32).ravel()
        self._alpha = texels[:, 3].copy() if self.is_open else None
        self.mean_color = self._average(levels, used)
        """(3,) float32, linear RGB of what is opaque and lies on a face."""

    def _average(self, levels: list[np.ndarray], used: np.ndarray | None) -> np.ndarray:
        level = levels[min(3, len(levels) - 1)]
        coarse = level.reshape(-1, 4)
        weight = coarse[:, 3:].astype(np.float32) + 1e-3
        if used is not None:
            share = cv2.resize(used.astype(np.float32), level.shape[1::-1], interpolation=cv2.INTER_AREA)
            weight = weight * (share.reshape(-1, 1) + 1e-3)
        return ((self._curve[coarse[:, :3]] * weight).sum(axis=0) / weight.sum()).astype(np.float32)

    def sample(self, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Means over the picture, which repeats beyond 0..1.

        Parameters
        ----------
        uv:
            (S, 2) float32, v upwards.
        footprint:
            (S,) float32, width of the area that a sample stands for, as a share of the picture.

        Returns
        -------
        (S, 4) float32: linear RGB (``tint``: grey, 1 on average; ``normal``: 0..1 as stored) and opacity.
        """
        low, share = self._levels(footprint)
        if self.kind == "normal":
            # A slope that changes a little between levels does not show.
            return self._colors(*self._taps(uv, low + (share > 0.5)))
        result = self._colors(*self._taps(uv, low))
        between = np.flatnonzero(share > 0.02)
        if len(between):
            higher = self._colors(*self._taps(uv[between], low[between] + 1))
            result[between] += share[between, None] * (higher - result[between])
        if self.kind == "tint":
            result[:, :3] = (result[:, :3] @ _LUMINANCE)[:, None] / max(float(self.mean_color @ _LUMINANCE), 1e-3)
        return result

    def opacity(self, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """(S,) opacity alone; see :meth:`sample`."""
        if self._alpha is None:
            return np.ones(len(uv), np.float32)
        low, share = self._levels(footprint)
        results = []
        for level in (low, low + 1):
            taps, weights = self._taps(uv, level)
            total = sum(self._alpha.take(tap) * weight for tap, weight in zip(taps, weights, strict=True))
            results.append(np.asarray(total) * np.float32(1 / 255))
        return results[0] + share * (results[1] - results[0])

    def _levels(self, footprint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S,) the finer of the two levels that a footprint lies between, and how near it is to the coarser one."""
        texels = np.maximum(footprint * np.float32(np.sqrt(float(self.size[0].prod()))), np.float32(1.0))
        lod = np.minimum(np.log2(texels), np.float32(len(self.size) - 1))
        low = lod.astype(np.int32)
        return low, (lod - low).astype(np.float32)

    def _taps(self, uv: np.ndarray, level: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Indices and weights, each (S,), of the four texels around each place."""
        level = np.minimum(level, len(self.size) - 1)
        indices, shares = [], []
        for axis in (0, 1):
            size = self.size[:, axis].take(level)
            place = uv[:, axis] * size - np.float32(0.5)
            base = np.floor(place)
            # Sizes are powers of two: repeating is a bitwise and.
            first = base.astype(np.int32) & (size - 1)
            second = (first + 1) & (size - 1)
            if axis == 1:
                width = self.size[:, 0].take(level)
                start = self._start.take(level)
                first, second = start + first * width, start + second * width
            share = (place - base).astype(np.float32)
            indices.append((first, second))
            shares.append((1 - share, share))
        taps = [y + x for y in indices[1] for x in indices[0]]
        return taps, [y * x for y in shares[1] for x in shares[0]]

    def _colors(self, taps: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
        result = np.zeros((len(taps[0]), 4), np.float32)
        for tap, weight in zip(taps, weights, strict=True):
            texel = self._texels.take(tap).view(np.uint8).reshape(-1, 4)
            result[:, :3] += self._curve.take(texel[:, :3]) * weight[:, None]
            if self._alpha is not None:
                result[:, 3] += texel[:, 3] * (weight * np.float32(1 / 255))
        if self._alpha is None:
            result[:, 3] = 1.0
        return result


def _islands(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """(h, w) bool: texels that faces lie on; ``None`` where the picture repeats over the faces."""
    if corners.min() < 0 or corners.max() > 1:
        return None
    mask = np.zeros(size[::-1], np.uint8)
    scale, start = np.array([size[0], -size[1]], np.float32), np.array([-0.5, size[1] - 0.5], np.float32)
    places = corners * scale + start
    # Fixed point with four binary places: small faces are not lost.
    for place in np.round(places * 16).astype(np.int32):
        cv2.fillConvexPoly(mask, place, 1, lineType=cv2.LINE_8, shift=4)
    return mask.astype(bool)


def _pyramid(picture: np.ndarray, curve: np.ndarray, used: np.ndarray | None) -> list[np.ndarray]:
    """(h, w, 4) uint8 levels, each half as large as the one before, down to one texel.

    Parameters
    ----------
    used:
        (h, w) bool: texels of an opaque picture that count; the others take the colours around them.
    """
    weight = picture[..., 3].astype(np.float32) / 255
    if used is not None and used.any():
        weight = used.astype(np.float32)
    uneven = bool((weight < 1).any())
    colors, weights = [cv2.LUT(np.ascontiguousarray(picture[..., :3]), curve)], [weight]
    while max(weights[-1].shape) > 1:
        height, width = weights[-1].shape
        size = max(width // 2, 1), max(height // 2, 1)
        color = colors[-1] * weights[-1][..., None] if uneven else colors[-1]
        half = cv2.resize(color, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 3)
        weights.append(cv2.resize(weights[-1], size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0]))
        colors.append(half / np.maximum(weights[-1], 1e-6)[..., None] if uneven else half)
    if uneven:
        _fill(colors, weights, 1.0 if used is not None else 8.0)
    alphas = [np.full(weight.shape, 255, np.uint8) if used is not None else _byte(weight) for weight in weights]
    packed = [np.dstack([_encoded(color, curve), alpha]) for color, alpha in zip(colors[1:], alphas[1:], strict=True)]
    first = picture.copy()
    first[..., 3] = alphas[0]
    clear = weights[0] < 1 / 255
    first[clear, :3] = _encoded(colors[0][clear], curve)
    return [first, *packed]


def _fill(colors: list[np.ndarray], weights: list[np.ndarray], certain: float) -> None:
    """Give texels of which little counts the colours around them, in place: their own may be those of another island's
    edge. ``certain`` over the weight is where a texel keeps its own."""
    for level in range(len(colors) - 2, -1, -1):
        own = np.minimum(weights[level] * certain, 1.0)
        unsure = own < 1.0
        if unsure.any():
            larger = cv2.resize(colors[level + 1], weights[level].shape[::-1], interpolation=cv2.INTER_LINEAR)
            larger = larger.reshape(colors[level].shape)[unsure]
            colors[level][unsure] = larger + own[unsure, None] * (colors[level][unsure] - larger)


def _byte(share: np.ndarray) -> np.ndarray:
    return np.clip(share * 255 + 0.5, 0, 255).astype(np.uint8)


def _encoded(color: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """uint8: ``curve`` undone."""
    if curve is not _curves()[0]:
        return _byte(color)
    return _encoding()[(np.clip(color, 0, 1) * 4095 + 0.5).astype(np.uint16)]


class TextureModel:
    """The textures of one character on its mesh."""

    def __init__(self, character: Character) -> None:
        self.maps = tuple(
            MipMap(texture, _corners_on(character, index)) for index, texture in enumerate(character.textures)
        )
        surfaces = character.surfaces
        self._color = np.array([s.texture for s in surfaces], np.int64)
        self._normal = np.array([s.normal_map for s in surfaces], np.int64)
        self._relief = character.table("relief")
        self._opacity = character.table("opacity")
        self._uv = character.uv
        open_surface = np.array([self._is_open(s.texture) or s.opacity < CLOSED for s in surfaces], bool)
        face_surface = character.surface[character.faces[:, 0]]
        self.open_face = open_surface[face_surface]
        """(F,) bool: faces that can be seen through in places."""
        if self.maps:
            self._density, self._along_u, self._along_v = _tangents(character)

    def _is_open(self, index: int) -> bool:
        return index >= 0 and self.maps[index].is_open

    def _place(self, face: np.ndarray, bary: np.ndarray, footprint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S, 2) texture coordinates and (S,) footprints in them."""
        return np.einsum("sk,skc->sc", bary, self._uv[face]), footprint * self._density[face]

    def opacity(self, face: np.ndarray, surface: np.ndarray, bary: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """(S,) 0..1, how closed the surface is.

        Parameters
        ----------
        face, surface:
            (S,) index of the face and of its surface.
        bary:
            (S, 3) weights of its corners.
        footprint:
            (S,) metres, size of a sample on the surface.
        """
        result = self._opacity[surface].copy()
        for index, mine in self._groups(self._color, surface):
            if self.maps[index].is_open:
                uv, width = self._place(face[mine], bary[mine], footprint[mine])
                result[mine] *= self.maps[index].opacity(uv, width)
        return result

    def colors(
        self, albedo: np.ndarray, face: np.ndarray, surface: np.ndarray, bary: np.ndarray, footprint: np.ndarray
    ) -> np.ndarray:
        """(S, 3) ``albedo`` (S, 3) under the pictures; see :meth:`opacity`."""
        result = albedo
        for index, mine in self._groups(self._color, surface):
            uv, width = self._place(face[mine], bary[mine], footprint[mine])
            if result is albedo:
                result = albedo.copy()
            result[mine] = np.minimum(albedo[mine] * self.maps[index].sample(uv, width)[:, :3], 0.95)
        return result

    def add_slopes(
        self, gradient: np.ndarray, face: np.ndarray, surface: np.ndarray, bary: np.ndarray, footprint: np.ndarray
    ) -> None:
        """Add the slopes of the normal maps to ``gradient`` (S, 3), by rest position, in place; see :meth:`opacity`."""
        for index, mine in self._groups(self._normal, surface):
            uv, width = self._place(face[mine], bary[mine], footprint[mine])
            normal = 2.0 * self.maps[index].sample(uv, width)[:, :3] - 1.0
            slope = -normal[:, :2] / np.maximum(normal[:, 2:], 0.2) * self._relief[surface[mine], None]
            gradient[mine] += slope[:, :1] * self._along_u[face[mine]] + slope[:, 1:] * self._along_v[face[mine]]

    def _groups(self, table: np.ndarray, surface: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """For each texture in ``table`` the samples that lie on it."""
        if not self.maps or (table < 0).all():
            return []
        wanted = table[surface]
        return [(int(index), np.flatnonzero(wanted == index)) for index in np.unique(wanted) if index >= 0]


def _corners_on(character: Character, texture: int) -> np.ndarray | None:
    """(F, 3, 2) texture coordinates of the faces that a texture lies on; ``None`` where there are none."""
    on = np.array([texture in (s.texture, s.normal_map) for s in character.surfaces])
    mine = on[character.surface[character.faces[:, 0]]]
    return character.uv[mine] if mine.any() else None


def _tangents(character: Character) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each face: texture coordinates a metre (F,), and the unit directions (F, 3) in which u and v grow, at rest."""
    a, b, c = (character.vertices[character.faces[:, k]] for k in range(3))
    first, second = (b - a).astype(np.float64), (c - a).astype(np.float64)
    du1, dv1 = (character.uv[:, 1] - character.uv[:, 0]).T.astype(np.float64)
    du2, dv2 = (character.uv[:, 2] - character.uv[:, 0]).T.astype(np.float64)
    signed = du1 * dv2 - du2 * dv1
    area = np.linalg.norm(np.cross(first, second), axis=1)
    sign = np.where(signed < 0, -1.0, 1.0)[:, None]
    along_u = sign * (dv2[:, None] * first - dv1[:, None] * second)
    along_v = sign * (du1[:, None] * second - du2[:, None] * first)
    directions = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (along_u, along_v)]
    density = np.sqrt(np.abs(signed) / np.maximum(area, 1e-12))
    return density.astype(np.float32), directions[0].astype(np.float32), directions[1].astype(np.float32)
