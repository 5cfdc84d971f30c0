"""A person from a photo: the body fitted to one picture, wearing its pixels."""

from models.body.photo.person import PhotoPerson, person_from_photo
from models.body.photo.sitter import Sitter, find_sitter

__all__ = ["PhotoPerson", "Sitter", "find_sitter", "person_from_photo"]
