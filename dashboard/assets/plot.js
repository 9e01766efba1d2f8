/* Lines on a canvas: many curves, many pictures, at a cost that lets all of them move.

   `headrace.plot.draw(box, picture, force)` draws into the element `box`. A picture:

       series   [{ key, name, colour, dash, x, y, low, high, faint, dots, step, width }]: columns of one line, by x
       kind     of the x axis: "number", "time" (Unix seconds), "age" (seconds), "whole" (only whole numbers have a tick)
       log      whether y is logarithmic: what is not above zero is left out
       range    [from, to] of x, or null for all of it
       news     anything that tells one set of values from the next
       zoom     called with [from, to] when a reader drags over a span, with null on a double click
       group    pictures of one group share the crosshair

   The crosshair lies on a canvas of its own, so that pointing redraws no line. */
"use strict";
(function (headrace) {
  const LEFT = 46;
  const RIGHT = 10;
  const TOP = 8;
  const BOTTOM = 22;
  const EDGES = { LEFT, RIGHT, TOP, BOTTOM };
  const plots = new WeakMap();
  const groups = new Map();

  function adopt(box) {
    const { element } = headrace.draw;
    const plot = { box, still: element("canvas"), over: element("canvas", "over"), note: element("div", "tip number"), sign: "" };
    plot.note.hidden = true;
    box.replaceChildren(plot.still, plot.over, plot.note);
    box.tabIndex = 0;
    listen(plot);
    plots.set(box, plot);
    return plot;
  }

  /* drawing */

  function size(plot) {
    const width = plot.box.clientWidth;
    const height = plot.box.clientHeight;
    const ratio = headrace.draw.ratio();
    if (plot.width === width && plot.height === height && plot.ratio === ratio) return width > 80;
    Object.assign(plot, { width, height, ratio });
    for (const canvas of [plot.still, plot.over]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    return width > 80;
  }

  function draw(box, picture, force = false) {
    const plot = plots.get(box) || adopt(box);
    if (!size(plot)) return;
    const sign = JSON.stringify([plot.width, plot.height, headrace.theme.isDark(), picture.range, picture.log, picture.kind, picture.news, picture.series.map((one) => [one.key, one.colour, one.x.length])]);
    if (sign === plot.sign && !force) return;
    plot.sign = sign;
    plot.picture = picture;
    const context = plot.still.getContext("2d");
    context.setTransform(plot.ratio, 0, 0, plot.ratio, 0, 0);
    context.clearRect(0, 0, plot.width, plot.height);
    const scale = (plot.scale = headrace.scales.of(plot, picture, EDGES));
    join(plot, picture.group);
    if (!scale) return;
    frame(context, plot, picture, scale);
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP - 4, plot.width - LEFT - RIGHT, plot.height - TOP - BOTTOM + 8);
    context.clip();
    for (const one of picture.series) band(context, one, scale, picture.log);
    for (const one of picture.series) if (one.faint) stroke(context, one, one.faint, scale, picture.log, headrace.theme.faded(one.colour, 0.3), 1);
    for (const one of picture.series) {
      if (one.dots) dots(context, one, scale, picture.log);
      else stroke(context, one, one.y, scale, picture.log, one.colour, one.width || 1.75);
    }
    context.restore();
    point(plot);
  }

  function frame(context, plot, picture, scale) {
    const { grid, muted } = headrace.theme.colours();
    plot.font ??= `11px ${getComputedStyle(document.body).fontFamily}`;
    context.font = plot.font;
    context.fillStyle = muted;
    context.strokeStyle = grid;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const rows = Math.max(2, Math.round((plot.height - TOP - BOTTOM) / 34));
    const marks = picture.log ? headrace.scales.decades(scale.bottom, scale.top, rows) : headrace.scales.ticks(scale.bottom, scale.top, rows);
    for (const value of marks) {
      const y = Math.round(scale.y(value)) + 0.5;
      if (y < TOP - 1 || y > plot.height - BOTTOM + 1) continue;
      context.beginPath();
      context.moveTo(LEFT, y);
      context.lineTo(plot.width - RIGHT, y);
      context.stroke();
      context.fillText(headrace.format.axis(value), LEFT - 7, y);
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    for (const [at, text] of headrace.scales.across(picture.kind, scale, Math.max(2, Math.floor((plot.width - LEFT) / 66)))) {
      const x = scale.x(at);
      const half = context.measureText(text).width / 2;
      if (x - half < 2 || x + half > plot.width) continue;
      context.fillText(text, x, plot.height - 6);
    }
  }

  const shows = (value, log) => value !== null && value !== undefined && Number.isFinite(value) && (!log || value > 0);

  function stroke(context, { x, dash, step }, values, scale, log, colour, width) {
    context.beginPath();
    let before = null;
    for (let i = 0; i < x.length; i += 1) {
      if (!shows(values[i], log)) {
        before = null;
        continue;
      }
      const [a, b] = [scale.x(x[i]), scale.y(values[i])];
      if (before === null) context.moveTo(a, b);
      else {
        if (step) context.lineTo(a, before);
        context.lineTo(a, b);
      }
      before = b;
    }
    context.setLineDash(dash || []);
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.stroke();
    context.setLineDash([]);
    if (x.length === 1) dots(context, { x, y: values, colour }, scale, log);
  }

  function dots(context, { x, y, colour }, scale, log) {
    context.fillStyle = colour;
    for (let i = 0; i < x.length; i += 1) {
      if (!shows(y[i], log)) continue;
      context.beginPath();
      context.arc(scale.x(x[i]), scale.y(y[i]), 2.6, 0, 7);
      context.fill();
    }
  }

  function band(context, { x, low, high, colour }, scale, log) {
    if (!low || !high || !low.some((value, i) => value < high[i])) return;
    const inside = x.map((_, i) => i).filter((i) => shows(low[i], log) && shows(high[i], log));
    context.beginPath();
    inside.forEach((i) => context.lineTo(scale.x(x[i]), scale.y(high[i])));
    inside.reverse().forEach((i) => context.lineTo(scale.x(x[i]), scale.y(low[i])));
    context.closePath();
    context.fillStyle = headrace.theme.faded(colour, 0.17);
    context.fill();
  }

  /* pointing and zooming */

  function join(plot, name) {
    if (!name || plot.group === name) return;
    plot.group = name;
    if (!groups.has(name)) groups.set(name, { plots: new Set(), x: null });
    const { plots: all } = groups.get(name);
    for (const one of all) if (!one.box.isConnected) all.delete(one); // else it keeps the page that was left
    all.add(plot);
  }

  /** Set the crosshair of a picture and of those that share it; null takes it away. */
  function aim(plot, x) {
    const group = groups.get(plot.group) || { plots: new Set([plot]) };
    for (const one of group.plots) {
      if (!one.box.isConnected) {
        group.plots.delete(one);
        continue;
      }
      const kind = one.picture?.kind;
      one.x = one === plot || kind === plot.picture?.kind ? x : null;
      one.aimed = one === plot;
      if (!one.asked) {
        one.asked = true;
        requestAnimationFrame(() => {
          one.asked = false;
          point(one);
        });
      }
    }
  }

  function nearest(x, at) {
    let [low, high] = [0, x.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (x[middle] < at) low = middle;
      else high = middle;
    }
    return Math.abs(x[high] - at) < Math.abs(x[low] - at) ? high : low;
  }

  function point(plot) {
    const context = plot.over.getContext("2d");
    context.setTransform(plot.ratio, 0, 0, plot.ratio, 0, 0);
    context.clearRect(0, 0, plot.width, plot.height);
    const { scale, picture, x } = plot;
    const { muted, accent, surface } = headrace.theme.colours();
    if (plot.drag && scale) {
      const [from, to] = plot.drag;
      context.fillStyle = headrace.theme.faded(muted, 0.18);
      context.fillRect(Math.min(from, to), TOP, Math.abs(to - from), plot.height - TOP - BOTTOM);
    }
    if (x === null || x === undefined || !scale || x < scale.left || x > scale.right) {
      plot.note.hidden = true;
      return;
    }
    const left = Math.round(scale.x(x)) + 0.5;
    context.strokeStyle = muted;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(left, TOP);
    context.lineTo(left, plot.height - BOTTOM);
    context.stroke();
    context.setLineDash([]);
    const reach = (scale.right - scale.left) * 0.03;
    const found = [];
    for (const one of picture.series) {
      if (!one.x.length || one.quiet) continue;
      const i = nearest(one.x, x);
      if (!shows(one.y[i], picture.log) || (Math.abs(one.x[i] - x) > reach && (x < one.x[0] || x > one.x[one.x.length - 1]))) continue;
      found.push([one, i]);
      context.beginPath();
      context.arc(scale.x(one.x[i]), scale.y(one.y[i]), 3.5, 0, 7);
      context.fillStyle = one.colour;
      context.strokeStyle = surface || accent;
      context.lineWidth = 1.5;
      context.fill();
      context.stroke();
    }
    tip(plot, found, left, headrace.scales.said(picture.kind, x));
  }

  function tip(plot, found, left, title) {
    const { draw, format } = headrace;
    plot.note.hidden = !plot.aimed || !found.length;
    if (plot.note.hidden) return;
    found.sort(([a, i], [b, j]) => b.y[j] - a.y[i]);
    draw.fill(plot.note, found.length + 1, () => {
      const line = draw.element("div");
      line.append(draw.element("i"), draw.element("span"), draw.element("b"));
      return line;
    }).forEach((line, n) => {
      const [swatch, name, value] = line.children;
      if (!n) {
        draw.write(name, `${plot.picture.of || ""} ${title}`.trim());
        draw.write(value, "");
        swatch.style.background = "none";
        return;
      }
      const [one, i] = found[n - 1];
      const spread = one.low && one.low[i] < one.high[i] ? `  ${format.metric(one.low[i])}…${format.metric(one.high[i])}` : "";
      swatch.style.background = one.colour;
      draw.write(name, one.names ? one.names[i] : one.name);
      draw.write(value, `${format.metric(one.y[i])}${spread}`);
    });
    beside(plot.note, left, plot.width);
  }

  /** Put a note beside a place, on the side that has more room, and never outside of a picture `width` wide. */
  function beside(note, left, width) {
    const own = note.offsetWidth;
    const place = left > width / 2 ? left - own - 12 : left + 12;
    note.style.left = `${Math.max(0, Math.min(width - own, place))}px`;
  }

  function listen(plot) {
    const { over, box } = plot;
    const place = (event) => Math.max(LEFT, Math.min(plot.width - RIGHT, event.clientX - over.getBoundingClientRect().left));
    over.addEventListener("pointermove", (event) => {
      if (!plot.scale) return;
      if (plot.drag) plot.drag[1] = place(event);
      aim(plot, plot.scale.back(place(event)));
    });
    over.addEventListener("pointerleave", () => plot.drag || aim(plot, null));
    over.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button || !plot.picture?.zoom) return;
      plot.drag = [place(event), place(event)];
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointerup", () => {
      if (!plot.drag) return;
      const [from, to] = plot.drag.map((pixel) => plot.scale.back(pixel)).sort((a, b) => a - b);
      const far = Math.abs(plot.drag[1] - plot.drag[0]) > 6;
      plot.drag = null;
      aim(plot, plot.x);
      if (far) plot.picture.zoom([from, to]);
    });
    over.addEventListener("dblclick", () => plot.picture?.zoom?.(null));
    box.addEventListener("blur", () => aim(plot, null));
    box.addEventListener("keydown", (event) => {
      const { scale } = plot;
      if (event.key === "Escape") plot.picture?.zoom?.(null);
      if (!scale || !event.key.startsWith("Arrow") || event.key === "ArrowUp" || event.key === "ArrowDown") return;
      event.preventDefault();
      const by = ((event.key === "ArrowLeft" ? -1 : 1) * (scale.right - scale.left)) / 100;
      const from = plot.x ?? (scale.left + scale.right) / 2;
      aim(plot, Math.max(scale.left, Math.min(scale.right, from + by)));
    });
  }

  /** What is drawn, for tests and for who exports it. */
  const shown = (box) => plots.get(box)?.picture || null;

  headrace.plot = { draw, shown, beside };
})((window.headrace = window.headrace || {}));
