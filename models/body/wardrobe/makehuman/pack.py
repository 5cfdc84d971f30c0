"""Where garments in MakeHuman's format lie: the user's own folders, and the community's pack.

A name is looked for in the folders of ``UNDERSTUDY_WARDROBE`` (several are separated as in ``PATH``), in their order,
then in the pack that ``python app.py weights pull wardrobe`` fetched. The first folder that has it decides.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from core.errors import InputError, ModelUnavailable
from models.weights.store import state_of
from models.weights.table import weight_set

#: Environment variable that names the user's own folders.
VARIABLE = "UNDERSTUDY_WARDROBE"
#: Name of the community's pack in the table of weights.
PACK = "wardrobe"


def wardrobe_folders() -> tuple[Path, ...]:
    """The folders that are searched, the user's own first; those that do not exist are left out.

    Raises
    ------
    core.errors.InputError
        ``UNDERSTUDY_WARDROBE`` names something that is no folder.
    """
    own = [Path(text).expanduser() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    for folder in own:
        if not folder.is_dir():
            raise InputError(f"{VARIABLE} names {folder}, which is no folder.", "Correct it, or unset it.")
    pack = state_of(weight_set(PACK)).folder
    return (*own, pack) if pack.is_dir() else tuple(own)


def garment_names() -> tuple[str, ...]:
    """Names of all garments that can be found, sorted."""
    return tuple(sorted({path.stem for folder in wardrobe_folders() for path in folder.rglob("*.mhclo")}))


def find_garment(name: str) -> Path:
    """The ``.mhclo`` of a garment by its name, without regard to case, or by its path.

    Raises
    ------
    core.errors.InputError
        There is no such file, or one folder has several garments of that name.
    core.errors.ModelUnavailable
        It is in none of the folders, and the pack is not there.
    """
    if name.lower().endswith(".mhclo"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"The garment file {name} does not exist.", "Check the path.")
        return path
    folders = wardrobe_folders()
    for folder in folders:
        found = sorted(path for path in folder.rglob("*.mhclo") if path.stem.casefold() == name.casefold())
        if len(found) > 1:
            places = " and ".join(str(path.relative_to(folder)) for path in found[:2])
            raise InputError(
                f"The wardrobe {folder} has several garments named {name!r}: {places}.", "Give the path of one."
            )
        if found:
            return found[0]
    state = state_of(weight_set(PACK))
    if state.status != "ready":
        missing = "is not there" if state.status == "missing" else "is not complete"
        raise ModelUnavailable(
            f"There is no garment named {name!r}: the wardrobe pack {missing}.",
            f"Get it with: {weight_set(PACK).command}; or name a folder of your own in {VARIABLE}.",
        )
    near = difflib.get_close_matches(name, garment_names(), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Look into {state.folder}."
    raise InputError(f"There is no garment named {name!r} in {', '.join(str(folder) for folder in folders)}.", hint)


def find_material(clothing: Path, name: str) -> Path:
    """Another material of a garment: a ``.mhmat`` in its folder or below it, by its name.

    Raises
    ------
    core.errors.InputError
        There is none of that name; the message lists those that there are.
    """
    wanted = name.casefold().removesuffix(".mhmat")
    materials = sorted(clothing.parent.rglob("*.mhmat"))
    for path in materials:
        if path.stem.casefold() == wanted:
            return path
    names = ", ".join(path.stem for path in materials) or "none"
    raise InputError(f"The garment {clothing.stem} has no material named {name!r}.", f"It has: {names}.")
