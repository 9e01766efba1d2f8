/* How right and how sure one version is: calibration, confidence, predicted classes, residuals, predicted against true. */
"use strict";
(function (headrace) {
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const model = () => headrace.model;

  function reliability(force) {
    const { theme, format, draw } = headrace;
    const { blue, muted } = theme.colours();
    const now = model().quality();
    const bins = now ? now.calibration : [];
    if (!bins.length) return model().drawLines("model-reliability", [], null, 0, force, true);
    const most = Math.max(...bins.map(([, n]) => n));
    const said = bins.map(([start, n, sure, share, low, high]) => `sure ${format.percent(sure)}, right ${format.percent(share)}<br>${model().between(low, high)} · n ${format.count(n)}`);
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
    model().drawLines("model-reliability", [ideal, points], null, [now.joined, model().key()], force, false, [0, 1]);
    const width = 0.1;
    const counts = Array.from({ length: 10 }, (_, i) => (bins.find(([start]) => Math.round(start / width) === i) || [0, 0])[1]);
    const sum = counts.reduce((all, n) => all + n, 0);
    draw.bars(byId("bin-bars"), counts, counts.map((n) => (n ? format.short(n) : "")), counts.map((n, i) => `confidence ${(i * width).toFixed(1)} to ${((i + 1) * width).toFixed(1)}: ${format.counted(n, "label")} (${format.percent(n / sum)})`));
    put("ece", `ECE ${format.percent(now.calibration_error, 2)} · n ${format.number(sum)}`);
  }

  function confidence() {
    const { draw, format } = headrace;
    const now = model().quality();
    const counts = now ? now.confidence : [];
    const sum = counts.reduce((all, n) => all + n, 0);
    model().emptied("model-confidence", !sum);
    if (!sum) return;
    const at = (i) => (i / counts.length).toFixed(2);
    draw.bars(byId("sure-bars"), counts, counts.map((_, i) => (i % 5 === 0 ? format.percent(i / counts.length, 0) : "")), counts.map((n, i) => `${at(i)} to ${at(i + 1)}: ${format.count(n)} (${format.percent(n / sum)})`));
    const all = now.classes.reduce((one, n) => one + n, 0);
    draw.bars(byId("class-bars"), now.classes, now.classes.map((_, i) => model().className(i)), now.classes.map((n, i) => `${model().className(i)}: ${format.count(n)} (${format.percent(all ? n / all : 0)})`));
  }

  function scatter(force) {
    const { theme, format } = headrace;
    const { blue, muted } = theme.colours();
    const pairs = (model().quality() && model().quality().pairs) || [];
    if (!pairs.length) return model().drawLines("model-scatter", [], null, 0, force, true);
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
    model().drawLines("model-scatter", [ideal, points], null, [model().quality().joined, model().key()], force, false, null);
    put("pairs-shown", `newest ${format.count(pairs.length)} of ${format.count(model().quality().joined)}`);
  }

  function residuals() {
    const { draw, format } = headrace;
    const now = model().quality();
    const counts = now ? now.residuals : [];
    const sum = counts.reduce((all, n) => all + n, 0);
    model().emptied("model-residuals", !sum);
    if (!sum) return;
    const at = (i) => (now.residual_first + i) * now.residual_width;
    const signed = (value) => `${value > 0 ? "+" : ""}${format.metric(value)}`;
    const every = Math.ceil(counts.length / 8);
    const zero = -now.residual_first;
    draw.bars(byId("residual-bars"), counts, counts.map((_, i) => ((i - zero) % every === 0 ? signed(at(i)) : "")), counts.map((n, i) => `${signed(at(i))} to ${signed(at(i + 1))}: ${format.count(n)} (${format.percent(n / sum)})`));
    [...byId("residual-bars").children].forEach((bar, i) => draw.mark(bar, "side", i < zero ? "under" : "over"));
    const under = counts.slice(0, Math.max(0, zero)).reduce((all, n) => all + n, 0);
    const [low, high] = model().interval(under, sum);
    put("residual-said", `too low ${format.percent(under / sum)} (${model().between(low, high)}) · n ${format.count(sum)} · bins of ${format.metric(now.residual_width)}`);
  }

  headrace.quality = { reliability, confidence, scatter, residuals };
})((window.headrace = window.headrace || {}));
