"""The wardrobe: avatars as small YAML files, and the making of dressed characters from them."""

from models.body.wardrobe.library import AVATAR_FOLDER, list_avatars, load_avatar
from models.body.wardrobe.makehuman.pack import garment_names, wardrobe_folders
from models.body.wardrobe.outfitter import code_digest, dress
from models.body.wardrobe.random_people import random_avatar, seed_of
from models.body.wardrobe.spec import AvatarSpec

__all__ = [
    "AVATAR_FOLDER",
    "AvatarSpec",
    "code_digest",
    "dress",
    "garment_names",
    "list_avatars",
    "load_avatar",
    "random_avatar",
    "seed_of",
    "wardrobe_folders",
]
