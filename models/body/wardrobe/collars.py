"""What sits at the neck and down the front of tops: bands, turned collars, hoods, plackets, buttons, zips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import cKDTree

from models.body.character import Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import COTTON, KNITTED, METAL, RIBBED, RUBBER, SHIRTING, TWILL, skin_weights
from models.body.wardrobe.mesh import Matrix, boundary_edges, grid_faces, join, selection, unit
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.shell import Shell
from models.body.wardrobe.spec import Jacket, Shirt, Top, linear


@dataclass(frozen=True)
class NeckLine:
    """The edge of a neckline from the throat round the back to the throat, evenly sampled."""

    points: np.ndarray
    """(M, 3)."""
    source: Matrix
    """(M, N) as combinations of body vertices."""
    turn: np.ndarray
    """(M,) radians round the neck: 0 at the throat, pi at the back."""
    out: np.ndarray
    """(M, 3) unit, away from the neck."""
    up: np.ndarray
    """(M, 3) unit, along the neck."""
    closed: bool


def neck_line(shell: Shell, body: Anatomy, neck: np.ndarray, samples: int = 72) -> NeckLine:
    """Find the neckline of a top whose field ``neck`` (N,) is zero there."""
    rim = np.unique(boundary_edges(shell.faces)[0])
    rim = rim[np.abs(shell.of(neck)[rim]) < 1e-3]
    points = shell.points[rim]
    center = np.array([0.0, (points[:, 1].min() + points[:, 1].max()) / 2, 0.0])
    turn = np.arctan2(points[:, 0] - center[0], -(points[:, 1] - center[1])) % (2 * np.pi)
    order = np.argsort(turn)
    rim, points, turn = rim[order], points[order], turn[order]
    closed = bool(turn[0] + 2 * np.pi - turn[-1] < 0.3)
    if closed:
        rim, points, turn = np.r_[rim, rim[0]], np.r_[points, points[:1]], np.r_[turn, turn[0] + 2 * np.pi]
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    length += np.arange(len(length)) * 1e-9
    at = np.linspace(0, length[-1], samples + 1)[:-1] if closed else np.linspace(0, length[-1], samples)
    right = np.clip(np.searchsorted(length, at), 1, len(length) - 1)
    t = (at - length[right - 1]) / (length[right] - length[right - 1])
    matrix = selection(rim[right - 1], len(shell.points)).multiply((1 - t)[:, None])
    matrix = (matrix + selection(rim[right], len(shell.points)).multiply(t[:, None])).tocsr()
    line = matrix @ shell.points
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    line = np.stack([np.convolve(np.pad(c, 2, "wrap" if closed else "edge"), kernel, "valid") for c in line.T], 1)
    axis = unit(body.joints["neck03"] - body.joints["neck01"])
    out = unit(np.stack([line[:, 0], line[:, 1] - center[1], np.zeros(len(line))], axis=1))
    out = unit(out - (out @ axis)[:, None] * axis)
    angle = np.interp(at, length, turn)
    return NeckLine(line, (matrix @ shell.source).tocsr(), angle, out, np.tile(axis, (len(line), 1)), closed)


def _loft(line: NeckLine, profile: np.ndarray, body: Anatomy, colors: np.ndarray, surface: Surface) -> Part:
    """Sweep ``profile`` (R, M, 2), metres outwards and upwards of the line, into a surface."""
    rows, columns = profile.shape[:2]
    points = line.points + profile[..., :1] * line.out + profile[..., 1:] * line.up
    faces = grid_faces(rows, columns, line.closed)
    source = selection(np.tile(np.arange(columns), rows), columns) @ line.source
    albedo = np.repeat(colors, columns, axis=0)
    weights = skin_weights(source.tocsr(), faces, body, 2)
    flat = points.reshape(-1, 3)
    return Part(flat, faces, weights, albedo, (surface,), np.zeros(len(flat), int), source=source.tocsr())


def make_neck(shell: Shell, body: Anatomy, top: Top, neck: np.ndarray) -> list[Part]:
    """The band, collar or hood of a top."""
    line = neck_line(shell, body, neck)
    color = linear(top.trim or top.color)
    if top.neck in ("crew", "v", "turtle"):
        return [_band(line, body, color, top)]
    if top.neck == "hood":
        return [_hood(line, body, linear(top.color), top)]
    return [_turned(line, body, color, top)]


def _band(line: NeckLine, body: Anatomy, color: np.ndarray, top: Top) -> Part:
    high = {"crew": 0.012, "v": 0.007, "turtle": 0.004}[top.neck]
    thick = 0.0022
    path = [
        (-0.004, -0.012),
        (-0.003, 0.4 * high),
        (-0.0035, high),
        (-0.001, high + 0.001),
        (thick, 0.55 * high),
        (thick, -0.002),
        (0.0005, -0.007),
    ]
    profile = np.repeat(np.array(path)[:, None], len(line.points), axis=1)
    shade = np.array([0.45, 0.6, 0.85, 1.0, 1.0, 0.95, 0.75])[:, None] * color
    return _loft(line, profile, body, shade, RIBBED if top.neck != "v" or top.knit else COTTON)


#: Radians round the neck from the throat to the points of a collar that is buttoned up.
_POINT = 0.5


def _turned(line: NeckLine, body: Anatomy, color: np.ndarray, top: Top) -> Part:
    """A collar that stands up and is turned down, with points at the throat."""
    front = np.abs((line.turn + np.pi) % (2 * np.pi) - np.pi)
    tip = smoothstep(front, 1.0, 0.15)
    stand = 0.026 - 0.012 * tip
    if isinstance(top, Jacket):
        stand = 0.022 - 0.006 * tip
    fall = 0.042 + 0.022 * tip
    if isinstance(top, Shirt) and top.tie:
        # Buttoned up: the edges run from the throat down and apart to the points.
        fall = np.where(front < _POINT, 0.004 + 0.064 * front / _POINT, 0.042 + 0.026 * smoothstep(front, 0.95, _POINT))
    zero = np.zeros(len(front))
    lean = 0.007 * (1 - tip) + 0.002
    rows = [
        (zero - 0.004, zero - 0.008), (zero - 0.004 - lean, 0.5 * stand), (zero - 0.004 - 1.6 * lean, stand),
        (zero - 0.001 - 1.5 * lean, stand + 0.003), (zero + 0.004 - lean, stand + 0.0005), (zero + 0.009, stand - 0.45 * fall),
        (zero + 0.018 + 0.003 * tip, stand - 0.8 * fall), (zero + 0.0215 + 0.004 * tip, stand - fall),
        (zero + 0.0185 + 0.004 * tip, stand - 0.98 * fall), (zero + 0.006, stand - 0.5 * fall),
    ]  # fmt: skip
    profile = np.stack([np.stack(row, axis=-1) for row in rows])
    if isinstance(top, Shirt | Jacket):
        # Ironed flat.
        profile[5:, :, 0] *= 0.5 if isinstance(top, Shirt) and top.tie else 0.7
    # What falls below the neckline lies on the slope of the shoulders.
    profile[3:, :, 0] += 0.35 * (1 - tip) * np.maximum(0, -profile[3:, :, 1])
    shade = np.array([0.5, 0.7, 0.9, 1, 1, 1, 1, 0.95, 0.6, 0.5])[:, None] * color
    buttoned = isinstance(top, Shirt) and top.tie is not None and line.closed
    opened = NeckLine(line.points, line.source, line.turn, line.out, line.up, buttoned)
    surface = SHIRTING if isinstance(top, Shirt) else TWILL if isinstance(top, Jacket) else RIBBED
    return _loft(opened, profile, body, shade, surface)


def _hood(line: NeckLine, body: Anatomy, color: np.ndarray, top: Top) -> Part:
    """A hood that lies on the back: a soft pouch, thin at the throat, deep behind."""
    back = smoothstep(np.abs((line.turn + np.pi) % (2 * np.pi) - np.pi), 0.5, 2.7)
    side = np.sin(np.clip(line.turn, 0, 2 * np.pi) / 2)
    lump = 1 + 0.16 * noise(line.points, 0.03, 5)
    size = (0.010 + 0.075 * back) * lump
    path = [
        (-0.006, -0.012), (-0.004, 0.012), (-0.002 + 0.02 * 0, 0.35), (0.12, 0.56), (0.36, 0.55), (0.66, 0.34), (0.86, 0.0),
        (0.88, -0.42), (0.72, -0.86), (0.45, -1.12), (0.2, -1.1), (0.06, -0.8),
    ]  # fmt: skip
    rows = []
    for index, (out, up) in enumerate(path):
        scale = np.ones_like(size) if index < 2 else size
        crumple = 1 + 0.1 * noise(line.points + np.array([0, 0, 0.05 * index]), 0.025, 9) * (index > 2)
        rows.append(
            np.stack(
                [out * scale * crumple + (0.004 if index > 1 else 0) + 0.0 * side, up * scale * crumple + 0.004],
                axis=-1,
            )
        )
    shade = np.array([0.35, 0.45, 0.6, 0.85, 1, 1, 1, 1, 1, 0.9, 0.7, 0.5])[:, None] * color
    return _loft(line, np.stack(rows), body, shade, KNITTED if top.knit else TWILL)


def make_front(shell: Shell, body: Anatomy, top: Top) -> list[Part]:
    """A placket with buttons, or a zip, down the middle of the front."""
    normal = shell.normals
    ahead = shell.points[:, 1] < body.joints["spine01"][1] - 0.03
    front = ahead & (normal[:, 1] < -0.05) & (np.abs(shell.points[:, 0]) < 0.09)
    places = shell.points[front][:, [0, 2]]
    middle = shell.points[ahead & (np.abs(shell.points[:, 0]) < 0.012)]
    under_knot = 0.03 if isinstance(top, Shirt) and top.tie else 0.002
    high, low = middle[:, 2].max() - under_knot, middle[:, 2].min() + 0.002
    half = 0.015 if top.front == "buttons" else 0.007
    z = np.linspace(high, low, 60)
    x = np.linspace(-half, half, 5)
    grid_x, grid_z = np.meshgrid(x, z)
    linear_y = LinearNDInterpolator(places, shell.points[front][:, 1])(grid_x, grid_z)
    nearest_y = NearestNDInterpolator(places, shell.points[front][:, 1])(grid_x, grid_z)
    y = np.where(np.isnan(linear_y), nearest_y, linear_y)
    rise = np.array([-0.003, 0.0022, 0.0028, 0.0022, -0.003])
    points = np.stack([grid_x, y - rise, grid_z], axis=-1).reshape(-1, 3)
    faces = grid_faces(len(z), len(x), False)
    zipped = top.front == "zip"
    color = linear(top.buttons) if zipped else linear(top.trim or top.color) * 1.03
    surface = METAL if zipped else SHIRTING
    nearest = cKDTree(shell.points).query(points)[1]
    source = shell.source[nearest].tocsr()
    albedo = np.tile(np.clip(color, 0, 1), (len(points), 1))
    if not zipped:
        albedo.reshape(len(z), len(x), 3)[:, [0, 4]] *= 0.7
    weights = skin_weights(source, faces, body, 3)
    strip = Part(points, faces, weights, albedo, (surface,), np.zeros(len(points), int), source=source)
    return (
        [strip]
        if zipped
        else [strip, _buttons(points.reshape(len(z), len(x), 3)[:, 2], source, body, linear(top.buttons))]
    )


def _buttons(line: np.ndarray, source: Matrix, body: Anatomy, color: np.ndarray) -> Part:
    """Round buttons every 8.5 cm down ``line`` (R, 3), the middle of a placket of five columns."""
    spacing = 0.085
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    rows = np.unique(np.searchsorted(length, np.arange(0.03, length[-1] - 0.02, spacing)))
    angle = np.arange(8) * np.pi / 4
    disc = np.concatenate([[[0, -0.0032, 0]], np.stack([0.0042 * np.cos(angle), 0 * angle - 0.0028, 0.0042 * np.sin(angle)], 1),
                           np.stack([0.0056 * np.cos(angle), 0 * angle, 0.0056 * np.sin(angle)], 1)])  # fmt: skip
    ring = np.arange(8)
    following = (ring + 1) % 8
    inner, outer = 1 + ring, 9 + ring
    faces = np.concatenate([
        np.stack([0 * ring, 1 + following, inner], 1)[:, ::-1], np.stack([inner, 1 + following, 9 + following], 1)[:, ::-1],
        np.stack([inner, 9 + following, outer], 1)[:, ::-1],
    ])  # fmt: skip
    points, all_faces = join([(disc + line[row] - [0, 0.0005, 0], faces) for row in rows])
    mine = source[np.repeat(rows * 5 + 2, len(disc))].tocsr()
    weights = (mine @ body.weights).tocsr()
    return Part(
        points, all_faces, weights, np.tile(color, (len(points), 1)), (RUBBER,), np.zeros(len(points), int), source=mine
    )
