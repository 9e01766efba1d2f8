/* The models page: which version is looked at closely, the list, the tiles. What is drawn of it comes from five sections:
   the list of models, its quality, its trail over the window of time, its worst mistakes, the versions in the registry;
   trails.js, quality.js, mistakes.js and versions.js draw them. */
"use strict";
(function (headrace) {
  const TRAILS = [300, 900];
  const Z = 1.959964;
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const found = (name) => headrace.store.sections[name];
  const lines = () => (found("models") ? found("models").lines : []);

  /* what is chosen */

  let busiest = "";

  /** The line of the model that a reader chose; else the one in service that was busiest when the page came up. */
  function chosen() {
    const all = lines();
    const one = (wanted) => all.find((model) => model.key === wanted);
    const found = one(headrace.view.get("model")) || one(busiest);
    if (found || !all.length) return found;
    const serving = all.filter((model) => model.champion);
    const first = (serving.length ? serving : all).reduce((most, model) => (model.rows_s > most.rows_s ? model : most));
    busiest = first.key;
    return first;
  }

  const key = () => (chosen() ? chosen().key : "");
  const quality = () => found(`quality:${key()}`);
  const span = () => TRAILS.find((one) => one >= headrace.clock.seconds()) || TRAILS[TRAILS.length - 1];
  const versions = () => (chosen() ? found(`versions:${chosen().name}`) : null);

  function sections() {
    const one = chosen();
    if (!one) return ["models"];
    return ["models", `quality:${one.key}`, `trail:${span()}:${one.key}`, `worst:${one.key}`, `versions:${one.name}`];
  }

  /** The trail with the newest values at its end, as columns. */
  function trail() {
    const past = found(`trail:${span()}:${key()}`);
    const now = quality();
    if (!past) return { times: [], values: {} };
    if (!now || now.time <= (past.times[past.times.length - 1] || 0)) return past;
    const values = {};
    for (const name of new Set([...Object.keys(past.values), ...Object.keys(now.now)])) {
      values[name] = [...(past.values[name] || past.times.map(() => null)), now.now[name] ?? null];
    }
    return { times: [...past.times, now.time], values };
  }

  /** The window of time in whole seconds: the trail has no more of them. */
  function range() {
    const step = headrace.clock.seconds() > TRAILS[0] ? 6 : 1;
    const until = Math.ceil(headrace.clock.end() / step) * step;
    return [until - headrace.clock.seconds(), until];
  }

  const shownRange = () => range().map(headrace.charts.local);

  /** Wilson's 95 % interval of a share. */
  function interval(right, n) {
    if (!n) return [0, 1];
    const share = right / n;
    const middle = share + (Z * Z) / (2 * n);
    const side = Z * Math.sqrt((share * (1 - share)) / n + (Z * Z) / (4 * n * n));
    const scale = 1 + (Z * Z) / n;
    return [Math.max(0, (middle - side) / scale), Math.min(1, (middle + side) / scale)];
  }

  const between = (low, high) => `${(low * 100).toFixed(1)}–${headrace.format.percent(high)}`;
  const className = (i) => (quality() && quality().labels[i]) || String(i);

  const el = (...words) => headrace.draw.element(...words);
  const cell = (...words) => headrace.tables.cell(...words);
  /** Whether a card has nothing to show; before the version that was chosen is known, it says nothing of that. */
  const emptied = (card, empty) => headrace.draw.mark(byId(card), "empty", empty && (quality() || !chosen()) ? "yes" : "");

  /** Draw the chart of a card, and its legend if it has one. `news` is anything that tells one set of values from the next. */
  function drawLines(card, traces, entries, news, force, empty, x = shownRange()) {
    emptied(card, empty);
    if (empty) return;
    headrace.charts.draw(card, traces, x, news, force);
    if (entries && byId(`legend-${card}`)) headrace.draw.legend(byId(`legend-${card}`), entries);
  }

  /* the list */

  function drawFleet() {
    const { draw, format } = headrace;
    const all = lines();
    const one = chosen();
    emptied("fleet", !all.length);
    headrace.tables.rows(
      "fleet",
      all,
      () => {
        const button = el("button", "pick");
        button.type = "button";
        button.append(el("b"), el("small"));
        const numbers = ["num number", ...Array(5).fill("num number wide")];
        return [cell("name", button), cell("wide", el("span", "badge")), ...numbers.map((kind) => cell(kind)), cell("num number two", el("span"), el("small"))];
      },
      ([name, state, requests, many, p50, p95, p99, labels, good], model, row) => {
        draw.mark(row, "do", "model");
        draw.mark(row, "value", model.key);
        const picked = one && model.key === one.key;
        draw.mark(row, "picked", picked ? "yes" : "");
        const button = name.firstElementChild;
        button.setAttribute("aria-pressed", String(Boolean(picked)));
        draw.write(button.children[0], model.key);
        draw.write(button.children[1], model.kind);
        badge(state.firstElementChild, model.champion);
        draw.write(requests, format.number(model.requests_s));
        draw.write(many, format.number(model.rows_s));
        const { times } = model;
        [p50, p95, p99].forEach((node, i) => draw.write(node, times ? format.milliseconds(times[["p50", "p95", "p99"][i]]) : format.NONE));
        draw.write(labels, format.count(model.joined));
        const { accuracy } = model;
        if (accuracy) {
          draw.write(good.children[0], format.percent(accuracy.share));
          draw.write(good.children[1], `${between(accuracy.low, accuracy.high)} · n ${format.number(accuracy.joined)}`);
        } else {
          draw.write(good.children[0], model.mae === null ? format.NONE : `MAE ${format.number(model.mae)}`);
          const explained = model.r2 === null ? "" : `R² ${model.r2.toFixed(3)} · `;
          draw.write(good.children[1], model.joined ? `${explained}n ${format.number(model.joined)}` : "no labels yet");
        }
      },
    );
  }

  function badge(node, champion) {
    headrace.draw.write(node, champion ? "in service" : "not in service");
    headrace.draw.mark(node, "kind", champion ? "good" : "");
  }

  /* tiles */

  function drawTiles() {
    const { draw, format } = headrace;
    const now = quality();
    const root = byId("page-models");
    draw.mark(root, "kind", now ? now.kind : chosen() ? chosen().kind : "classification");
    if (!now) return;
    const past = trail();
    const [from, to] = range();
    const tile = (name, value, unit, note, times = [], values = []) => {
      const box = byId(`brief-${name}`);
      draw.write(box.children[1].children[0], value);
      draw.write(box.children[1].children[1], unit);
      draw.write(box.children[2], note);
      draw.sparkline(box.children[3], times, values, from, to);
    };
    tile("requests", format.number(now.requests_s), "/s", `${format.number(now.rows_s)} rows/s${now.rows_total ? ` · ${format.number(now.rows_total)} in all` : ""}`, past.times, past.values.requests);
    const [p95, unit] = now.times ? format.span(now.times.p95) : [format.NONE, "ms"];
    const late = now.times ? percentiles(now.times) : "nothing scored in 30 s";
    tile("p95", p95, unit, late, past.times, past.values.p95);
    const live = now.lately;
    const slots = now.over_time;
    tile(
      "accuracy",
      live ? (live.share * 100).toFixed(1) : format.NONE,
      "%",
      live ? `${between(live.low, live.high)} · n ${format.number(live.joined)}` : now.joined ? "no labels in 5 min" : "no labels yet",
      slots.map(([at]) => at + 5),
      slots.map(([, n, right]) => right / n),
    );
    tile("mae", format.number(now.mae), "", now.mae === null ? "no labels yet" : `RMSE ${format.number(now.rmse)} · all labels`, now.errors.map(([at]) => at + 5), now.errors.map(([, , mae]) => mae));
    const counted = slots.length ? slots : now.errors;
    tile("labels", format.count(now.joined), "", now.rows_total ? `${format.percent(Math.min(1, now.joined / now.rows_total))} of rows scored` : "joined to their predictions", counted.map(([at]) => at + 5), counted.map(([, n]) => n));
    tile("ece", format.known(now.calibration_error) ? (now.calibration_error * 100).toFixed(2) : format.NONE, "%", now.calibration.length ? "expected, over 10 bins" : "no labels yet");
    tile("r2", format.known(now.r2) ? now.r2.toFixed(3) : format.NONE, "", "since the first label", now.errors.map(([at]) => at + 5), now.errors.map(([, , , r2]) => r2));
    const scores = Object.entries(now.scores);
    const [[name, value] = ["", null]] = scores.sort(([a], [b]) => (b === "accuracy" || b === "r2") - (a === "accuracy" || a === "r2"));
    tile("heldout", format.metric(value), "", [name, ...scores.slice(1, 3).map(([one, of]) => `${one} ${format.metric(of)}`)].join(" · "));
  }

  function percentiles({ p50, p99 }) {
    const [[low, of], [high, unit]] = [p50, p99].map(headrace.format.span);
    return `p50 ${low}${of === unit ? "" : ` ${of}`} · p99 ${high} ${unit}`;
  }

  function drawPredictions() {
    const { store } = headrace;
    const own = store.tail.filter((sample) => sample.model === key());
    emptied("predictions", !own.length);
    if (byId("predictions").matches(":hover") && byId("rows-predictions").childElementCount) return;
    headrace.tables.predictions(own, store.truths, headrace.connection.now());
  }

  const ACTIONS = {
    model: (value) => {
      headrace.view.chosen.delete("cell");
      headrace.view.set("model", value);
    },
    cell: (value) => headrace.view.set("cell", !value || value === headrace.view.get("cell") ? "" : value),
    line: (value) => headrace.trails.toggle(value),
    promote: (version) => headrace.versions.promote(version),
    rollback: () => headrace.versions.rollback(),
    confirm: () => headrace.versions.confirm(),
    cancel: () => byId("sure").close(),
  };

  const CARDS = {
    fleet: drawFleet,
    "model-rate": (force) => headrace.trails.rate(force),
    "model-latency": (force) => headrace.trails.latency(force),
    "model-mix": (force) => headrace.trails.mix(force),
    "model-confidence": () => headrace.quality.confidence(),
    "model-accuracy": (force) => headrace.trails.accuracy(force),
    "model-reliability": (force) => headrace.quality.reliability(force),
    "model-confusion": (force) => headrace.mistakes.matrix(force),
    "model-mae": (force) => headrace.trails.error("model-mae", 2, "mae", force),
    "model-r2": (force) => headrace.trails.error("model-r2", 3, "r2", force),
    "model-scatter": (force) => headrace.quality.scatter(force),
    "model-worst": () => headrace.mistakes.worst(),
    "model-residuals": () => headrace.quality.residuals(),
    predictions: drawPredictions,
    "model-versions": () => headrace.versions.table(),
  };

  function subtitle() {
    const now = quality();
    if (!now) return "";
    const size = now.labels.length ? headrace.format.counted(now.labels.length, "class", "classes") : "";
    return [now.key, now.champion ? "in service" : "not in service", now.kind, size].filter(Boolean).join(" · ");
  }

  /** What the page chose by itself, for a snapshot that must choose the same. */
  const settled = () => (key() ? { model: key() } : {});

  const bound = () => headrace.mistakes.bound();

  const left = () => byId("sure")?.close?.();

  headrace.model = { chosen, key, quality, trail, shownRange, found, versions, between, interval, className, emptied, drawLines, badge };
  (headrace.pages ??= {}).models = { sections, fast: drawTiles, cards: CARDS, actions: ACTIONS, bound, left, subtitle, settled };
})((window.headrace = window.headrace || {}));
