"""What the tabs that start runs have in common: clips, settings, costs, the person to pick, the run that is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import InputError, UnderstudyError
from core.runs import RunFolder
from interfaces.jobs.errors import NoSuchRun
from interfaces.settings_from import DEFAULT_PRESET, Kind
from interfaces.web.advanced import CUSTOM, SettingsForm
from interfaces.web.costs import Footage, cost_line, preset_cards
from interfaces.web.parts import EVENT, choice_cards, component, error_notice, heading, notice
from interfaces.web.people import look_for_people, parse_point

if TYPE_CHECKING:
    from interfaces.web.page import Page

Updates = dict[Any, Any]


class FormTab:
    """A tab with a form on the left, and on the right what comes of it.

    Parameters
    ----------
    page:
        What the tabs share.
    form:
        The widgets, which the tab puts where they belong.
    """

    kind: Kind
    """Kind of its runs, and the tab's id."""
    prefix: str
    """Begins the names of its parts on the page."""
    deed: str
    """What is done to the person who is picked, for the words under the picture."""
    invitation: str
    """What to do first, while there is no clip."""
    start_words: str
    """What the button that starts a run says."""

    def __init__(self, page: Page, form: SettingsForm) -> None:
        self.page, self.services, self.form = page, page.services, form
        #: What is known of the clip: a Footage, or None.
        self.footage = gr.State(None)
        #: The files that the page knows already, because they came from a run together with whom to pick.
        self.known = gr.State("")
        with gr.Row(elem_classes="us-columns"):
            with gr.Column(elem_classes="us-setup", scale=5, min_width=300):
                self.build_setup()
            with gr.Column(elem_classes="us-stage-column", scale=6, min_width=300):
                self._build_stage()
        self._wire_form()
        self.wire()

    def id(self, name: str) -> str:
        """The name of a part on the page."""
        return f"{self.prefix}-{name}"

    # -- what each tab does in its own way -----------------------------------------------------------------------------

    def build_setup(self) -> None:
        """The steps of the form. To be called inside its column."""
        raise NotImplementedError

    def build_more_stages(self) -> None:
        """Tabs of the stage between the shot and the run."""

    def buttons(self) -> list[gr.Button]:
        """What can be pressed once there is a clip."""
        return [self.run_button]

    def wire(self) -> None:
        """Events of the tab's own parts."""
        raise NotImplementedError

    def examine(self, given: Any, values: Sequence[Any]) -> tuple[Footage, str, Path]:
        """What is known of the files that were given, HTML that tells it, and the clip to look for people in.

        Raises
        ------
        InputError
            They cannot be run.
        """
        raise NotImplementedError

    def lacking_notice(self, settings: Any) -> str:
        """A line of HTML that says what a run lacks on this machine; empty where that is nothing."""
        raise NotImplementedError

    def filled(self, run: RunFolder) -> Updates:
        """The form with a run's clips and settings.

        Raises
        ------
        InputError
            A clip is gone, or something that it was run with.
        """
        raise NotImplementedError

    def filled_parts(self) -> list[Any]:
        """Everything that :meth:`filled` may change."""
        raise NotImplementedError

    # -- layout ----------------------------------------------------------------------------------------------------

    def step(self, name: str) -> AbstractContextManager[Any]:
        """A card of the form."""
        column: AbstractContextManager[Any] = gr.Column(
            elem_classes=f"us-card us-step-{name}", elem_id=self.id(f"step-{name}")
        )
        return column

    def build_quality(self, number: int, build_advanced: Any) -> None:
        """The presets, and behind them all settings."""
        heading(number, "Quality")
        server = self.services.settings
        nominal = self.form.made.settings()
        self.preset = choice_cards(
            "Quality",
            preset_cards(self.form.made, nominal, DEFAULT_PRESET, None, server),  # type: ignore[arg-type]
            DEFAULT_PRESET,
            elem_id=self.id("preset"),
            look="row",
        )
        with gr.Accordion("Advanced", open=False, elem_id=self.id("advanced"), elem_classes="us-advanced"):
            build_advanced()

    def build_go(self) -> None:
        """What it costs, and the button."""
        with gr.Column(elem_classes="us-card us-go us-step-go", elem_id=self.id("step-go")):
            nominal = self.form.made.settings()
            self.cost = gr.HTML(
                cost_line(nominal, None, self.services.settings),  # type: ignore[arg-type]
                apply_default_css=False,
                elem_id=self.id("cost"),
            )
            self.notice = gr.HTML("", apply_default_css=False, elem_id=self.id("notice"))
            with gr.Row(elem_classes="us-buttons"):
                self.build_buttons()
                self.run_button = gr.Button(
                    self.start_words, size="lg", variant="primary", interactive=False, elem_id=self.id("run-button")
                )

    def build_buttons(self) -> None:
        """Buttons beside the one that starts the run."""

    def _build_stage(self) -> None:
        with (
            gr.Column(elem_classes="us-card us-stage-card", elem_id=self.id("stage")),
            gr.Tabs(selected="shot", elem_id=self.id("stage-tabs"), elem_classes="us-stage-tabs") as self.stage,
        ):
            with gr.Tab("Shot", id="shot"):
                self.picker = component(
                    "person", elem_id=self.id("person"), words={"deed": self.deed, "invitation": self.invitation}
                )
            self.build_more_stages()
            with gr.Tab("Run", id="run"):
                self.run = component("run", "", elem_id=self.id("run"), words={"start": self.start_words})

    # -- wiring ----------------------------------------------------------------------------------------------------

    def costs(self) -> list[Any]:
        """What :meth:`costs_of` updates."""
        return [self.preset, self.cost, self.notice]

    def _wire_form(self) -> None:
        form = self.form
        inputs, costs = form.inputs(), self.costs()
        self.picker.select(
            self.pick_person,
            [self.footage, *inputs],
            [form.widgets["person"], *costs],
            trigger_mode="always_last",
            **EVENT,
        )
        self.preset.input(
            self.choose_preset,
            [self.preset, self.footage, *inputs],
            [*form.advanced.values(), *costs],
            trigger_mode="always_last",
            **EVENT,
        )
        fields = [widget.input for widget in form.advanced.values()]  # type: ignore[attr-defined]
        # What is pasted with the mouse is noticed when the field is left.
        left = [widget.blur for widget in form.advanced.values() if isinstance(widget, gr.Textbox)]
        gr.on(
            [*fields, *left, *self.other_changes()],
            self.change,
            [self.footage, *inputs],
            costs,
            trigger_mode="always_last",
            **EVENT,
        )
        form.widgets["person"].input(
            self.move_point, [form.widgets["person"], self.picker], [self.picker], trigger_mode="always_last", **EVENT
        )
        filled = [self.known, self.preset, *inputs, *self.filled_parts(), self.page.tabs, self.stage, self.clip_notice]
        filled = list(dict.fromkeys(filled))
        self.run.edit(self.fill_from_run, None, filled, **EVENT)
        self.page.to_edit.change(self.answer_edit, [self.page.to_edit], filled, **EVENT)
        # Asked for while the page is still being built: the fewer parts it touches, the better.
        opened = [self.run, self.page.tabs, self.stage]
        self.page.to_open.change(self.answer_open, [self.page.to_open], opened, **EVENT)

    def other_changes(self) -> list[Any]:
        """Events of widgets outside the advanced ones that may change what a run costs."""
        return []

    def read_parts(self) -> list[Any]:
        """Everything that :meth:`read` updates."""
        person = self.form.widgets["person"]
        return [
            self.footage,
            self.known,
            self.clip_notice,
            self.picker,
            person,
            self.stage,
            *self.costs(),
            *self.buttons(),
        ]

    # -- the clips -------------------------------------------------------------------------------------------------

    clip_notice: gr.HTML
    """Says what the clips are like, or what is wrong with them."""
    no_clip: str
    """What it says while there is none, HTML."""

    def read(self, key: str, given: Any, known: str, values: tuple[Any, ...]) -> Iterator[Updates]:
        """Check files, tell what they cost, and look for the people in them.

        ``key`` tells them from others and is empty where there are none; :meth:`examine` takes them as ``given``.
        """
        off = dict.fromkeys(self.buttons(), gr.update(interactive=False))
        if not key:
            yield {**off, **self.blank(), self.clip_notice: self.no_clip, **self.costs_of(None, values)}
            return
        yield {**off, self.clip_notice: notice("info", "Reading the clip"), self.notice: ""}
        try:
            footage, line, clip = self.examine(given, values)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            yield {**off, **self.blank(), self.clip_notice: error_notice(error), **self.costs_of(None, values)}
            return
        moved = key != known
        if moved:
            values = self.changed(values, person="")
        yield {
            **self.blank(),
            **dict.fromkeys(self.buttons(), gr.update(interactive=True)),
            **self.costs_of(footage, values),
            self.footage: footage,
            self.clip_notice: line,
            self.picker: {"busy": "Looking for people"},
            **({self.form.widgets["person"]: ""} if moved else {}),
        }
        try:
            settings = self.form.settings(values)
        except UnderstudyError as error:
            yield {self.picker: {"kind": "warning", "message": error.message, "hint": error.hint}}
            return
        found, shown = look_for_people(self.services.studio, clip, settings)
        if found is not None:
            footage = Footage(footage.facts, found.people, footage.others)
        yield {self.picker: shown, self.footage: footage, **self.costs_of(footage, values)}

    def blank(self) -> Updates:
        """The stage without a clip."""
        return {self.footage: None, self.picker: None, self.stage: gr.Tabs(selected="shot")}

    def pick_person(self, event: gr.EventData, footage: Footage | None, *values: Any) -> Updates:
        """A click in the picture. How large the person is may tell what the run takes."""
        x, y = event.point
        point = f"{x:.0f},{y:.0f}"
        return {self.form.widgets["person"]: point, **self.costs_of(footage, self.changed(values, person=point))}

    def move_point(self, text: str, picker: dict[str, Any] | None) -> Any:
        """A point that was typed, shown in the picture."""
        return {**picker, "point": parse_point(text)} if picker and "image" in picker else gr.skip()

    # -- settings --------------------------------------------------------------------------------------------------

    def choose_preset(self, preset: str, footage: Footage | None, *values: Any) -> Updates:
        """Fill the advanced fields from a preset."""
        if preset == CUSTOM:
            return self.costs_of(footage, values)
        new = self.form.made.preset_values(preset)
        updates = self.costs_of(footage, self.changed(values, **new))
        if self.preset in updates:
            # Meanwhile another one may have been chosen, which the answer to this must not undo.
            updates[self.preset].pop("value")
        return {**{self.form.advanced[name]: value for name, value in new.items()}, **updates}

    def change(self, footage: Footage | None, *values: Any) -> Updates:
        """Something in the form was changed: what does it cost now, and is it still the preset?"""
        return self.costs_of(footage, values)

    def changed(self, values: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
        """The form's values with some changed."""
        return tuple((self.form.given(values) | changes).values())

    def costs_of(self, footage: Footage | None, values: tuple[Any, ...]) -> Updates:
        """The presets' costs, that of the form as it stands, and what a run lacks here."""
        server = self.services.settings
        try:
            preset = self.form.preset(values)
            settings = self.form.settings(values)
            cards = preset_cards(self.form.made, settings, preset, footage, server)
            return {
                self.preset: gr.update(value=preset, choices=cards),
                self.cost: cost_line(settings, footage, server),
                self.notice: self.lacking_notice(settings),
            }
        except UnderstudyError as error:
            return {self.notice: error_notice(error)}

    # -- runs ------------------------------------------------------------------------------------------------------

    def started(self, run_id: str) -> Updates:
        """A run of the form has been put into the queue."""
        return {self.run: run_id, self.stage: gr.Tabs(selected="run"), self.notice: ""}

    def answer_open(self, request: dict[str, Any] | None) -> Any:
        """Another part of the page wants a run shown."""
        if request is None or self._kind_of(request["id"]) != self.kind:
            return gr.skip()
        return {
            self.run: request["id"],
            self.page.tabs: gr.Tabs(selected=self.kind),
            self.stage: gr.Tabs(selected="run"),
        }

    def answer_edit(self, request: dict[str, Any] | None) -> Any:
        """Another part of the page wants a run's clips and settings taken up again."""
        if request is None or self._kind_of(request["id"]) != self.kind:
            return gr.skip()
        return self._filled(request["id"])

    def _kind_of(self, run_id: str) -> str:
        """Kind of a run; where it is gone, the first tab says so."""
        try:
            return str(self.services.queue.status(run_id).record["kind"])
        except NoSuchRun:
            return "replace"

    def fill_from_run(self, event: gr.EventData) -> Updates:
        """The form with a run's clips and settings."""
        return self._filled(event.id)

    def _filled(self, run_id: str) -> Updates:
        there: Updates = {self.page.tabs: gr.Tabs(selected=self.kind), self.stage: gr.Tabs(selected="shot")}
        try:
            run = RunFolder.open(self.services.queue.folder(run_id))
            shown = self.filled(run)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            return {**there, self.clip_notice: error_notice(error)}
        # Reading the clips, which follows, works out the presets' costs.
        return {**there, **shown}

    def preset_of(self, values: Mapping[str, Any]) -> str:
        """The preset that widget values by name amount to."""
        return self.form.preset([values.get(name) for name in self.form.names()])


def gone(what: str) -> InputError:
    """The error for a run's file that is not there any more."""
    return InputError(f"The {what} of that run is gone.", "Add it again in step 1.")


def look_at(stage: str) -> str:
    """A script that brings the stage into sight: on a narrow screen it is not when a button is pressed."""
    return f"""(...values) => {{
    const stage = document.getElementById("{stage}");
    const {{ top }} = stage.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) stage.scrollIntoView({{ behavior: "smooth", block: "start" }});
    return values;
}}"""
