/* The charts that Plotly draws: which lines, from the store; drawn when in view, held while a reader points at them. */
"use strict";
(function (headrace) {
  const CHANNELS = ["requests", "labels", "runs"];
  const LINES = 8;
  const hidden = new Set();
  const charts = new Map();

  const draggable = !window.matchMedia("(pointer: coarse)").matches;
  const local = (time) => time * 1000 - new Date(time * 1000).getTimezoneOffset() * 60_000;

  /** Draw `traces` into the chart; false while there is nothing to draw on, a reader holds it, or all is as it was.
      `news` is anything that tells one set of values from the next. */
  function draw(name, traces, range, news, force) {
    const plot = document.querySelector(`#chart-${name} .js-plotly-plot`);
    if (!plot || !window.Plotly || !plot.layout) return false;
    let chart = charts.get(name);
    if (!chart || chart.plot !== plot) {
      for (const [left, { plot: old }] of charts) if (!old.isConnected) charts.delete(left); // else they keep their page
      charts.set(name, (chart = adopt(plot)));
    }
    if (chart.dragged || (chart.held && !force)) return false;
    const { grid, muted, surface, border, text } = headrace.theme.colours();
    const sign = JSON.stringify([range, traces.map((trace) => [trace.name, trace.visible, trace.line, trace.y.length]), news]);
    if (sign === chart.sign && !force) return false;
    chart.sign = sign;
    const base = chart.base;
    const layout = {
      ...base,
      dragmode: draggable ? "zoom" : false,
      font: { ...base.font, color: muted, family: getComputedStyle(document.body).fontFamily },
      hoverlabel: { bgcolor: surface, bordercolor: border, font: { color: text, size: 12 } },
      xaxis: { ...base.xaxis, gridcolor: grid, spikecolor: muted },
      yaxis: { ...base.yaxis, gridcolor: grid },
    };
    const shown = chart.zoomed ? [...plot.layout.xaxis.range] : range;
    Object.assign(layout.xaxis, shown ? { range: shown, autorange: false } : { autorange: true });
    window.Plotly.react(plot, traces, layout);
    return true;
  }

  function adopt(plot) {
    const base = JSON.parse(JSON.stringify(plot.layout));
    for (const axis of [base.xaxis, base.yaxis]) delete axis.range; // what Plotly made up for an empty chart
    const chart = { plot, base, held: false, zoomed: false, dragged: false };
    const card = plot.closest(".card");
    const say = () => headrace.draw.mark(card, "held", chart.held ? "held" : chart.zoomed ? "zoomed" : "");
    plot.addEventListener("pointerenter", (event) => {
      chart.held = event.pointerType === "mouse";
      say();
    });
    plot.addEventListener("pointerdown", () => {
      chart.dragged = true;
      const end = () => {
        chart.dragged = false;
        headrace.repaint();
      };
      window.addEventListener("pointerup", () => setTimeout(end, 50), { once: true });
    });
    plot.addEventListener("pointerleave", () => {
      chart.held = false;
      say();
      headrace.repaint();
    });
    plot.on("plotly_relayout", (change) => {
      if ("xaxis.range[0]" in change) chart.zoomed = true;
      say();
    });
    plot.on("plotly_doubleclick", () => {
      chart.zoomed = chart.held = false;
      say();
      headrace.repaint(true);
    });
    return chart;
  }

  function line(name, x, y, colour, more = {}) {
    return {
      type: "scatter",
      mode: "lines",
      name,
      x,
      y,
      line: { color: colour, width: 1.75, ...more.line },
      visible: hidden.has(more.key || name) ? "legendonly" : true,
      hovertemplate: `%{y} ${name}<extra></extra>`,
      ...more.trace,
    };
  }

  const entry = (key, name, colour) => ({ key, name, colour, hidden: hidden.has(key) });

  /** Channels in a fixed order, so that a colour keeps its meaning. */
  function channels(tier) {
    const names = Object.keys(tier.values)
      .filter((name) => name.startsWith("in:"))
      .map((name) => name.slice(3));
    const place = (name) => (CHANNELS.includes(name) ? CHANNELS.indexOf(name) : CHANNELS.length);
    return names.sort((a, b) => place(a) - place(b) || a.localeCompare(b)).slice(0, 6);
  }

  function throughput(tier) {
    const { lines } = headrace.theme.colours();
    const x = tier.times.map(local);
    const found = { traces: [], entries: [] };
    channels(tier).forEach((channel, i) => {
      const colour = lines[i];
      const key = `in:${channel}`;
      found.entries.push(entry(key, channel, colour));
      found.traces.push(
        line(`${channel} in`, x, tier.values[key], colour, {
          key,
          line: { width: 1.25 },
          trace: { fill: "tozeroy", fillcolor: headrace.theme.faded(colour, 0.1) },
        }),
      );
      for (const name of Object.keys(tier.values).filter((one) => one.startsWith(`out:${channel}/`)).sort()) {
        const group = name.slice(`out:${channel}/`.length);
        found.traces.push(line(`${channel} → ${group}`, x, tier.values[name], colour, { key, line: { dash: "5px,3px" } }));
      }
    });
    return found;
  }

  function depth(tier) {
    const { lines } = headrace.theme.colours();
    const order = channels(tier);
    const x = tier.times.map(local);
    const names = Object.keys(tier.values).filter((name) => name.startsWith("depth:"));
    const place = (name) => order.indexOf(name.slice(6).split("/")[0]);
    const found = { traces: [], entries: [] };
    names.sort((a, b) => place(a) - place(b) || a.localeCompare(b)).slice(0, 6).forEach((name, i) => {
      const [channel, group] = name.slice(6).split("/");
      const alone = names.filter((one) => one.startsWith(`depth:${channel}/`)).length === 1;
      const shown = alone ? channel : `${channel} → ${group}`;
      const colour = lines[i];
      found.entries.push(entry(name, shown, colour));
      found.traces.push(
        line(shown, x, tier.values[name], colour, {
          key: name,
          trace: i === 0 ? { fill: "tozeroy", fillcolor: headrace.theme.faded(colour, 0.1) } : {},
        }),
      );
    });
    return found;
  }

  function latency(tier) {
    const { green, orange, red } = headrace.theme.colours();
    const x = tier.times.map(local);
    const found = { traces: [], entries: [] };
    for (const [name, colour] of [["p99", red], ["p95", orange], ["p50", green]]) {
      if (!tier.values[name]) continue;
      found.entries.unshift(entry(name, name, colour));
      found.traces.push(line(name, x, tier.values[name], colour, { key: name }));
    }
    return found;
  }

  /** A curve without its noise: the mean of the points around each, a fiftieth of the curve to either side.
      Unlike a running mean it does not lag behind; a curve of few points stays as it is. */
  function smoothed(values) {
    const reach = Math.floor(values.length / 50);
    const sums = [0];
    for (const value of values) sums.push(sums[sums.length - 1] + value);
    return values.map((_, i) => {
      const side = Math.min(reach, i, values.length - 1 - i);
      return (sums[i + side + 1] - sums[i - side]) / (2 * side + 1);
    });
  }

  const slots = new Map();

  /** A colour for each run, kept while the run is drawn. */
  function slot(run, drawn) {
    for (const known of slots.keys()) if (!drawn.has(known)) slots.delete(known);
    if (!slots.has(run)) {
      const taken = new Set(slots.values());
      let free = 0;
      while (taken.has(free)) free += 1;
      slots.set(run, free);
    }
    return slots.get(run);
  }

  /** The running ones; while none runs, the last ones that did. */
  function runsDrawn(runs, curves, metric) {
    const having = runs.filter((run) => curves.get(run.run)?.has(metric));
    const running = having.filter((run) => run.state === "running" || run.state === "stalled");
    const ended = having.filter((run) => !running.includes(run)).sort((a, b) => b.ended - a.ended);
    return (running.length ? running : ended.slice(0, 4)).slice(0, LINES);
  }

  function training(runs, curves, metric) {
    const { lines } = headrace.theme.colours();
    const drawn = runsDrawn(runs, curves, metric);
    const ids = new Set(drawn.map((run) => run.run));
    const found = { traces: [], entries: [], news: 0 };
    for (const run of drawn) {
      const twins = drawn.filter((one) => one.name === run.name).length > 1;
      const name = twins ? `${run.name} · ${run.run.slice(-4)}` : run.name;
      const colour = lines[slot(run.run, ids) % lines.length];
      const key = `run:${run.run}`;
      const curve = curves.get(run.run).get(metric);
      const [steps, values] = curve.columns();
      found.news += curve.version;
      found.entries.push(entry(key, name, colour));
      found.traces.unshift(
        line(name, steps, values, headrace.theme.faded(colour, 0.28), { key, line: { width: 1 }, trace: { hoverinfo: "skip", hovertemplate: "" } }),
      );
      found.traces.push(line(name, steps, smoothed(values), colour, { key, line: { width: 2 } }));
    }
    return found;
  }

  function toggleLine(key) {
    if (!hidden.delete(key)) hidden.add(key);
  }

  headrace.charts = { draw, line, entry, local, throughput, depth, latency, training, runsDrawn, toggleLine };
})((window.headrace = window.headrace || {}));
