/* How one version did over time: requests, latency, class mix, accuracy, errors of a regression. */
"use strict";
(function (headrace) {
  const model = () => headrace.model;
  const EDGE_S = 0.001;
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

  function rate(force) {
    const { blue, sky } = headrace.theme.colours();
    const { times, values } = model().trail();
    const x = times.map(headrace.charts.local);
    const some = (values.requests || []).some((value) => value);
    const made = [trace("model-rate", "requests", x, values.requests || [], blue, { fill: "tozeroy", fillcolor: headrace.theme.faded(blue, 0.1) })];
    if ((values.rows || []).some((value, i) => value !== values.requests[i])) made.push(trace("model-rate", "rows", x, values.rows, sky));
    model().drawLines("model-rate", ...split(made), last(times), force, !some);
  }

  function latency(force) {
    const { green, orange, red } = headrace.theme.colours();
    const { times, values } = model().trail();
    const x = times.map(headrace.charts.local);
    const made = [["p99", red], ["p95", orange], ["p50", green]].filter(([name]) => values[name]).map(([name, colour]) => trace("model-latency", name, x, values[name], colour));
    const [traces, entries] = split(made);
    model().drawLines("model-latency", traces, entries.reverse(), last(times), force, !made.length);
  }

  /** Points of a stack that ends where nothing was counted, or nobody looked: as [time, place in the columns, or -1 for
      nothing]. Without an edge on either side it would slope over what nobody knows. */
  function edged(times, columns) {
    const some = times.map((_, i) => columns.some((column) => column[i]));
    const steps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
    const far = 3 * Math.max(1, steps[steps.length >> 1] || 0);
    const points = [];
    times.forEach((time, i) => {
      if (i && (some[i] !== some[i - 1] || time - times[i - 1] > far)) {
        if (some[i - 1]) points.push([times[i - 1] + EDGE_S, -1]);
        if (some[i]) points.push([time - EDGE_S, -1]);
      }
      points.push([time, i]);
    });
    return points;
  }

  function mix(force) {
    const { theme } = headrace;
    const palette = theme.colours().lines;
    const { times, values } = model().trail();
    const classes = Object.keys(values).filter((name) => name.startsWith("class:")).map((name) => Number(name.slice(6)));
    classes.sort((a, b) => a - b);
    const known = model().quality() ? model().quality().classes.length : 0;
    const points = edged(times, classes.map((i) => values[`class:${i}`]));
    const x = points.map(([time]) => headrace.charts.local(time));
    const made = classes.map((i) => {
      const colour = palette[i % palette.length];
      const rest = i === 11 && known > 12;
      // Beyond the colours there are, a second round is lighter, so that neighbours differ all the same.
      const filled = theme.faded(colour, i < palette.length ? 0.72 : 0.36);
      const made = trace("model-mix", rest ? "others" : model().className(i), x, points.map(([, at]) => values[`class:${i}`][at] || 0), colour, {
        stackgroup: "mix",
        groupnorm: "fraction",
        fillcolor: filled,
        line: { color: theme.colours().surface, width: 0.6 },
      });
      made.entry.colour = filled;
      return made;
    });
    model().drawLines("model-mix", ...split(made), last(times), force, !made.length);
  }

  function accuracy(force) {
    const { theme, format, charts } = headrace;
    const { green, muted } = theme.colours();
    const now = model().quality();
    const slots = now ? now.over_time : [];
    const empty = !now || !now.accuracy;
    if (empty) return model().drawLines("model-accuracy", [], [], 0, force, true);
    const x = slots.map(([at]) => charts.local(at + 5));
    const plain = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", hovertemplate: "" };
    const said = slots.map(([, n, right, low, high]) => `${format.percent(right / n)} (${model().between(low, high)})<br>${format.count(right)} of ${format.count(n)} right`);
    const made = [
      trace("model-accuracy", "interval", x, slots.map((slot) => slot[3]), theme.faded(green, 0.4), plain),
      trace("model-accuracy", "interval", x, slots.map((slot) => slot[4]), theme.faded(green, 0.4), { ...plain, fill: "tonexty", fillcolor: theme.faded(green, 0.16) }),
      trace("model-accuracy", "by 10 s", x, slots.map(([, n, right]) => right / n), green, { mode: "lines+markers", marker: { size: 4 }, text: said, hovertemplate: "%{text}<extra></extra>" }),
      trace("model-accuracy", "since the first label", model().shownRange(), [now.accuracy.share, now.accuracy.share], muted, { line: { color: muted, width: 1.25, dash: "5px,3px" } }),
    ];
    const [traces, entries] = split(made);
    model().drawLines("model-accuracy", traces, entries.slice(1), [now.joined, model().key()], force, false);
  }

  function error(card, place, whole, force) {
    const { theme, charts, format } = headrace;
    const { orange, purple, muted } = theme.colours();
    const now = model().quality();
    const slots = now ? now.errors.filter((slot) => slot[place] !== null) : [];
    const value = now ? now[whole] : null;
    if (!now || !now.joined) return model().drawLines(card, [], null, 0, force, true);
    const x = slots.map(([at]) => charts.local(at + 5));
    const text = slots.map((slot) => `${format.metric(slot[place])} · n ${format.count(slot[1])}`);
    const made = [
      trace(card, "by 10 s", x, slots.map((slot) => slot[place]), whole === "mae" ? orange : purple, { mode: "lines+markers", marker: { size: 4 }, text, hovertemplate: "%{text}<extra></extra>" }),
      trace(card, "since the first label", value === null ? [] : model().shownRange(), value === null ? [] : [value, value], muted, { line: { color: muted, width: 1.25, dash: "5px,3px" } }),
    ];
    model().drawLines(card, made.map((one) => one.line), null, [now.joined, model().key()], force, false);
  }

  function toggle(line) {
    if (!hidden.delete(line)) hidden.add(line);
    headrace.repaint(true);
  }

  headrace.trails = { rate, latency, mix, edged, accuracy, error, toggle };
})((window.headrace = window.headrace || {}));
