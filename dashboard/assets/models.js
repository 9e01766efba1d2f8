/* The models page: one version closely. What is drawn of it comes from five sections: the list of models, its quality,
   its trail over the window of time, its worst mistakes, the versions in the registry. */
"use strict";
(function (headrace) {
  const TRAILS = [300, 900];
  const WORST = 12;
  const MATRIX = 26;
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

  /** Rewrite the rows of a table; as tables.js does, each row is made once. */
  function rows(name, items, make, update) {
    headrace.draw.fill(byId(`rows-${name}`), items.length, () => {
      const row = headrace.draw.element("tr");
      row.append(...make());
      return row;
    }).forEach((row, i) => update(row, items[i], row.children));
  }

  function cell(kind, ...children) {
    const made = headrace.draw.element("td", kind);
    made.append(...children);
    return made;
  }

  const el = (...words) => headrace.draw.element(...words);
  const emptied = (card, empty) => headrace.draw.mark(byId(card), "empty", empty ? "yes" : "");

  /* the list */

  function drawFleet() {
    const { draw, format } = headrace;
    const all = lines();
    const one = chosen();
    emptied("fleet", !all.length);
    rows(
      "fleet",
      all,
      () => {
        const button = el("button", "pick");
        button.type = "button";
        button.append(el("b"), el("small"));
        const numbers = ["num number", ...Array(5).fill("num number wide")];
        return [cell("name", button), cell("wide", el("span", "badge")), ...numbers.map((kind) => cell(kind)), cell("num number two", el("span"), el("small"))];
      },
      (row, model, [name, state, requests, many, p50, p95, p99, labels, good]) => {
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

  /* charts over time */

  function drawLines(card, traces, entries, news, force, empty, x = shownRange()) {
    emptied(card, empty);
    if (empty) return;
    headrace.charts.draw(card, traces, x, news, force);
    if (entries && byId(`legend-${card}`)) headrace.draw.legend(byId(`legend-${card}`), entries);
  }

  const hidden = new Set();

  /** A trace and its entry in the legend. `key` names the line for hiding. */
  function trace(card, name, x, y, colour, more = {}) {
    const id = `${card}/${name}`;
    return {
      entry: { key: id, name, colour, hidden: hidden.has(id) },
      line: {
        type: "scatter",
        mode: "lines",
        name,
        x,
        y,
        line: { color: colour, width: 1.75 },
        visible: hidden.has(id) ? "legendonly" : true,
        hovertemplate: `%{y} ${name}<extra></extra>`,
        ...more,
      },
    };
  }

  const split = (made) => [made.map((one) => one.line), made.map((one) => one.entry)];
  const last = (column) => (column && column.length ? column[column.length - 1] : 0);

  function drawRate(force) {
    const { blue, sky } = headrace.theme.colours();
    const { times, values } = trail();
    const x = times.map(headrace.charts.local);
    const some = (values.requests || []).some((value) => value);
    const made = [trace("model-rate", "requests", x, values.requests || [], blue, { fill: "tozeroy", fillcolor: headrace.theme.faded(blue, 0.1) })];
    if ((values.rows || []).some((value, i) => value !== values.requests[i])) made.push(trace("model-rate", "rows", x, values.rows, sky));
    drawLines("model-rate", ...split(made), last(times), force, !some);
  }

  function drawLatency(force) {
    const { green, orange, red } = headrace.theme.colours();
    const { times, values } = trail();
    const x = times.map(headrace.charts.local);
    const made = [["p99", red], ["p95", orange], ["p50", green]].filter(([name]) => values[name]).map(([name, colour]) => trace("model-latency", name, x, values[name], colour));
    const [traces, entries] = split(made);
    drawLines("model-latency", traces, entries.reverse(), last(times), force, !made.length);
  }

  function drawMix(force) {
    const { theme } = headrace;
    const palette = theme.colours().lines;
    const { times, values } = trail();
    const x = times.map(headrace.charts.local);
    const classes = Object.keys(values).filter((name) => name.startsWith("class:")).map((name) => Number(name.slice(6)));
    classes.sort((a, b) => a - b);
    const known = quality() ? quality().classes.length : 0;
    const made = classes.map((i) => {
      const colour = palette[i % palette.length];
      const rest = i === 11 && known > 12;
      // Beyond the colours there are, a second round is lighter, so that neighbours differ all the same.
      const filled = theme.faded(colour, i < palette.length ? 0.72 : 0.36);
      const made = trace("model-mix", rest ? "others" : className(i), x, values[`class:${i}`].map((value) => value || 0), colour, {
        stackgroup: "mix",
        groupnorm: "fraction",
        fillcolor: filled,
        line: { color: theme.colours().surface, width: 0.6 },
      });
      made.entry.colour = filled;
      return made;
    });
    drawLines("model-mix", ...split(made), last(times), force, !made.length);
  }

  function drawAccuracy(force) {
    const { theme, format, charts } = headrace;
    const { green, muted } = theme.colours();
    const now = quality();
    const slots = now ? now.over_time : [];
    const empty = !now || !now.accuracy;
    if (empty) return drawLines("model-accuracy", [], [], 0, force, true);
    const x = slots.map(([at]) => charts.local(at + 5));
    const plain = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", hovertemplate: "" };
    const said = slots.map(([, n, right, low, high]) => `${format.percent(right / n)} (${between(low, high)})<br>${format.count(right)} of ${format.count(n)} right`);
    const made = [
      trace("model-accuracy", "interval", x, slots.map((slot) => slot[3]), theme.faded(green, 0.4), plain),
      trace("model-accuracy", "interval", x, slots.map((slot) => slot[4]), theme.faded(green, 0.4), { ...plain, fill: "tonexty", fillcolor: theme.faded(green, 0.16) }),
      trace("model-accuracy", "by 10 s", x, slots.map(([, n, right]) => right / n), green, { mode: "lines+markers", marker: { size: 4 }, text: said, hovertemplate: "%{text}<extra></extra>" }),
      trace("model-accuracy", "since the first label", shownRange(), [now.accuracy.share, now.accuracy.share], muted, { line: { color: muted, width: 1.25, dash: "5px,3px" } }),
    ];
    const [traces, entries] = split(made);
    drawLines("model-accuracy", traces, entries.slice(1), [now.joined, key()], force, false);
  }

  function drawReliability(force) {
    const { theme, format, draw } = headrace;
    const { blue, muted } = theme.colours();
    const now = quality();
    const bins = now ? now.calibration : [];
    if (!bins.length) return drawLines("model-reliability", [], null, 0, force, true);
    const most = Math.max(...bins.map(([, n]) => n));
    const said = bins.map(([start, n, sure, share, low, high]) => `sure ${format.percent(sure)}, right ${format.percent(share)}<br>${between(low, high)} · n ${format.count(n)}`);
    const points = {
      type: "scatter",
      mode: "lines+markers",
      name: "right",
      x: bins.map((bin) => bin[2]),
      y: bins.map((bin) => bin[3]),
      text: said,
      hovertemplate: "%{text}<extra></extra>",
      line: { color: blue, width: 1.5 },
      marker: { color: blue, size: bins.map(([, n]) => 6 + 10 * Math.sqrt(n / most)) },
      error_y: { type: "data", symmetric: false, array: bins.map((bin) => bin[5] - bin[3]), arrayminus: bins.map((bin) => bin[3] - bin[4]), color: theme.faded(blue, 0.55), thickness: 1.5, width: 3 },
    };
    const ideal = { type: "scatter", mode: "lines", name: "ideal", x: [0, 1], y: [0, 1], line: { color: muted, width: 1.25, dash: "5px,3px" }, hoverinfo: "skip" };
    drawLines("model-reliability", [ideal, points], null, [now.joined, key()], force, false, [0, 1]);
    const width = 0.1;
    const counts = Array.from({ length: 10 }, (_, i) => (bins.find(([start]) => Math.round(start / width) === i) || [0, 0])[1]);
    const sum = counts.reduce((all, n) => all + n, 0);
    draw.bars(byId("bin-bars"), counts, counts.map((n) => (n ? format.short(n) : "")), counts.map((n, i) => `confidence ${(i * width).toFixed(1)} to ${((i + 1) * width).toFixed(1)}: ${format.count(n)} labels (${format.percent(n / sum)})`));
    put("ece", `ECE ${format.percent(now.calibration_error, 2)} · n ${format.number(sum)}`);
  }

  /* the matrix */

  let drawnMatrix = "";

  function drawConfusion(force) {
    const { draw } = headrace;
    const now = quality();
    const counts = now ? now.confusion : [];
    const none = !now || !now.joined;
    emptied("model-confusion", none);
    if (none) return;
    const box = byId("confusion");
    const wide = !counts.length || counts.length > MATRIX;
    const sign = `${key()}/${now.joined}/${headrace.view.get("cell")}`;
    if (sign === drawnMatrix && !force && box.firstElementChild) return;
    drawnMatrix = sign;
    if (wide) box.replaceChildren(el("p", "quiet", `A matrix is drawn of at most ${MATRIX} classes; accuracy counts them all.`));
    else {
      draw.matrix(box, counts.map((_, i) => className(i)), counts);
      const table = box.firstElementChild;
      table.setAttribute("role", "grid");
      table.setAttribute("aria-label", "Confusion matrix: rows are true, columns predicted");
      box.querySelectorAll("td.number").forEach((node, n) => {
        const place = `${Math.floor(n / counts.length)}-${n % counts.length}`;
        const picked = place === headrace.view.get("cell");
        draw.mark(node, "do", "cell");
        draw.mark(node, "value", place);
        node.setAttribute("aria-selected", String(picked));
        // One stop for the tabulator; arrows go on from there.
        node.tabIndex = picked || (n === 0 && !headrace.view.get("cell")) ? 0 : -1;
      });
    }
    put("cell-said", said(now));
  }

  /** What the cell that was chosen says, or the whole. */
  function said(now) {
    const { format } = headrace;
    const [a, b] = headrace.view.get("cell").split("-").map(Number);
    const row = now.confusion[a];
    if (!row || row[b] === undefined) {
      const { accuracy } = now;
      return `${format.count(Math.round(accuracy.share * accuracy.joined))} of ${format.count(accuracy.joined)} right: ${format.percent(accuracy.share)} (${between(accuracy.low, accuracy.high)})`;
    }
    const total = row.reduce((sum, n) => sum + n, 0);
    const asked = now.confusion.reduce((sum, one) => sum + one[b], 0);
    const share = total ? row[b] / total : 0;
    return `True ${className(a)}, predicted ${className(b)}: ${format.count(row[b])} of ${format.count(total)} true ${className(a)}, ${format.percent(share)} (${between(...interval(row[b], total))}); ${format.percent(asked ? row[b] / asked : 0)} of ${format.count(asked)} predicted ${className(b)}`;
  }

  /** Arrows move within the matrix; the space bar and Enter choose, there as on rows. */
  function onKey(event) {
    const node = event.target.closest?.("#confusion td.number");
    if (!node) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      node.click();
      return;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [a, b] = node.dataset.value.split("-").map(Number);
    byId("confusion").querySelector(`td[data-value="${a + step[0]}-${b + step[1]}"]`)?.focus();
  }

  /* mistakes */

  function drawWorst() {
    const { draw, format } = headrace;
    const now = quality();
    const worst = found(`worst:${key()}`);
    const place = now && now.kind === "classification" ? headrace.view.get("cell") : "";
    const all = worst ? worst.rows : [];
    const shown = place ? all.filter((row) => row.cell === place) : all;
    emptied("model-worst", Boolean(now) && !all.length && !(now.joined && !worst));
    byId("all-cells").hidden = !place;
    if (byId("model-worst").matches(":hover") && byId("rows-worst").childElementCount && byId("rows-worst").dataset.of === `${key()}/${place}`) return ages(shown);
    byId("rows-worst").dataset.of = `${key()}/${place}`;
    rows(
      "worst",
      shown.slice(0, WORST),
      () => {
        const meter = el("span", "meter");
        meter.append(el("i"));
        return [cell("input", el("canvas", "picture"), el("small")), cell("", el("b")), cell("truth", el("i"), el("span")), cell("sure", meter, el("span", "number")), cell("wide quiet id"), cell("num number quiet")];
      },
      (row, one, [input, predicted, truth, sure, id]) => {
        const sign = `${one.id}/${one.row}/${one.looked}/${one.pixels.length}`;
        if (row.dataset.id === sign) return;
        row.dataset.id = sign;
        const canvas = input.firstElementChild;
        canvas.hidden = !one.shape;
        if (one.shape) draw.picture(canvas, one.pixels, one.shape);
        draw.write(input.lastElementChild, one.shape ? "" : one.looked ? "not kept" : "…");
        input.title = one.shape || !one.looked ? "" : "The log has this request no more.";
        draw.write(predicted.firstElementChild, one.predicted);
        draw.mark(truth, "right", one.confidence === null ? "" : "no");
        draw.write(truth.firstElementChild, one.confidence === null ? "" : "✗");
        draw.write(truth.lastElementChild, one.actual);
        sure.firstElementChild.hidden = one.confidence === null;
        sure.firstElementChild.firstElementChild.style.width = `${(100 * (one.confidence || 0)).toFixed(1)}%`;
        draw.write(sure.lastElementChild, one.confidence === null ? `${one.error > 0 ? "+" : "−"}${format.number(Math.abs(one.error))}` : format.percent(one.confidence));
        draw.write(id, one.id);
        id.title = one.row ? `row ${one.row} of prediction ${one.id}` : `prediction ${one.id}`;
      },
    );
    ages(shown);
    const heading = byId("model-worst").querySelector("th.sure");
    draw.write(heading, now && now.kind === "regression" ? "Error" : "How sure");
    const none = place && !shown.length ? `None of the worst mistakes is in the cell true ${className(place.split("-")[0])}, predicted ${className(place.split("-")[1])}.` : "";
    put("more-worst", !worst && now && now.joined ? "Looking for them …" : none);
  }

  function ages(shown) {
    const now = headrace.connection.now();
    [...byId("rows-worst").children].forEach((row, i) => {
      const one = shown[i];
      if (one) headrace.draw.write(row.lastElementChild, one.created > 1e9 ? headrace.format.duration(Math.max(0, now - one.created)) : headrace.format.NONE);
    });
  }

  function drawPredictions() {
    const { store } = headrace;
    const own = store.tail.filter((sample) => sample.model === key());
    emptied("predictions", !own.length);
    if (byId("predictions").matches(":hover") && byId("rows-predictions").childElementCount) return;
    headrace.tables.predictions(own, store.truths, headrace.connection.now());
  }

  /* predicted classes and confidence */

  function drawConfidence() {
    const { draw, format } = headrace;
    const now = quality();
    const counts = now ? now.confidence : [];
    const sum = counts.reduce((all, n) => all + n, 0);
    emptied("model-confidence", !sum);
    if (!sum) return;
    const at = (i) => (i / counts.length).toFixed(2);
    draw.bars(byId("sure-bars"), counts, counts.map((_, i) => (i % 5 === 0 ? format.percent(i / counts.length, 0) : "")), counts.map((n, i) => `${at(i)} to ${at(i + 1)}: ${format.count(n)} (${format.percent(n / sum)})`));
    const all = now.classes.reduce((one, n) => one + n, 0);
    draw.bars(byId("class-bars"), now.classes, now.classes.map((_, i) => className(i)), now.classes.map((n, i) => `${className(i)}: ${format.count(n)} (${format.percent(all ? n / all : 0)})`));
  }

  /* regression */

  function drawError(card, place, whole, force) {
    const { theme, charts, format } = headrace;
    const { orange, purple, muted } = theme.colours();
    const now = quality();
    const slots = now ? now.errors.filter((slot) => slot[place] !== null) : [];
    const value = now ? now[whole] : null;
    if (!now || !now.joined) return drawLines(card, [], null, 0, force, true);
    const x = slots.map(([at]) => charts.local(at + 5));
    const text = slots.map((slot) => `${format.metric(slot[place])} · n ${format.count(slot[1])}`);
    const made = [
      trace(card, "by 10 s", x, slots.map((slot) => slot[place]), whole === "mae" ? orange : purple, { mode: "lines+markers", marker: { size: 4 }, text, hovertemplate: "%{text}<extra></extra>" }),
      trace(card, "since the first label", value === null ? [] : shownRange(), value === null ? [] : [value, value], muted, { line: { color: muted, width: 1.25, dash: "5px,3px" } }),
    ];
    drawLines(card, made.map((one) => one.line), null, [now.joined, key()], force, false);
  }

  function drawScatter(force) {
    const { theme, format } = headrace;
    const { blue, muted } = theme.colours();
    const pairs = (quality() && quality().pairs) || [];
    if (!pairs.length) return drawLines("model-scatter", [], null, 0, force, true);
    const all = pairs.flat();
    const ends = [Math.min(...all), Math.max(...all)];
    const points = {
      type: "scatter",
      mode: "markers",
      name: "predictions",
      x: pairs.map((pair) => pair[1]),
      y: pairs.map((pair) => pair[0]),
      text: pairs.map(([said, true_]) => `predicted ${format.metric(said)}, true ${format.metric(true_)}<br>off by ${format.metric(said - true_)}`),
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: theme.faded(blue, 0.6), size: 7, line: { width: 0 } },
    };
    const ideal = { type: "scatter", mode: "lines", name: "right", x: ends, y: ends, line: { color: muted, width: 1.25, dash: "5px,3px" }, hoverinfo: "skip" };
    drawLines("model-scatter", [ideal, points], null, [quality().joined, key()], force, false, null);
    put("pairs-shown", `newest ${format.count(pairs.length)} of ${format.count(quality().joined)}`);
  }

  function drawResiduals() {
    const { draw, format } = headrace;
    const now = quality();
    const counts = now ? now.residuals : [];
    const sum = counts.reduce((all, n) => all + n, 0);
    emptied("model-residuals", !sum);
    if (!sum) return;
    const at = (i) => (now.residual_first + i) * now.residual_width;
    const signed = (value) => `${value > 0 ? "+" : ""}${format.metric(value)}`;
    const every = Math.ceil(counts.length / 8);
    const zero = -now.residual_first;
    draw.bars(byId("residual-bars"), counts, counts.map((_, i) => ((i - zero) % every === 0 ? signed(at(i)) : "")), counts.map((n, i) => `${signed(at(i))} to ${signed(at(i + 1))}: ${format.count(n)} (${format.percent(n / sum)})`));
    [...byId("residual-bars").children].forEach((bar, i) => draw.mark(bar, "side", i < zero ? "under" : "over"));
    const under = counts.slice(0, Math.max(0, zero)).reduce((all, n) => all + n, 0);
    const [low, high] = interval(under, sum);
    put("residual-said", `too low ${format.percent(under / sum)} (${between(low, high)}) · n ${format.count(sum)} · bins of ${format.metric(now.residual_width)}`);
  }

  /* versions */

  function mayNot() {
    const known = versions();
    if (headrace.role && headrace.role !== "operator") return "Only operators may change what is in service: sign in as one.";
    return known ? known.reason : "";
  }

  function drawVersions() {
    const { draw, format } = headrace;
    const known = versions();
    emptied("model-versions", Boolean(known) && !known.rows.length);
    byId("changes-title").hidden = !known || !known.changes.length;
    if (!known) {
      byId("rollback").disabled = true;
      return;
    }
    const why = mayNot();
    put("versions-why", why);
    const back = byId("rollback");
    back.disabled = Boolean(why) || !known.back;
    draw.write(back, known.back ? `Roll back to version ${known.back}` : "Roll back");
    back.title = why || (known.back ? "" : "Nothing was in service before.");
    const now = headrace.connection.now();
    rows(
      "versions",
      known.rows,
      () => {
        const act = el("button", "button small", "Promote");
        act.type = "button";
        act.dataset.do = "promote";
        return [cell("name", el("b")), cell("", el("span", "badge")), cell("metrics number"), cell("num number wide"), cell("wide"), cell("wide quiet libraries"), cell("num number wide two", el("span"), el("small")), cell("num", act)];
      },
      (row, one, [name, state, metrics, stored, algorithm, libraries, file, change]) => {
        draw.mark(row, "picked", `${known.name}@${one.version}` === key() ? "yes" : "");
        draw.write(name.firstElementChild, `version ${one.version}`);
        badge(state.firstElementChild, one.in_service);
        draw.write(metrics, Object.entries(one.metrics).map(([measure, value]) => `${measure} ${format.metric(value)}`).join(" · ") || format.NONE);
        draw.write(stored, one.created ? `${format.duration(now - one.created)} ago` : format.NONE);
        stored.title = one.created ? new Date(one.created * 1000).toLocaleString() : "";
        draw.write(algorithm, one.algorithm || format.NONE);
        const used = Object.entries(one.libraries).map(([library, version]) => `${library} ${version}`).join(", ");
        draw.write(libraries, used || format.NONE);
        libraries.title = used;
        draw.write(file.children[0], one.size_bytes ? format.bytes(one.size_bytes) : format.NONE);
        draw.write(file.children[1], one.sha256.slice(0, 12));
        file.title = one.sha256 ? `SHA-256 ${one.sha256}` : "";
        const act = change.firstElementChild;
        act.hidden = one.in_service;
        act.disabled = Boolean(why);
        act.title = why;
        act.setAttribute("aria-label", `Promote version ${one.version}`);
        draw.mark(act, "value", String(one.version));
      },
    );
    put("more-versions", known.cut ? `and ${known.cut} older ones` : "");
    draw.fill(byId("changes"), known.changes.length, () => {
      const line = el("li");
      line.append(el("b"), el("span"), el("small", "number"));
      return line;
    }).forEach((line, i) => {
      const one = known.changes[i];
      draw.write(line.children[0], `version ${one.version}`);
      draw.write(line.children[1], `${one.rollback ? "rolled back to" : "promoted"}${one.previous && one.previous !== one.version ? `, in place of version ${one.previous}` : ""}`);
      draw.write(line.children[2], `${format.duration(now - one.at)} ago`);
      line.title = new Date(one.at * 1000).toLocaleString();
    });
  }

  /* changes */

  const asked = { path: "", body: null, busy: false };

  function ask(title, text, path, body) {
    Object.assign(asked, { path, body, busy: false });
    put("sure-title", title);
    put("sure-text", text);
    outcome("", "");
    put("sure-cancel", "Cancel");
    byId("sure-go").hidden = byId("sure-go").disabled = false;
    put("sure-go", "Go on");
    byId("sure").showModal();
    byId("sure-cancel").focus();
  }

  function outcome(text, kind) {
    put("sure-outcome", text);
    headrace.draw.mark(byId("sure-outcome"), "kind", kind);
  }

  async function confirm() {
    if (asked.busy) return;
    asked.busy = byId("sure-go").disabled = true;
    outcome("Working …", "");
    let text = "";
    let done = false;
    try {
      const answer = await fetch(headrace.links.address(asked.path), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(asked.body || {}),
      });
      const said = await answer.json().catch(() => ({}));
      done = answer.ok;
      text = said.text || said.error || said.detail || `The dashboard answered ${answer.status}.`;
    } catch {
      text = "The dashboard does not answer; nothing is known of what became of it. Try again when it is back.";
    }
    asked.busy = byId("sure-go").disabled = false;
    byId("sure-go").hidden = done;
    put("sure-cancel", done ? "Close" : "Cancel");
    outcome(text, done ? "good" : "bad");
    if (done) byId("sure-cancel").focus();
    headrace.repaint(true);
  }

  function promote(version) {
    const { name } = chosen();
    const serving = (versions().rows.find((row) => row.in_service) || {}).version;
    const instead = serving ? ` in place of version ${serving}` : "";
    ask(`Promote ${name} version ${version}?`, `All running scorers will serve version ${version}${instead} from now on. It can be rolled back.`, `api/models/${encodeURIComponent(name)}/promote`, { version: Number(version) });
  }

  function rollback() {
    const { name } = chosen();
    const { back, rows: all } = versions();
    const serving = (all.find((row) => row.in_service) || {}).version;
    ask(`Roll back ${name} to version ${back}?`, `All running scorers will serve version ${back} in place of version ${serving} from now on.`, `api/models/${encodeURIComponent(name)}/rollback`);
  }

  const ACTIONS = {
    model: (value) => {
      headrace.view.chosen.delete("cell");
      headrace.view.set("model", value);
    },
    cell: (value) => headrace.view.set("cell", !value || value === headrace.view.get("cell") ? "" : value),
    line: (value) => {
      if (!hidden.delete(value)) hidden.add(value);
      headrace.repaint(true);
    },
    promote,
    rollback,
    confirm,
    cancel: () => byId("sure").close(),
  };

  const CARDS = {
    fleet: drawFleet,
    "model-rate": drawRate,
    "model-latency": drawLatency,
    "model-mix": drawMix,
    "model-confidence": drawConfidence,
    "model-accuracy": drawAccuracy,
    "model-reliability": drawReliability,
    "model-confusion": drawConfusion,
    "model-mae": (force) => drawError("model-mae", 2, "mae", force),
    "model-r2": (force) => drawError("model-r2", 3, "r2", force),
    "model-scatter": drawScatter,
    "model-worst": drawWorst,
    "model-residuals": drawResiduals,
    predictions: drawPredictions,
    "model-versions": drawVersions,
  };

  function subtitle() {
    const now = quality();
    if (!now) return "";
    const size = now.labels.length ? `${now.labels.length} classes` : "";
    return [now.key, now.champion ? "in service" : "not in service", now.kind, size].filter(Boolean).join(" · ");
  }

  function bound() {
    drawnMatrix = "";
    byId("confusion").addEventListener("keydown", onKey);
  }

  const left = () => byId("sure")?.close?.();

  (headrace.pages ??= {}).models = { sections, fast: drawTiles, cards: CARDS, actions: ACTIONS, bound, left, subtitle };
})((window.headrace = window.headrace || {}));
