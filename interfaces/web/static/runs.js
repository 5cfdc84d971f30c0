// All runs, newest first.
(() => {
  const { el, api, ago } = window.understudy;
  const REFRESH_MS = 2000;
  const ACTIVE = ["queued", "running"];

  const facts = (run) => {
    const rate = run.fps ? run.fps.split("/").map(Number) : null;
    const length = rate && run.frames_in ? (run.frames_in * (rate[1] || 1)) / rate[0] : null;
    return [understudy.runTitle(run), length && `${length.toFixed(1)} s`, run.size && run.size.join("×"), ago(run.created)].filter(Boolean).join("  ·  ");
  };

  const settings = (run) =>
    el(
      "details",
      { class: "us-run-settings" },
      el("summary", {}, "Settings"),
      el(
        "dl",
        {},
        Object.entries(run.settings)
          .filter(([, value]) => value !== null && value !== "")
          .map(([name, value]) => el("div", {}, el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, String(value)))),
      ),
    );

  const card = (run, act) => {
    const button = (text, what, kind = "") => el("button", { type: "button", class: `us-button small ${kind}`, onclick: () => act(what, run) }, text);
    const active = ACTIVE.includes(run.state);
    return el(
      "li",
      { class: "us-run-card", "data-id": run.id, "data-state": run.state },
      el(
        "button",
        { type: "button", class: "us-thumb", "aria-label": `Open ${run.name}`, onclick: () => act("open", run) },
        el("img", { src: `runs/${encodeURIComponent(run.id)}/thumbnail`, alt: "", loading: "lazy", onerror: (event) => event.target.remove() }),
      ),
      el(
        "div",
        { class: "us-run-text" },
        el("div", { class: "us-run-name" }, el("h3", {}, run.name), understudy.badge(run.state)),
        el("p", { class: "us-soft" }, facts(run)),
        run.state === "running" && el("div", { class: "us-bar thin", "aria-hidden": "true" }, el("div", { class: "us-bar-fill", style: `width:${100 * run.progress}%` })),
        settings(run),
        run.state === "failed" && run.error && el("p", { class: "us-run-error" }, run.error),
      ),
      el(
        "div",
        { class: "us-run-actions" },
        button("Open", "open", "primary"),
        ["cancelled", "failed"].includes(run.state) && button("Resume", "resume"),
        active && button("Cancel", "cancel"),
        button("Re-run with changes", "edit"),
        run.state !== "running" && button("Delete", "delete", "quiet"),
      ),
    );
  };

  understudy.runs = (element, props, trigger, watch) => {
    const root = element.querySelector(".us-view");
    const status = el("div", { "aria-live": "polite" });
    const list = el("ul", { class: "us-run-list" });
    const cards = new Map();
    root.replaceChildren(status, list);
    let timer = null;

    const act = async (what, run) => {
      status.replaceChildren();
      if (what === "open" || what === "edit") return trigger(what === "open" ? "select" : "edit", { id: run.id });
      const path = `runs/${encodeURIComponent(run.id)}`;
      try {
        if (what === "delete") {
          if (!(await understudy.confirm(`Delete the run of ${run.name}? All its files are removed.`, "Delete"))) return;
          await api(path, { method: "DELETE" });
        } else {
          await api(`${path}/${what}`, { method: "POST" });
        }
      } catch (error) {
        status.replaceChildren(understudy.message("error", error.message));
      }
      await refresh();
      if (what === "resume") trigger("select", { id: run.id });
    };

    const draw = (runs) => {
      if (!runs.length) {
        list.replaceChildren(el("li", { class: "us-empty" }, el("p", {}, "No runs yet."), el("p", { class: "us-soft" }, "Every run is kept here with its result, its settings and its report.")));
        cards.clear();
        return;
      }
      const wanted = runs.map((run) => {
        const content = JSON.stringify([run.state, run.progress, run.name, run.error, run.state === "queued" && run.queue_position]);
        const known = cards.get(run.id);
        if (known?.content === content) return known.node;
        const node = card(run, act);
        cards.set(run.id, { content, node });
        return node;
      });
      for (const id of cards.keys()) if (!runs.some((run) => run.id === id)) cards.delete(id);
      const same = wanted.length === list.children.length && wanted.every((node, index) => node === list.children[index]);
      if (!same) list.replaceChildren(...wanted);
    };

    const visible = () => element.offsetParent !== null && document.visibilityState === "visible";

    const refresh = async () => {
      clearTimeout(timer);
      try {
        const runs = await api("runs");
        draw(runs);
        if (runs.some((run) => ACTIVE.includes(run.state)) && visible()) timer = setTimeout(refresh, REFRESH_MS);
      } catch (error) {
        status.replaceChildren(understudy.message("error", error.message));
        if (visible()) timer = setTimeout(refresh, 2 * REFRESH_MS);
      }
    };

    // The tab is hidden at first, and each time that another one is looked at.
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && refresh()).observe(element);
    document.addEventListener("visibilitychange", () => visible() && refresh());
  };
})();
