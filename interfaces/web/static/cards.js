// Cards to choose one from: radio buttons underneath, so that keyboard and screen readers work as everywhere.
(() => {
  const { el } = window.understudy;
  let groups = 0;

  /** A command to be typed, and a button that copies it. */
  const commandLine = (command) => {
    const code = el("code", {}, command);
    const button = el("button", { type: "button", class: "us-button small", "aria-label": `Copy ${command}` }, "Copy");
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      // Browsers have no clipboard for pages that come over a network without TLS: there the text is selected.
      if (navigator.clipboard) await navigator.clipboard.writeText(command);
      else getSelection().selectAllChildren(code);
      button.textContent = navigator.clipboard ? "Copied" : "Selected";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    return el("span", { class: "us-command" }, code, button);
  };

  const card = (choice, name, chosen) =>
    el(
      "label",
      { class: `us-choice${choice.disabled ? " disabled" : ""}`, "data-value": choice.value, title: choice.hover },
      el("input", {
        type: "radio",
        name,
        value: choice.value,
        checked: choice.value === chosen,
        disabled: choice.disabled,
      }),
      choice.image && el("img", { src: choice.image, alt: "", loading: "lazy", width: 384, height: 384 }),
      el(
        "span",
        { class: "us-choice-text" },
        el("span", { class: "us-choice-title" }, choice.title, choice.badge && el("span", { class: "us-badge" }, choice.badge)),
        choice.text && el("span", { class: "us-choice-line" }, choice.text),
        choice.note && el("span", { class: "us-choice-note" }, choice.note),
        choice.command && commandLine(choice.command),
        choice.link && el("a", { class: "us-choice-link", href: choice.link, target: "_blank", rel: "noopener noreferrer" }, "Registration page"),
      ),
    );

  understudy.cards = (element, props, trigger, watch) => {
    const name = `us-choice-${++groups}`;
    const root = element.querySelector("fieldset");
    let drawn = "";
    const draw = () => {
      const now = JSON.stringify([props.choices, props.value]);
      if (now === drawn) return;
      drawn = now;
      const focused = document.activeElement?.value;
      const hadFocus = root.contains(document.activeElement);
      root.replaceChildren(
        el("legend", { class: "us-hidden" }, props.legend),
        ...props.choices.map((choice) => card(choice, name, props.value)),
      );
      if (hadFocus) [...root.querySelectorAll("input")].find((input) => input.value === focused)?.focus();
    };
    root.addEventListener("change", (event) => {
      if (event.target.type !== "radio") return;
      props.value = event.target.value;
      drawn = JSON.stringify([props.choices, props.value]);
      trigger("input");
    });
    watch(["value", "choices"], draw);
    draw();
  };

  /** Cards that do something when they are pressed. */
  understudy.examples = (element, props, trigger) => {
    const root = element.querySelector(".us-examples");
    root.replaceChildren(
      ...props.choices.map((choice) =>
        el(
          "button",
          { type: "button", class: "us-example", onclick: () => trigger("select", { value: choice.value }) },
          el("img", { src: choice.image, alt: "", width: 384, height: 384 }),
          el("span", {}, el("strong", {}, choice.title), el("span", {}, choice.text)),
        ),
      ),
    );
  };
})();
