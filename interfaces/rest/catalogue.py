"""``/engines``, ``/avatars``, ``/presets``, ``/settings``: what there is to choose from."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse

from core.presets import load_preset, preset_names
from core.settings import ReplaceSettings
from core.settings_form import form_fields
from interfaces.jobs.errors import NoSuchRun
from interfaces.rest.errors import responses
from interfaces.rest.models import Avatar, Engine, Preset, SettingsDescription
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
        file = next((card.thumbnail for card in avatars() if card.name == name), None)
        if file is None:
            raise NoSuchRun("There is no such avatar.", "GET /avatars lists all of them.")
        return FileResponse(file, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @routes.get("/presets", summary="Named sets of settings", response_model=list[Preset])
    def list_presets() -> list[dict[str, Any]]:
        return [{"name": name, "settings": load_preset(name, "replace")} for name in preset_names()]

    @routes.get("/settings", summary="Every setting: meaning, range, default", response_model=SettingsDescription)
    def describe() -> dict[str, Any]:
        fields = [dataclasses.asdict(field) for field in form_fields(ReplaceSettings)]
        return {"fields": fields, "json_schema": ReplaceSettings.model_json_schema()}

    return routes
