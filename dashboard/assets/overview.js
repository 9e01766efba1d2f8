/* The overview: is everything all right? Tiles with every frame, the rest twice a second and only what is in view. */
"use strict";
(function (headrace) {
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const overview = () => headrace.store.sections.overview;
  const end = () => headrace.clock.end();
  const seconds = () => headrace.clock.seconds();
  const tier = () => headrace.clock.tier();
  const range = () => headrace.clock.range();

  /* tiles */

  const TILES = {
    in: { good: 0, note: () => `${headrace.format.number(overview().published)} in all · peak ${headrace.format.number(highest("in"))}` },
    scored: { good: 0, note: scorers, to: () => ["models", { model: modelShown() }] },
    depth: { good: -1, note: drain, whole: true },
    p95: { good: -1, note: percentiles },
    errors: { good: -1, note: deaths },
    accuracy: { good: 1, share: true, note: interval, to: () => ["models", { model: modelShown() }] },
  };

  function drawTiles() {
    const { format } = headrace;
    const until = end();
    const shown = tier();
    for (const [name, tile] of Object.entries(TILES)) {
      const box = byId(`tile-${name}`);
      const value = headrace.store.values[name];
      const [number, unit] = box.children[1].children;
      if (name === "p95") {
        const [text, of] = format.span(value);
        headrace.draw.write(number, text);
        headrace.draw.write(unit, of);
      } else if (tile.share) headrace.draw.write(number, format.known(value) ? (value * 100).toFixed(1) : format.NONE);
      else headrace.draw.write(number, tile.whole ? format.count(value) : format.number(value));
      headrace.draw.write(box.children[2], overview() ? tile.note() : "");
      drawDelta(box.children[0].lastElementChild, name, tile, until);
      if (tile.to) headrace.links.to(box.querySelector("a"), ...tile.to());
      headrace.draw.sparkline(box.children[3], shown ? shown.times : [], (shown && shown.values[name]) || [], until - seconds(), until);
    }
  }

  function drawDelta(node, name, tile, until) {
    const seconds = headrace.store.tiers[1];
    const before = seconds ? seconds.mean(name, until - 65, until - 55) : null;
    const now = headrace.store.tiers[0] ? headrace.store.tiers[0].mean(name, until - 5, until) : null;
    let text = "";
    let kind = "";
    if (before !== null && now !== null) {
      const change = tile.share ? (now - before) * 100 : before ? (now - before) / before : now ? Infinity : 0;
      const small = tile.share ? 0.05 : 0.01;
      if (Math.abs(change) < small) text = "steady";
      else {
        const size = Math.abs(change);
        const shown = tile.share ? `${size.toFixed(1)} pt` : size === Infinity ? "from 0" : size > 9.99 ? "> 10×" : `${(size * 100).toFixed(size < 0.1 ? 1 : 0)} %`;
        text = `${change > 0 ? "▲" : "▼"} ${shown}`;
        kind = tile.good ? (Math.sign(change) === tile.good ? "good" : "bad") : "";
      }
    }
    headrace.draw.write(node, text);
    headrace.draw.mark(node, "kind", kind);
  }

  function highest(name) {
    const column = (tier() && tier().values[name]) || [];
    return column.length ? Math.max(...column.filter((value) => value !== null)) : null;
  }

  function scorers() {
    const found = overview().workers.filter((worker) => worker.kind === "scorer");
    if (!found.length) return "no scorer is alive";
    const busy = found.reduce((sum, worker) => sum + (worker.busy || 0), 0) / found.length;
    return `${headrace.format.number(overview().results)} in all · ${headrace.format.percent(busy, 0)} busy`;
  }

  function drain() {
    const { format } = headrace;
    const waiting = overview().groups.filter((group) => group.lag + group.in_flight > 0);
    if (!waiting.length) return "empty";
    const long = waiting.filter((group) => group.lag + group.in_flight > group.committed_s);
    if (!long.length) return "less than 1 s of work";
    if (long.some((group) => group.drain_s === null)) return "growing";
    return `drains in ${format.duration(Math.max(...long.map((group) => group.drain_s)))}`;
  }

  function percentiles() {
    const total = overview().latency.find((stage) => stage.stage === "total");
    if (!total || !total.count) return "nothing scored in 30 s";
    const [[p50, of], [p99, unit]] = [total.p50_ms, total.p99_ms].map(headrace.format.span);
    return `p50 ${p50}${of === unit ? "" : ` ${of}`} · p99 ${p99} ${unit}`;
  }

  function deaths() {
    const sum = overview().groups.reduce((all, group) => all + group.dead_total, 0);
    return sum ? `${headrace.format.counted(sum, "dead letter")} in all` : "no dead letters";
  }

  function interval() {
    const { accuracy } = overview();
    if (!accuracy) return "no labels in 5 min";
    const { format } = headrace;
    return `${(accuracy.low * 100).toFixed(1)}–${format.percent(accuracy.high)} · n ${format.number(accuracy.joined)}`;
  }

  /* strip of alerts and counts */

  function drawStrip() {
    const shown = overview();
    if (!shown) return;
    const { format, draw } = headrace;
    for (const key of ["live", "healed", "lost", "dropped"]) {
      const value = shown.live[key] || 0;
      put(`count-${key}`, format.count(value));
      draw.mark(byId(`count-${key}`).parentElement, "kind", value && (key === "lost" || key === "dropped") ? "bad" : "");
    }
    const box = byId("alerts");
    const alerts = [...shown.alerts].sort((a, b) => (a.severity === "critical" ? -1 : 1) - (b.severity === "critical" ? -1 : 1));
    const { state } = byId("page-overview").dataset;
    const old = state === "stale" || state === "gone";
    const quiet = old ? "" : "quiet";
    draw.mark(box, "kind", alerts.length ? (alerts[0].severity === "critical" ? "critical" : "warning") : quiet);
    const texts = alerts.map((alert) => alert.text || `${alert.name} ${alert.subject || ""}`);
    const others = alerts.length - 1 + (shown.cut.alerts || 0);
    const more = others > 0 ? ` · and ${others} more` : "";
    const since = alerts.length && alerts[0].since ? ` · for ${format.duration(headrace.store.time - alerts[0].since)}` : "";
    const said = alerts.length ? `${texts[0]}${since}${more}` : "No alerts";
    draw.write(box.firstElementChild, old ? `Last known: ${said}` : said);
    headrace.links.to(box.firstElementChild, alerts.length ? pageOf(alerts[0].name) : "queues");
    box.title = texts.join("\n");
  }

  /** Where an alert can be looked into, by what its name speaks of. */
  function pageOf(name) {
    if (/model|accuracy|drift/.test(name)) return "models";
    if (/run|training/.test(name)) return "training";
    return /dead/.test(name) ? "dead" : "queues";
  }

  /** Lead the title of a card to its page, with what is chosen here. */
  const lead = (card, page, choices) => headrace.links.to(byId(`title-${card}`).firstElementChild, page, choices);

  function subtitle() {
    const shown = overview();
    if (!shown) return "";
    const status = headrace.store.sections.status || {};
    const { product, version } = shown.server;
    return [product && `${headrace.format.name(product)} ${version}`, status.server, `aggregator ${shown.aggregator}`].filter(Boolean).join(" · ");
  }

  /* what is drawn twice a second */

  const emptied = (card, empty) => headrace.draw.mark(byId(card), "empty", empty ? "yes" : "");

  function drawChart(card, name, { traces, entries, news }, span, force, empty) {
    emptied(card, empty);
    if (empty) return;
    headrace.charts.draw(name, traces, span, news, force);
    headrace.draw.legend(byId(`legend-${name}`), entries);
  }

  const has = (start) => Boolean(tier() && Object.keys(tier().values).some((name) => name.startsWith(start)));

  const CARDS = {
    traffic: (force) => {
      const found = tier() ? headrace.charts.throughput(tier()) : { traces: [], entries: [] };
      const empty = !found.traces.some((trace) => trace.y.some((value) => value));
      drawChart("traffic", "throughput", found, range(), force, empty);
    },
    depth: (force) => has("depth:") ? drawChart("depth", "depth", headrace.charts.depth(tier()), range(), force, false) : emptied("depth", true),
    latency: (force) => has("p50") ? drawChart("latency", "latency", headrace.charts.latency(tier()), range(), force, false) : emptied("latency", true),
    "stages-card": drawStages,
    training: drawTraining,
    trainings: () => {
      const shown = overview();
      emptied("trainings", !shown || !shown.runs.length);
      if (!shown) return;
      const name = chosenMetric(shown.runs);
      headrace.tables.runs(shown.runs, name);
      const heading = byId("trainings").querySelector("th.metric");
      headrace.draw.write(heading, name || "loss");
      put("more-runs", shown.cut.runs ? `and ${shown.cut.runs} more` : "");
    },
    models: drawModel,
    "confidence-card": drawConfidence,
    serving: () => {
      const shown = overview();
      emptied("serving", !shown || !shown.models.length);
      if (!shown) return;
      headrace.tables.models(shown.models);
      put("more-models", shown.cut.models ? `and ${shown.cut.models} more` : "");
    },
    predictions: () => {
      emptied("predictions", !headrace.store.tail.length);
      if (byId("predictions").matches(":hover")) return;
      headrace.tables.predictions(headrace.store.tail, headrace.store.truths, headrace.connection.now());
      const shown = overview();
      put("shown", shown && shown.scored ? `shown 1 of ${headrace.format.number(Math.max(1, shown.scored / shown.shown))}` : "");
    },
    workers: () => {
      const shown = overview();
      emptied("workers", !shown || !shown.workers.length);
      if (!shown) return;
      headrace.tables.workers(shown.workers, Math.max(0, headrace.connection.now() - headrace.store.time));
      put("more-workers", shown.cut.workers ? `and ${shown.cut.workers} more` : "");
    },
    "glass-card": (force) => headrace.glass.draw(force),
    "server-card": drawServer,
  };

  const STAGES = [["wait", "sky"], ["model", "blue"], ["commit", "purple"]];

  function drawStages() {
    const { draw, format, theme } = headrace;
    const shown = overview();
    const stages = new Map((shown ? shown.latency : []).map((stage) => [stage.stage, stage]));
    const total = stages.get("total");
    emptied("stages-card", !total || !total.count);
    if (!total || !total.count) return;
    const colours = theme.colours();
    draw.legend(byId("legend-stages"), STAGES.map(([name, colour]) => ({ key: `stage:${name}`, name, colour: colours[colour], fixed: true })));
    draw.fill(byId("stages"), 3, () => {
      const row = draw.element("div", "stage");
      const bar = draw.element("div", "parts");
      bar.append(...STAGES.map(([name]) => draw.element("i", name)));
      row.append(draw.element("b"), bar, draw.element("span", "number"), draw.element("small", "number"));
      return row;
    }).forEach((row, i) => {
      const key = ["p50_ms", "p95_ms", "p99_ms"][i];
      const parts = STAGES.map(([name]) => (stages.get(name) || {})[key] || 0);
      const sum = parts.reduce((all, one) => all + one, 0) || 1;
      draw.write(row.children[0], key.slice(0, 3));
      [...row.children[1].children].forEach((bar, j) => {
        bar.style.width = `${((100 * parts[j]) / sum).toFixed(1)}%`;
        bar.title = `${STAGES[j][0]}: ${format.milliseconds(parts[j])}`;
      });
      draw.write(row.children[2], format.milliseconds(total[key]));
      draw.write(row.children[3], STAGES.map(([name], j) => `${name} ${format.milliseconds(parts[j])}`).join("   "));
    });
  }

  /** Metrics that any run has, losses first. */
  function metrics(runs) {
    const names = new Set(runs.flatMap((run) => Object.keys(run.metrics)));
    const isLoss = (name) => /loss|error/.test(name);
    return [...names].sort((a, b) => isLoss(b) - isLoss(a) || a.localeCompare(b));
  }

  function chosenMetric(runs) {
    const names = metrics(runs);
    return names.includes(headrace.view.get("metric")) ? headrace.view.get("metric") : names[0] || "";
  }

  function drawTraining(force) {
    const shown = overview();
    const runs = shown ? shown.runs : [];
    const metric = chosenMetric(runs);
    const found = headrace.charts.training(runs, headrace.store.curves, metric);
    headrace.draw.options(byId("metric"), metrics(runs).map((name) => [name, name]), metric);
    lead("training", "training", { metric });
    drawChart("training", "training", found, null, force, !found.traces.length);
  }

  function chosenModel(models) {
    const keys = models.map((model) => model.key);
    return keys.includes(headrace.view.get("model")) ? headrace.view.get("model") : keys[0] || "";
  }

  const modelShown = () => (overview() ? chosenModel(overview().models) : "");
  const detail = () => headrace.store.sections[`model:${modelShown()}`];

  function sections() {
    const key = modelShown();
    return ["overview", "clock", ...(key ? [`model:${key}`] : [])];
  }

  function drawModel() {
    const { draw, format } = headrace;
    const shown = overview();
    const model = detail();
    if (shown) draw.options(byId("model"), shown.models.map(({ key }) => [key, key]), chosenModel(shown.models));
    emptied("models", !model || !model.joined);
    if (!model || !model.joined) return;
    for (const card of ["models", "confidence-card"]) lead(card, "models", { model: model.key });
    const box = byId("matrix");
    const regression = model.kind !== "classification";
    draw.write(byId("title-models").firstElementChild, regression ? "Errors of the regression" : "Confusion matrix");
    draw.mark(box, "kind", regression ? "regression" : "");
    if (!regression) {
      if (box.querySelector("dl")) box.replaceChildren();
      draw.matrix(box, model.confusion.map((_, i) => model.labels[i] || String(i)), model.confusion);
      return;
    }
    if (!box.querySelector("dl")) {
      box.replaceChildren(draw.element("dl", "big"));
      delete box.dataset.key;
    }
    const lines = [["Mean absolute error", format.number(model.mae)], ["Root mean square error", format.number(model.rmse)], ["R²", format.known(model.r2) ? model.r2.toFixed(3) : format.NONE], ["Labels joined", format.count(model.joined)]];
    draw.fill(box.firstElementChild, lines.length, () => {
      const line = draw.element("div");
      line.append(draw.element("dt"), draw.element("dd", "number"));
      return line;
    }).forEach((line, i) => {
      draw.write(line.children[0], lines[i][0]);
      draw.write(line.children[1], lines[i][1]);
    });
  }

  function drawConfidence() {
    const { draw, format } = headrace;
    const model = detail();
    const counts = model ? model.confidence : [];
    const sum = counts.reduce((all, n) => all + n, 0);
    emptied("confidence-card", !sum);
    if (!sum) return;
    const at = (i) => (i / counts.length).toFixed(2);
    draw.bars(
      byId("confidence"),
      counts,
      counts.map((_, i) => (i % 5 === 0 ? format.percent(i / counts.length, 0) : "")),
      counts.map((n, i) => `${at(i)} to ${at(i + 1)}: ${format.count(n)} (${format.percent(n / sum)})`),
    );
    const classes = model.classes || [];
    const all = classes.reduce((one, n) => one + n, 0);
    const name = (i) => model.labels[i] || String(i);
    draw.bars(byId("classes"), classes, classes.map((_, i) => name(i)), classes.map((n, i) => `${name(i)}: ${format.count(n)} (${format.percent(all ? n / all : 0)})`));
  }

  function drawServer() {
    const shown = overview();
    if (!shown) return;
    const { format } = headrace;
    const { server } = shown;
    put("server-product", server.product ? `${format.name(server.product)} ${server.version}` : format.NONE);
    put("server-durability", server.durability || "unknown");
    const limit = server.memory_limit_bytes;
    put("server-memory", server.memory_bytes ? `${format.bytes(server.memory_bytes)}${limit ? ` / ${format.bytes(limit)}` : ""}` : format.NONE);
    put("server-operations", format.number(server.operations));
    put("server-clients", format.count(server.clients));
    put("server-uptime", server.uptime_s ? format.duration(server.uptime_s) : format.NONE);
  }

  function fast() {
    drawTiles();
    drawStrip();
  }

  (headrace.pages ??= {}).overview = { sections, fast, cards: CARDS, subtitle };
})((window.headrace = window.headrace || {}));
