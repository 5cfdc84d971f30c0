"""The engine that a run's settings ask for."""

from __future__ import annotations

from dataclasses import fields

from core.settings import ReplaceSettings
from models.generators.base import EngineOptions, Generator
from models.registry import create_engine


def engine_options(settings: ReplaceSettings) -> EngineOptions:
    """What the settings say to an engine.

    Raises
    ------
    InputError
        An option is out of range.
    """
    chosen = {
        f.name: getattr(settings, f.name) for f in fields(EngineOptions) if f.name in ReplaceSettings.model_fields
    }
    return EngineOptions(**{**chosen, "checkpoint": settings.checkpoint or ""})


def make_engine(settings: ReplaceSettings) -> Generator:
    """The engine that the settings ask for, its options checked, not yet loaded.

    Raises
    ------
    InputError
        There is no such engine, or its options contradict each other.
    ModelUnavailable
        It needs something that this machine lacks.
    """
    return create_engine(settings.engine, engine_options(settings))
