"""What makes a jacket a suit jacket: the opening cut for lapels, the lapels and their collar, the overlap, the tie."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import cKDTree

from models.body.character import Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import RUBBER, SATIN, TWILL, skin_weights
from models.body.wardrobe.mesh import Matrix, grid_faces, join
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.shell import Shell
from models.body.wardrobe.spec import Top, linear

#: Levels on the trunk of the button that closes the jacket, and metres below it from which the fronts part again.
BUTTON, CLOSED = 0.30, 0.045
#: Where the roll line of the lapels meets the neck, as a share of the shoulders' half width; level on the trunk.
ROLL, ROLL_LEVEL = 0.36, 0.99
#: Metres by which the left front lies over the right one; from the button to the one below it.
OVERLAP, BUTTON_STEP = 0.017, 0.10
#: The lapel's outline: (share of the roll line from the button to the neck, metres outwards from it). The last but one
#: is the point, the last the corner of the notch, from where the edge runs along the collar back to the roll line.
LAPEL = ((0.0, 0.010), (0.12, 0.030), (0.40, 0.060), (0.70, 0.083), (0.76, 0.087), (0.815, 0.052))
#: The collar's front end in the same terms: the corner in the notch, the tip, and where its edge goes on round the neck.
COLLAR_END = ((0.835, 0.050), (0.880, 0.073), (0.945, 0.054))


class Front:
    """The front of a garment as a height field: how far forward its cloth lies."""

    def __init__(self, shell: Shell, body: Anatomy) -> None:
        ahead = shell.points[:, 1] < (body.joints["spine01"][1] + body.joints["spine04"][1]) / 2 + 0.01
        trunk = shell.of(body.arm_weight) < 0.35
        mine = ahead & trunk & (shell.normals[:, 1] < -0.05)
        places, y = shell.points[mine][:, [0, 2]], shell.points[mine][:, 1]
        self._inside = LinearNDInterpolator(places, y)
        self._beyond = NearestNDInterpolator(places, y)
        self._tree = cKDTree(shell.points)
        self._shell = shell

    def depth(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """y of the cloth at (...,) places."""
        found = self._inside(x, z)
        return np.where(np.isnan(found), self._beyond(x, z), found)

    def source(self, points: np.ndarray) -> Matrix:
        """(V, N) what the cloth nearest to each of (V, 3) points is made of."""
        return self._shell.source[self._tree.query(points)[1]].tocsr()


def roll_gap(body: Anatomy, z: np.ndarray, hem: float) -> np.ndarray:
    """(V,) metres between the middle and the edge of each front at heights ``z``: a V above the button, closed below it (then
    negative), the corners cut away down to the hem at level ``hem``."""
    button, neck = body.level(BUTTON), body.level(ROLL_LEVEL)
    side = ROLL * abs(float(body.joints["upperarm01.L"][0]))
    above = side * np.clip((z - button) / (neck - button), 0, 1.05)
    down = (button - CLOSED - z) / max(button - CLOSED - body.level(hem), 0.02)
    below = 0.055 * np.clip(down, 0, None) ** 1.8 - 0.012 * smoothstep(z, button - 1.6 * CLOSED, button - 0.6 * CLOSED)
    return np.where(z > button, above - 0.012 * smoothstep(z, button + 0.02, button), below)


def opening(body: Anatomy, top: Top) -> np.ndarray:
    """(N,) metres from the edge of the fronts (positive = cloth)."""
    x, y, z = body.points.T
    return np.abs(x) - roll_gap(body, z, top.hem) + behind(body, y, z)


def behind(body: Anatomy, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(V,) 0 in front of the middle of trunk and neck, growing behind it: what keeps the cut of a front off the back."""
    chest = (body.joints["spine01"][1] + body.joints["spine04"][1]) / 2 - 0.02
    middle = np.interp(z, [body.level(0.6), body.level(0.98)], [chest, body.joints["neck01"][1] - 0.015])
    return np.asarray(np.maximum(0, y - middle) * 5)


def make_lapels(shell: Shell, body: Anatomy, top: Top) -> list[Part]:
    """Lapels, the ends of their collar, the overlap of the fronts and two buttons."""
    front = Front(shell, body)
    cloth, color = TWILL, linear(top.trim or top.color)
    parts = []
    for sign in (1.0, -1.0):
        parts.append(_leaf(front, body, top, sign, _lapel_rows(), 0.0052, cloth, color))
        parts.append(_leaf(front, body, top, sign, _collar_rows(), 0.0062, cloth, color))
    overlap, line = _overlap(front, body, top, cloth, linear(top.color))
    return [*parts, overlap, _buttons(front, body, line, linear(top.buttons))]


def _lapel_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of a lapel: where it starts on the roll line, and where it ends (share up, metres out)."""
    share, out = np.array(LAPEL).T
    up = np.concatenate([np.linspace(0, 0.7, 15), np.linspace(0.7, 0.76, 4)[1:]])
    width = np.interp(up, share[:-1], out[:-1])
    # The edge from the point to the notch and on to the neck: rows fan out from the upper part of the roll line.
    point, notch = np.array([share[4], out[4]]), np.array([share[5], out[5]])
    neck = np.array([0.97, 0.004])
    edge = np.concatenate([point + np.linspace(0, 1, 6)[1:, None] * (notch - point),
                           notch + np.linspace(0, 1, 8)[1:, None] * (neck - notch)])  # fmt: skip
    start = np.concatenate([up, np.linspace(0.76, 0.97, len(edge) + 1)[1:]])
    return start, np.r_[up, edge[:, 0]], np.r_[width, edge[:, 1]]


def _collar_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for the end of the collar, whose rows start along the seam to the lapel."""
    corner, tip, behind = (np.array(place) for place in COLLAR_END)
    edge = np.concatenate([corner + np.linspace(0, 1, 6)[:, None] * (tip - corner),
                           tip + np.linspace(0, 1, 6)[1:, None] * (behind - tip)])  # fmt: skip
    return np.linspace(0.95, 0.99, len(edge)), edge[:, 0], edge[:, 1]


#: Across a leaf: share of its width, and share of its height over the cloth; it rolls out of the edge and its own edge is
#: closed against the cloth.
_ACROSS = np.array([0.0, 0.02, 0.08, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0, 1.0])
_HEIGHT = np.array([-0.5, 0.5, 1.0, 1.12, 1.1, 1.0, 0.9, 0.8, 0.6, -0.2])


def _leaf(
    front: Front, body: Anatomy, top: Top, sign: float, rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    height: float, cloth: Surface, color: np.ndarray,
) -> Part:  # fmt: skip
    """A piece of cloth that is folded over onto the front. ``sign``: 1 left, -1 right."""
    start, up, out = rows
    button, neck = body.level(BUTTON), body.level(ROLL_LEVEL)
    scale = (neck - button) / 0.36
    side = ROLL * abs(float(body.joints["upperarm01.L"][0]))
    along = np.array([side, neck - button])
    across = np.array([along[1], -along[0]]) / np.linalg.norm(along)
    begin = np.array([0.0, button]) + start[:, None] * along
    end = np.array([0.0, button]) + up[:, None] * along + scale * out[:, None] * across
    place = begin[:, None] + _ACROSS[None, :, None] * (end - begin)[:, None]
    x, z = sign * place[..., 0], place[..., 1]
    y = front.depth(x, z) - height * _HEIGHT[None]
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    faces = grid_faces(len(start), len(_ACROSS), False)
    if sign > 0:
        faces = faces[:, ::-1]
    source = front.source(points)
    shade = np.r_[0.7, 0.85, np.ones(7), 0.6]
    albedo = np.tile(shade[:, None] * color, (len(start), 1))
    weights = skin_weights(source, faces, body, 4)
    return Part(points, faces, weights, albedo, (cloth,), np.zeros(len(points), int), source=source)


def _overlap(front: Front, body: Anatomy, top: Top, cloth: Surface, color: np.ndarray) -> tuple[Part, np.ndarray]:
    """The edge of the left front, which lies over the right one, and the line (R, 3) on which the buttons sit."""
    button = body.level(BUTTON)
    z = np.linspace(button + 0.03, max(button - 0.16, body.level(top.hem) + 0.005), 24)
    gap = roll_gap(body, z, top.hem)
    share = smoothstep(z, button + 0.03, button + 0.012) * smoothstep(gap, 0.05, 0.02)
    edge = np.maximum(gap, 0) - OVERLAP * share
    inner = np.maximum(gap, 0) + 0.014
    across = np.array([0.0, 0.5, 0.9, 1.0, 1.0])
    rise = np.array([-0.0005, 0.0030, 0.0034, 0.0026, -0.002])
    x = inner[:, None] + across * (edge - inner)[:, None]
    grid_z = np.repeat(z[:, None], len(across), 1)
    y = front.depth(x, grid_z) - (0.4 + 0.6 * share[:, None]) * rise
    points = np.stack([x, y, grid_z], axis=-1).reshape(-1, 3)
    faces = grid_faces(len(z), len(across), False)[:, ::-1]
    source = front.source(points)
    albedo = np.tile(np.r_[np.ones(4), 0.55][:, None] * color, (len(z), 1))
    weights = skin_weights(source, faces, body, 4)
    part = Part(points, faces, weights, albedo, (cloth,), np.zeros(len(points), int), source=source)
    heights = np.array([button, button - BUTTON_STEP])
    places = np.interp(heights, z[::-1], np.maximum(gap, 0)[::-1])
    line = np.stack([places, front.depth(places, heights) - 0.0035, heights], axis=1)
    return part, line


def _buttons(front: Front, body: Anatomy, line: np.ndarray, color: np.ndarray) -> Part:
    """Flat round buttons at ``line`` (R, 3)."""
    disc, faces = button_disc(0.0095)
    points, all_faces = join([(disc + place, faces) for place in line])
    source = front.source(points)
    weights = (source @ body.weights).tocsr()
    albedo = np.tile(color, (len(points), 1))
    return Part(points, all_faces, weights, albedo, (RUBBER,), np.zeros(len(points), int), source=source)


def button_disc(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and faces of a button that looks forward, its middle at the origin."""
    ring = np.arange(10)
    angle = ring * np.pi / 5
    rim = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1) * radius
    disc = np.concatenate([[[0, -0.0024, 0]], 0.75 * rim - [0, 0.0028, 0], rim])
    following = (ring + 1) % 10
    inner, outer, next_inner, next_outer = 1 + ring, 11 + ring, 1 + following, 11 + following
    faces = np.concatenate([np.stack([0 * ring, inner, next_inner], 1), np.stack([inner, outer, next_inner], 1),
                            np.stack([next_inner, outer, next_outer], 1)])  # fmt: skip
    return disc, faces


def make_tie(shell: Shell, body: Anatomy, color: np.ndarray, throat: np.ndarray) -> Part:
    """A tie: a knot at the ``throat`` (3,) and a blade that widens down to the waistband."""
    front = Front(shell, body)
    throat = throat + np.array([0, 0, 0.007])
    length = throat[2] - body.level(0.19)
    down = np.array([0.0, 0.002, 0.018, 0.036, 0.040, 0.044, *np.linspace(0.07, length, 20)])
    half = np.array([0.014, 0.019, 0.018, 0.013, 0.0115, 0.013, *np.linspace(0.018, 0.040, 20)])
    half[-1] = 0.006
    down[-2] -= 0.006
    lift = np.array([0.002, 0.020, 0.022, 0.018, 0.012, 0.011, *np.linspace(0.0095, 0.0075, 20)])
    across = np.array([-1.0, -0.97, -0.6, 0.0, 0.6, 0.97, 1.0])
    round_off = np.array([-0.2, 0.55, 0.9, 1.0, 0.9, 0.55, -0.2])
    x, z = half[:, None] * across, np.repeat((throat[2] - down)[:, None], len(across), 1)
    # The tie hangs straight: it follows the middle of the chest, not its sides.
    y = np.minimum(front.depth(x, z), front.depth(0 * x, z)) - lift[:, None] * round_off
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    faces = grid_faces(len(down), len(across), False)
    source = front.source(points)
    albedo = np.tile(color, (len(points), 1)).reshape(len(down), len(across), 3)
    albedo[4] *= 0.55
    albedo = albedo.reshape(-1, 3)
    weights = skin_weights(source, faces, body, 4)
    return Part(points, faces, weights, albedo, (SATIN,), np.zeros(len(points), int), source=source)
