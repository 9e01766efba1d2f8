/* Parallel coordinates: an axis for each parameter and one for the result, a line for each candidate of a search.

   A span drawn along an axis picks the candidates that pass it; spans are in the address, as shares of their axis. */
"use strict";
(function (headrace) {
  const AXES = 8;
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);

  function axisOf(name, values) {
    const known = values.filter((one) => one !== null && one !== undefined);
    if (known.every((one) => typeof one === "number")) {
      const [low, high] = [Math.min(...known), Math.max(...known)];
      const log = low > 0 && high / low >= 30;
      const scale = (one) => (log ? Math.log10(one) : one);
      const span = scale(high) - scale(low);
      const ends = [headrace.runs.param(low), headrace.runs.param(high)];
      return { name, log, ends, place: (one) => (typeof one !== "number" ? null : span ? (scale(one) - scale(low)) / span : 0.5) };
    }
    const kinds = [...new Set(known.map(String))].sort();
    return { name, kinds, place: (one) => (one === null || one === undefined ? null : kinds.length > 1 ? kinds.indexOf(String(one)) / (kinds.length - 1) : 0.5) };
  }

  /** Spans that a reader drew on axes: by name, from and to as shares of the axis. */
  function brushes() {
    const found = new Map();
    for (const one of headrace.runs.list(choice("brush"))) {
      const parts = one.split("~");
      const [from, to] = parts.slice(-2).map(Number);
      if (from <= to) found.set(parts.slice(0, -2).join("~"), [from, to]);
    }
    return found;
  }

  function brush(name, span) {
    const all = brushes();
    if (span) all.set(name, span);
    else all.delete(name);
    headrace.view.set("brush", headrace.runs.text([...all].map(([key, [from, to]]) => `${key}~${from.toFixed(3)}~${to.toFixed(3)}`)));
  }

  /** Axes and, for each candidate, its place on each of them. */
  function geometry(search, width, height) {
    const { candidates, score, objective, names } = search;
    const most = Math.max(2, Math.min(AXES, Math.floor(width / 96)));
    const shown = names.slice(0, most - 1);
    const axes = [...shown.map((name) => axisOf(name, candidates.map((line) => line.params[name]))), axisOf(objective || "result", candidates.map(score))];
    const spans = brushes();
    const paths = candidates.map((line) => {
      const shares = [...shown.map((name, i) => axes[i].place(line.params[name])), axes[axes.length - 1].place(score(line))];
      const inside = axes.every(({ name }, i) => !spans.has(name) || (shares[i] !== null && shares[i] >= spans.get(name)[0] && shares[i] <= spans.get(name)[1]));
      return { line, shares, inside };
    });
    const gap = (width - 92) / Math.max(1, axes.length - 1);
    return { axes, spans, paths, gap, width, height, x: (i) => 46 + i * gap, y: (share) => 30 + (1 - share) * (height - 52) };
  }

  function trace(context, { x, y }, shares) {
    context.beginPath();
    let drawn = false;
    shares.forEach((share, i) => {
      if (share === null) return;
      if (drawn) context.lineTo(x(i), y(share));
      else context.moveTo(x(i), y(share));
      drawn = true;
    });
    context.stroke();
  }

  function canvases(box) {
    if (box.children.length) return;
    const { element } = headrace.draw;
    const note = element("div", "tip number");
    note.hidden = true;
    box.append(element("canvas"), element("canvas", "over"), note);
    const over = box.children[1];
    const at = (event) => [event.clientX - over.getBoundingClientRect().left, event.clientY - over.getBoundingClientRect().top];
    const share = (y) => Math.min(1, Math.max(0, 1 - (y - 30) / (box.shape.height - 52)));
    over.addEventListener("pointerdown", (event) => {
      const [x, y] = at(event);
      const axis = box.shape ? box.shape.axes.findIndex((_, i) => Math.abs(box.shape.x(i) - x) < 16) : -1;
      if (axis < 0 || event.button) return;
      box.drag = { axis, from: share(y), to: share(y) };
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointermove", (event) => {
      if (box.drag) box.drag.to = share(at(event)[1]);
      else box.lit = nearest(box, ...at(event));
      over.style.cursor = box.shape?.axes.some((_, i) => Math.abs(box.shape.x(i) - at(event)[0]) < 16) ? "ns-resize" : "default";
      requestAnimationFrame(() => light(box));
    });
    over.addEventListener("pointerup", () => {
      if (!box.drag) return;
      const { axis, from, to } = box.drag;
      box.drag = null;
      brush(box.shape.axes[axis].name, Math.abs(from - to) > 0.02 ? [Math.min(from, to), Math.max(from, to)] : null);
    });
    over.addEventListener("pointerleave", () => {
      box.lit = null;
      requestAnimationFrame(() => light(box));
    });
  }

  /** The candidate whose line passes nearest to a place. */
  function nearest({ shape }, left, top) {
    if (!shape || shape.axes.length < 2) return null;
    const i = Math.max(0, Math.min(shape.axes.length - 2, Math.floor((left - 46) / shape.gap)));
    const along = Math.min(1, Math.max(0, (left - shape.x(i)) / shape.gap));
    let [found, least] = [null, 12];
    for (const path of shape.paths) {
      const [a, b] = [path.shares[i], path.shares[i + 1]];
      if (!path.inside || a === null || b === null) continue;
      const away = Math.abs(shape.y(a + along * (b - a)) - top);
      if (away < least) [found, least] = [path, away];
    }
    return found;
  }

  /** What lies over the lines: the candidate pointed at, and a span that is being drawn. */
  function light(box) {
    const { shape, lit, drag, children } = box;
    const context = children[1].getContext("2d");
    const ratio = children[1].width / shape.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, shape.width, shape.height);
    const { text, muted } = headrace.theme.colours();
    if (drag) {
      context.fillStyle = headrace.theme.faded(muted, 0.3);
      context.fillRect(shape.x(drag.axis) - 7, shape.y(Math.max(drag.from, drag.to)), 14, Math.abs(shape.y(drag.from) - shape.y(drag.to)));
    }
    const note = children[2];
    note.hidden = !lit;
    if (!lit) return;
    context.strokeStyle = text;
    context.lineWidth = 2.5;
    trace(context, shape, lit.shares);
    const { line } = lit;
    const said = [[line.candidate, line.status], ...Object.entries(line.params).map(([key, one]) => [key, headrace.runs.param(one)]), ...Object.entries(line.metrics).map(([key, one]) => [key, headrace.format.metric(one)])];
    headrace.draw.fill(note, Math.min(12, said.length), () => {
      const row = headrace.draw.element("div");
      row.append(headrace.draw.element("span"), headrace.draw.element("b"));
      return row;
    }).forEach((row, i) => said[i].forEach((one, n) => headrace.draw.write(row.children[n], one)));
    headrace.plot.beside(note, shape.x(Math.floor((shape.axes.length - 1) / 2)), shape.width);
  }

  function draw(box, search, force) {
    canvases(box);
    const { score, smaller, best } = search;
    const ratio = headrace.draw.ratio();
    const [width, height] = [box.clientWidth, box.clientHeight];
    const sign = [width, height, headrace.theme.isDark(), search.objective, choice("brush")].join();
    if (width < 80 || (box.of === search && box.sign === sign && !force)) return;
    const shape = geometry(search, width, height);
    Object.assign(box, { of: search, sign, shape, lit: null });
    for (const canvas of [box.children[0], box.children[1]]) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
    }
    const { muted, blue, orange } = headrace.theme.colours();
    const { faded } = headrace.theme;
    box.legend = best ? [{ name: `the best: ${best.candidate}`, colour: orange }, { name: "the others: the better, the stronger", colour: faded(blue, 0.87) }] : [];
    light(box);
    const context = box.children[0].getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const judged = shape.paths.filter(({ line, inside }) => inside && score(line) !== null).sort((a, b) => (smaller ? score(b.line) - score(a.line) : score(a.line) - score(b.line)));
    context.lineWidth = 1;
    context.strokeStyle = faded(muted, 0.12);
    for (const path of shape.paths) if (!path.inside) trace(context, shape, path.shares);
    context.setLineDash([3, 3]);
    context.strokeStyle = faded(muted, 0.4);
    for (const path of shape.paths) if (path.inside && score(path.line) === null) trace(context, shape, path.shares);
    context.setLineDash([]);
    judged.forEach(({ line, shares }, place) => {
      const share = judged.length > 1 ? place / (judged.length - 1) : 1;
      context.strokeStyle = line === best ? orange : faded(blue, 0.12 + 0.75 * share ** 2);
      context.lineWidth = line === best ? 2.5 : 0.8 + 0.9 * share;
      trace(context, shape, shares);
    });
    drawAxes(context, shape);
  }

  function drawAxes(context, { axes, spans, gap, height, x, y }) {
    const { muted, grid, text } = headrace.theme.colours();
    const end = axes.length - 1;
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    axes.forEach((axis, i) => {
      context.textAlign = i === 0 ? "left" : i === end ? "right" : "center";
      const edge = i === 0 ? x(i) - 42 : i === end ? x(i) + 42 : x(i);
      context.strokeStyle = grid;
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x(i), y(0));
      context.lineTo(x(i), y(1));
      context.stroke();
      const span = spans.get(axis.name);
      if (span) {
        context.fillStyle = headrace.theme.faded(muted, 0.3);
        context.fillRect(x(i) - 6, y(span[1]), 12, y(span[0]) - y(span[1]));
      }
      context.fillStyle = text;
      context.fillText(shorter(context, axis.log ? `${axis.name} (log)` : axis.name, gap - 8), edge, 13);
      context.fillStyle = muted;
      if (axis.kinds) axis.kinds.slice(0, 12).forEach((kind, n) => label(context, kind, i === end ? x(i) - 6 : x(i) + 6, y(axis.kinds.length > 1 ? n / (axis.kinds.length - 1) : 0.5) + 4, i === end));
      else {
        context.fillText(axis.ends[1], edge, 26);
        context.fillText(axis.ends[0], edge, height - 6);
      }
    });
  }

  /** A text with a ground of its own, so that lines do not cross it. */
  function label(context, text, x, y, right) {
    context.save();
    context.textAlign = right ? "right" : "left";
    const shown = shorter(context, text, 80);
    const width = context.measureText(shown).width;
    context.fillStyle = headrace.theme.faded(headrace.theme.colours().surface, 0.85);
    context.fillRect(right ? x - width - 2 : x - 2, y - 10, width + 4, 13);
    context.restore();
    context.save();
    context.textAlign = right ? "right" : "left";
    context.fillText(shown, x, y);
    context.restore();
  }

  function shorter(context, text, most) {
    let shown = text;
    while (shown.length > 4 && context.measureText(shown).width > most) shown = `${shown.slice(0, -2)}…`;
    return shown;
  }

  /** The candidates that pass all spans; null while there is none. */
  function picked(box) {
    if (!brushes().size || !box.shape) return null;
    return new Set(box.shape.paths.filter((path) => path.inside).map((path) => path.line));
  }

  headrace.parallel = { draw, picked };
})((window.headrace = window.headrace || {}));
