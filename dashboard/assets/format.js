/* Numbers as people read them: three digits that matter, a unit, never a jump in width for a digit more. Pure. */
"use strict";
(function (headrace) {
  const NONE = "–";
  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

  /** 0.042, 3.14, 42.5, 512, 1,234, 12.3k, 4.5M */
  function number(value) {
    if (!known(value)) return NONE;
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 0.001) return value.toExponential(1);
    if (size < 1) return String(Number(value.toPrecision(2)));
    if (size < 10) return value.toFixed(Number.isInteger(value) ? 0 : 2);
    if (size < 100) return value.toFixed(Number.isInteger(value) ? 0 : 1);
    if (size < 10_000) return grouped.format(value);
    for (const [unit, scale] of [["k", 1e3], ["M", 1e6], ["G", 1e9]]) {
      if (size < scale * 999.5) return `${(value / scale).toPrecision(3)}${unit}`;
    }
    return `${(value / 1e12).toPrecision(3)}T`;
  }

  /** A whole number with its thousands parted: 12,345; from a million on 1.23M. */
  function count(value) {
    if (!known(value)) return NONE;
    return Math.abs(value) < 1e6 ? grouped.format(value) : number(value);
  }

  /** A count with its noun: 1 run, 2,345 runs; `many` is the plural where it is not `one` with an s. */
  const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

  /** At most four characters, for narrow cells: 999, 5.8k, 12k, 1.2M */
  function short(value) {
    if (value < 1000) return String(value);
    const [unit, scale] = value < 999_500 ? ["k", 1e3] : ["M", 1e6];
    return `${(value / scale).toFixed(value / scale < 9.95 ? 1 : 0)}${unit}`;
  }

  /** Milliseconds as [number, unit]: 85 µs, 2.10 ms, 1.20 s. */
  function span(ms) {
    if (!known(ms)) return [NONE, "ms"];
    if (ms > 0 && ms < 0.1) return [String(Math.round(ms * 1000)), "µs"];
    if (ms < 1000) return [ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0), "ms"];
    return [(ms / 1000).toPrecision(3), "s"];
  }

  const milliseconds = (ms) => span(ms).join(" ");

  /** Seconds as one or two units: 0.4 s, 42 s, 3 min, 2 h 10 min, 4 d. */
  function duration(s) {
    if (!known(s)) return NONE;
    if (s < 9.95) return `${Math.max(0, s).toFixed(1)} s`;
    if (s < 99.5) return `${Math.round(s)} s`;
    if (s < 3600) return `${Math.round(s / 60)} min`;
    const [minutes, hours] = [Math.round(s / 60), Math.round(s / 3600)];
    if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    return hours < 2400 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${grouped.format(hours / 24)} d`;
  }

  function bytes(value) {
    if (!known(value)) return NONE;
    for (const [unit, scale] of [["B", 1], ["kB", 1e3], ["MB", 1e6], ["GB", 1e9]]) {
      if (value < scale * 999.5) return `${unit === "B" ? value : (value / scale).toPrecision(3)} ${unit}`;
    }
    return `${(value / 1e12).toPrecision(3)} TB`;
  }

  /** A share as per cent with `digits` after the point. */
  const percent = (share, digits = 1) => (known(share) ? `${(share * 100).toFixed(digits)} %` : NONE);

  /** A tick of an axis: 0.001, 2.5, 1.2k, 1e-6. */
  function axis(value) {
    const size = Math.abs(value);
    if (size && (size < 0.001 || size >= 1e13)) return Number(value.toPrecision(3)).toExponential().replace("e+", "e");
    for (const [unit, scale] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
      if (size >= scale * 10 || (unit !== "k" && size >= scale)) return `${Number((value / scale).toPrecision(3))}${unit}`;
    }
    return String(Number(value.toPrecision(4)));
  }

  /** A metric of a training: four digits that matter. */
  const metric = (value) => (known(value) ? String(Number(value.toPrecision(4))) : NONE);

  /** A moment (Unix seconds) by the reader's own clock, to the millisecond: 14:03:09.042; with its day if it is another. */
  function clock(time) {
    if (!known(time)) return NONE;
    const at = new Date(time * 1000);
    const two = (part) => String(part).padStart(2, "0");
    const day = at.toDateString() === new Date().toDateString() ? "" : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
    return `${day}${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  }

  /** A proper name with its capital. */
  const name = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

  headrace.format = { NONE, known, number, count, counted, short, span, milliseconds, duration, bytes, percent, axis, metric, clock, name };
})((window.headrace = window.headrace || {}));
