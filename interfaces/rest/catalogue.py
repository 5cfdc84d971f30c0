"""``/engines``, ``/avatars``, ``/bodies``, ``/formats``, ``/presets``, ``/settings``: what there is to choose from."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse

from core.presets import load_preset, preset_names
from core.settings_form import form_fields
from interfaces.jobs.errors import NoSuchRun
from interfaces.rest.errors import responses
from interfaces.rest.models import Avatar, Body, Engine, Format, Preset, SettingsDescription
from interfaces.settings_from import SETTINGS, Kind
from pipelines.catalogue import avatars, engines


def router() -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["catalogue"])

    @routes.get("/engines", summary="What draws the new person", response_model=list[Engine])
    def list_engines() -> list[dict[str, Any]]:
        """Those that are not ready on this machine say what they lack, and which command gets it."""
        return [dataclasses.asdict(card) for card in engines()]

    @routes.get("/avatars", summary="Who can be put in", response_model=list[Avatar])
    def list_avatars() -> list[dict[str, Any]]:
        return [{**dataclasses.asdict(c), "thumbnail": f"/avatars/{c.name}/thumbnail"} for c in avatars()]

    @routes.get(
        "/avatars/{name}/thumbnail",
        summary="An avatar's picture",
        response_class=FileResponse,
        responses={200: {"content": {"image/png": {}}}, **responses(404)},
    )
    def thumbnail(name: str) -> FileResponse:
        """``random-N`` is somebody random, who is drawn when first asked for; a run takes that name, too."""
        from pipelines.avatars import picture

        file = picture(name)
        if file is None:
            raise NoSuchRun("There is no such avatar.", "GET /avatars lists all of them.")
        return FileResponse(file, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @routes.get("/bodies", summary="What can be fitted to a person", response_model=list[Body])
    def list_bodies() -> list[dict[str, Any]]:
        """Those that are not ready on this machine say what they lack, and where to get it."""
        from pipelines.mesh.offers import bodies

        return [dataclasses.asdict(card) for card in bodies()]

    @routes.get("/formats", summary="What a body can be exported as", response_model=list[Format])
    def list_formats() -> list[dict[str, Any]]:
        """The names go into the setting `formats`, separated by commas."""
        from pipelines.mesh.offers import formats

        return [dataclasses.asdict(card) for card in formats()]

    @routes.get("/presets", summary="Named sets of settings", response_model=list[Preset], responses=responses(422))
    def list_presets(kind: Kind = "replace") -> list[dict[str, Any]]:
        """For one kind of run."""
        return [{"name": name, "settings": load_preset(name, kind)} for name in preset_names()]

    @routes.get(
        "/settings",
        summary="Every setting: meaning, range, default",
        response_model=SettingsDescription,
        responses=responses(422),
    )
    def describe(kind: Kind = "replace") -> dict[str, Any]:
        """For one kind of run."""
        fields = [dataclasses.asdict(field) for field in form_fields(SETTINGS[kind])]
        return {"fields": fields, "json_schema": SETTINGS[kind].model_json_schema()}

    return routes
