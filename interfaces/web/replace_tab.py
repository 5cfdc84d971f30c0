"""The Replace tab: a clip, who plays the part, how well, and on the right what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import InputError
from core.runs import RunFolder
from interfaces.jobs.status import display_name
from interfaces.web import clip as clips
from interfaces.web.costs import Footage
from interfaces.web.form import Form, engine_named
from interfaces.web.form_tab import FormTab, Updates, gone, look_at
from interfaces.web.parts import EVENT, component, data_url, error_notice, heading, missing_notice, notice, sentences
from pipelines.catalogue import lacking

if TYPE_CHECKING:
    from interfaces.web.page import Page

#: What a camera is asked for: browsers take its largest picture otherwise.
CAMERA = {"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}}}


class ReplaceTab(FormTab):
    """The tab's components and what they do."""

    kind = "replace"
    prefix = "us"
    deed = "replaced"
    invitation = "Add a clip, pick who plays the part, and look at one frame before you run all of it."
    start_words = "Replace the person"
    form: Form

    def __init__(self, page: Page) -> None:
        self.no_clip = clips.limits_line(page.services.settings)
        super().__init__(page, Form())

    # -- layout ----------------------------------------------------------------------------------------------------

    def build_setup(self) -> None:
        """The steps of the form. To be called inside its column."""
        with self.step("clip"):
            heading(1, "Clip")
            self.clip = gr.Video(
                label="Clip",
                show_label=False,
                sources=["upload", "webcam"],
                webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
                height=280,
                elem_id="us-clip",
            )
            self.clip_notice = gr.HTML(self.no_clip, apply_default_css=False, elem_id="us-clip-notice")
            self.examples = component(
                "examples",
                elem_id="us-examples",
                template=clips.EXAMPLES,
                choices=clips.example_cards(),
            )
        with self.step("part"):
            self.form.build_part()
        with self.step("quality"):
            self.build_quality(3, self.form.build_advanced)
        self.build_go()

    def build_buttons(self) -> None:
        """The button of the preview."""
        self.preview_button = gr.Button("Preview one frame", size="lg", interactive=False, elem_id="us-preview-button")

    def build_more_stages(self) -> None:
        """The tab of the preview."""
        with gr.Tab("Preview", id="preview"):
            self.preview = component("preview", elem_id="us-preview")

    def buttons(self) -> list[gr.Button]:
        """What can be pressed once there is a clip."""
        return [self.preview_button, self.run_button]

    # -- wiring ----------------------------------------------------------------------------------------------------

    def wire(self) -> None:
        """Events of the tab's own parts."""
        form = self.form
        inputs, costs = form.inputs(), self.costs()
        self.clip.change(self.read_clip, [self.clip, self.known, *inputs], [*self.read_parts(), self.preview], **EVENT)
        self.examples.select(self.take_example, None, [self.clip, form.widgets["avatar"]], **EVENT)
        form.widgets["engine"].input(
            self.choose_engine,
            [self.footage, *inputs],
            [*form.by_engine(), *costs],
            trigger_mode="always_last",
            **EVENT,
        )
        form.random_avatar.click(form.choose_random, None, [form.widgets["avatar"]], **EVENT).then(
            self.change, [self.footage, *inputs], costs, **EVENT
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
            self.make_preview, [self.clip, *inputs], [self.preview, self.stage, self.notice, *self.buttons()], **EVENT
        )
        look = look_at(self.id("stage"))
        # Nor over the shared stream: a press while it closes after another answer would be lost.
        self.run_button.click(
            self.start_run, [self.clip, *inputs], [self.run, self.stage, self.notice], js=look, queue=False, **EVENT
        )
        self.preview_button.click(None, None, None, js=look)

    def other_changes(self) -> list[Any]:
        """Events of widgets outside the advanced ones that may change what a run costs."""
        widgets = self.form.widgets
        return [*(widgets[name].input for name in ("avatar", "reference", "checkpoint")), widgets["reference"].clear]

    def filled_parts(self) -> list[Any]:
        """Everything that :meth:`filled` may change."""
        return [self.clip, *self.form.by_engine()]

    # -- the clip --------------------------------------------------------------------------------------------------

    def read_clip(self, clip: str | None, known: str, *values: Any) -> Iterator[Updates]:
        """Check a clip, tell what it costs, and look for the people in it."""
        yield from self.read(clip or "", clip, known, values)

    def examine(self, given: str, values: Sequence[Any]) -> tuple[Footage, str, Path]:
        """What is known of the clip, a line that tells it, and the clip itself."""
        clip = Path(given)
        facts = clips.check(clip, self.services.settings)
        return Footage(facts), clips.facts_line(facts), clip

    def blank(self) -> Updates:
        """The stage without a clip."""
        return {**super().blank(), self.preview: None}

    def take_example(self, event: gr.EventData) -> Updates:
        """The bundled clip with one of its looks."""
        return {
            self.clip: clips.offer(clips.DEMO_CLIP, clips.DEMO_CLIP.name, self.services.settings),
            self.form.widgets["avatar"]: event.value,
        }

    # -- settings --------------------------------------------------------------------------------------------------

    def choose_engine(self, footage: Footage | None, *values: Any) -> Updates:
        """Show what the engine reads, and what it costs."""
        try:
            engine = engine_named(self.form.given(values)["engine"])
        except InputError as error:
            return {self.notice: error_notice(error)}
        # The checkpoint that was chosen belongs to the engine before.
        return {**self.form.show(engine), **self.costs_of(footage, self.changed(values, checkpoint=None))}

    def lacking_notice(self, settings: Any) -> str:
        """What a run lacks on this machine."""
        missing = lacking(settings)
        return "" if missing is None else missing_notice(missing.what, missing.command)

    # -- preview and run -------------------------------------------------------------------------------------------

    def make_preview(self, clip: str | None, *values: Any) -> Iterator[Updates]:
        """One frame in its final look."""
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
        yield {self.preview: value, **dict.fromkeys(self.buttons(), gr.update(interactive=True))}

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
        return self.started(status.id)

    # -- earlier runs ----------------------------------------------------------------------------------------------

    def filled(self, run: RunFolder) -> Updates:
        """The form with a run's clip and settings."""
        if not run.source.is_file():
            raise gone("clip")
        clip = clips.offer(run.source, display_name(run.record), self.services.settings)
        values = self.form.fill(run.record["settings"])
        values["reference"] = self._reference(run)
        shown = self.form.show(engine_named(values["engine"]), values)
        return {**shown, self.clip: clip, self.known: clip, self.preset: self.preset_of(values)}

    def _reference(self, run: RunFolder) -> str | None:
        """A run's reference picture, where the page may show it; none where it is gone."""
        picture = Path(run.record["settings"].get("reference") or "")
        return clips.offer(picture, picture.name, self.services.settings) if picture.is_file() else None
