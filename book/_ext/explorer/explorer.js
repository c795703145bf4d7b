// The explorer: sliders, two plots and a table around recursion.js.
// Two tasks from zero. Everything trains on task 1; on task 2 four updates are compared.
"use strict";

const explorer = (() => {
  const [U, Q] = [0, 1]; // shared and task-specific block
  const EVERYTHING = { trainable: [U, Q], gains: [1, 1] };

  const SLIDERS = {
    n: { label: "samples of each task <i>n</i>", min: 2, max: 400, step: 1 },
    P: { label: "parameters <i>P</i>", min: 160, max: 600, step: 1 },
    m: { label: "task-specific ones <i>m</i>", min: 1, max: 150, step: 1 },
    noise: { label: "label noise <i>σ</i>", min: 0, max: 1.5, step: 0.05 },
    du: { label: "squared distance, shared part", min: 0, max: 4, step: 0.05 },
    dq: { label: "squared distance, specific part", min: 0, max: 4, step: 0.05 },
    gu: { label: "gain <i>γ</i>, shared part", min: 0, max: 1, step: 0.01 },
    gq: { label: "gain <i>γ</i>, specific part", min: 0, max: 1, step: 0.01 },
  };
  const GROUPS = {
    "Model and data": ["n", "P", "m", "noise"],
    "Distance of the tasks": ["du", "dq"],
    "Your update": ["gu", "gq"],
  };
  const AXES = {
    gains: "gain of your update, both parts alike",
    m: "task-specific parameters m",
    n: "samples of each task n",
    du: "squared distance of the tasks, shared part",
    dq: "squared distance of the tasks, task-specific part",
  };
  const UPDATES = { frozen: "Frozen", initialized: "Initialized", optimal: "Optimal", yours: "Yours" };
  const DASHES = { frozen: [7, 4], initialized: [], optimal: [2, 3], yours: [10, 3, 2, 3] };
  const PANELS = { forgetting: "forgetting of task 1", error: "generalization error" };

  const TOPS = [1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24]; // where an axis may end

  // ---- What the settings mean ----

  /** Both tasks have unit length in each part, so 2 is a right angle and 4 the opposite. */
  function problemOf(s) {
    return {
      sizes: [s.P - s.m, s.m],
      distances: [s.du, s.dq].map((d) => [[0, d], [d, 0]]),
      initial: [[1, 1], [1, 1]],
      samples: [s.n, s.n],
      noise: [s.noise, s.noise],
    };
  }

  /** The update of task 2 with the least generalization error, of all parts and gains. */
  function bestUpdate(problem) {
    const before = recursion.step(problem, problem.initial, 0, EVERYTHING);
    const candidates = [[U], [Q], [U, Q]]
      .map((trainable) => ({
        trainable,
        gains: before && recursion.bestGains(problem, before, 1, trainable),
      }))
      .filter((update) => update.gains)
      .map((update) => outcome(problem, update));
    candidates.sort((a, b) => a.error - b.error);
    return candidates[0] ?? outcome(problem, EVERYTHING);
  }

  function outcome(problem, update) {
    const risks = recursion.expectedRisks(problem, [EVERYTHING, update]);
    return {
      update,
      forgetting: risks ? recursion.forgetting(risks)[0] : NaN,
      error: risks ? recursion.generalizationError(risks) : NaN,
    };
  }

  /** Forgetting and generalization error of the four updates; NaN where infinite. */
  function outcomes(s) {
    const problem = problemOf(s);
    return {
      frozen: outcome(problem, { trainable: [Q], gains: [1] }),
      initialized: outcome(problem, EVERYTHING),
      optimal: bestUpdate(problem),
      yours: outcome(problem, { trainable: [U, Q], gains: [s.gu, s.gq] }),
    };
  }

  function along(s, axis, value) {
    return axis === "gains" ? { ...s, gu: value, gq: value } : { ...s, [axis]: value };
  }

  /** Where settings lie on an axis; NaN where the two gains differ. */
  function place(s, axis) {
    if (axis !== "gains") return s[axis];
    return s.gu === s.gq ? s.gu : NaN;
  }

  /** Values along an axis, every whole number or every hundredth, and the outcomes there. */
  function curves(s, axis) {
    const { min, max, step } = SLIDERS[axis === "gains" ? "gu" : axis];
    const steps = step === 1 ? max - min : 100;
    const x = Array.from({ length: steps + 1 }, (_, i) => min + ((max - min) * i) / steps);
    const found = x.map((value) => outcomes(along(s, axis, value)));
    const data = { x };
    for (const panel of Object.keys(PANELS)) {
      for (const name of Object.keys(UPDATES)) {
        data[`${panel} ${name}`] = found.map((one) => one[name][panel]);
      }
    }
    return data;
  }

  // ---- Controls and table ----

  const element = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.firstElementChild;
  };

  function slider(name) {
    const { label, min, max, step } = SLIDERS[name];
    return `<div class="slider">
      <label for="explorer-${name}">${label}</label>
      <span aria-hidden="true"></span>
      <input id="explorer-${name}" type="range" min="${min}" max="${max}" step="${step}">
    </div>`;
  }

  function controls(tries) {
    const fields = Object.entries(GROUPS).map(
      ([title, names]) =>
        `<fieldset><legend>${title}</legend>${names.map(slider).join("")}</fieldset>`,
    );
    const buttons = Object.keys(tries).map((title) => `<button type="button">${title}</button>`);
    const options = Object.entries(AXES).map(([key, text]) => `<option value="${key}">${text}</option>`);
    return `<div class="tries" role="group" aria-label="Settings to try">${buttons.join("")}</div>
      <div class="sliders">${fields.join("")}</div>
      <p class="axis"><label for="explorer-axis">Draw along</label>
        <select id="explorer-axis">${options.join("")}</select></p>`;
  }

  function tableOf() {
    const rows = Object.entries(UPDATES).map(
      ([name, title]) => `<tr data-update="${name}">
        <th scope="row"><svg class="line" width="36" height="10" aria-hidden="true">
          <line x2="36" y1="5" y2="5" stroke="var(--${name})" stroke-dasharray="${DASHES[name]}"/>
        </svg> ${title}</th>${"<td><data></data></td>".repeat(4)}</tr>`,
    );
    return `<table><caption>The four updates of task 2 at these settings</caption>
      <thead><tr><th scope="col">update</th><th scope="col">gain, shared</th>
      <th scope="col">gain, specific</th><th scope="col">forget&shy;ting</th>
      <th scope="col">general&shy;ization error</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  const digits = (value, places) => value.toFixed(places).replace("-", "−");

  function fillTable(box, found) {
    for (const [name, one] of Object.entries(found)) {
      const gain = (b) => one.update.gains[one.update.trainable.indexOf(b)];
      const cells = box.querySelectorAll(`tr[data-update="${name}"] data`);
      [gain(U), gain(Q)].forEach((value, i) => {
        cells[i].value = value ?? "";
        cells[i].textContent = value === undefined ? "frozen" : digits(value, 2);
      });
      [one.forgetting, one.error].forEach((value, i) => {
        cells[2 + i].value = value;
        cells[2 + i].textContent = Number.isNaN(value) ? "infinite" : digits(value, 3);
      });
    }
  }

  /** What the plots cannot show. */
  function warning(s, found) {
    if (Number.isNaN(found.initialized.error)) {
      return `P = ${s.P} and n = ${s.n} differ by at most one: learning task 1 already has an
        infinite expected risk, and so has all that follows.`;
    }
    if (Number.isNaN(found.frozen.error)) {
      return `m = ${s.m} and n = ${s.n} differ by at most one: frozen training has an infinite
        expected risk, and its curve has a gap here.`;
    }
    return "";
  }

  // ---- Plots ----

  const model = (name, attributes) => ({
    type: "object",
    name,
    id: `explorer-model-${(model.count = (model.count ?? 0) + 1)}`,
    attributes,
  });
  const field = (name) => ({ type: "field", field: name });

  /** One panel in Bokeh's own JSON, still without data and colors. */
  function plotModel(panel) {
    const names = Object.keys(UPDATES);
    const columns = ["x", ...names.map((name) => `${panel} ${name}`)];
    const empty = { type: "map", entries: columns.map((column) => [column, []]) };
    const source = () => model("ColumnDataSource", { data: empty });
    const line = (name) =>
      model("GlyphRenderer", {
        name,
        data_source: source(),
        glyph: model("Line", {
          x: field("x"),
          y: field(`${panel} ${name}`),
          line_width: name === "optimal" ? 4 : 2.5,
          line_dash: DASHES[name],
        }),
      });
    const mark = (name) =>
      model("GlyphRenderer", {
        name,
        data_source: source(),
        glyph: model("Scatter", { x: field("x"), y: field(`${panel} ${name}`), size: 10 }),
      });
    return model("Plot", {
      x_range: model("Range1d", {}),
      y_range: model("Range1d", {}),
      below: [model("LinearAxis", {})],
      left: [model("LinearAxis", {})],
      center: [
        model("Grid", { dimension: 0 }),
        model("Grid", { dimension: 1 }),
        model("Span", { name: "zero", dimension: "width", location: 0 }),
        model("Span", { name: "now", dimension: "height", line_dash: [2, 4] }),
      ],
      renderers: [...names.map(line), ...names.map(mark)],
      toolbar_location: null,
      sizing_mode: "stretch_width",
      height: 300,
      background_fill_color: null,
      border_fill_color: null,
      outline_line_color: null,
    });
  }

  async function embed(panel, target) {
    const root = plotModel(panel);
    const doc = { version: Bokeh.version, title: "", roots: [root] };
    const views = await Bokeh.embed.embed_item({ doc, root_id: root.id, target_id: target });
    return [...views][0].model;
  }

  /** Colors of the current theme, from the style sheet. */
  function paint(box, plots) {
    const style = getComputedStyle(box);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    const font = { value: "inherit" };
    for (const plot of Object.values(plots)) {
      for (const { name, glyph } of plot.renderers) {
        glyph.line_color = { value: color(name) };
        if (glyph.type === "Scatter") glyph.fill_color = { value: color(name) };
      }
      for (const axis of [...plot.below, ...plot.left]) {
        axis.setv({
          axis_label_text_color: color("ink"),
          axis_label_text_font_style: "normal",
          major_label_text_color: color("ink"),
          axis_line_color: color("ink"),
          major_tick_line_color: color("ink"),
          minor_tick_line_color: null,
        });
      }
      for (const one of plot.center) {
        if (one.type === "Grid") one.grid_line_color = color("rule");
        else one.line_color = color("ink");
      }
    }
  }

  /** Round axis limits that hold the marks and the curves' ends; what lies beyond is cut off. */
  function limits(found, lines, panel) {
    const values = Object.keys(UPDATES)
      .flatMap((name) => {
        const curve = lines[`${panel} ${name}`];
        return [found[name][panel], curve[0], curve.at(-1)];
      })
      .filter(Number.isFinite);
    const reach = Math.max(...values, ...values.map((value) => -3.2 * value));
    const top = TOPS.find((one) => one > 1.02 * reach) ?? TOPS.at(-1);
    return { start: panel === "error" ? 0 : -top / 3, end: top };
  }

  function draw(plots, s, axis, found) {
    const x = place(s, axis);
    const lines = curves(s, axis);
    for (const [panel, plot] of Object.entries(plots)) {
      const now = { x: [x] };
      for (const name of Object.keys(UPDATES)) now[`${panel} ${name}`] = [found[name][panel]];
      for (const { glyph, data_source } of plot.renderers) {
        data_source.data = glyph.type === "Line" ? lines : now;
      }
      plot.center.find((one) => one.name === "now").setv({ location: x, visible: !Number.isNaN(x) });
      plot.below[0].axis_label = AXES[axis];
      plot.x_range.setv({ start: lines.x[0], end: lines.x.at(-1) });
      plot.y_range.setv(limits(found, lines, panel));
    }
  }

  // ---- The page ----

  async function start(box) {
    const tries = JSON.parse(box.dataset.settings);
    box.innerHTML = `${controls(tries)}
      <div class="plots">${Object.entries(PANELS)
        .map(
          ([panel, title]) => `<figure><figcaption>${title}</figcaption>
            <div id="explorer-${panel}" role="img"></div></figure>`,
        )
        .join("")}</div>
      <p class="warning" role="status"></p>
      <div class="pst-scrollable-table-container">${tableOf()}</div>`;
    const inputs = Object.fromEntries(
      Object.keys(SLIDERS).map((name) => [name, box.querySelector(`#explorer-${name}`)]),
    );
    const select = box.querySelector("select");
    const plots = {};
    for (const panel of Object.keys(PANELS)) {
      plots[panel] = await embed(panel, `explorer-${panel}`);
    }

    function show() {
      const s = {};
      for (const [name, input] of Object.entries(inputs)) {
        s[name] = Number(input.value);
        input.previousElementSibling.textContent = input.value;
      }
      const found = outcomes(s);
      draw(plots, s, select.value, found);
      fillTable(box, found);
      box.querySelector(".warning").textContent = warning(s, found).replace(/\s+/g, " ");
      for (const [panel, title] of Object.entries(PANELS)) {
        box
          .querySelector(`#explorer-${panel}`)
          .setAttribute("aria-label", `Curves: ${title} along ${AXES[select.value]}; table below`);
      }
    }
    function set({ axis, ...settings }) {
      for (const [name, value] of Object.entries(settings)) inputs[name].value = value;
      select.value = axis;
      show();
    }

    box.addEventListener("input", show);
    box.querySelectorAll(".tries button").forEach((button) =>
      button.addEventListener("click", () => set(tries[button.textContent])),
    );
    const theme = new MutationObserver(() => paint(box, plots));
    theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    set(Object.values(tries)[0]);
    paint(box, plots);
    fold(document.getElementById("fig-explorer"));
    return plots;
  }

  /** Fold the still figure on the screen; it is for print and for readers without scripts. */
  function fold(still) {
    const details = element("<details><summary>The same curves as a still figure</summary></details>");
    still.before(details);
    details.append(still);
    matchMedia("print").addEventListener("change", ({ matches }) => (details.open = matches));
  }

  const ready = start(document.getElementById("explorer"));
  return { ready, outcomes, curves };
})();
