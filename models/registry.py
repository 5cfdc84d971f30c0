"""The engines by name. A new engine is one file in ``models/generators`` and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import InputError
from models.generators.base import EngineOptions, Generator


@dataclass(frozen=True)
class EngineEntry:
    """One row of the table."""

    name: str
    """What the user types."""
    description: str
    """One line for lists and help."""
    factory: Callable[[EngineOptions], Generator]
    """Makes the engine; imports its module only then."""


def _avatar(options: EngineOptions) -> Generator:
    from models.generators.avatar import AvatarGenerator

    return AvatarGenerator(options)


def _passthrough(_options: EngineOptions) -> Generator:
    from models.generators.passthrough import PassthroughGenerator

    return PassthroughGenerator()


ENGINES: dict[str, EngineEntry] = {
    entry.name: entry
    for entry in (
        EngineEntry("avatar", "draws the fitted body as a dressed figure; CPU or GPU, nothing to download", _avatar),
        EngineEntry(
            "passthrough", "gives back the source person; shows what the pipeline does by itself", _passthrough
        ),
    )
}


def create_engine(name: str, options: EngineOptions | None = None) -> Generator:
    """Make an engine by name, not yet loaded.

    Raises
    ------
    InputError
        There is no engine of that name.
    """
    entry = ENGINES.get(name)
    if entry is None:
        raise InputError(f"There is no engine named {name!r}.", f"Choose one of: {', '.join(sorted(ENGINES))}.")
    return entry.factory(options if options is not None else EngineOptions())
