/* The training page: the table of runs, the curves of those chosen, and how they compare. Searches: search.js. */
"use strict";
(function (headrace) {
  const METRICS = 8;
  const AT_FIRST = 4;
  const SMOOTHING = 20;
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const emptied = (card, empty) => headrace.draw.mark(byId(card), "empty", empty ? "yes" : "");
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);
  let order = [];
  let columns = [];

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
    columns = [["", "Drawn", "tick"], ["run", "Run", ""], ["state", "State", ""], ["progress", "Progress", ""], ["speed", "Steps/s", "num wide"], ["started", "Started", "num wide"], ["duration", "Took", "num wide"], ["last", metric || "loss", "num"], ["best", "Best", "num wide"]];
    runs.headings(byId("runs-head"), columns, "sort", choice("sort"));
    const found = listed(metric);
    const held = byId("rows-all-runs").matches(":hover, :focus-within") && !force;
    order = held ? kept(found) : found;
    const counts = {};
    for (const line of lines.values()) counts[line.state] = (counts[line.state] || 0) + 1;
    const states = ["running", "stalled", "finished", "failed", "crashed"].filter((state) => counts[state]).map((state) => `${format.count(counts[state])} ${state}`);
    const shown = found.length === lines.size ? `${format.count(lines.size)} runs` : `${format.count(found.length)} of ${format.count(lines.size)} runs`;
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
    row.append(
      cell("tick", label),
      cell("name", element("b"), element("small")),
      cell("state", element("i", "dot"), element("span")),
      cell("progress", meter, element("small", "number")),
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
    const words = Object.entries(line.params).map(([key, one]) => `${key}=${one}`);
    const part = line.candidates ? [`${format.count(line.candidates)} candidates`] : line.parent ? [`of ${runs.all().get(line.parent)?.name || line.parent}`] : [];
    draw.write(name.children[1], line.error || [...part, ...(line.ranks > 1 ? [`${line.ranks} ranks`] : []), ...words].join(" · "));
    if (name.title !== line.run) name.title = line.run;
    draw.write(state.lastElementChild, line.state === "stalled" ? `stalled ${format.duration(now - line.updated)}` : line.state);
    const share = line.total_steps ? line.step / line.total_steps : runs.goesOn(line) ? 0 : 1;
    const width = `${(100 * Math.min(1, share)).toFixed(1)}%`;
    const bar = progress.firstElementChild.firstElementChild;
    if (bar.style.width !== width) bar.style.width = width;
    const left = line.state === "running" && line.total_steps > line.step && line.steps_per_s > 0 ? (line.total_steps - line.step) / line.steps_per_s : null;
    const steps = line.total_steps ? `${format.count(line.step)} / ${format.count(line.total_steps)}` : `${format.count(line.step)} steps`;
    draw.write(progress.lastElementChild, left === null ? steps : `${steps} · ${format.duration(left)} left`);
    draw.write(speed, line.state === "running" && line.steps_per_s ? format.number(line.steps_per_s) : format.NONE);
    draw.write(started, line.started ? `${format.duration(Math.max(0, now - line.started))} ago` : format.NONE);
    draw.write(took, line.started ? format.duration((line.ended || now) - line.started) : format.NONE);
    draw.write(last, format.metric(line.metrics[metric]));
    draw.write(best, format.metric(line.best[metric]));
  }

  /* curves */

  function drawnMetrics(available) {
    const asked = headrace.runs.list(choice("metrics")).filter((name) => available.includes(name));
    return (asked.length ? asked : available.slice(0, AT_FIRST)).slice(0, METRICS);
  }

  const smoothing = () => Math.min(100, Math.max(0, Number(choice("smooth", String(SMOOTHING))) || 0));

  /** The mean of the points around each, up to a tenth of the curve to either side; it does not lag behind. */
  function smoothed(values, share) {
    const reach = Math.floor((values.length * share) / 1000);
    if (!reach) return values;
    const sums = [0];
    for (const one of values) sums.push(sums[sums.length - 1] + one);
    return values.map((_, i) => {
      const side = Math.min(reach, i, values.length - 1 - i);
      return (sums[i + side + 1] - sums[i - side]) / (2 * side + 1);
    });
  }

  function bestSoFar(values, smaller) {
    let best = values[0];
    return values.map((one) => (best = smaller ? Math.min(best, one) : Math.max(best, one)));
  }

  /** When each of the steps was logged, between the moments that the clock of the run knows. */
  function times(steps, clock) {
    const [at, when] = clock;
    let j = 0;
    return steps.map((step) => {
      while (j < at.length - 2 && at[j + 1] <= step) j += 1;
      if (at.length < 2 || step <= at[0]) return when[0];
      const share = Math.min(1, (step - at[j]) / (at[j + 1] - at[j]));
      return when[j] + share * (when[j + 1] - when[j]);
    });
  }

  function series(run, curve, clock, metric, kind, drawn) {
    const { runs } = headrace;
    const [steps, values, low, high] = curve.columns();
    const { colour, dash } = runs.style(run, drawn);
    let x = steps;
    if (kind !== "step") {
      if (!clock) return null;
      const began = kind === "age" ? runs.all().get(run)?.started || clock[1][0] : 0;
      x = times(steps, clock).map((at) => at - began);
    }
    const one = { key: run, name: runs.title(run, drawn), colour, dash, x, y: values, width: 2 };
    if (choice("best")) return { ...one, y: bestSoFar(values, runs.isSmaller(metric)), step: true };
    const share = smoothing();
    const spread = choice("plain") ? {} : { low, high };
    return share ? { ...one, ...spread, y: smoothed(values, share), faint: values } : { ...one, ...spread };
  }

  function zoomed() {
    const [from, to] = choice("range").split("~").map(Number);
    return choice("range") && from < to ? [from, to] : null;
  }

  function zoom(range) {
    headrace.view.set("range", range ? range.map((one) => Number(one.toPrecision(12))).join("~") : "");
  }

  function drawCurves(force) {
    const { runs, draw, plot } = headrace;
    const drawn = runs.chosen();
    runs.prune(drawn);
    const having = drawn.map((run) => [run, runs.curves(run)]).filter(([, curves]) => curves.size);
    const available = runs.order(new Set(having.flatMap(([, curves]) => [...curves.keys()])));
    emptied("curves-card", !available.length);
    if (!available.length) return;
    const metrics = drawnMetrics(available);
    drawChips(available, metrics);
    drawControls();
    draw.legend(byId("legend-runs"), having.map(([run]) => ({ key: `run:${run}`, name: runs.title(run, drawn), colour: runs.style(run, drawn).colour, fixed: true })));
    const kinds = { step: "number", time: "time", age: "age" };
    const settings = ["x", "log", "best", "plain", "smooth"].map((name) => choice(name)).join();
    draw.mark(byId("plots"), "count", String(metrics.length));
    draw.fill(byId("plots"), metrics.length, () => {
      const box = draw.element("div", "plot-box");
      const picture = draw.element("div", "plot");
      picture.setAttribute("role", "img");
      box.append(draw.element("h3"), picture);
      return box;
    }).forEach((box, i) => {
      const metric = metrics[i];
      const judged = metric.startsWith("candidates/");
      const kind = judged ? "step" : choice("x", "step");
      const [heading, picture] = box.children;
      draw.write(heading, judged ? `${metric}, by number of the candidate` : metric);
      let news = 0;
      const found = [];
      for (const [run, curves] of having) {
        const curve = curves.get(metric);
        if (!curve) continue;
        const clock = curves.get(runs.CLOCK);
        const one = series(run, curve, clock ? clock.columns() : null, metric, kind, drawn);
        if (!one) continue;
        news += curve.version;
        found.push(one);
      }
      const label = `${metric} of ${found.length} runs`;
      if (picture.getAttribute("aria-label") !== label) picture.setAttribute("aria-label", label);
      plot.draw(picture, { series: found, kind: kinds[kind], log: Boolean(choice("log")), range: judged ? null : zoomed(), news: [news, settings], zoom: judged ? null : zoom, group: "curves", of: kind === "step" ? (judged ? "candidate" : "step") : "" }, force);
    });
  }

  function drawChips(available, metrics) {
    const { draw } = headrace;
    draw.fill(byId("metrics"), available.length, () => {
      const made = draw.element("button", "chip");
      made.type = "button";
      made.dataset.do = "metric";
      return made;
    }).forEach((chip, i) => {
      draw.write(chip, available[i]);
      draw.mark(chip, "value", available[i]);
      const pressed = String(metrics.includes(available[i]));
      if (chip.getAttribute("aria-pressed") !== pressed) chip.setAttribute("aria-pressed", pressed);
    });
  }

  function drawControls() {
    for (const button of byId("choose-x").children) button.setAttribute("aria-pressed", String(button.dataset.value === choice("x", "step")));
    for (const button of document.querySelectorAll(".switch[data-do=switch]")) button.setAttribute("aria-pressed", String(Boolean(choice(button.dataset.value))));
    put("smooth-shown", choice("best") ? "off" : `${smoothing()} %`);
    headrace.draw.mark(byId("curves-card"), "held", zoomed() ? "zoomed" : "");
  }

  /* side by side */

  function comparison(drawn) {
    const { runs, format } = headrace;
    const now = headrace.store.time;
    const shown = drawn.map((run) => ({ run, line: runs.all().get(run), detail: runs.detail(run) })).filter(({ line }) => line);
    const rows = [];
    const add = (group, name, values, texts, best) => rows.push({ group, name, values, texts, best });
    const plain = (group, name, value, text) => add(group, name, shown.map(value), shown.map(text), "");
    plain("", "State", ({ line }) => line.state, ({ line }) => line.error ? `${line.state}: ${line.error}` : line.state);
    plain("", "Steps", ({ line }) => line.step, ({ line }) => format.count(line.step));
    plain("", "Took", ({ line }) => (line.ended || now) - line.started, ({ line }) => format.duration((line.ended || now) - line.started));
    plain("", "Ranks", ({ line }) => line.ranks, ({ line }) => format.count(line.ranks));
    plain("", "Cost of a log", ({ detail }) => detail?.cost_us || null, ({ detail }) => (detail?.cost_us ? `${format.number(detail.cost_us)} µs` : format.NONE));
    for (const metric of runs.order(new Set(shown.flatMap(({ line }) => [...Object.keys(line.metrics), ...Object.keys(line.best)])))) {
      for (const [kind, key] of [["best", "best"], ["last", "metrics"]]) {
        const values = shown.map(({ line }) => line[key][metric] ?? null);
        const known = values.filter((one) => one !== null);
        const best = known.length > 1 ? (runs.isSmaller(metric) ? Math.min(...known) : Math.max(...known)) : null;
        add("Results", `${metric}, ${kind}`, values, values.map(format.metric), best);
      }
    }
    const params = shown.map(({ line, detail }) => (detail ? detail.params : line.params));
    for (const name of new Set(params.flatMap((one) => Object.keys(one)))) {
      const values = params.map((one) => (name in one ? one[name] : undefined));
      add("Parameters", name, values, values.map((one) => (one === undefined ? format.NONE : typeof one === "number" ? format.metric(one) : String(one))), "");
    }
    for (const row of rows) row.differs = new Set(row.values.map((one) => JSON.stringify(one) ?? "")).size > 1;
    return [shown, rows];
  }

  function drawCompare() {
    const { runs, draw } = headrace;
    const drawn = runs.chosen();
    const [shown, all] = comparison(drawn);
    emptied("compare-card", shown.length < 2);
    if (shown.length < 2) return;
    drawControls();
    const rows = choice("differ") ? all.filter((row) => row.differs) : all;
    draw.fill(byId("compare-head"), shown.length + 1, (i) => {
      const cell = draw.element("th", i ? "num" : "");
      cell.scope = "col";
      if (i) cell.append(draw.element("i", "line"), draw.element("span"));
      else cell.append(draw.element("span", "unseen", "What"));
      return cell;
    }).forEach((cell, i) => {
      if (!i) return;
      const { run } = shown[i - 1];
      cell.firstElementChild.style.setProperty("--line", runs.style(run, drawn).colour);
      draw.write(cell.lastElementChild, runs.title(run, drawn));
    });
    draw.fill(byId("rows-compare"), rows.length, () => {
      const row = draw.element("tr");
      const name = draw.element("th");
      name.scope = "row";
      name.append(draw.element("i"), draw.element("span"));
      row.append(name);
      return row;
    }).forEach((row, n) => {
      const { group, name, values, texts, best, differs } = rows[n];
      draw.mark(row, "differs", differs ? "yes" : "");
      draw.mark(row, "group", n && rows[n - 1].group !== group ? "first" : "");
      draw.write(row.firstElementChild.firstElementChild, differs ? "≠" : "");
      draw.write(row.firstElementChild.lastElementChild, name);
      while (row.children.length > shown.length + 1) row.lastElementChild.remove();
      while (row.children.length < shown.length + 1) row.append(draw.element("td", "num number"));
      texts.forEach((text, i) => {
        const cell = row.children[i + 1];
        const isBest = differs && best !== "" && best !== null && values[i] === best;
        draw.write(cell, isBest ? `★ ${text}` : text);
        draw.mark(cell, "best", isBest ? "yes" : "");
        if (cell.title !== text) cell.title = text;
      });
    });
  }

  /* life */

  function subtitle() {
    const { training } = headrace.store.sections;
    if (!training) return "";
    const running = training.runs.filter((run) => run.state === "running").length;
    return `${headrace.format.count(running)} running of ${headrace.format.count(training.total)} runs that are kept`;
  }

  function field(place, attributes) {
    const made = headrace.draw.element("input", attributes.class);
    for (const [name, one] of Object.entries(attributes)) made.setAttribute(name, one);
    byId(place).replaceChildren(made);
    return made;
  }

  function bound() {
    field("runs-filter", { class: "select text", type: "search", placeholder: "name, state, parameter=value", "aria-label": "Filter the runs", "data-view": "q" }).value = choice("q");
    field("smooth-slider", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Smoothing", "data-view": "smooth" }).value = smoothing();
    byId("runs-state").value = choice("state");
    const again = () => headrace.repaint(byId("page-training")?.dataset.state === "paused");
    for (const box of ["runs-window", "candidates-window"]) byId(box).addEventListener("scroll", again, { passive: true });
  }

  const ACTIONS = {
    tick: (run) => headrace.runs.toggle(run),
    untick: () => headrace.view.set("runs", ""),
    sort: (key) => headrace.view.set("sort", choice("sort") === key ? `-${key}` : choice("sort") === `-${key}` ? "" : key),
    switch: (name) => headrace.view.set(name, choice(name) ? "" : "1"),
    choose: (value, control) => {
      if (control.dataset.name === "x") headrace.view.set("range", "");
      headrace.view.set(control.dataset.name, value === "step" ? "" : value);
    },
    metric: (name) => {
      const { runs } = headrace;
      const having = runs.chosen().flatMap((run) => [...runs.curves(run).keys()]);
      const now = drawnMetrics(runs.order(new Set(having)));
      const next = now.includes(name) ? now.filter((one) => one !== name) : [...now, name];
      headrace.view.set("metrics", runs.text(next));
    },
    rank: (key) => headrace.search.rank(key),
  };

  const CARDS = {
    "runs-card": drawRuns,
    "curves-card": drawCurves,
    "search-card": (force) => headrace.search.draw(force),
    "compare-card": drawCompare,
  };

  function fast() {
    if (order.length) drawWindow();
    headrace.search.scrolled();
  }

  function left() {
    order = [];
    headrace.search.left();
  }

  (headrace.pages ??= {}).training = { sections, fast, cards: CARDS, actions: ACTIONS, bound, left, subtitle };
})((window.headrace = window.headrace || {}));
