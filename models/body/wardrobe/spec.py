"""What an avatar's file may say. One pydantic class a kind of thing; ``kind`` picks the class and with it the maker."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Share = Annotated[float, Field(ge=0, le=1)]


def linear(color: str) -> np.ndarray:
    """(3,) linear RGB of a ``#rrggbb`` sRGB colour."""
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


class Strict(BaseModel):
    """Base of all parts of an avatar's file: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Phenotype(Strict):
    """The body under the clothes, in the body model's own terms."""

    gender: Share = Field(0.5, description="0 male, 1 female.")
    age: Share = Field(0.6, description="0 newborn, 0.33 child, 0.67 young adult, 1 old.")
    muscle: Share = Field(0.5, description="0 slight, 1 muscular.")
    weight: Share = Field(0.5, description="0 thin, 1 heavy.")
    height: Share = Field(0.5, description="0 short, 1 tall.")
    proportions: Share = Field(0.6, description="0 unusual, 1 ideal proportions.")


class Skin(Strict):
    """Natural skin."""

    kind: Literal["natural"] = "natural"
    tone: Color = Field("#d8a588", description="Colour of the cheeks in daylight.")
    redness: Share = Field(0.5, description="Blood at cheeks, nose, ears, knuckles, knees, elbows.")
    freckles: Share = Field(0.0, description="Freckles over nose and cheeks.")
    lips: Color | None = Field(None, description="Colour of the lips; made from the tone where absent.")
    eyes: Color = Field("#5b4030", description="Colour of the irises.")
    brows: Color = Field("#3a2a20", description="Colour of the eyebrows.")
    brow_weight: Share = Field(0.5, description="0 thin and light, 1 thick.")
    stubble: Share = Field(0.0, description="Shadow of a beard.")
    lashes: Share = Field(0.5, description="Strength of the line of lashes.")


class MannequinSkin(Strict):
    """One smooth material all over, no features painted."""

    kind: Literal["mannequin"]
    color: Color = Field("#9a9a9c", description="Colour of the figure.")


class Hair(Strict):
    """Fields that all kinds of hair share."""

    color: Color = Field("#3b2a20", description="Colour half-way along the strands.")
    tips: Share = Field(0.35, description="How much lighter the tips are.")
    curl: Share = Field(0.15, description="0 straight, 1 tight curls.")
    seed: int = Field(1, ge=0, description="Another number gives another arrangement of strands.")


class ShortHair(Hair):
    """Short hair, cut at the ears and the nape."""

    kind: Literal["short"]
    length: float = Field(0.03, ge=0.004, le=0.07, description="Length on top, metres.")
    sides: float = Field(0.012, ge=0.002, le=0.05, description="Length at the sides and the nape, metres.")
    parting: float = Field(0.35, ge=-1, le=1, description="Where the parting is: -1 right, 0 middle, 1 left.")
    quiff: Share = Field(0.3, description="How much the front stands up.")
    recede: Share = Field(0.15, description="How far the temples recede.")


class LongHair(Hair):
    """Hair that falls past the ears: a bob, or long."""

    kind: Literal["long"]
    reach: float = Field(0.5, ge=0.1, le=1, description="Where it ends: 0.3 chin, 0.6 shoulders, 1 shoulder blades.")
    volume: Share = Field(0.5, description="How far it stands off the head.")
    parting: float = Field(0.25, ge=-1, le=1, description="Where the parting is: -1 right, 0 middle, 1 left.")
    fringe: bool = Field(False, description="Whether a fringe covers the forehead.")


class TiedHair(Hair):
    """Hair combed back and tied."""

    kind: Literal["tied"]
    style: Literal["ponytail", "bun"] = Field("ponytail", description="How it is tied.")
    height: Share = Field(0.6, description="Where it is tied: 0 nape, 1 crown.")
    volume: Share = Field(0.5, description="Thickness of the tail or the bun.")
    band: Color = Field("#222226", description="Colour of the hair tie.")


class AfroHair(Hair):
    """A round head of curls."""

    kind: Literal["afro"]
    length: float = Field(0.045, ge=0.008, le=0.12, description="How far it stands off the head, metres.")


class FileHair(Strict):
    """Hair, brows or lashes from a file in MakeHuman's format."""

    kind: Literal["garment"] = "garment"
    file: str = Field(min_length=1, description="Its name in the wardrobe, or the path of its .mhclo.")
    material: str | None = Field(None, description="Name of another of its materials (.mhmat).")
    color: Color | None = Field(None, description="Colour of the hair; as its texture has it where absent.")


AnyHair = Annotated[ShortHair | LongHair | TiedHair | AfroHair | FileHair, Field(discriminator="kind")]


class Garment(Strict):
    """Fields that all garments share."""

    color: Color = Field("#8a8d92", description="Main colour.")
    trim: Color | None = Field(None, description="Colour of bands, cuffs and collar; the main colour where absent.")
    fit: Share = Field(0.4, description="0 close to the body, 1 loose.")


class Top(Garment):
    """Anything worn on the upper body."""

    sleeve: float = Field(0.6, ge=0.15, le=1.98, description="Where the sleeves end: 1 elbow, 2 wrist.")
    hem: float = Field(-0.04, ge=-0.6, le=0.35, description="Where it ends: 0 hip joint, 0.25 waist.")
    neck: Literal["crew", "v", "collar", "hood", "turtle"] = Field("crew", description="Shape of the neckline.")
    front: Literal["closed", "buttons", "zip", "open"] = Field("closed", description="How the front is closed.")
    knit: bool = Field(False, description="Knitted, with ribbed bands.")
    stripes: Color | None = Field(None, description="Colour of stripes across, if any.")
    block: Color | None = Field(None, description="Colour of a block over chest and shoulders, if any.")
    buttons: Color = Field("#e8e6e0", description="Colour of buttons or zip.")


class TShirt(Top):
    """A T-shirt."""

    kind: Literal["t-shirt"]


class Shirt(Top):
    """A shirt with a collar and buttons."""

    kind: Literal["shirt"]
    tie: Color | None = Field(None, description="Colour of a tie, if any; the collar is buttoned up then.")
    sleeve: float = Field(1.93, ge=0.15, le=1.98, description="Where the sleeves end: 1 elbow, 2 wrist.")
    neck: Literal["crew", "v", "collar", "hood", "turtle"] = Field("collar", description="Shape of the neckline.")
    front: Literal["closed", "buttons", "zip", "open"] = Field("buttons", description="How the front is closed.")


class Sweater(Top):
    """A knitted sweater."""

    kind: Literal["sweater"]
    sleeve: float = Field(1.95, ge=0.15, le=1.98, description="Where the sleeves end: 1 elbow, 2 wrist.")
    knit: bool = Field(True, description="Knitted, with ribbed bands.")


class Hoodie(Top):
    """A sweatshirt with a hood."""

    kind: Literal["hoodie"]
    sleeve: float = Field(1.95, ge=0.15, le=1.98, description="Where the sleeves end: 1 elbow, 2 wrist.")
    neck: Literal["crew", "v", "collar", "hood", "turtle"] = Field("hood", description="Shape of the neckline.")
    fit: Share = Field(0.6, description="0 close to the body, 1 loose.")
    knit: bool = Field(True, description="Knitted, with ribbed bands.")


class Jacket(Top):
    """A jacket, worn open or closed over something else."""

    kind: Literal["jacket"]
    lapels: bool = Field(
        False, description="A suit jacket: lapels, buttoned at the waist; front and neck do not count."
    )
    sleeve: float = Field(1.96, ge=0.15, le=1.98, description="Where the sleeves end: 1 elbow, 2 wrist.")
    neck: Literal["crew", "v", "collar", "hood", "turtle"] = Field("collar", description="Shape of the neckline.")
    front: Literal["closed", "buttons", "zip", "open"] = Field("open", description="How the front is closed.")
    fit: Share = Field(0.5, description="0 close to the body, 1 loose.")


class Legwear(Garment):
    """Anything with two legs."""

    waist: float = Field(0.19, ge=0.0, le=0.4, description="Where the waistband ends: 0 hip joint, 0.25 waist.")
    ends: float = Field(2.02, ge=0.15, le=2.06, description="Where the legs end: 1 knee, 2 ankle.")
    belt: Color | None = Field(None, description="Colour of a belt, if any.")
    denim: bool = Field(False, description="Jeans: denim with lighter thighs and darker seams.")
    side_stripe: Color | None = Field(None, description="Colour of a stripe down the sides, if any.")


class Trousers(Legwear):
    """Long trousers."""

    kind: Literal["trousers"]


class Jeans(Legwear):
    """Jeans."""

    kind: Literal["jeans"]
    denim: bool = Field(True, description="Denim with lighter thighs and darker seams.")
    color: Color = Field("#2f4468", description="Main colour.")


class Shorts(Legwear):
    """Shorts."""

    kind: Literal["shorts"]
    ends: float = Field(0.78, ge=0.15, le=2.06, description="Where the legs end: 1 knee, 2 ankle.")
    fit: Share = Field(0.6, description="0 close to the body, 1 loose.")


class Leggings(Legwear):
    """Tight trousers of stretch cloth."""

    kind: Literal["leggings"]
    fit: Share = Field(0.0, description="0 close to the body, 1 loose.")


class Overall(Legwear):
    """Work overall: trousers with a bib and two straps over the shoulders."""

    kind: Literal["overall"]
    waist: float = Field(0.24, ge=0.0, le=0.4, description="Where the bib begins: 0 hip joint, 0.25 waist.")
    bib: float = Field(0.68, ge=0.45, le=0.85, description="Where the bib ends: 0.25 waist, 1 root of the neck.")
    fit: Share = Field(0.6, description="0 close to the body, 1 loose.")


class Coat(Garment):
    """A long coat, closed, drawn in at the waist."""

    kind: Literal["coat"]
    fit: Share = Field(0.5, description="0 close to the body, 1 loose.")
    sleeve: float = Field(1.96, ge=0.15, le=1.98, description="Where the sleeves end: 1 elbow, 2 wrist.")
    ends: float = Field(0.9, ge=0.25, le=1.7, description="Where it ends: 1 knee, 2 ankle.")
    neck: Literal["crew", "collar", "hood"] = Field("collar", description="Shape of the neckline.")
    flare: Share = Field(0.2, description="0 straight, 1 wide.")
    buttons: Color = Field("#2a2522", description="Colour of the buttons.")
    belt: Color | None = Field(None, description="Colour of the belt; the coat's own, a little darker, where absent.")


class Skirt(Garment):
    """A skirt; under a top of its colour, the lower half of a dress."""

    kind: Literal["skirt"]
    waist: float = Field(0.3, ge=0.0, le=0.5, description="Where the waistband ends: 0 hip joint, 0.25 waist.")
    ends: float = Field(0.95, ge=0.25, le=1.9, description="Where it ends: 1 knee, 2 ankle.")
    flare: Share = Field(0.5, description="0 straight, 1 wide.")
    stripes: Color | None = Field(None, description="Colour of a stripe above the hem, if any.")


class Socks(Garment):
    """Socks."""

    kind: Literal["socks"]
    top: float = Field(1.8, ge=1.2, le=1.97, description="Where they end: 1 knee, 2 ankle.")


class Shoes(Garment):
    """Closed shoes with a sole."""

    kind: Literal["shoes"]
    sole: Color = Field("#e9e7e1", description="Colour of the sole.")
    laces: Color | None = Field("#f2f0ea", description="Colour of the laces, if any.")
    collar: Share = Field(0.35, description="Height of the shaft: 0 below the ankle, 1 over it.")
    thickness: float = Field(0.026, ge=0.008, le=0.06, description="Thickness of the sole, metres.")
    leather: bool = Field(False, description="Smooth leather instead of cloth.")


class Markers(Garment):
    """Reflecting balls of motion capture, on whatever is worn."""

    kind: Literal["markers"]
    color: Color = Field("#e6e8ea", description="Colour of the balls.")
    radius: float = Field(0.009, ge=0.004, le=0.02, description="Radius of the balls, metres.")


class FileGarment(Strict):
    """A garment from a file in MakeHuman's format."""

    kind: Literal["garment"]
    file: str = Field(min_length=1, description="Its name in the wardrobe, or the path of its .mhclo.")
    material: str | None = Field(None, description="Name of another of its materials (.mhmat).")
    color: Color | None = Field(None, description="Colour; as its texture has it where absent.")
    lower: Color | None = Field(
        None, description="Colour of its pieces below the waist, where it has several; with color."
    )
    fabric: (
        Literal["cotton", "shirting", "knit", "denim", "twill", "stretch", "leather", "canvas", "rubber", "metal"]
        | None
    ) = Field(None, description="What it is made of; by its names and tags where absent.")

    @model_validator(mode="after")
    def _lower_with_color(self) -> FileGarment:
        if self.lower is not None and self.color is None:
            raise ValueError("lower needs color beside it: a texture keeps its colours or gives all of them up")
        return self


AnyGarment = Annotated[
    TShirt
    | Shirt
    | Sweater
    | Hoodie
    | Jacket
    | Trousers
    | Jeans
    | Shorts
    | Leggings
    | Overall
    | Coat
    | Skirt
    | Socks
    | Shoes
    | Markers
    | FileGarment,
    Field(discriminator="kind"),
]


def _skin_kind(value: Any) -> str:
    """Skin is natural unless it says otherwise."""
    return str(value.get("kind", "natural") if isinstance(value, dict) else getattr(value, "kind", "natural"))


AnySkin = Annotated[
    Annotated[Skin, Tag("natural")] | Annotated[MannequinSkin, Tag("mannequin")], Discriminator(_skin_kind)
]


class AvatarSpec(Strict):
    """One avatar: a body, its skin and hair, and what it wears."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name, as the user types it.")
    title: str = Field("", description="Name for people to read.")
    description: str = Field("", description="One line that says who this is.")
    phenotype: Phenotype = Field(default_factory=lambda: Phenotype.model_validate({}), description="The body.")
    skin: AnySkin = Field(default_factory=lambda: Skin.model_validate({}), description="Skin and face.")
    hair: AnyHair | None = Field(None, description="Hair; none for a bald head.")
    brows: FileHair | None = Field(None, description="Brows from a file, instead of the painted ones.")
    lashes: FileHair | None = Field(None, description="Lashes from a file.")
    outfit: tuple[AnyGarment, ...] = Field((), description="Garments, the innermost first.")

    @property
    def files(self) -> tuple[FileGarment | FileHair, ...]:
        """Everything that comes from files in MakeHuman's format."""
        parts = (*self.outfit, self.hair, self.brows, self.lashes)
        return tuple(part for part in parts if isinstance(part, FileGarment | FileHair))
