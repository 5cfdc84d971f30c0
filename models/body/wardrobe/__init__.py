"""The wardrobe: avatars as small YAML files, and the making of dressed characters from them."""

from models.body.wardrobe.library import AVATAR_FOLDER, list_avatars, load_avatar
from models.body.wardrobe.outfitter import dress
from models.body.wardrobe.spec import AvatarSpec

__all__ = ["AVATAR_FOLDER", "AvatarSpec", "dress", "list_avatars", "load_avatar"]
