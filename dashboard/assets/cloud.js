/* Batches as a cloud of signs on a canvas: entries across, mean wait upwards, both logarithmic; the older, the fainter.

   `headrace.cloud.draw(box, section, force)` draws the section `batches`; `signs` are those of the reasons, by name. */
"use strict";
(function (headrace) {
  const [LEFT, RIGHT, TOP, BOTTOM] = [58, 14, 10, 40];
  const NEAR = 20;
  const SIGNS = {
    "all that waited": ["●", "blue"],
    "entries bound": ["■", "orange"],
    "bytes bound": ["◆", "purple"],
    retry: ["▲", "red"],
    claimed: ["✚", "green"],
  };
  const clouds = new WeakMap();

  const sign = (reason) => SIGNS[reason] || ["○", "grey"];

  function adopt(box) {
    const cloud = { box, canvas: box.querySelector("canvas"), tip: box.querySelector(".tip"), dots: [], section: null, sign: "" };
    box.addEventListener("pointermove", (event) => point(cloud, event));
    box.addEventListener("pointerleave", () => {
      cloud.tip.hidden = true;
    });
    clouds.set(box, cloud);
    return cloud;
  }

  /** Whole octaves and decades, so that the axes seldom move. */
  function scales(points, width, height) {
    const octaves = Math.max(3, Math.ceil(Math.log2(Math.max(...points.map((point) => point[1])))));
    const waits = points.map((point) => Math.log10(Math.max(0.01, point[2])));
    const low = Math.min(0, Math.floor(Math.min(...waits)));
    const high = Math.max(low + 2, Math.ceil(Math.max(...waits) + 0.001));
    const wide = width - LEFT - RIGHT;
    const tall = height - TOP - BOTTOM;
    return {
      octaves,
      low,
      high,
      x: (size) => LEFT + 8 + (Math.log2(size) / octaves) * (wide - 16),
      y: (wait) => TOP + tall - ((Math.log10(Math.max(0.01, wait)) - low) / (high - low)) * tall,
    };
  }

  function draw(box, section, force) {
    const cloud = clouds.get(box) || adopt(box);
    const { clientWidth: width, clientHeight: height } = box;
    const ratio = headrace.draw.ratio();
    const state = `${section.until}/${section.points.length}/${width}/${height}/${ratio}/${headrace.theme.isDark()}`;
    if (!width || (state === cloud.sign && !force)) return;
    cloud.sign = state;
    cloud.section = section;
    const { canvas } = cloud;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const scale = scales(section.points, width, height);
    drawAxes(pen, scale, width, height);
    drawDots(cloud, pen, scale);
    const colours = headrace.theme.colours();
    box.shown = section.points.map(([age, size, wait, model, reason, worker]) => ({
      at: section.until - age,
      entries: size,
      wait_ms: wait,
      model_ms: model,
      reason: section.reasons[reason].reason,
      worker: section.workers[worker],
    }));
    box.legend = section.reasons.map(({ reason }) => ({ name: reason, sign: sign(reason)[0], colour: colours[sign(reason)[1]] }));
  }

  function drawAxes(pen, { octaves, low, high, x, y }, width, height) {
    const { grid, muted } = headrace.theme.colours();
    const family = getComputedStyle(document.body).fontFamily;
    pen.font = `11px ${family}`;
    pen.lineWidth = 1;
    pen.strokeStyle = grid;
    pen.fillStyle = muted;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let power = low; power <= high; power += 1) {
      const at = Math.round(y(10 ** power)) + 0.5;
      pen.beginPath();
      pen.moveTo(LEFT, at);
      pen.lineTo(width - RIGHT, at);
      pen.stroke();
      pen.fillText(headrace.format.milliseconds(10 ** power).replace(/\.0+ /, " "), LEFT - 8, at);
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    const every = octaves > 6 && width < 420 ? 2 : 1;
    for (let octave = 0; octave <= octaves; octave += every) {
      const at = Math.round(x(2 ** octave)) + 0.5;
      pen.beginPath();
      pen.moveTo(at, TOP);
      pen.lineTo(at, height - BOTTOM);
      pen.stroke();
      pen.fillText(String(2 ** octave), at, height - BOTTOM + 7);
    }
    pen.fillText("entries in the batch", (LEFT + width - RIGHT) / 2, height - 15);
  }

  /** Each reason in its own colour and form; a little scatter keeps batches of one size apart. */
  function drawDots(cloud, pen, { x, y }) {
    const colours = headrace.theme.colours();
    const { points, reasons } = cloud.section;
    cloud.dots = points.map((point) => {
      const [age, size, wait] = point;
      const shift = (((age * 7919 + size * 31) % 1) - 0.5) * 7;
      return { point, left: x(size) + shift, top: y(wait) };
    });
    const order = cloud.dots.slice().sort((a, b) => a.point[4] - b.point[4] || b.point[0] - a.point[0]);
    for (const { point, left, top } of order) {
      const [, colour] = sign(reasons[point[4]].reason);
      pen.globalAlpha = 0.85 - 0.65 * Math.min(1, point[0] / 60);
      pen.fillStyle = colours[colour];
      pen.beginPath();
      trace(pen, reasons[point[4]].reason, left, top);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  function trace(pen, reason, left, top) {
    switch (reason) {
      case "all that waited":
        pen.arc(left, top, 3.2, 0, 2 * Math.PI);
        break;
      case "entries bound":
        pen.rect(left - 3.2, top - 3.2, 6.4, 6.4);
        break;
      case "bytes bound":
        polygon(pen, [[left, top - 5], [left + 5, top], [left, top + 5], [left - 5, top]]);
        break;
      case "retry":
        polygon(pen, [[left, top - 5], [left + 5, top + 4], [left - 5, top + 4]]);
        break;
      default:
        pen.rect(left - 5, top - 1.4, 10, 2.8);
        pen.rect(left - 1.4, top - 5, 2.8, 10);
    }
  }

  function polygon(pen, corners) {
    corners.forEach(([left, top], i) => (i ? pen.lineTo(left, top) : pen.moveTo(left, top)));
    pen.closePath();
  }

  /** Say what the nearest batch was. */
  function point(cloud, event) {
    if (!cloud.section) return;
    const { left, top, width } = cloud.box.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    let best = null;
    let near = NEAR * NEAR;
    for (const dot of cloud.dots) {
      const away = (dot.left - x) ** 2 + (dot.top - y) ** 2;
      if (away < near) [best, near] = [dot, away];
    }
    cloud.tip.hidden = !best;
    if (!best) return;
    const [age, size, wait, model, reason, worker] = best.point;
    const { format } = headrace;
    const lines = [
      `${format.counted(size, "entry", "entries")} · ${cloud.section.reasons[reason].reason}`,
      `waited ${format.milliseconds(wait)} · model ${format.milliseconds(model)}`,
      `${cloud.section.workers[worker]} · ${format.duration(age)} before the newest`,
    ];
    headrace.draw.fill(cloud.tip, lines.length, () => headrace.draw.element("span")).forEach((line, i) => headrace.draw.write(line, lines[i]));
    const right = best.left > width / 2;
    cloud.tip.style.left = right ? "" : `${best.left + 12}px`;
    cloud.tip.style.right = right ? `${width - best.left + 12}px` : "";
    cloud.tip.style.top = `${Math.max(0, best.top - 30)}px`;
  }

  headrace.cloud = { draw, sign };
})((window.headrace = window.headrace || {}));
