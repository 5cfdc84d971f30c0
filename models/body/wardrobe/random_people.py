"""Random but plausible people: the same seed always gives the same person.

``random-7`` is the name of the seventh of them wherever an avatar is named; the file of one is written by ``avatars new``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

#: What the seed follows in the name of a random person, and the largest seed.
PREFIX, LARGEST_SEED = "random-", 999_999

#: Skin tones from fair to dark; with each the redness that shows in it, and the hair and eyes that go with it.
_COMPLEXIONS: tuple[dict[str, Any], ...] = (
    {"tone": "#efcbb2", "redness": 0.7, "hair": ("#b48d55", "#7a3517", "#70502f"), "eyes": ("#5f86a0", "#4d6b52")},
    {"tone": "#e0b394", "redness": 0.6, "hair": ("#70502f", "#4a3424", "#2c1f17"), "eyes": ("#4f6a70", "#5b4030")},
    {"tone": "#d6a983", "redness": 0.4, "hair": ("#17120f", "#2c1f17"), "eyes": ("#2a1b12", "#3a281b")},
    {"tone": "#b98462", "redness": 0.45, "hair": ("#1d1511", "#2c1b12"), "eyes": ("#3d2a1c", "#2c1a10")},
    {"tone": "#8c5b3e", "redness": 0.35, "hair": ("#15100d", "#1d1511"), "eyes": ("#2c1a10", "#33231a")},
    {"tone": "#66412d", "redness": 0.3, "hair": ("#120c09", "#15100d"), "eyes": ("#24150d", "#2c1a10")},
)
_GREY = ("#a9a6a2", "#c9c5be", "#7d7873")
_DARK = ("#23272f", "#2b2f36", "#3b3a38", "#34496d", "#4a4e57", "#4a3c30")
_LIGHT = ("#d9dfe0", "#e4e0d4", "#e7e7e4", "#cfd8c8", "#d8cdb8")
_BRIGHT = ("#a8402f", "#2f7d86", "#6f7f6a", "#3f5a4c", "#8c2f33", "#34506b", "#c08a3a", "#6b4d7a")
_TIES = ("#5d2230", "#22304f", "#3c4a3a", "#4a4e57")
_LEATHER = ("#6b4a33", "#3a2c24", "#54402c", "#231a16")

#: Age from which hair is grey, in the body model's terms.
_GREY_FROM = 0.82


class _Chance:
    """The seed's stream of decisions."""

    def __init__(self, seed: int) -> None:
        self._stream = np.random.default_rng(seed)

    def of(self, *choices: Any) -> Any:
        return choices[int(self._stream.integers(len(choices)))]

    def between(self, low: float, high: float) -> float:
        return round(float(self._stream.uniform(low, high)), 2)

    def around(self, middle: float, spread: float, low: float = 0.0, high: float = 1.0) -> float:
        return round(float(np.clip(self._stream.normal(middle, spread), low, high)), 2)

    def chance(self, share: float) -> bool:
        return bool(self._stream.random() < share)


def seed_of(name: str) -> int | None:
    """The seed in the name of a random person (``random-7``), which has no leading zeros; ``None`` for other names."""
    found = re.fullmatch(rf"{PREFIX}(0|[1-9][0-9]{{0,5}})", name, re.ASCII)
    return int(found[1]) if found else None


def random_avatar(seed: int, name: str) -> dict[str, Any]:
    """The fields of an avatar's file.

    Parameters
    ----------
    seed:
        0 or more. The same seed gives the same person, whatever the name.
    """
    chance = _Chance(seed)
    woman = chance.chance(0.5)
    age = chance.between(0.56, 0.95)
    person = {
        "gender": 1.0 if woman else 0.0,
        "age": age,
        "muscle": chance.around(0.48 if woman else 0.58, 0.13, 0.2, 0.9),
        "weight": chance.around(0.4 + 0.25 * (age - 0.56), 0.14, 0.15, 0.9),
        "height": chance.around(0.48, 0.14, 0.1, 0.9),
        "proportions": chance.between(0.55, 0.85),
    }
    looks = chance.of(*_COMPLEXIONS)
    color = chance.of(*_GREY) if age > _GREY_FROM and chance.chance(0.8) else chance.of(*looks["hair"])
    skin = {
        "kind": "natural",
        "tone": looks["tone"],
        "redness": looks["redness"],
        "eyes": chance.of(*looks["eyes"]),
        "brows": color,
        "brow_weight": chance.between(0.3, 0.5) if woman else chance.between(0.5, 0.85),
        "stubble": 0.0 if woman else chance.between(0.05, 0.8),
        "lashes": chance.between(0.6, 0.9) if woman else 0.4,
    }
    kind, outfit = chance.of(*_OUTFITS_WOMEN if woman else _OUTFITS_MEN)
    age_word = "young" if age < 0.65 else "middle-aged" if age < _GREY_FROM else "older"
    return {
        "name": name,
        "title": name.replace("-", " ").replace("_", " ").title(),
        "description": f"A random {age_word} {'woman' if woman else 'man'} in {kind} (seed {seed}).",
        "phenotype": person,
        "skin": skin,
        "hair": _hair(chance, woman, color),
        "outfit": outfit(chance),
    }


def _hair(chance: _Chance, woman: bool, color: str) -> dict[str, Any]:
    base = {"color": color, "seed": int(chance.of(*range(1, 100))), "curl": chance.between(0.05, 0.5)}
    kind = chance.of("long", "long", "tied", "tied", "short", "afro") if woman else chance.of("short", "short", "afro")
    if kind == "long":
        more = {"reach": chance.between(0.3, 0.8), "volume": chance.between(0.3, 0.6), "fringe": chance.chance(0.3)}
    elif kind == "tied":
        more = {"style": chance.of("ponytail", "bun"), "height": chance.between(0.4, 0.75)}
    elif kind == "afro":
        more = {"length": chance.between(0.02, 0.06)}
    else:
        length = chance.between(0.02, 0.05)
        more = {"length": length, "sides": 0.03 if woman else 0.012, "parting": chance.between(-0.5, 0.5)}
    return {"kind": kind, **base, **more}


def _shoes(chance: _Chance) -> dict[str, Any]:
    color = chance.of(*_LEATHER)
    return {"kind": "shoes", "color": color, "sole": "#2a211c", "leather": True, "collar": 0.1, "laces": None}


def _trainers(chance: _Chance) -> dict[str, Any]:
    return {"kind": "shoes", "color": chance.of(*_BRIGHT, *_LIGHT), "sole": "#f1efe8"}


def _casual(chance: _Chance) -> list[dict[str, Any]]:
    return [
        {"kind": "jeans", "color": chance.of("#34496d", "#2b3648", "#4d5f7d"), "fit": chance.between(0.1, 0.5)},
        {"kind": "t-shirt", "color": chance.of(*_LIGHT, *_BRIGHT), "fit": chance.between(0.3, 0.7), "sleeve": 0.6},
        _trainers(chance),
    ]


def _office(chance: _Chance) -> list[dict[str, Any]]:
    dark = chance.of(*_DARK)
    shirt: dict[str, Any] = {"kind": "shirt", "color": chance.of(*_LIGHT), "fit": 0.3, "hem": 0.03}
    outfit = [{"kind": "trousers", "color": dark, "fit": 0.3, "belt": "#1e1815"}, shirt]
    if chance.chance(0.6):
        if chance.chance(0.5):
            shirt["tie"] = chance.of(*_TIES)
        outfit.append({"kind": "jacket", "color": dark, "fit": 0.35, "hem": -0.08, "sleeve": 1.92, "lapels": True})
    return [*outfit, _shoes(chance)]


def _sport(chance: _Chance) -> list[dict[str, Any]]:
    bright, dark = chance.of(*_BRIGHT), chance.of(*_DARK)
    legs = chance.of({"kind": "leggings", "side_stripe": bright}, {"kind": "shorts", "fit": 0.6})
    return [
        {**legs, "color": dark},
        {"kind": "t-shirt", "color": chance.of(*_LIGHT, bright), "trim": bright, "neck": chance.of("v", "crew")},
        {"kind": "socks", "color": "#f2f2ef"},
        {"kind": "shoes", "color": bright, "sole": "#f1efe8"},
    ]


def _street(chance: _Chance) -> list[dict[str, Any]]:
    bright = chance.of(*_BRIGHT)
    return [
        {"kind": "trousers", "color": chance.of(*_DARK), "fit": chance.between(0.4, 0.8)},
        {"kind": chance.of("hoodie", "sweater"), "color": bright, "fit": chance.between(0.4, 0.7)},
        _trainers(chance),
    ]


def _skirt(chance: _Chance) -> list[dict[str, Any]]:
    return [
        {"kind": "leggings", "color": chance.of("#23272f", "#3a3f4a"), "ends": 1.88, "waist": 0.05},
        {"kind": "skirt", "color": chance.of(*_DARK, *_BRIGHT), "ends": chance.between(0.8, 1.3), "waist": 0.28},
        {"kind": "sweater", "color": chance.of(*_LIGHT), "fit": 0.35, "hem": 0.04},
        _shoes(chance),
    ]


def _dress(chance: _Chance) -> list[dict[str, Any]]:
    color = chance.of(*_BRIGHT, "#e3b53c")
    return [
        {"kind": "t-shirt", "color": color, "neck": chance.of("v", "crew"), "sleeve": 0.42, "hem": 0.12, "fit": 0.1},
        {"kind": "skirt", "color": color, "waist": 0.3, "ends": chance.between(0.8, 1.2), "flare": 0.6},
        _shoes(chance),
    ]


def _winter(chance: _Chance) -> list[dict[str, Any]]:
    return [
        {"kind": "trousers", "color": chance.of(*_DARK), "fit": 0.2},
        {"kind": "sweater", "color": chance.of(*_LIGHT), "neck": "turtle", "fit": 0.2, "hem": 0.02},
        {"kind": "coat", "color": chance.of(*_DARK, *_BRIGHT), "fit": 0.5, "ends": chance.between(0.7, 1.1)},
        {**_shoes(chance), "collar": 0.9},
    ]


_Outfit = tuple[str, Callable[[_Chance], list[dict[str, Any]]]]
_OUTFITS_MEN: tuple[_Outfit, ...] = (
    ("jeans and a T-shirt", _casual),
    ("office clothes", _office),
    ("sportswear", _sport),
    ("street clothes", _street),
)
_OUTFITS_WOMEN: tuple[_Outfit, ...] = (
    *_OUTFITS_MEN,
    ("a skirt and a sweater", _skirt),
    ("a summer dress", _dress),
    ("a winter coat", _winter),
)
