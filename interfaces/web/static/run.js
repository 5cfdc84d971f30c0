// One run, from waiting in the queue to its result. All of it comes from the REST API, so a reload finds it again.
(() => {
  const { el, api, seconds } = window.understudy;

  const STAGES = {
    probe: "Reading the clip",
    detect: "Finding the person",
    stabilize: "Following the camera",
    segment: "Dividing the clip",
    plate: "Painting the scene without the person",
    body: "Fitting the body",
    look: "Reading the light",
    load: "Getting the engine ready",
    generate: "Drawing the new person",
    encode: "Writing the video",
  };
  const STATES = { queued: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };
  const FINAL = ["done", "failed", "cancelled"];

  understudy.badge = (state) => el("span", { class: `us-state ${state}` }, STATES[state] || state);

  /** "Balanced, Maya" */
  understudy.runTitle = (run) => {
    const { engine, avatar } = run.settings;
    const who = engine === "avatar" ? avatar : engine;
    return [run.preset, who].filter(Boolean).map((word) => word[0].toUpperCase() + word.slice(1)).join(", ");
  };

  const address = (id, part) => `runs/${encodeURIComponent(id)}/${part}`;

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

  const compareFrames = (run) => {
    const [width, height] = run.size;
    const picture = (frame, side) => address(run.id, `frames/${frame}?side=${side}`);
    const last = run.frames_out - 1;
    const middle = Math.floor(last / 2);
    const pair = understudy.compare(picture(middle, "source"), picture(middle, "result"), { width, height });
    const number = el("output", {}, `Frame ${middle + 1} of ${last + 1}`);
    const slider = el("input", { type: "range", class: "us-range", min: 0, max: last, value: middle, "aria-label": "Frame" });
    let wanted = middle;
    let loading = false;
    const load = async () => {
      if (loading) return;
      loading = true;
      // Both pictures come before either is shown: a frame never stands beside its neighbour.
      for (let frame = -1; frame !== wanted; ) {
        frame = wanted;
        const images = ["source", "result"].map((side) => Object.assign(new Image(), { src: picture(frame, side) }));
        await Promise.all(images.map((image) => image.decode().catch(() => {})));
        pair.show(images[0].src, images[1].src);
      }
      loading = false;
    };
    slider.addEventListener("input", () => {
      wanted = Number(slider.value);
      number.textContent = `Frame ${wanted + 1} of ${last + 1}`;
      load();
    });
    return el("div", {}, pair.root, el("div", { class: "us-frames" }, slider, number));
  };

  const video = (path, label) => el("video", { class: "us-video", src: path, controls: true, playsinline: true, loop: true, preload: "metadata", "aria-label": label });

  const report = (run) => el("iframe", { class: "us-report", src: address(run.id, "report"), title: "Quality report" });

  const FIGURES = [
    ["coverage", "Frames replaced", (v) => `${Math.round(100 * v)}%`, "Share of the person's frames in which the new person was drawn"],
    ["iou", "Silhouette overlap", (v) => `${Math.round(100 * v)}%`, "Overlap of the new silhouette with the old one"],
    ["background_psnr_db", "Background", (v) => (v >= 99 ? "untouched" : `${v.toFixed(0)} dB`), "Pixels away from the person against the source, before encoding"],
    ["slide_px", "Foot slide", (v) => `${v.toFixed(1)} px`, "Movement of standing feet against the ground, per frame at 720p"],
    ["flicker", "Flicker", (v) => `${v.toFixed(2)}×`, "Brightness steadiness inside the person, source = 1"],
  ];

  const figures = (run) => {
    const known = FIGURES.filter(([key]) => typeof run.metrics?.[key] === "number");
    const took = Object.values(run.stages || {}).reduce((sum, value) => sum + value, 0);
    return el(
      "dl",
      { class: "us-figures" },
      el("div", { title: "All stages together" }, el("dt", {}, "Time"), el("dd", {}, seconds(took))),
      ...known.map(([key, name, format, meaning]) => el("div", { title: meaning }, el("dt", {}, name), el("dd", {}, format(run.metrics[key])))),
    );
  };

  const VIEWS = [
    ["compare", "Before / after", compareFrames],
    ["result", "Video", (run) => video(address(run.id, "result"), "The result")],
    ["comparison", "Side by side", (run) => video(address(run.id, "comparison"), "Source and result side by side")],
    ["report", "Quality report", report],
  ];

  const result = (run) => {
    const place = el("div", { class: "us-result-view" });
    const views = VIEWS.filter(([key]) => key !== "comparison" || run.settings.comparison);
    const buttons = views.map(([key, title, make]) =>
      el(
        "button",
        {
          type: "button",
          class: "us-segment",
          "data-view": key,
          onclick: () => {
            for (const other of buttons) other.setAttribute("aria-pressed", String(other.dataset.view === key));
            place.replaceChildren(make(run));
          },
        },
        title,
      ),
    );
    const download = (part, text, kind = "") => el("a", { class: `us-button ${kind}`, href: address(run.id, `${part}?download=1`), download: "" }, text);
    buttons[0].click();
    return el(
      "div",
      { class: "us-result" },
      el("div", { class: "us-segments", role: "group", "aria-label": "How to look at the result" }, buttons),
      place,
      figures(run),
      el(
        "div",
        { class: "us-row" },
        download("result", "↓ Download video", "primary"),
        run.settings.comparison && download("comparison", "↓ Side by side"),
        download("report", "↓ Report"),
      ),
    );
  };

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
      if (run.state === "done") return [result(run), warnings(run), el("div", { class: "us-row" }, again(run))];
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
        root.replaceChildren(el("div", { class: "us-empty" }, el("p", {}, "No run is open."), el("p", { class: "us-soft" }, "Start one with Replace the person, or open one from the Runs tab.")));
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
