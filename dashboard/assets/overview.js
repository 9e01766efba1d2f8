/* The overview: writes the store into the page, tiles with every frame, the rest twice a second and only what is in view.

   The one clock of the page is the browser's frame: news marks the page as dirty, the next animation frame draws it. */
"use strict";
(function (headrace) {
  const SLOW_MS = 500;
  const TICK_MS = 250;
  const STALE_S = 3;
  const page = { root: null, seen: new Set(), window: 60, paused: false, pausedAt: 0, metric: "", model: "", asked: false, slow: 0 };
  let connection = null;
  let store = null;

  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);

  /** Ask for a picture in the next animation frame; `all` draws also what a reader holds. */
  function repaint(all = false) {
    if (all) {
      page.slow = 0;
      page.force = true;
    }
    if (page.asked || document.hidden) return;
    page.asked = true;
    requestAnimationFrame(() => {
      page.asked = false;
      paint();
    });
  }

  function paint() {
    if (!page.root) return;
    drawPill();
    if (page.paused && !page.force) return;
    drawTiles();
    const now = performance.now();
    if (now - page.slow < SLOW_MS) return;
    page.slow = now;
    drawStrip();
    const queue = Object.entries(SLOW).filter(([name]) => page.force || page.seen.has(name));
    page.queue = queue.map(([, one]) => one);
    page.pictureForce = Boolean(page.force);
    page.force = false;
    drawNext();
  }

  /** One picture in each animation frame: no long task, however many there are. */
  function drawNext() {
    const one = page.queue.shift();
    if (!one) return;
    one(page.pictureForce);
    if (page.queue.length) requestAnimationFrame(drawNext);
  }

  const overview = () => store.sections.overview;
  const tier = () => store.tier(page.window);

  /** The end of the time axis: the newest frame, or the present if that is late, so that silence shows as a hole. */
  function end() {
    if (page.paused) return page.pausedAt;
    const now = connection.now();
    return now - store.time > 1.5 ? now : store.time;
  }

  /** The time axis, in the steps of its tier: a long window need not be drawn twice a second. */
  function range() {
    const { step } = tier() || { step: 0 };
    const until = step ? Math.ceil(end() / step) * step : end();
    return [headrace.charts.local(until - page.window), headrace.charts.local(until)];
  }

  /* connection */

  function condition() {
    const age = store.time ? Math.max(0, connection.now() - store.time) : null;
    const status = store.sections.status || {};
    if (!connection.open) {
      const away = (Date.now() - connection.since) / 1000;
      if (!store.time && away < 3) return { state: "connecting", text: "connecting", age: "" };
      return { state: "gone", text: "disconnected", age: headrace.format.duration(away), why: "The dashboard does not answer; trying again for ever." };
    }
    if (page.paused) return { state: "paused", text: "paused", age: headrace.format.duration(connection.now() - page.pausedAt) };
    if (status.bus === "down") {
      return { state: "stale", text: "no server", age: headrace.format.duration(age), why: status.reason };
    }
    if (age === null) return { state: "connecting", text: "no data", age: "", why: "No frame yet: is an aggregator running?" };
    if (age > STALE_S) return { state: "stale", text: "stale", age: headrace.format.duration(age), why: "No frame comes: is an aggregator running?" };
    return { state: "live", text: "live", age: headrace.format.duration(age) };
  }

  function drawPill() {
    const pill = byId("pill");
    const now = condition();
    if (pill.dataset.state !== now.state) {
      put("said", `${now.text}. ${now.why || ""}`);
      document.title = now.state === "live" ? "Overview · headrace" : `${now.text} · headrace`;
    }
    headrace.draw.mark(pill, "state", now.state);
    headrace.draw.write(pill.children[1], now.text);
    headrace.draw.write(pill.children[2], now.age);
    const { clock } = connection;
    const tolerance = clock ? `Clock known to ± ${headrace.format.milliseconds(clock.trip * 500)}.` : "";
    const why = now.why || "Age of the newest data.";
    if (pill.title !== `${why} ${tolerance}`) pill.title = `${why} ${tolerance}`;
    put("connection-age", now.state === "live" ? now.age : `${now.age || headrace.format.NONE}`);
    put("connection-trip", clock ? headrace.format.milliseconds(clock.trip * 1000) : headrace.format.NONE);
    put("connection-skipped", headrace.format.count(store.skipped));
    put("connection-viewers", headrace.format.count((store.sections.status || {}).viewers));
    headrace.draw.mark(page.root, "state", now.state);
    headrace.draw.mark(page.root, "frames", store.time ? "some" : "none");
  }

  /* tiles */

  const TILES = {
    in: { good: 0, note: () => `peak ${headrace.format.number(highest("in"))}` },
    scored: { good: 0, note: scorers },
    depth: { good: -1, note: drain, whole: true },
    p95: { good: -1, note: percentiles },
    errors: { good: -1, note: deaths },
    accuracy: { good: 1, share: true, note: interval },
  };

  function drawTiles() {
    const { format } = headrace;
    const until = end();
    const shown = tier();
    for (const [name, tile] of Object.entries(TILES)) {
      const box = byId(`tile-${name}`);
      const value = store.values[name];
      const [number, unit] = box.children[1].children;
      if (name === "p95") {
        const [text, of] = format.span(value);
        headrace.draw.write(number, text);
        headrace.draw.write(unit, of);
      } else if (tile.share) headrace.draw.write(number, format.known(value) ? (value * 100).toFixed(1) : format.NONE);
      else headrace.draw.write(number, tile.whole ? format.count(value) : format.number(value));
      headrace.draw.write(box.children[2], overview() ? tile.note() : "");
      drawDelta(box.children[0].lastElementChild, name, tile, until);
      headrace.draw.sparkline(box.children[3], shown ? shown.times : [], (shown && shown.values[name]) || [], until - page.window, until);
    }
  }

  function drawDelta(node, name, tile, until) {
    const seconds = store.tiers[1];
    const before = seconds ? seconds.mean(name, until - 65, until - 55) : null;
    const now = store.tiers[0] ? store.tiers[0].mean(name, until - 5, until) : null;
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
    return `${found.length} scorer${found.length > 1 ? "s" : ""}, ${headrace.format.percent(busy, 0)} busy`;
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
    return sum ? `${headrace.format.count(sum)} dead letters in all` : "no dead letters";
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
    const { state } = page.root.dataset;
    const old = state === "stale" || state === "gone";
    const quiet = old ? "" : "quiet";
    draw.mark(box, "kind", alerts.length ? (alerts[0].severity === "critical" ? "critical" : "warning") : quiet);
    const texts = alerts.map((alert) => alert.text || `${alert.name} ${alert.subject || ""}`);
    const more = alerts.length > 1 ? ` · and ${alerts.length - 1} more` : "";
    const since = alerts.length && alerts[0].since ? ` · for ${format.duration(store.time - alerts[0].since)}` : "";
    const said = alerts.length ? `${texts[0]}${since}${more}` : "No alerts";
    draw.write(box.firstElementChild, old ? `Last known: ${said}` : said);
    box.title = texts.join("\n");
    put("subtitle", subtitle(shown));
  }

  function subtitle(shown) {
    const status = store.sections.status || {};
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

  const SLOW = {
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
      emptied("predictions", !store.tail.length);
      if (byId("predictions").matches(":hover")) return;
      headrace.tables.predictions(store.tail, store.truths, connection.now());
      const shown = overview();
      put("shown", shown && shown.scored ? `shown 1 of ${headrace.format.number(Math.max(1, shown.scored / shown.shown))}` : "");
    },
    workers: () => {
      const shown = overview();
      emptied("workers", !shown || !shown.workers.length);
      if (!shown) return;
      headrace.tables.workers(shown.workers, Math.max(0, connection.now() - store.time));
      put("more-workers", shown.cut.workers ? `and ${shown.cut.workers} more` : "");
    },
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
    return names.includes(page.metric) ? page.metric : names[0] || "";
  }

  function drawTraining(force) {
    const shown = overview();
    const runs = shown ? shown.runs : [];
    const metric = chosenMetric(runs);
    const found = headrace.charts.training(runs, store.curves, metric);
    headrace.draw.options(byId("metric"), metrics(runs).map((name) => [name, name]), metric);
    drawChart("training", "training", found, null, force, !found.traces.length);
  }

  function chosenModel(models) {
    const keys = models.map((model) => model.key);
    return keys.includes(page.model) ? page.model : keys[0] || "";
  }

  function detail() {
    const shown = overview();
    const key = shown ? chosenModel(shown.models) : "";
    connection.showing(["overview", "status", ...(key ? [`model:${key}`] : [])]);
    return store.sections[`model:${key}`];
  }

  function drawModel() {
    const { draw, format } = headrace;
    const shown = overview();
    const model = detail();
    if (shown) draw.options(byId("model"), shown.models.map(({ key }) => [key, key]), chosenModel(shown.models));
    emptied("models", !model || !model.joined);
    if (!model || !model.joined) return;
    const box = byId("matrix");
    const regression = model.kind !== "classification";
    draw.write(byId("title-models"), regression ? "Errors of the regression" : "Confusion matrix");
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

  /* controls */

  function pause(paused) {
    page.pausedAt = end();
    page.paused = paused;
    connection.pause(paused);
    const button = byId("pause");
    button.setAttribute("aria-pressed", String(paused));
    headrace.draw.write(button.lastElementChild, paused ? "Resume" : "Pause");
    button.firstElementChild.className = `icon ${paused ? "play" : "pause"}`;
    repaint(!paused);
  }

  function setWindow(seconds) {
    page.window = seconds;
    const address = new URL(location.href);
    address.searchParams.set("window", seconds);
    history.replaceState(history.state, "", address);
    markWindow();
    repaint(true);
  }

  function markWindow() {
    for (const button of page.root.querySelectorAll("[data-do=window]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.value) === page.window));
    }
  }

  const ACTIONS = {
    pause: () => pause(!page.paused),
    theme: () => headrace.theme.toggle(),
    window: (value) => setWindow(Number(value)),
    line: (key) => {
      headrace.charts.toggleLine(key);
      repaint(true);
    },
  };

  function onClick(event) {
    const control = event.target.closest("[data-do]");
    if (control) ACTIONS[control.dataset.do](control.dataset.value);
  }

  function onChange(event) {
    if (event.target.id !== "metric" && event.target.id !== "model") return;
    page[event.target.id] = event.target.value;
    repaint(true);
  }

  /* life */

  /** Which part of the page is at the top, for the navigation. */
  function markPlace() {
    if (!page.root) return;
    const links = [...document.querySelectorAll("#nav a")];
    const at = (link) => document.querySelector(link.hash)?.getBoundingClientRect().top ?? Infinity;
    const bottom = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    const passed = links.filter((link) => at(link) < 160);
    const here = bottom && window.scrollY > 0 ? links[links.length - 1] : passed[passed.length - 1] || links[0];
    for (const link of links) {
      if (link === here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  const watcher = new IntersectionObserver(
    (changes) => {
      for (const { target, isIntersecting } of changes) {
        if (isIntersecting) page.seen.add(target.id);
        else page.seen.delete(target.id);
      }
      page.slow = 0;
      repaint();
    },
    { rootMargin: "80px" },
  );

  /** Bind to the page when Dash has put it up, and again when it comes back. */
  function bind() {
    const root = byId("overview");
    if (root === page.root) return;
    page.root = root;
    page.seen.clear();
    watcher.disconnect();
    if (!root) return;
    root.querySelectorAll(".card").forEach((card) => watcher.observe(card));
    markWindow();
    markPlace();
    repaint(true);
  }

  function start() {
    const asked = Number(new URLSearchParams(location.search).get("window"));
    if ([60, 300, 900].includes(asked)) page.window = asked;
    store = headrace.store;
    connection = headrace.connection = new headrace.Connection(store, () => {
      bind();
      repaint();
    });
    headrace.theme.onChange(() => repaint(true));
    document.addEventListener("click", onClick);
    document.addEventListener("change", onChange);
    document.addEventListener("visibilitychange", () => repaint());
    document.addEventListener("scroll", markPlace, { passive: true });
    setInterval(() => {
      bind();
      repaint();
    }, TICK_MS);
  }

  headrace.repaint = repaint;
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})((window.headrace = window.headrace || {}));
