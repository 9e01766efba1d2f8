/* Small multiples: a picture for each chosen metric, a line for each chosen run, by step or by time. */
"use strict";
(function (headrace) {
  const METRICS = 8;
  const AT_FIRST = 4;
  const SMOOTHING = 20;
  const byId = (id) => document.getElementById(id);
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);

  function drawnMetrics(available) {
    const asked = headrace.runs.list(choice("metrics")).filter((name) => available.includes(name));
    if (asked.length) return asked.slice(0, METRICS);
    const first = available.filter((name) => name === choice("metric"));
    return [...first, ...available.filter((name) => !first.includes(name))].slice(0, AT_FIRST);
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

  function draw(force) {
    const { runs, plot } = headrace;
    const drawn = runs.chosen();
    runs.prune(drawn);
    const having = drawn.map((run) => [run, runs.curves(run)]).filter(([, curves]) => curves.size);
    const available = runs.order(new Set(having.flatMap(([, curves]) => [...curves.keys()])));
    headrace.draw.mark(byId("curves-card"), "empty", available.length ? "" : "yes");
    if (!available.length) return;
    const metrics = drawnMetrics(available);
    drawChips(available, metrics);
    headrace.draw.legend(byId("legend-runs"), having.map(([run]) => ({ key: `run:${run}`, name: runs.title(run, drawn), colour: runs.style(run, drawn).colour, fixed: true })));
    const kinds = { step: "whole", time: "time", age: "age" };
    const settings = ["x", "log", "best", "plain", "smooth"].map((name) => choice(name)).join();
    headrace.draw.mark(byId("plots"), "count", String(metrics.length));
    headrace.draw.fill(byId("plots"), metrics.length, () => {
      const box = headrace.draw.element("div", "plot-box");
      const picture = headrace.draw.element("div", "plot");
      picture.setAttribute("role", "img");
      box.append(headrace.draw.element("h3"), picture);
      return box;
    }).forEach((box, i) => {
      const metric = metrics[i];
      const judged = metric.startsWith("candidates/");
      const kind = judged ? "step" : choice("x", "step");
      const [heading, picture] = box.children;
      headrace.draw.write(heading, judged ? `${metric}, by number of the candidate` : metric);
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
      const label = `${metric} of ${headrace.format.counted(found.length, "run")}`;
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

  /** Draw a metric, or leave it out. */
  function toggle(name) {
    const { runs } = headrace;
    const having = runs.chosen().flatMap((run) => [...runs.curves(run).keys()]);
    const now = drawnMetrics(runs.order(new Set(having)));
    headrace.view.set("metrics", runs.text(now.includes(name) ? now.filter((one) => one !== name) : [...now, name]));
  }

  /** What can be taken along of the pictures: every point as it was logged, within the zoom. */
  function points() {
    const found = [];
    for (const box of byId("plots").children) {
      const picture = headrace.plot.shown(box.lastElementChild);
      if (!picture) continue;
      const metric = box.firstElementChild.textContent;
      for (const { key, name, x, y, faint, low, high } of picture.series) {
        x.forEach((at, i) => {
          if (picture.range && (at < picture.range[0] || at > picture.range[1])) return;
          found.push({ metric, run: key, name, [picture.kind === "time" ? "time" : picture.kind === "age" ? "since_start_s" : "step"]: at, value: (faint || y)[i], smallest: low?.[i] ?? null, largest: high?.[i] ?? null });
        });
      }
    }
    return found;
  }

  headrace.curves = { points, draw, toggle, smoothing };
})((window.headrace = window.headrace || {}));
