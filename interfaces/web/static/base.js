// What all parts of the page share. Each file adds its functions to window.understudy; components call them when they load.
(() => {
  const understudy = (window.understudy ||= {});
  const THEME_KEY = "understudy-theme";

  /** An element. Text goes in as text, never as markup: names and messages come from users. */
  understudy.el = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "path", "circle", "rect", "line"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  };

  /** Ask the REST API. Throws an Error with the server's own sentence. */
  understudy.api = async (path, options = {}) => {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("The server does not answer. Check that it still runs.");
    }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const content = await answer.json().catch(() => ({}));
    const { message = `The server answered ${answer.status}.`, hint = "" } = content.error || {};
    throw new Error(`${message} ${hint}`.trim());
  };

  understudy.seconds = (value) => {
    if (value < 1) return "under a second";
    if (value < 90) return `${Math.round(value)} s`;
    const minutes = Math.round(value / 60);
    return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  };

  /** "3 minutes ago" for an ISO time. */
  understudy.ago = (iso) => {
    const then = new Date(iso.replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
    const past = (Date.now() - then) / 1000;
    if (!Number.isFinite(past)) return "";
    if (past < 60) return "just now";
    if (past < 3600) return `${Math.floor(past / 60)} min ago`;
    if (past < 86400) return `${Math.floor(past / 3600)} h ago`;
    return then.toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
  };

  understudy.message = (kind, message, hint = "") =>
    understudy.el("p", { class: `us-notice ${kind}`, role: kind === "error" ? "alert" : "status" }, message, hint && ` ${hint}`);

  /** A dialog that asks before something is done that cannot be undone. */
  understudy.confirm = (question, action) =>
    new Promise((resolve) => {
      const { el } = understudy;
      const dialog = el(
        "dialog",
        { class: "us-dialog", "aria-label": question, onclose: () => (dialog.remove(), resolve(dialog.returnValue === "yes")) },
        el("p", {}, question),
        el(
          "form",
          { method: "dialog" },
          el("button", { class: "us-button", value: "no", autofocus: true }, "Keep it"),
          el("button", { class: "us-button danger", value: "yes" }, action),
        ),
      );
      document.body.append(dialog);
      dialog.showModal();
    });

  // Gradio's player reports every clip that the browser has no codec for. The page says itself what is a video and what is
  // not, and such a clip can be run like any other.
  new MutationObserver(() => {
    for (const toast of document.querySelectorAll(".toast-body"))
      if (toast.textContent.includes("Video not playable")) toast.parentElement.style.display = "none";
  }).observe(document.body, { childList: true, subtree: true });

  // -- dark and light ------------------------------------------------------------------------------------------------

  const wanted = () => {
    const saved = localStorage.getItem(THEME_KEY);
    return saved || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  };

  const applyTheme = () => {
    const dark = wanted() === "dark";
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    for (const button of document.querySelectorAll(".us-theme")) {
      button.setAttribute("aria-pressed", String(dark));
      button.title = dark ? "Use the light theme" : "Use the dark theme";
    }
  };

  understudy.header = (element, props, trigger) => {
    element.querySelector(".us-theme").addEventListener("click", () => {
      localStorage.setItem(THEME_KEY, wanted() === "dark" ? "light" : "dark");
      applyTheme();
    });
    applyTheme();
    // The address names the run that is open, so that a reload, or whoever gets the link, comes back to it.
    const id = new URL(location.href).searchParams.get("run");
    if (id) trigger("select", { id });
  };

  // Gradio sets the class from the system's preference, at start and whenever that changes.
  new MutationObserver(applyTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  applyTheme();
})();
