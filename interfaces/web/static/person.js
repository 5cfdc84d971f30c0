// The first good frame with the people in it: a click picks one.
(() => {
  const { el } = window.understudy;
  const percent = (part, whole) => `${(100 * part) / whole}%`;

  const box = (person, index, value, picked, pick, deed) => {
    const [left, top, right, bottom] = person.xyxy;
    const style = [
      `left:${percent(left, value.width)}`,
      `top:${percent(top, value.height)}`,
      `width:${percent(right - left, value.width)}`,
      `height:${percent(bottom - top, value.height)}`,
    ].join(";");
    return el(
      "button",
      {
        type: "button",
        class: `us-person${top < 0.1 * value.height ? " high" : ""}${left > 0.6 * value.width ? " right" : ""}`,
        style,
        "aria-pressed": String(index === picked),
        "aria-label": `Person ${index + 1} of ${value.people.length}`,
        onclick: (event) => (event.stopPropagation(), pick(person.point)),
      },
      el("span", {}, index === picked ? `To be ${deed}` : `Person ${index + 1}`),
    );
  };

  const inside = (point, [left, top, right, bottom]) =>
    point && point[0] >= left && point[0] <= right && point[1] >= top && point[1] <= bottom;

  const chosen = (value) => {
    if (!value.point) return value.people.length === 1 ? 0 : -1;
    const near = value.people
      .map((person, index) => ({ index, distance: Math.hypot(person.point[0] - value.point[0], person.point[1] - value.point[1]) }))
      .filter(({ index }) => inside(value.point, value.people[index].xyxy))
      .sort((a, b) => a.distance - b.distance);
    return near.length ? near[0].index : -1;
  };

  const empty = (invitation) =>
    el(
      "div",
      { class: "us-empty" },
      el(
        "svg",
        { viewBox: "0 0 120 90", width: 132, height: 99, fill: "none", stroke: "currentColor", "stroke-width": 2, "aria-hidden": "true" },
        el("rect", { x: 8, y: 8, width: 104, height: 74, rx: 8, "stroke-dasharray": "5 6" }),
        el("circle", { cx: 51, cy: 33, r: 8 }),
        el("path", { d: "M37 66c0-12 6-19 14-19s14 7 14 19", "stroke-linecap": "round" }),
        el("circle", { cx: 71, cy: 33, r: 8, class: "us-solid" }),
        el("path", { d: "M57 66c0-12 6-19 14-19s14 7 14 19z", class: "us-solid", "stroke-linecap": "round" }),
      ),
      el("p", {}, "Your shot appears here."),
      el("p", { class: "us-soft" }, invitation),
    );

  const picture = (value, pick, deed) => {
    const picked = chosen(value);
    const point = value.point && picked < 0 ? value.point : null;
    const stage = el(
      "div",
      {
        class: "us-picture",
        onclick: (event) => {
          const area = stage.getBoundingClientRect();
          const x = ((event.clientX - area.left) / area.width) * value.width;
          const y = ((event.clientY - area.top) / area.height) * value.height;
          pick([Math.round(x), Math.round(y)]);
        },
      },
      el("img", { src: value.image, alt: `Frame ${value.frame + 1} of the clip`, width: value.width, height: value.height }),
      value.people.map((person, index) => box(person, index, value, picked, pick, deed)),
      point && el("span", { class: "us-point", style: `left:${percent(point[0], value.width)};top:${percent(point[1], value.height)}` }),
    );
    return [stage, el("p", { class: "us-soft us-caption", role: "status" }, caption(value, picked, deed))];
  };

  const caption = (value, picked, deed) => {
    const count = value.people.length;
    if (picked < 0 && value.point) return `Whoever stands at ${value.point.join(", ")} is ${deed}.`;
    if (picked < 0) return `${count} people found. The largest steady one is ${deed}; click one to choose.`;
    if (count === 1) return `This person is ${deed}. Somebody else? Click them in the picture.`;
    return `Person ${picked + 1} of ${count} is ${deed}. Click another to change that.`;
  };

  understudy.person = (element, props, trigger, watch) => {
    const root = element.querySelector(".us-view");
    const pick = (point) => {
      props.value = { ...props.value, point };
      draw();
      trigger("select", { point });
    };
    const draw = () => {
      const value = props.value;
      if (!value) root.replaceChildren(empty(root.dataset.invitation));
      else if (value.busy) root.replaceChildren(el("div", { class: "us-waiting", role: "status" }, el("span", { class: "us-spinner" }), value.busy));
      else if (value.image) root.replaceChildren(...picture(value, pick, root.dataset.deed));
      else root.replaceChildren(understudy.message(value.kind, value.message, value.hint));
    };
    watch("value", draw);
    draw();
  };
})();
