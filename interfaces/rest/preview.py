"""``/people``, ``/preview`` and ``/estimate``: what can be seen and known before the whole clip is paid for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from fastapi import APIRouter, Request

from core.errors import SettingError
from core.settings import MeshSettings, ReplaceSettings
from interfaces.jobs.claim import UPLOADS
from interfaces.jobs.limits import check_clip, check_names, check_picture
from interfaces.rest.errors import responses
from interfaces.rest.form import Form, Upload, read_form, schema
from interfaces.rest.models import EstimateAnswer, EstimateQuestion, People, Person, PreviewPictures
from interfaces.rest.pictures import box_share, data_url
from interfaces.rest.runs import FILES, TEXTS, settings_of
from interfaces.services import Services
from interfaces.settings_from import settings_from

if TYPE_CHECKING:
    from pipelines.past_runs import Estimate
    from pipelines.replace.preview import ClipFacts

PREVIEW_TEXTS = {
    **{name: TEXTS[name] for name in ("preset", "settings")},
    "frame": "Index of the frame, from 0; one near the middle where it is left out.",
}
PEOPLE_TEXTS = {name: TEXTS[name] for name in ("preset", "settings")}

T = TypeVar("T")


def router(services: Services) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["preview"])
    studio, limits = services.studio, services.settings
    read = partial(read_form, folder=services.queue.root / UPLOADS, limits=limits, files=dict.fromkeys(FILES, 1))
    # The studio answers one call at a time: those that wait must not take the threads that answer everybody else.
    line = anyio.CapacityLimiter(4)

    def checked(form: Form) -> tuple[Upload, ReplaceSettings, ClipFacts]:
        from pipelines.replace.preview import clip_facts

        clip = form.clip()
        _, settings = settings_of(form, ReplaceSettings)
        if settings.reference is not None:
            check_picture(settings.reference)
        facts = clip_facts(clip.path, clip.name)
        check_clip(facts.size, facts.duration_s, limits)
        return clip, settings, facts

    async def in_line(work: Callable[[Form], T], form: Form) -> T:
        return await anyio.to_thread.run_sync(work, form, limiter=line)

    def find(form: Form) -> People:
        clip, settings, facts = checked(form)
        found = studio.people(clip.path, settings)
        people = [
            Person(xyxy=p.xyxy, score=p.score, point=p.point, share=box_share(p.xyxy, facts.size)) for p in found.people
        ]
        return People(
            frame=found.frame, frames=facts.frames, size=facts.size, people=people, picture=data_url(found.rgb)
        )

    def draw(form: Form) -> PreviewPictures:
        clip, settings, _ = checked(form)
        made = studio.preview(clip.path, settings, frame_of(form))
        return PreviewPictures(
            frame=made.frame,
            seconds=made.seconds,
            warnings=list(made.warnings),
            source=data_url(made.source),
            result=data_url(made.result),
        )

    @routes.post(
        "/people",
        summary="Who is to be seen in a clip",
        response_model=People,
        responses=responses(413, 415, 422, 503),
        openapi_extra=schema(PEOPLE_TEXTS, FILES),
    )
    async def people(request: Request) -> Any:
        """The first good frame and the people in it; a person's `point` goes into the setting `person`."""
        async with read(request, texts=PEOPLE_TEXTS) as form:
            return await in_line(find, form)

    @routes.post(
        "/preview",
        summary="One frame in its final look",
        response_model=PreviewPictures,
        responses=responses(413, 415, 422, 503),
        openapi_extra=schema(PREVIEW_TEXTS, FILES),
    )
    async def preview(request: Request) -> Any:
        """Takes seconds, and shows what the whole run would make of the frame."""
        async with read(request, texts=PREVIEW_TEXTS) as form:
            return await in_line(draw, form)

    @routes.post("/estimate", summary="What a run will take", response_model=EstimateAnswer, responses=responses(422))
    def foretell(question: EstimateQuestion) -> EstimateAnswer:
        """Time, memory and price, from the runs that this machine has done, and what the run lacks here. Give it what
        `POST /people` answered: `frames`, `size`, and the person's `share`."""
        foretold, missing = (_mesh if question.kind == "mesh" else _replacement)(question, services)
        return EstimateAnswer(
            seconds=foretold.seconds,
            seconds_per_frame=foretold.seconds_per_frame,
            range_s=foretold.range_s,
            peak_mb=foretold.peak_mb,
            cost_usd=foretold.cost_usd,
            basis=foretold.basis,
            missing=missing[0],
            command=missing[1],
        )

    return routes


def _replacement(question: EstimateQuestion, services: Services) -> tuple[Estimate, tuple[str, str]]:
    """What a replacement will take, and what it lacks here with the command that gets it."""
    from pipelines.catalogue import lacking
    from pipelines.replace.estimate import estimate

    settings = settings_from(question.preset, question.settings, ReplaceSettings)
    check_names(settings)
    figures = estimate(
        question.frames,
        question.size,
        settings,
        history=services.queue.root,
        hourly_price=services.settings.hourly_price,
        person_share=question.person_share,
    )
    missing = lacking(settings)
    return figures, ("", "") if missing is None else (missing.what, missing.command)


def _mesh(question: EstimateQuestion, services: Services) -> tuple[Estimate, tuple[str, str]]:
    """What a mesh will take, and what it lacks here with where to get it."""
    from pipelines.mesh.costs import ClipShape
    from pipelines.mesh.estimate import estimate
    from pipelines.mesh.offers import bodies
    from pipelines.mesh.take import check_formats

    settings = settings_from(question.preset, question.settings, MeshSettings)
    check_names(settings)
    check_formats(settings)
    clips = [ClipShape(question.frames, question.size)] * question.clips
    history, price = services.queue.root, services.settings.hourly_price
    figures = estimate(clips, settings, history=history, hourly_price=price)
    body = next(card for card in bodies() if card.name == settings.body)
    return figures, ("", "") if body.ready else (f"the file of {body.title}", body.missing)


def frame_of(form: Form) -> int | None:
    """The frame that a form asks for.

    Raises
    ------
    SettingError
        It is no whole number.
    """
    text = form.texts.get("frame", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise SettingError("frame", "The frame is no whole number from 0 on.", "Leave it out for one near the middle.")
    return int(text)
