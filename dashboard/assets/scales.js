/* Where a value stands in a picture, and the round numbers and moments beside its axes. Pure. */
"use strict";
(function (headrace) {
  function extent(series, range, log) {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const one of series) {
      for (let i = 0; i < one.x.length; i += 1) {
        const x = one.x[i];
        if (x < left) left = x;
        if (x > right) right = x;
        if (range && (x < range[0] || x > range[1])) continue;
        for (const column of [one.y, one.low, one.high, one.faint]) {
          const y = column ? column[i] : null;
          if (y === null || !Number.isFinite(y) || (log && y <= 0)) continue;
          if (y < low) low = y;
          if (y > high) high = y;
        }
      }
    }
    return [range ? range[0] : left, range ? range[1] : right, low, high];
  }

  /** The scales of a picture in a box of `width` and `height` with the edges given; null if there is nothing to draw. */
  function of(plot, picture, { LEFT, RIGHT, TOP, BOTTOM }) {
    let [left, right, low, high] = extent(picture.series, picture.range, picture.log);
    if (!(left <= right)) return null;
    if (!(low <= high)) [low, high] = [picture.log ? 0.1 : 0, 1];
    if (left === right) [left, right] = [left - 0.5, right + 0.5];
    if (!picture.range && picture.series.some((one) => one.dots)) {
      const room = (right - left) * 0.03;
      [left, right] = [left - room, right + room];
    }
    const value = picture.log ? Math.log10 : (y) => y;
    let [bottom, top] = [value(low), value(high)];
    const air = (top - bottom) * 0.06 || Math.abs(top) * 0.1 || 0.5;
    bottom -= air;
    top += air;
    if (!picture.log && low >= 0 && bottom < 0) bottom = 0;
    const width = plot.width - LEFT - RIGHT;
    const height = plot.height - TOP - BOTTOM;
    return {
      left,
      right,
      bottom,
      top,
      x: (x) => LEFT + ((x - left) / (right - left)) * width,
      y: (y) => TOP + (1 - (value(y) - bottom) / (top - bottom)) * height,
      back: (pixel) => left + ((pixel - LEFT) / width) * (right - left),
    };
  }

  /** Round numbers between two ends, about `most` of them. */
  function ticks(from, to, most) {
    const rough = (to - from) / Math.max(1, most);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) || power * 10;
    const found = [];
    for (let n = Math.ceil(from / step); n * step <= to + step * 1e-9 && found.length < 50; n += 1) found.push(Number((n * step).toPrecision(12)));
    return found;
  }

  function decades(bottom, top, most) {
    const found = [];
    const whole = ticks(Math.ceil(bottom), Math.floor(top), most).filter((one) => Number.isInteger(one));
    for (const power of whole) found.push(10 ** power);
    if (found.length > 2) return found;
    const between = [];
    for (let power = Math.floor(bottom); power <= top; power += 1) for (const factor of [1, 2, 5]) between.push(factor * 10 ** power);
    const inside = between.filter((one) => one >= 10 ** bottom && one <= 10 ** top);
    return inside.length > 1 ? inside : ticks(10 ** bottom, 10 ** top, most).filter((one) => one > 0);
  }

  const CLOCKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

  function moments(from, to, most, offset) {
    const rough = (to - from) / Math.max(1, most);
    const step = CLOCKS.find((one) => one >= rough) || Math.ceil(rough / 604_800) * 604_800;
    const found = [];
    for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) found.push(at);
    return [found, step];
  }

  const two = (n) => String(n).padStart(2, "0");

  function clock(at, step) {
    const date = new Date(at * 1000);
    const day = `${date.getMonth() + 1}/${date.getDate()}`;
    if (step >= 86_400) return day;
    const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
    return step >= 60 ? minutes : `${minutes}:${two(date.getSeconds())}`;
  }

  function age(seconds, step) {
    if (step >= 3600) return `${Number((seconds / 3600).toFixed(1))} h`;
    if (step >= 60) return `${Number((seconds / 60).toFixed(1))} min`;
    return `${Number(seconds.toFixed(1))} s`;
  }

  function across(kind, scale, most) {
    if (kind === "time" || kind === "age") {
      const offset = kind === "time" ? new Date(scale.left * 1000).getTimezoneOffset() * 60 : 0;
      const [found, step] = moments(scale.left, scale.right, most, offset);
      return found.map((at) => [at, kind === "time" ? clock(at, step) : age(at, step)]);
    }
    const found = ticks(scale.left, scale.right, most).filter((at) => kind !== "whole" || Number.isInteger(at));
    return found.map((at) => [at, headrace.format.number(at)]);
  }

  const said = (kind, x) => (kind === "time" ? clock(x, 1) : kind === "age" ? age(x, x >= 7200 ? 3600 : x >= 120 ? 60 : 1) : headrace.format.count(Math.round(x)));

  headrace.scales = { of, ticks, decades, across, said };
})((window.headrace = window.headrace || {}));
