"""The Replace tab: a clip, who plays the part, how well, and on the right what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import InputError, UnderstudyError
from core.runs import RunFolder
from core.settings import ReplaceSettings
from interfaces.jobs.status import display_name
from interfaces.web import clip as clips
from interfaces.web.advanced import CUSTOM, preset_values
from interfaces.web.costs import Footage, cost_line, preset_cards
from interfaces.web.form import DEFAULT_PRESET, Form, engine_named
from interfaces.web.parts import (
    EVENT,
    choice_cards,
    component,
    data_url,
    error_notice,
    heading,
    missing_notice,
    notice,
    sentences,
)
from interfaces.web.people import look_for_people, parse_point
from pipelines.catalogue import lacking

if TYPE_CHECKING:
    from interfaces.web.page import Page

#: What a camera is asked for: browsers take its largest picture otherwise.
CAMERA = {"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}}}

Updates = dict[Any, Any]


class ReplaceTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.services = page.services
        self.form = Form()
        #: What is known of the clip: a Footage, or None.
        self.footage = gr.State(None)
        #: The clip that the page knows already, because it came from a run together with whom to replace.
        self.known = gr.State("")
        with gr.Row(elem_id="us-replace", elem_classes="us-columns"):
            with gr.Column(elem_classes="us-setup", scale=5, min_width=300):
                self._build_setup()
            with gr.Column(elem_classes="us-stage-column", scale=6, min_width=300):
                self._build_stage()
        self._wire()

    # -- layout ----------------------------------------------------------------------------------------------------

    def _build_setup(self) -> None:
        with gr.Column(elem_classes="us-card", elem_id="us-step-clip"):
            heading(1, "Clip")
            self.clip = gr.Video(
                label="Clip",
                show_label=False,
                sources=["upload", "webcam"],
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
                height=280,
                elem_id="us-clip",
            )
            self.clip_notice = gr.HTML(
                clips.limits_line(self.services.settings), apply_default_css=False, elem_id="us-clip-notice"
            )
            self.examples = component(
                "examples",
                elem_id="us-examples",
                template=clips.EXAMPLES,
                choices=clips.example_cards(),
            )
        with gr.Column(elem_classes="us-card", elem_id="us-step-part"):
            self.form.build_part()
        with gr.Column(elem_classes="us-card", elem_id="us-step-quality"):
            heading(3, "Quality")
            self.preset = choice_cards(
                "Quality",
                preset_cards(ReplaceSettings(), DEFAULT_PRESET, None, self.services.settings),
                DEFAULT_PRESET,
                elem_id="us-preset",
                look="row",
            )
            with gr.Accordion("Advanced", open=False, elem_id="us-advanced"):
                self.form.build_advanced()
        with gr.Column(elem_classes="us-card us-go", elem_id="us-step-go"):
            self.cost = gr.HTML(
                cost_line(ReplaceSettings(), None, self.services.settings), apply_default_css=False, elem_id="us-cost"
            )
            self.notice = gr.HTML("", apply_default_css=False, elem_id="us-notice")
            with gr.Row(elem_classes="us-buttons"):
                self.preview_button = gr.Button(
                    "Preview one frame", size="lg", interactive=False, elem_id="us-preview-button"
                )
                self.run_button = gr.Button(
                    "Replace the person", size="lg", variant="primary", interactive=False, elem_id="us-run-button"
                )

    def _build_stage(self) -> None:
        with (
            gr.Column(elem_classes="us-card us-stage-card", elem_id="us-stage"),
            gr.Tabs(selected="shot", elem_id="us-stage-tabs") as self.stage,
        ):
            with gr.Tab("Shot", id="shot"):
                self.picker = component("person", elem_id="us-person")
            with gr.Tab("Preview", id="preview"):
                self.preview = component("preview", elem_id="us-preview")
            with gr.Tab("Run", id="run"):
                self.run = component("run", "", elem_id="us-run")

    # -- wiring ----------------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        form = self.form
        inputs = form.inputs()
        costs = [self.preset, self.cost, self.notice]
        buttons = [self.preview_button, self.run_button]

        self.clip.change(
            self.read_clip,
            [self.clip, self.known, *inputs],
            [
                self.footage,
                self.known,
                self.clip_notice,
                self.picker,
                self.preview,
                form.widgets["person"],
                self.stage,
                *costs,
                *buttons,
            ],
            **EVENT,
        )
        self.examples.select(self.take_example, None, [self.clip, form.widgets["avatar"]], **EVENT)
        self.picker.select(
            self.pick_person,
            [self.footage, *inputs],
            [form.widgets["person"], *costs],
            trigger_mode="always_last",
            **EVENT,
        )

        self.preset.input(
            self.choose_preset, [self.preset, self.footage, *inputs], [*form.advanced.values(), *costs], **EVENT
        )
        fields = [form.widgets[name].input for name in form.advanced]
        # What is pasted with the mouse is noticed when the field is left.
        left = [widget.blur for widget in form.advanced.values() if isinstance(widget, gr.Textbox)]
        others = [form.widgets[name].input for name in ("avatar", "reference", "checkpoint")]
        gr.on(
            [*fields, *left, *others, form.widgets["reference"].clear],
            self.change,
            [self.footage, *inputs],
            costs,
            trigger_mode="always_last",
            **EVENT,
        )
        form.widgets["person"].input(
            self.move_point, [form.widgets["person"], self.picker], [self.picker], trigger_mode="always_last", **EVENT
        )
        form.widgets["engine"].input(
            self.choose_engine,
            [self.footage, *inputs],
            [*form.by_engine(), *costs],
            trigger_mode="always_last",
            **EVENT,
        )
        form.checkpoint_upload.upload(
            form.take_checkpoint,
            [form.checkpoint_upload, form.widgets["engine"]],
            [form.widgets["checkpoint"], form.checkpoint_notice],
            **EVENT,
        )
        # Not over Gradio's shared stream: it closes after the answer, and what is chosen just then would be lost.
        self.page.blocks.load(form.refresh, None, [form.widgets["engine"]], queue=False, **EVENT)

        self.preview_button.click(
            self.make_preview, [self.clip, *inputs], [self.preview, self.stage, self.notice, *buttons], **EVENT
        )
        self.run_button.click(
            self.start_run, [self.clip, *inputs], [self.run, self.stage, self.notice], js=_LOOK_AT_STAGE, **EVENT
        )
        self.preview_button.click(None, None, None, js=_LOOK_AT_STAGE)

        filled = [self.clip, self.known, self.preset, *inputs, *form.by_engine()]
        filled = list(dict.fromkeys([*filled, self.page.tabs, self.stage, self.clip_notice]))
        self.run.edit(self.fill_from_run, None, filled, **EVENT)
        self.page.request.change(self.answer_request, [self.page.request], [*filled, self.run], **EVENT)

    # -- the clip --------------------------------------------------------------------------------------------------

    def read_clip(self, clip: str | None, known: str, *values: Any) -> Iterator[Updates]:
        """Check a clip, tell what it costs, and look for the people in it."""
        off = dict.fromkeys((self.preview_button, self.run_button), gr.update(interactive=False))
        if clip is None:
            yield {
                **off,
                **self._blank(),
                self.clip_notice: clips.limits_line(self.services.settings),
                **self._costs(None, values),
            }
            return
        yield {**off, self.clip_notice: notice("info", "Reading the clip"), self.notice: ""}
        try:
            facts = clips.check(Path(clip), self.services.settings)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            yield {**off, **self._blank(), self.clip_notice: error_notice(error), **self._costs(None, values)}
            return
        moved = clip != known
        if moved:
            values = self._with(values, person="")
        on = dict.fromkeys((self.preview_button, self.run_button), gr.update(interactive=True))
        footage = Footage(facts)
        yield {
            **on,
            **self._costs(footage, values),
            self.footage: footage,
            self.clip_notice: clips.facts_line(facts),
            self.picker: {"busy": "Looking for people"},
            self.preview: None,
            self.stage: gr.Tabs(selected="shot"),
            **({self.form.widgets["person"]: ""} if moved else {}),
        }
        try:
            settings = self.form.settings(values)
        except UnderstudyError as error:
            yield {self.picker: {"kind": "warning", "message": error.message, "hint": error.hint}}
            return
        found, shown = look_for_people(self.services.studio, Path(clip), settings)
        if found is not None:
            footage = Footage(facts, found.people)
        yield {self.picker: shown, self.footage: footage, **self._costs(footage, values)}

    def _blank(self) -> Updates:
        return {self.footage: None, self.picker: None, self.preview: None, self.stage: gr.Tabs(selected="shot")}

    def take_example(self, event: gr.EventData) -> Updates:
        """The bundled clip with one of its looks."""
        return {
            self.clip: clips.offer(clips.DEMO_CLIP, clips.DEMO_CLIP.name, self.services.settings),
            self.form.widgets["avatar"]: event.value,
        }

    def pick_person(self, event: gr.EventData, footage: Footage | None, *values: Any) -> Updates:
        """A click in the picture. How large the person is tells what the run takes."""
        x, y = event.point
        point = f"{x:.0f},{y:.0f}"
        return {self.form.widgets["person"]: point, **self._costs(footage, self._with(values, person=point))}

    def move_point(self, text: str, picker: dict[str, Any] | None) -> Any:
        """A point that was typed, shown in the picture."""
        return {**picker, "point": parse_point(text)} if picker and "image" in picker else gr.skip()

    # -- settings --------------------------------------------------------------------------------------------------

    def choose_preset(self, preset: str, footage: Footage | None, *values: Any) -> Updates:
        """Fill the advanced fields from a preset."""
        if preset == CUSTOM:
            return self._costs(footage, values)
        new = preset_values(preset)
        return {
            **{self.form.advanced[name]: value for name, value in new.items()},
            **self._costs(footage, self._with(values, **new)),
        }

    def change(self, footage: Footage | None, *values: Any) -> Updates:
        """Something in the form was changed: what does it cost now, and is it still the preset?"""
        return self._costs(footage, values)

    def choose_engine(self, footage: Footage | None, *values: Any) -> Updates:
        """Show what the engine reads, and what it costs."""
        try:
            engine = engine_named(dict(zip(self.form.names(), values, strict=True))["engine"])
        except InputError as error:
            return {self.notice: error_notice(error)}
        # The checkpoint that was chosen belongs to the engine before.
        return {**self.form.show(engine), **self._costs(footage, self._with(values, checkpoint=None))}

    def _with(self, values: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
        """The form's values with some changed."""
        return tuple((dict(zip(self.form.names(), values, strict=True)) | changes).values())

    def _costs(self, footage: Footage | None, values: tuple[Any, ...]) -> Updates:
        server = self.services.settings
        try:
            preset = self.form.preset(values)
            settings = self.form.settings(values)
            missing = lacking(settings)
            return {
                self.preset: gr.update(value=preset, choices=preset_cards(settings, preset, footage, server)),
                self.cost: cost_line(settings, footage, server),
                self.notice: "" if missing is None else missing_notice(missing.what, missing.command),
            }
        except UnderstudyError as error:
            return {self.notice: error_notice(error)}

    # -- preview and run -------------------------------------------------------------------------------------------

    def make_preview(self, clip: str | None, *values: Any) -> Iterator[Updates]:
        """One frame in its final look."""
        buttons = (self.preview_button, self.run_button)
        if clip is None:
            return
        yield {
            self.preview: {"busy": "Drawing one frame"},
            self.stage: gr.Tabs(selected="preview"),
            self.notice: "",
            self.preview_button: gr.update(interactive=False),
        }
        try:
            made = self.services.studio.preview(Path(clip), self.form.settings(values))
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            message, hint = sentences(error)
            value: dict[str, Any] = {"message": message, "hint": hint}
        else:
            height, width = made.source.shape[:2]
            value = {
                "before": data_url(made.source),
                "after": data_url(made.result),
                "width": width,
                "height": height,
                "caption": f"Frame {made.frame + 1}, drawn in {made.seconds:.0f} s.",
                "warnings": list(made.warnings),
            }
        yield {self.preview: value, **dict.fromkeys(buttons, gr.update(interactive=True))}

    def start_run(self, clip: str | None, *values: Any) -> Updates:
        """Put the clip into the queue."""
        if clip is None:
            return {self.notice: notice("error", "There is no clip yet.", "Add one in step 1.")}
        try:
            path = Path(clip)
            clips.check(path, self.services.settings)
            preset = self.form.preset(values)
            status = self.services.queue.submit(path, self.form.settings(values), name=path.name, preset=preset)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            return {self.notice: error_notice(error)}
        return {self.run: status.id, self.stage: gr.Tabs(selected="run"), self.notice: ""}

    # -- earlier runs ----------------------------------------------------------------------------------------------

    def answer_request(self, request: dict[str, Any] | None) -> Updates:
        """Another tab wants a run shown or taken up again."""
        if request is None:
            return {}
        if request["what"] == "edit":
            return self._filled(request["id"])
        return {
            self.run: request["id"],
            self.page.tabs: gr.Tabs(selected="replace"),
            self.stage: gr.Tabs(selected="run"),
        }

    def fill_from_run(self, event: gr.EventData) -> Updates:
        """The form with a run's clip and settings."""
        return self._filled(event.id)

    def _filled(self, run_id: str) -> Updates:
        there: Updates = {self.page.tabs: gr.Tabs(selected="replace"), self.stage: gr.Tabs(selected="shot")}
        try:
            run = RunFolder.open(self.services.queue.folder(run_id))
            if not run.source.is_file():
                raise InputError("The clip of that run is gone.", "Add it again in step 1.")
            name = display_name(run.record)
            clip = clips.offer(run.source, name, self.services.settings)
            values = self.form.fill(run.record["settings"])
            values["reference"] = self._reference(run)
            preset = self.form.preset([values.get(name) for name in self.form.names()])
            shown = self.form.show(engine_named(values["engine"]), values)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            return {**there, self.clip_notice: error_notice(error)}
        # Reading the clip, which follows, works out the presets' costs.
        return {**there, **shown, self.clip: clip, self.known: clip, self.preset: preset}

    def _reference(self, run: RunFolder) -> str | None:
        """A run's reference picture, where the page may show it; none where it is gone."""
        picture = Path(run.record["settings"].get("reference") or "")
        return clips.offer(picture, picture.name, self.services.settings) if picture.is_file() else None


#: On a narrow screen the stage is out of sight when a button is pressed.
_LOOK_AT_STAGE = """(...values) => {
    const stage = document.getElementById("us-stage").getBoundingClientRect();
    if (stage.top < 0 || stage.top > innerHeight / 2) {
        document.getElementById("us-stage").scrollIntoView({ behavior: "smooth", block: "start" });
    }
    return values;
}"""
