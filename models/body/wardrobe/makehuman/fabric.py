"""What a garment seems to be made of: from its avatar's file, else from the words in its names and tags."""

from __future__ import annotations

import re
from dataclasses import replace

from models.body.character import Material, Surface
from models.body.wardrobe.cloth import CANVAS, COTTON, DENIM, KNITTED, LEATHER, METAL, RUBBER, SHIRTING, STRETCH, TWILL
from models.body.wardrobe.hair_cap import HAIR

#: Names that an avatar's file may use.
FABRICS: dict[str, Surface] = {
    "cotton": COTTON,
    "shirting": SHIRTING,
    "knit": KNITTED,
    "denim": DENIM,
    "twill": TWILL,
    "stretch": STRETCH,
    "leather": LEATHER,
    "canvas": CANVAS,
    "rubber": RUBBER,
    "metal": METAL,
}
#: Words that tell a fabric; the first that is found in the names of the material or the tags decides.
_WORDS = (
    ("denim", "denim|jeans?"),
    ("knit", "knit|sweater|pullover|jumper|cardigan|wool|beanie|scarf"),
    ("leather", "leather|shoes?|boots?|heels?|sandals?|belt"),
    ("canvas", "sneakers?|trainers?|canvas|chucks?|backpack|bag"),
    ("rubber", "rubber|latex|wellies"),
    ("metal", "metal|armou?r|steel|glasses|jewel(?:le)?ry"),
    ("stretch", "sports?(?:suit)?|leggings?|swim(?:suit)?|bikini|tights|stockings?|socks?|gloves?|underwear|bra"),
    ("shirting", "shirt|blouse"),
    ("twill", "suit|elegant(?:suit)?|work(?:suit)?|uniform|jacket|coat|trousers|pants|chinos?|hat|fedora|cap"),
    ("cotton", "t-?shirt|dress|skirt|top|casual(?:suit)?"),
)
#: What the lower pieces of a mesh of several (a suit with its trousers) are made of, by what the upper ones are.
LOWER = {"cotton": "denim", "shirting": "twill", "knit": "denim"}


def fabric_of(names: tuple[str, ...]) -> str:
    """The name of a fabric by the words in ``names``; cotton where nothing tells."""
    # Digits and case separate words as blanks do: ``female_casualSuit01``.
    text = " ".join(re.sub(r"[^a-z-]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()) for name in names)
    for fabric, words in _WORDS:
        if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", text):
            return fabric
    return "cotton"


def hair_surface() -> Surface:
    """Hair on cards."""
    return replace(HAIR, sheet=True)


def under_picture(surface: Surface, texture: int, normal_map: int, relief: float, opacity: float) -> Surface:
    """``surface`` with pictures on it. What a picture shows is not made a second time: folds, weave, strands."""
    return replace(
        surface,
        texture=texture,
        normal_map=normal_map,
        relief=relief,
        opacity=opacity,
        wrinkles=surface.wrinkles * (0.35 if normal_map >= 0 else 0.6 if texture >= 0 else 1.0),
        pattern_strength=surface.pattern_strength * (0.4 if texture >= 0 else 1.0),
    )


def brow_surface() -> Surface:
    """Brows and lashes: hair too short to have highlights of its own."""
    return Surface(Material.HAIR, 0.6, specular=0.04, sheet=True)
