// Before and after on top of each other, with a line to drag between them.
(() => {
  const { el } = window.understudy;

  /** The element, and `show(before, after)` to change the pictures. */
  understudy.compare = (before, after, { width = 16, height = 9 } = {}) => {
    const source = el("img", { class: "us-before", alt: "Before: the source", src: before, draggable: "false" });
    const result = el("img", { class: "us-after", alt: "After: the result", src: after, draggable: "false" });
    const slider = el("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": "Divide between before and after" });
    const root = el(
      "div",
      { class: "us-compare", style: `aspect-ratio:${width}/${height};--at:50%` },
      result,
      source,
      el("span", { class: "us-tag left", "aria-hidden": "true" }, "Before"),
      el("span", { class: "us-tag right", "aria-hidden": "true" }, "After"),
      el("span", { class: "us-line", "aria-hidden": "true" }, el("span")),
      slider,
    );
    slider.addEventListener("input", () => root.style.setProperty("--at", `${slider.value}%`));
    return {
      root,
      show: (first, second) => {
        source.src = first;
        result.src = second;
      },
    };
  };

  understudy.preview = (element, props, trigger, watch) => {
    const root = element.querySelector(".us-view");
    const draw = () => {
      const value = props.value;
      if (!value) {
        root.replaceChildren(
          el("div", { class: "us-empty" }, el("p", {}, "No preview yet."), el("p", { class: "us-soft" }, "One frame, with the final look, in seconds: press Preview.")),
        );
      } else if (value.busy) {
        root.replaceChildren(el("div", { class: "us-waiting", role: "status" }, el("span", { class: "us-spinner" }), value.busy));
      } else if (value.before) {
        root.replaceChildren(
          understudy.compare(value.before, value.after, value).root,
          el("p", { class: "us-soft us-caption", role: "status" }, value.caption),
          ...(value.warnings || []).map((text) => understudy.message("warning", text)),
        );
      } else {
        root.replaceChildren(understudy.message("error", value.message, value.hint));
      }
    };
    watch("value", draw);
    draw();
  };
})();
