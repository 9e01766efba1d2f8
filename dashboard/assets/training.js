/* The training page: its table of runs and its controls. What is drawn of the chosen ones: curves.js, compare.js, search.js. */
"use strict";
(function (headrace) {
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const emptied = (card, empty) => headrace.draw.mark(byId(card), "empty", empty ? "yes" : "");
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);
  let order = [];
  let columns = [];
  let top = 0;

  function sections() {
    const drawn = headrace.runs.chosen();
    const search = headrace.search.chosen();
    return ["training", "runs", ...drawn.map((run) => `run:${run}`), ...(search ? [`search:${search}`] : [])];
  }

  /* the table */

  const PLACE = { running: 0, stalled: 1, crashed: 2, failed: 2, finished: 2 };

  function value(line, key, metric, now) {
    const { runs } = headrace;
    if (key === "run") return line.name.toLowerCase();
    if (key === "state") return `${PLACE[line.state]}${line.state}`;
    if (key === "progress") return line.total_steps ? line.step / line.total_steps : line.step;
    if (key === "speed") return runs.goesOn(line) ? line.steps_per_s : null;
    if (key === "started") return line.started;
    if (key === "duration") return (line.ended || now) - line.started;
    return (key === "last" ? line.metrics : line.best)[metric] ?? null;
  }

  function hay(line) {
    line.hay ??= [line.name, line.run, line.state, line.parent, line.error, ...Object.entries(line.params).map(([key, one]) => `${key}=${one}`)].join(" ").toLowerCase();
    return line.hay;
  }

  /** The metric of the table's last columns. */
  function tableMetric() {
    const counts = new Map();
    for (const line of headrace.runs.all().values()) for (const name of Object.keys(line.metrics)) counts.set(name, (counts.get(name) || 0) + 1);
    const names = headrace.runs.order(counts.keys());
    const most = names.find((name) => counts.get(name) >= headrace.runs.all().size / 3) || names[0] || "";
    return [names, names.includes(choice("metric")) ? choice("metric") : most];
  }

  function listed(metric) {
    const words = choice("q").toLowerCase().split(/\s+/).filter(Boolean);
    const state = choice("state");
    const now = headrace.store.time;
    const found = [...headrace.runs.all().values()].filter((line) => (!state || line.state === state) && words.every((word) => hay(line).includes(word)));
    const sort = choice("sort");
    if (sort) return headrace.runs.sorted(found, (line) => value(line, sort.replace("-", ""), metric, now), sort.startsWith("-"));
    return found.sort((a, b) => headrace.runs.goesOn(b) - headrace.runs.goesOn(a) || (b.ended || b.started) - (a.ended || a.started) || a.run.localeCompare(b.run));
  }

  function drawRuns(force) {
    const { runs, draw, format } = headrace;
    const lines = runs.all();
    emptied("runs-card", !lines.size);
    const [names, metric] = tableMetric();
    draw.options(byId("runs-metric"), names.map((name) => [name, name]), metric);
    columns = [["", "Drawn", "choose"], ["run", "Run", ""], ["state", "State", "state"], ["progress", "Progress", ""], ["speed", "Steps/s", "num wide"], ["started", "Started", "num wide"], ["duration", "Took", "num wide"], ["last", metric || "loss", "num"], ["best", "Best", "num wide"]];
    runs.headings(byId("runs-head"), columns, "sort", choice("sort"));
    const found = listed(metric);
    const held = byId("rows-all-runs").matches(":hover, :focus-within") && !force;
    order = held ? kept(found) : found;
    const counts = {};
    for (const line of lines.values()) counts[line.state] = (counts[line.state] || 0) + 1;
    const states = ["running", "stalled", "finished", "failed", "crashed"].filter((state) => counts[state]).map((state) => `${format.count(counts[state])} ${state}`);
    const shown = found.length === lines.size ? format.counted(lines.size, "run") : `${format.count(found.length)} of ${format.counted(lines.size, "run")}`;
    put("runs-shown", [shown, ...states].join(" · "));
    byId("untick").disabled = !runs.ticked().length;
    drawWindow();
  }

  /** While a reader points at the table its rows stay where they are; new ones come at its end. */
  function kept(found) {
    const here = new Map(found.map((line) => [line.run, line]));
    const stay = order.map((line) => here.get(line.run)).filter(Boolean);
    const known = new Set(stay.map((line) => line.run));
    return [...stay, ...found.filter((line) => !known.has(line.run))];
  }

  function drawWindow() {
    const { runs } = headrace;
    top = byId("runs-window").scrollTop;
    const drawn = runs.chosen();
    const ticked = runs.ticked();
    const metric = columns.length ? columns[7][1] : "";
    runs.windowed(byId("runs-window"), byId("rows-all-runs"), order, (line) => line.run, makeRow, (row, line) => writeRow(row, runs.all().get(line.run) || line, drawn, ticked, metric));
  }

  function makeRow(line) {
    const { element } = headrace.draw;
    const row = element("tr");
    row.dataset.run = line.run;
    const cell = (kind, ...children) => {
      const made = element("td", kind);
      made.append(...children);
      return made;
    };
    const box = element("input");
    box.type = "checkbox";
    box.dataset.do = "tick";
    box.dataset.value = line.run;
    box.setAttribute("aria-label", `Draw ${line.name}`);
    const label = element("label", "swatched");
    label.append(box, element("i"));
    const meter = element("span", "meter");
    meter.append(element("i"));
    const steps = element("small", "number");
    steps.append(element("span"), element("span"));
    row.append(
      cell("choose", label),
      cell("name", element("b"), element("em"), element("small")),
      cell("state", element("i", "dot"), element("span")),
      cell("progress", meter, steps),
      cell("num number wide"),
      cell("num number wide"),
      cell("num number wide"),
      cell("num number"),
      cell("num number wide"),
    );
    return row;
  }

  function writeRow(row, line, drawn, ticked, metric) {
    const { draw, format, runs } = headrace;
    const [tick, name, state, progress, speed, started, took, last, best] = row.children;
    const now = headrace.store.time;
    const isDrawn = drawn.includes(line.run);
    const [box, swatch] = tick.firstElementChild.children;
    if (box.checked !== ticked.includes(line.run)) box.checked = !box.checked;
    const colour = isDrawn ? runs.style(line.run, drawn).colour : "transparent";
    if (swatch.style.getPropertyValue("--line") !== colour) swatch.style.setProperty("--line", colour);
    draw.mark(row, "state", line.state);
    draw.mark(row, "drawn", isDrawn ? "yes" : "");
    draw.write(name.children[0], line.name);
    const words = Object.entries(line.params).map(([key, one]) => `${key}=${runs.param(one)}`);
    const part = line.candidates ? [format.counted(line.candidates, "candidate")] : line.parent ? [`of ${runs.all().get(line.parent)?.name || line.parent}`] : [];
    draw.mark(row, "error", line.error ? "yes" : "");
    draw.write(name.children[2], line.error || [...part, ...(line.ranks > 1 ? [`${line.ranks} ranks`] : []), ...words].join(" · "));
    const cost = isDrawn && runs.detail(line.run)?.cost_us;
    const title = cost ? `${line.run} · headrace takes ${format.number(cost)} µs a step` : line.run;
    if (name.title !== title) name.title = title;
    const condition = line.state === "stalled" ? `stalled ${format.duration(now - line.updated)}` : line.state;
    draw.write(state.lastElementChild, condition);
    draw.write(name.children[1], condition);
    const share = line.total_steps ? line.step / line.total_steps : runs.goesOn(line) ? 0 : 1;
    const width = `${(100 * Math.min(1, share)).toFixed(1)}%`;
    const bar = progress.firstElementChild.firstElementChild;
    if (bar.style.width !== width) bar.style.width = width;
    const left = line.state === "running" && line.total_steps > line.step && line.steps_per_s > 0 ? (line.total_steps - line.step) / line.steps_per_s : null;
    const steps = line.total_steps ? `${format.count(line.step)} / ${format.count(line.total_steps)}` : format.counted(line.step, "step");
    draw.write(progress.lastElementChild.firstElementChild, steps);
    draw.write(progress.lastElementChild.lastElementChild, left === null ? "" : ` · ${format.duration(left)} left`);
    draw.write(speed, line.state === "running" && line.steps_per_s ? format.number(line.steps_per_s) : format.NONE);
    draw.write(started, line.started ? `${format.duration(Math.max(0, now - line.started))} ago` : format.NONE);
    draw.write(took, line.started ? format.duration((line.ended || now) - line.started) : format.NONE);
    draw.write(last, format.metric(line.metrics[metric]));
    draw.write(best, format.metric(line.best[metric]));
  }

  /* life */

  /** What the controls say, as it was chosen. */
  function drawControls() {
    const press = (button, pressed) => button.getAttribute("aria-pressed") === String(pressed) || button.setAttribute("aria-pressed", String(pressed));
    for (const button of byId("choose-x").children) press(button, button.dataset.value === choice("x", "step"));
    for (const button of document.querySelectorAll(".switch[data-do=switch]")) press(button, Boolean(choice(button.dataset.value)));
    put("smooth-shown", choice("best") ? "off" : `${headrace.curves.smoothing()} %`);
    headrace.draw.mark(byId("curves-card"), "held", choice("range") ? "zoomed" : "");
  }

  function subtitle() {
    const { training } = headrace.store.sections;
    if (!training) return "";
    const running = training.runs.filter((run) => run.state === "running").length;
    const { count, counted } = headrace.format;
    return `${count(running)} running of ${counted(training.total, "run")} that ${training.total === 1 ? "is" : "are"} kept`;
  }

  function field(place, attributes) {
    const made = headrace.draw.element("input", attributes.class);
    for (const [name, one] of Object.entries(attributes)) made.setAttribute(name, one);
    byId(place).replaceChildren(made);
    return made;
  }

  /** What can be taken along of the table: every line that the filter lets through, not only those in view. */
  function listedLines() {
    return order.map(({ hay, seen, ...line }) => line);
  }

  function bound() {
    Object.defineProperty(byId("rows-all-runs"), "shown", { get: listedLines });
    Object.defineProperty(byId("rows-candidates"), "shown", { get: () => headrace.search.listed() });
    Object.defineProperty(byId("plots"), "shown", { get: () => headrace.curves.points() });
    field("runs-filter", { class: "select text", type: "search", placeholder: "name, state, parameter=value", "aria-label": "Filter the runs", "data-view": "q" }).value = choice("q");
    field("smooth-slider", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Smoothing", "data-view": "smooth" }).value = headrace.curves.smoothing();
    byId("runs-state").value = choice("state");
    const again = () => headrace.repaint(byId("page-training")?.dataset.state === "paused");
    for (const box of ["runs-window", "candidates-window"]) byId(box).addEventListener("scroll", again, { passive: true });
  }

  const ACTIONS = {
    tick: (run) => headrace.runs.toggle(run),
    untick: () => headrace.runs.tick([]),
    sort: (key) => headrace.view.set("sort", choice("sort") === key ? `-${key}` : choice("sort") === `-${key}` ? "" : key),
    switch: (name) => headrace.view.set(name, choice(name) ? "" : "1"),
    choose: (value, control) => {
      if (control.dataset.name === "x") headrace.view.set("range", "");
      headrace.view.set(control.dataset.name, value === "step" ? "" : value);
    },
    metric: (name) => headrace.curves.toggle(name),
    rank: (key) => headrace.search.rank(key),
  };

  const CARDS = {
    "runs-card": drawRuns,
    "curves-card": (force) => headrace.curves.draw(force),
    "search-card": (force) => headrace.search.draw(force),
    "compare-card": () => headrace.compare.draw(),
  };

  function fast() {
    drawControls();
    if (order.length && byId("runs-window").scrollTop !== top) drawWindow();
    headrace.search.scrolled();
  }

  function left() {
    order = [];
    headrace.search.left();
  }

  (headrace.pages ??= {}).training = { sections, fast, cards: CARDS, actions: ACTIONS, bound, left, subtitle };
})((window.headrace = window.headrace || {}));
