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
from interfaces.web.costs import cost_line, preset_cards
from interfaces.web.form import DEFAULT_PRESET, Form, engine_named, taken_by
from interfaces.web.parts import EVENT, choice_cards, component, data_url, error_notice, heading, notice, sentences
from pipelines.catalogue import avatars
from pipelines.replace.preview import ClipFacts, PeopleFound

if TYPE_CHECKING:
    from interfaces.web.page import Page

DEMO_CLIP = Path(__file__).resolve().parents[2] / "assets" / "demo" / "walk.mp4"
#: Looks that the bundled clip is offered with.
DEMO_LOOKS = ("maya", "kenji")

#: What a camera is asked for: browsers take its largest picture otherwise.
CAMERA = {"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}}}

Updates = dict[Any, Any]


class ReplaceTab:
    """The tab's components and what they do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.services = page.services
        self.form = Form()
        self.facts = gr.State(None)
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
                template=EXAMPLES,
                choices=[
                    {
                        "value": card.name,
                        "title": card.title,
                        "text": "in the bundled clip",
                        "image": f"avatars/{card.name}/thumbnail",
                    }
                    for card in avatars()
                    if card.name in DEMO_LOOKS
                ],
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
                self.facts,
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
        self.picker.select(self.pick_person, None, [form.widgets["person"]], **EVENT)

        self.preset.input(
            self.choose_preset, [self.preset, self.facts, *inputs], [*form.advanced.values(), *costs], **EVENT
        )
        fields = [form.widgets[name].input for name in form.advanced if name != "person"]
        # What is pasted with the mouse is noticed when the field is left.
        left = [
            widget.blur for name, widget in form.advanced.items() if isinstance(widget, gr.Textbox) and name != "person"
        ]
        others = [form.widgets["engine"].input, form.widgets["avatar"].input]
        gr.on([*fields, *left, *others], self.change, [self.facts, *inputs], costs, trigger_mode="always_last", **EVENT)
        form.widgets["person"].input(
            self.move_point, [form.widgets["person"], self.picker], [self.picker], trigger_mode="always_last", **EVENT
        )
        shown = ["avatar", "reference", "checkpoint", "prompt", "negative_prompt"]
        form.widgets["engine"].input(
            self.choose_engine, [form.widgets["engine"]], [form.widgets[name] for name in shown], **EVENT
        )

        self.preview_button.click(
            self.make_preview, [self.clip, *inputs], [self.preview, self.stage, self.notice, *buttons], **EVENT
        )
        self.run_button.click(
            self.start_run, [self.clip, *inputs], [self.run, self.stage, self.notice], js=_LOOK_AT_STAGE, **EVENT
        )
        self.preview_button.click(None, None, None, js=_LOOK_AT_STAGE)

        filled = [self.clip, self.known, self.preset, *inputs, self.page.tabs, self.stage, self.clip_notice]
        self.run.edit(self.fill_from_run, None, filled, **EVENT)
        self.page.request.change(
            self.answer_request, [self.page.request], list(dict.fromkeys([*filled, self.run])), **EVENT
        )

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
            values = tuple(
                "" if name == "person" else value for name, value in zip(self.form.names(), values, strict=True)
            )
        on = dict.fromkeys((self.preview_button, self.run_button), gr.update(interactive=True))
        yield {
            **on,
            **self._costs(facts, values),
            self.facts: facts,
            self.clip_notice: clips.facts_line(facts),
            self.picker: {"busy": "Looking for people"},
            self.preview: None,
            self.stage: gr.Tabs(selected="shot"),
            **({self.form.widgets["person"]: ""} if moved else {}),
        }
        yield {self.picker: self._people(Path(clip), values)}

    def _blank(self) -> Updates:
        return {self.facts: None, self.picker: None, self.preview: None, self.stage: gr.Tabs(selected="shot")}

    def _people(self, clip: Path, values: tuple[Any, ...]) -> dict[str, Any]:
        try:
            settings = self.form.settings(values)
            return picker_value(self.services.studio.people(clip, settings), settings.person)
        except InputError as error:
            # The run looks at every frame, this only at some.
            return {"kind": "warning", "message": error.message, "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            message, hint = sentences(error)
            return {"kind": "error", "message": message, "hint": hint}

    def take_example(self, event: gr.EventData) -> Updates:
        """The bundled clip with one of its looks."""
        return {
            self.clip: clips.offer(DEMO_CLIP, DEMO_CLIP.name, self.services.settings),
            self.form.widgets["avatar"]: event.value,
        }

    def pick_person(self, event: gr.EventData) -> str:
        """A click in the picture."""
        x, y = event.point
        return f"{x:.0f},{y:.0f}"

    def move_point(self, text: str, picker: dict[str, Any] | None) -> Any:
        """A point that was typed, shown in the picture."""
        try:
            x, y = (float(part) for part in text.split(","))
        except ValueError:
            point = None
        else:
            point = [x, y]
        return {**picker, "point": point} if picker and "image" in picker else gr.skip()

    # -- settings --------------------------------------------------------------------------------------------------

    def choose_preset(self, preset: str, facts: ClipFacts | None, *values: Any) -> Updates:
        """Fill the advanced fields from a preset."""
        if preset == CUSTOM:
            return self._costs(facts, values)
        new = preset_values(preset)
        given = dict(zip(self.form.names(), values, strict=True)) | new
        return {
            **{self.form.advanced[name]: value for name, value in new.items()},
            **self._costs(facts, tuple(given.values())),
        }

    def change(self, facts: ClipFacts | None, *values: Any) -> Updates:
        """Something in the form was changed: what does it cost now, and is it still the preset?"""
        return self._costs(facts, values)

    def choose_engine(self, name: str) -> Updates:
        """Show what the engine takes."""
        engine = engine_named(name)
        if engine is None:
            return {}
        return {self.form.widgets[key]: update for key, update in taken_by(engine).items()}

    def _costs(self, facts: ClipFacts | None, values: tuple[Any, ...]) -> Updates:
        server = self.services.settings
        preset = self.form.preset(values)
        try:
            settings = self.form.settings(values)
            return {
                self.preset: gr.update(value=preset, choices=preset_cards(settings, preset, facts, server)),
                self.cost: cost_line(settings, facts, server),
                self.notice: "",
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
            preset = self.form.preset([values.get(name) for name in self.form.names()])
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            return {**there, self.clip_notice: error_notice(error)}
        shown: Updates = {self.form.widgets[name]: value for name, value in values.items()}
        # Reading the clip, which follows, works out the presets' costs.
        return {**there, **shown, self.clip: clip, self.known: clip, self.preset: preset}


def picker_value(found: PeopleFound, point: tuple[float, float] | None) -> dict[str, Any]:
    """What the picture to pick somebody in is drawn from."""
    height, width = found.rgb.shape[:2]
    return {
        "image": data_url(found.rgb),
        "frame": found.frame,
        "width": width,
        "height": height,
        "people": [{"xyxy": list(person.xyxy), "point": [round(v) for v in person.point]} for person in found.people],
        "point": None if point is None else list(point),
    }


#: On a narrow screen the stage is out of sight when a button is pressed.
EXAMPLES = '<p class="us-soft us-small">No clip at hand? Take the bundled one:</p><div class="us-examples"></div>'
_LOOK_AT_STAGE = """(...values) => {
    const stage = document.getElementById("us-stage").getBoundingClientRect();
    if (stage.top < 0 || stage.top > innerHeight / 2) {
        document.getElementById("us-stage").scrollIntoView({ behavior: "smooth", block: "start" });
    }
    return values;
}"""
