"""What sits at the neck and down the front of tops: turned collars, hoods, plackets, buttons, zips."""

from __future__ import annotations
