// What a finished run gives, for each kind of run: ways to look at it, figures, files.
(() => {
  const { el, seconds } = window.understudy;
  const words = (...parts) => parts.filter(Boolean).map((word) => word[0].toUpperCase() + word.slice(1)).join(", ");

  /** An address of the REST API. */
  understudy.address = (id, part) => `runs/${encodeURIComponent(id)}/${part}`;
  const { address } = understudy;

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

  const hasFigure = (run) => run.files?.some((file) => file.name === "figure");

  /** The photo and the person made of it. What the photo does not show is made up, which is said. */
  const figureOf = (run) =>
    el(
      "figure",
      { class: "us-figure" },
      el("img", { src: address(run.id, "figure"), alt: "The photo, and the figure made of it from the front, the side and behind" }),
      el("figcaption", { class: "us-soft" }, "The photo, then the figure from the front, the side and behind. What the photo does not show is made up from what it shows."),
    );

  const download = (run, part, text, kind = "", hint = null) =>
    el("a", { class: `us-button ${kind}`, href: address(run.id, `${part}?download=1`), download: "", title: hint }, text);

  // -- replacements --------------------------------------------------------------------------------------------------

  const replaced = {
    /** "Balanced, Maya" */
    title: ({ preset, settings: { engine, avatar, reference } }) =>
      words(preset, engine !== "avatar" ? engine : reference ? "a person from a photo" : avatar),
    views: (run) => [
      ["compare", "Before / after", compareFrames],
      ["result", "Video", () => video(address(run.id, "result"), "The result")],
      run.settings.comparison && ["comparison", "Side by side", () => video(address(run.id, "comparison"), "Source and result side by side")],
      hasFigure(run) && ["figure", "From the photo", figureOf],
      ["report", "Quality report", report],
    ],
    figures: [
      ["coverage", "Frames replaced", (v) => `${Math.round(100 * v)}%`, "Share of the person's frames in which the new person was drawn"],
      ["iou", "Silhouette overlap", (v) => `${Math.round(100 * v)}%`, "Overlap of the new silhouette with the old one"],
      ["background_psnr_db", "Background", (v) => (v >= 99 ? "untouched" : `${v.toFixed(0)} dB`), "Pixels away from the person against the source, before encoding"],
      ["slide_px", "Foot slide", (v) => `${v.toFixed(1)} px`, "Movement of standing feet against the ground, per frame at 720p"],
      ["flicker", "Flicker", (v) => `${v.toFixed(2)}×`, "Brightness steadiness inside the person, source = 1"],
    ],
    downloads: (run) =>
      el(
        "div",
        { class: "us-row" },
        download(run, "result", "↓ Download video", "primary"),
        run.settings.comparison && download(run, "comparison", "↓ Side by side"),
        download(run, "report", "↓ Report"),
      ),
  };

  // -- meshes --------------------------------------------------------------------------------------------------------

  const part = (file) => file.address.split("/").slice(3).join("/");
  const saved = (run, files, short) => files.map((file) => download(run, part(file), `↓ ${short(file)}`, "small", file.label));

  const meshed = {
    title: ({ preset, settings, clips }) => words("body mesh", preset, settings.body, clips?.length > 1 && `${clips.length} views`),
    views: (run) => [
      run.files.some((file) => file.name === "glb") && ["body", "3D", () => understudy.viewer(address(run.id, "exports/glb"))],
      ...run.files.filter((file) => file.kind === "video").map((file) => [file.name, file.label, () => video(address(run.id, part(file)), file.label)]),
      ["report", "Quality", report],
    ],
    figures: [
      ["coverage", "Coverage", (v) => `${Math.round(100 * v)}%`, "Share of the person's frames that have a body"],
      ["converged", "On the person", (v) => `${Math.round(100 * v)}%`, "Share of those in which the body lies on the person"],
      ["reprojection_px", "Distance", (v) => `${v.toFixed(1)} px`, "Of the body's limbs from the person's in the picture, median"],
      ["jitter_mm", "Jitter", (v) => `${v.toFixed(1)} mm`, "Mean acceleration of the limbs, per frame²"],
      ["slide_mm", "Foot slide", (v) => `${v.toFixed(1)} mm`, "Movement of standing feet, per frame"],
    ],
    downloads: (run) => {
      const of = (...kinds) => run.files.filter((file) => kinds.includes(file.kind));
      const group = (title, links) => links.length > 0 && el("div", { class: "us-downloads" }, el("h4", {}, title), el("div", { class: "us-row" }, links));
      return el(
        "div",
        {},
        group("Files", saved(run, of("export"), (file) => (file.name === "easymocap" ? "EasyMoCap" : file.name.toUpperCase()))),
        group("Videos", saved(run, of("video"), (file) => file.label)),
        group("Figures and arrays", saved(run, of("page", "data"), (file) => file.label)),
      );
    },
  };

  const KINDS = { replace: replaced, mesh: meshed };

  /** One line on what a run is. */
  understudy.runTitle = (run) => KINDS[run.kind]?.title(run) ?? run.kind;

  const figures = (run) => {
    const known = KINDS[run.kind].figures.filter(([key]) => typeof run.metrics?.[key] === "number");
    const took = Object.values(run.stages || {}).reduce((sum, value) => sum + value, 0);
    return el(
      "dl",
      { class: "us-figures" },
      el("div", { title: "All stages together" }, el("dt", {}, "Time"), el("dd", {}, seconds(took))),
      ...known.map(([key, name, format, meaning]) => el("div", { title: meaning }, el("dt", {}, name), el("dd", {}, format(run.metrics[key])))),
    );
  };

  /** A finished run: one way to look at it at a time, its figures and its files. */
  understudy.result = (run) => {
    const kind = KINDS[run.kind];
    const place = el("div", { class: "us-result-view" });
    const buttons = kind.views(run).filter(Boolean).map(([key, title, make]) =>
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
    buttons[0].click();
    return el(
      "div",
      { class: "us-result" },
      el("div", { class: "us-segments", role: "group", "aria-label": "How to look at the result" }, buttons),
      place,
      figures(run),
      kind.downloads(run),
    );
  };
})();
