"""The Mesh tab: one clip or several of a take, the body that is fitted, and on the right what comes of it."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import InputError
from core.runs import RunFolder
from core.types import VideoInfo
from interfaces.jobs.limits import MOST_CALIBRATIONS, MOST_CLIPS, check_clip
from interfaces.web import clip as clips
from interfaces.web.costs import Footage
from interfaces.web.form_tab import FormTab, Updates, gone, look_at
from interfaces.web.mesh_form import MeshForm
from interfaces.web.parts import EVENT, error_notice, heading, notice
from pipelines.mesh.offers import bodies
from pipelines.mesh.submit import CALIBRATION_SUFFIXES, Given, Take, calibration_files, place_take

if TYPE_CHECKING:
    from interfaces.web.page import Page

_CALIBRATION_HELP = (
    "For several clips of one take: <code>intri.yml</code> and <code>extri.yml</code>, a Qualisys <code>.qca.txt</code>, or a "
    "<code>.toml</code> file. Clips are named after their cameras."
)


class MeshTab(FormTab):
    """The tab's components and what they do."""

    kind = "mesh"
    prefix = "us-mesh"
    deed = "followed"
    invitation = "Add a clip, or several of one take that cameras with a known calibration filmed."
    start_words = "Fit the body"
    form: MeshForm

    def __init__(self, page: Page) -> None:
        self.no_clip = clips.limits_line(page.services.settings)
        #: The files that were read last: a run that is taken up again brings clips and calibration one after the other.
        self.last = gr.State("")
        super().__init__(page, MeshForm())

    # -- layout ----------------------------------------------------------------------------------------------------

    def build_setup(self) -> None:
        """The steps of the form. To be called inside its column."""
        with self.step("clip"):
            heading(1, "Clips")
            self.clips = gr.File(
                label="Clips",
                show_label=False,
                file_count="multiple",
                file_types=["video"],
                height=200,
                elem_id=self.id("clips"),
                elem_classes="us-drop",
            )
            self.clip_notice = gr.HTML(self.no_clip, apply_default_css=False, elem_id=self.id("clip-notice"))
            with gr.Column(visible=False, elem_classes="us-calibration") as self.several:
                self.calibration = gr.File(
                    label="Calibration of the cameras",
                    file_count="multiple",
                    file_types=list(CALIBRATION_SUFFIXES),
                    height=140,
                    elem_id=self.id("calibration"),
                    elem_classes="us-drop",
                )
                gr.HTML(f'<p class="us-soft us-small">{_CALIBRATION_HELP}</p>', apply_default_css=False)
            self.example = gr.Button("Take the bundled clip", size="sm", elem_id=self.id("example"))
        with self.step("part"):
            self.form.build_body()
        with self.step("quality"):
            self.build_quality(3, self.form.build_advanced)
        self.build_go()

    # -- wiring ----------------------------------------------------------------------------------------------------

    def wire(self) -> None:
        """Events of the tab's own parts."""
        inputs = self.form.inputs()
        files = [self.clips, self.calibration]
        gr.on(
            [self.clips.change, self.calibration.change],
            self.read_take,
            [*files, self.last, self.known, *inputs],
            [self.several, self.last, *self.read_parts()],
            trigger_mode="always_last",
            **EVENT,
        )
        self.example.click(self.take_example, None, [self.clips], **EVENT)
        # Not over Gradio's shared stream: it closes after the answer, and what is chosen just then would be lost.
        self.page.blocks.load(self.form.refresh, None, [self.form.widgets["body"]], queue=False, **EVENT)
        self.run_button.click(
            self.start_run,
            [*files, *inputs],
            [self.run, self.stage, self.notice],
            js=look_at(self.id("stage")),
            queue=False,  # see ReplaceTab.wire
            **EVENT,
        )

    def other_changes(self) -> list[Any]:
        """Events of widgets outside the advanced ones that may change what a run costs."""
        return [self.form.widgets["body"].input]

    def filled_parts(self) -> list[Any]:
        """Everything that :meth:`filled` may change."""
        return [self.clips, self.calibration, self.several]

    # -- the clips -------------------------------------------------------------------------------------------------

    def read_take(
        self, files: list[str] | None, calibration: list[str] | None, last: str, known: str, *values: Any
    ) -> Iterator[Updates]:
        """Check the clips of a take and their calibration, tell what they cost, and look for the people in them."""
        several = len(files or ()) > 1
        take = _take(files, calibration if several else None)
        key = _key(take)
        if key and key == last:
            yield {self.last: key}
            return
        yield {self.several: gr.update(visible=several), self.last: key}
        if several and not take.calibration:
            off = dict.fromkeys(self.buttons(), gr.update(interactive=False))
            waits = notice("info", f"{len(take.clips)} clips.", "Add the calibration of their cameras below.")
            yield {**off, **self.blank(), self.clip_notice: waits, **self.costs_of(None, values)}
            return
        yield from self.read(key, take, known, values)

    def examine(self, given: Take, values: Sequence[Any]) -> tuple[Footage, str, Path]:
        """What is known of the clips, lines that tell it, and the clip whose frames the body has."""
        server = self.services.settings
        if len(given.clips) > MOST_CLIPS or len(given.calibration) > MOST_CALIBRATIONS:
            raise InputError(
                f"A take has {MOST_CLIPS} clips and {MOST_CALIBRATIONS} files of a calibration at most.", "Give fewer."
            )
        facts = [clips.check(clip.path, server) for clip in given.clips]
        if len(facts) == 1:
            return Footage(facts[0]), clips.facts_line(facts[0]), given.clips[0].path
        with tempfile.TemporaryDirectory(dir=clips.cache_folder(server)) as folder:
            _, found, _ = place_take(given, self.form.settings(values), Path(folder))
        assert found is not None, "several clips have cameras"
        rows = [
            f'<div class="us-view-row"><strong>{html.escape(clip.name)}</strong> is camera {html.escape(camera.name)}'
            f"{clips.facts_line(fact)}</div>"
            for clip, camera, fact in zip(given.clips, found.cameras, facts, strict=True)
        ]
        notes = [notice("info", note) for note in found.notes]
        first = found.reference
        others = tuple(fact for index, fact in enumerate(facts) if index != first)
        return Footage(facts[first], (), others), "".join([*rows, *notes]), given.clips[first].path

    def take_example(self) -> list[str]:
        """The bundled clip."""
        return [clips.offer(clips.DEMO_CLIP, clips.DEMO_CLIP.name, self.services.settings)]

    # -- settings and run ------------------------------------------------------------------------------------------

    def lacking_notice(self, settings: Any) -> str:
        """What a run lacks on this machine."""
        body = next(card for card in bodies() if card.name == settings.body)
        return (
            "" if body.ready else notice("warning", f"{body.title} needs a file that this machine lacks.", body.missing)
        )

    def start_run(self, files: list[str] | None, calibration: list[str] | None, *values: Any) -> Updates:
        """Put the take into the queue."""
        limits = self.services.settings

        def check(info: VideoInfo) -> None:
            check_clip(info.size, info.duration, limits)

        take = _take(files, calibration if len(files or ()) > 1 else None)
        if not take.clips:
            return {self.notice: notice("error", "There is no clip yet.", "Add one in step 1.")}
        try:
            preset = self.form.preset(values)
            status = self.services.queue.submit(take, self.form.settings(values), preset=preset, check=check)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            return {self.notice: error_notice(error)}
        return self.started(status.id)

    # -- earlier runs ----------------------------------------------------------------------------------------------

    def filled(self, run: RunFolder) -> Updates:
        """The form with a run's clips, calibration and settings."""
        server = self.services.settings
        settings = run.record["settings"]
        if settings.get("easymocap_results"):
            raise InputError("That run shows a body that EasyMoCap fitted.", "Run it again on the command line.")
        recorded = run.record.get("sources") or [{"path": run.record["source"]}]
        sources = [run.path / source["path"] for source in recorded]
        if not all(source.is_file() for source in sources):
            raise gone("clip")
        calibration: list[Path] = []
        if settings.get("calibration"):
            calibration = calibration_files(run.path / settings["calibration"])
            if not calibration:
                raise gone("calibration")
        offered, beside = ([clips.offer(file, file.name, server) for file in files] for files in (sources, calibration))
        values = self.form.fill(settings)
        return {
            **{self.form.widgets[name]: value for name, value in values.items()},
            self.several: gr.update(visible=len(offered) > 1),
            self.clips: offered,
            self.calibration: beside or None,
            self.known: _key(_take(offered, beside)),
            self.preset: self.preset_of(values),
        }


def _take(files: list[str] | None, calibration: list[str] | None) -> Take:
    """Uploaded files as a take."""

    def given(paths: list[str] | None) -> tuple[Given, ...]:
        return tuple(Given(Path(path), Path(path).name) for path in paths or ())

    return Take(given(files), given(calibration))


def _key(take: Take) -> str:
    """Tells one take from another; empty without clips."""
    return "\n".join(str(given.path) for given in (*take.clips, *take.calibration)) if take.clips else ""
