// One run, from waiting in the queue to its result. All of it comes from the REST API, so a reload finds it again.
(() => {
  const { el, api, seconds } = window.understudy;

  const STAGES = {
    probe: "Reading the clip",
    detect: "Finding the person",
    triangulate: "Finding the body in space",
    contacts: "Finding when the feet stand",
    stabilize: "Following the camera",
    segment: "Dividing the clip",
    plate: "Painting the scene without the person",
    body: "Fitting the body",
    look: "Reading the light",
    load: "Getting the engine ready",
    generate: "Drawing the new person",
    encode: "Writing the video",
    render: "Drawing the videos",
    export: "Writing the files",
    quality: "Measuring",
  };
  const STATES = { queued: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };
  const FINAL = ["done", "failed", "cancelled"];

  understudy.badge = (state) => el("span", { class: `us-state ${state}` }, STATES[state] || state);

  const { address } = understudy;

  const button = (text, action, kind = "") => el("button", { type: "button", class: `us-button ${kind}`, onclick: action }, text);

  // -- while it runs -----------------------------------------------------------------------------------------------

  class Progress {
    constructor(id, act) {
      this.id = id;
      this.live = el("img", { class: "us-live", alt: "The latest finished frame", hidden: true });
      this.bar = el("div", { class: "us-bar-fill" });
      this.track = el("div", { class: "us-bar", role: "progressbar", "aria-label": "Progress of the run", "aria-valuemin": 0, "aria-valuemax": 100 }, this.bar);
      this.percent = el("strong", { class: "us-percent" });
      this.stage = el("span", { class: "us-stage" });
      this.left = el("span", { class: "us-soft us-left" });
      this.detail = el("span", { class: "us-soft" });
      this.spoken = el("span", { class: "us-hidden", "aria-live": "polite" });
      this.cancel = button("Cancel", () => act("cancel"));
      this.root = el(
        "div",
        { class: "us-progress" },
        el("div", { class: "us-live-frame" }, this.live, (this.placeholder = el("div", { class: "us-waiting" }, el("span", { class: "us-spinner" }), "The first finished frame appears here."))),
        el("div", { class: "us-progress-head" }, el("span", {}, this.percent, this.stage), this.left),
        this.track,
        el("div", { class: "us-progress-foot" }, this.detail, this.cancel),
        this.spoken,
        el("p", { class: "us-soft us-small" }, "You can close this page: the run goes on, and the Runs tab finds it again."),
      );
    }

    update(run) {
      const percent = Math.floor(100 * run.progress);
      const waiting = run.state === "queued";
      const words = waiting ? "Waiting for its turn" : STAGES[run.stage] || run.stage || "Starting";
      this.percent.textContent = waiting ? "" : `${percent}%`;
      this.stage.textContent = words;
      this.left.textContent = run.seconds_left === null ? "" : `${seconds(run.seconds_left)} left`;
      this.detail.textContent = waiting ? `${run.queue_position ?? 1}. in the queue` : run.detail;
      this.bar.style.width = `${100 * run.progress}%`;
      this.track.setAttribute("aria-valuenow", percent);
      this.track.setAttribute("aria-valuetext", `${percent} percent, ${words}`);
      const spoken = `${words}, ${10 * Math.floor(percent / 10)} percent`;
      if (this.spoken.textContent !== spoken) this.spoken.textContent = spoken;
      if (run.live_frame !== null && run.live_frame !== this.shown) this.showLive(run.live_frame);
    }

    showLive(frame) {
      this.shown = frame;
      const next = new Image();
      next.onload = () => {
        this.live.src = next.src;
        this.live.hidden = false;
        this.placeholder.remove();
      };
      next.src = address(this.id, `live?frame=${frame}`);
    }
  }

  // -- when it is done ---------------------------------------------------------------------------------------------

  const warnings = (run) =>
    run.warnings?.length
      ? el("details", { class: "us-warnings" }, el("summary", {}, `${run.warnings.length} ${run.warnings.length === 1 ? "note" : "notes"} about this run`), el("ul", {}, run.warnings.map((text) => el("li", {}, text))))
      : null;

  // -- the whole ---------------------------------------------------------------------------------------------------

  const showInAddress = (id) => {
    const url = new URL(location.href);
    if (id) url.searchParams.set("run", id);
    else url.searchParams.delete("run");
    history.replaceState(null, "", url);
  };

  understudy.run = (element, props, trigger, watch) => {
    const root = element.querySelector(".us-view");
    const state = { id: null, events: null, progress: null, drawn: "" };

    const leave = () => {
      state.events?.close();
      Object.assign(state, { id: null, events: null, progress: null, drawn: "" });
    };

    const act = async (what) => {
      const id = state.id;
      try {
        const run = await api(address(id, what), { method: "POST" });
        if (state.id !== id) return;
        show(run);
        if (!FINAL.includes(run.state)) listen(id);
      } catch (error) {
        root.append(understudy.message("error", error.message));
      }
    };

    const head = (run) =>
      el(
        "div",
        { class: "us-run-head" },
        el("div", {}, el("h3", {}, run.name), el("p", { class: "us-soft" }, understudy.runTitle(run))),
        understudy.badge(run.state),
      );

    const again = (run) => button("Change and run again", () => trigger("edit", { id: run.id }));

    const ended = (run) => {
      if (run.state === "done") return [understudy.result(run), warnings(run), el("div", { class: "us-row" }, again(run))];
      const failed = run.state === "failed";
      return [
        understudy.message(failed ? "error" : "info", failed ? run.error || "The run failed." : "The run was cancelled. What was finished is kept."),
        el("div", { class: "us-row" }, button("Resume", () => act("resume"), "primary"), again(run)),
        warnings(run),
      ];
    };

    const show = (run) => {
      if (FINAL.includes(run.state)) {
        const drawn = `${run.id} ${run.state} ${run.error || ""}`;
        if (state.drawn !== drawn) root.replaceChildren(el("article", { class: "us-run", "data-state": run.state }, head(run), ...ended(run).filter(Boolean)));
        Object.assign(state, { drawn, progress: null });
        return;
      }
      if (!state.progress || state.drawn !== run.state) {
        state.progress = state.progress || new Progress(run.id, act);
        root.replaceChildren(el("article", { class: "us-run", "data-state": run.state }, head(run), state.progress.root));
        state.drawn = run.state;
      }
      state.progress.update(run);
    };

    const listen = (id) => {
      state.events?.close();
      const events = new EventSource(address(id, "events"));
      state.events = events;
      const read = (event) => event.data && state.id === id && show(JSON.parse(event.data));
      events.addEventListener("progress", read);
      events.addEventListener("end", async () => {
        events.close();
        if (state.id === id) show(await api(`runs/${encodeURIComponent(id)}`));
      });
    };

    const open = async () => {
      const id = props.value;
      if (id === state.id) return;
      leave();
      if (!id) {
        root.replaceChildren(el("div", { class: "us-empty" }, el("p", {}, "No run is open."), el("p", { class: "us-soft" }, `Start one with ${root.dataset.start}, or open one from the Runs tab.`)));
        return;
      }
      state.id = id;
      showInAddress(id);
      root.replaceChildren(el("div", { class: "us-waiting" }, el("span", { class: "us-spinner" }), "Opening the run"));
      try {
        const run = await api(`runs/${encodeURIComponent(id)}`);
        if (state.id !== id) return;
        show(run);
        if (!FINAL.includes(run.state)) listen(id);
      } catch (error) {
        showInAddress("");
        root.replaceChildren(understudy.message("error", error.message));
      }
    };

    watch("value", open);
    open();
  };
})();
