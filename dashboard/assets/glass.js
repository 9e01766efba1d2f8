/* Time to glass: how old things are when a reader sees them, measured where they are seen.

   A prediction of the tail carries the stamps of whoever had it: its publisher, the log, a worker, the log again. What
   follows is measured here: the frame that brings it was made, it arrives, and the browser has painted it. All stamps are
   brought to the server's clock, those of publishers and workers by the dashboard. Clocks are known to within half a round trip, so a later stamp may seem to lie before an
   earlier one: the span between them is then 0, and counted as shorter than the clocks can tell. Only what comes while
   somebody looks is measured: what waited for a pause, a hidden tab or a new connection says nothing of speed. */
"use strict";
(function (headrace) {
  const KEPT = 240;
  const SPAN_S = 60;
  const SPANS = [
    ["publish", "created to appended: on its way to the log"],
    ["wait", "appended to received: in the queue until a worker read it"],
    ["model", "received to scored: decoded and predicted, with its batch"],
    ["commit", "scored to committed: the result is in the log"],
    ["frame", "committed to framed: until the next frame of statistics was made, four times a second"],
    ["push", "framed to arrived: through log, dashboard and socket into this browser"],
    ["paint", "arrived to painted: until the numbers of its frame were on the screen"],
  ];
  const WAYS = { samples: [], push: [], tiles: [], charts: [] };
  const waiting = [];
  let rested = true;
  let socket = null;

  const clocks = () => headrace.store.sections.clock || { offset_s: 0, trip_s: 0 };

  /** Now on the server's clock, Unix seconds. */
  const now = () => headrace.connection.now() + clocks().offset_s;

  /** How well clocks are known, seconds to either side: two half round trips, and positions are whole milliseconds. */
  function tolerance() {
    const { clock } = headrace.connection;
    return clock ? clock.trip / 2 + clocks().trip_s / 2 + 0.0005 : null;
  }

  /** Something has come; called before it is folded in. */
  function arrived(message) {
    const { connection } = headrace;
    const late = rested || connection.socket !== socket || message.past;
    if (!message.moments && !message.past) return;
    socket = connection.socket;
    rested = document.hidden || connection.paused || connection.wanted !== null;
    if (late || rested) {
      waiting.length = 0;
      return;
    }
    const at = now();
    for (const { time, samples } of message.moments) waiting.push({ made: time, at, samples: samples || [] });
    waiting.splice(0, waiting.length - KEPT);
  }

  /** Nobody looks now: what comes next is late on purpose. */
  function rest() {
    rested = true;
    waiting.length = 0;
  }

  const asked = { tiles: [], charts: [] };
  const painted = new MessageChannel();
  painted.port1.onmessage = ({ data }) => {
    const at = now();
    if (data === "tiles" && headrace.glass.first === null && headrace.store.time) headrace.glass.first = performance.now();
    for (const frame of asked[data].splice(0)) {
      keep(data, at, at - frame.made);
      if (data === "tiles") {
        keep("push", at, frame.at - frame.made);
        for (const sample of frame.samples) {
          const known = stamps(sample);
          const made = Math.max(frame.made, known[4]); // a sample may overtake the frame that it is sent with
          keep("samples", at, { ...spans([...known, made, frame.at, at]), tolerance: sample.tolerance });
        }
      }
    }
  };

  /** `what` (tiles or charts) was written in this animation frame; the next task finds it painted. */
  function drawn(what) {
    const fresh = waiting.filter((frame) => !frame[what]);
    if (!fresh.length && headrace.glass.first !== null) return;
    for (const frame of fresh) frame[what] = true;
    asked[what].push(...fresh);
    painted.port2.postMessage(what);
    while (waiting.length && waiting[0].tiles && waiting[0].charts) waiting.shift();
  }

  function keep(way, at, value) {
    WAYS[way].push({ at, value });
    WAYS[way].splice(0, WAYS[way].length - KEPT);
  }

  /** Positions are cut to the millisecond: the middle of it is meant. */
  const stamps = ({ stamps: [created, appended, received, scored, committed] }) => [
    created,
    appended && appended + 0.0005,
    received,
    scored,
    committed + 0.0005,
  ];

  /** Spans between stamps, seconds, never negative; null where one of the two is not known. Pure. */
  function spans(times) {
    const found = { spans: [], total: null, short: 0 };
    let last = 0;
    const first = times.find((time) => time > 0);
    times.forEach((time, i) => {
      const known = time > 0;
      const at = known ? Math.max(time, last) : last;
      if (i) found.spans.push(known && times[i - 1] > 0 ? at - last : null);
      if (known && i && time < last) found.short += 1;
      last = at;
    });
    found.total = first ? last - first : null;
    return found;
  }

  /** The smallest value that this share of all does not exceed; null of nothing. */
  function percentile(values, rank) {
    const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.max(0, Math.ceil(rank * sorted.length) - 1)] : null;
  }

  const both = (values) => ({ p50: percentile(values, 0.5), p95: percentile(values, 0.95), count: values.length });

  /** What the last minute came to, in seconds: each span of a prediction's way, the whole of it, and the way of frames. */
  function summary() {
    const since = now() - SPAN_S;
    const recent = (way) => WAYS[way].filter((one) => one.at >= since).map((one) => one.value);
    const samples = recent("samples");
    return {
      spans: SPANS.map(([name], i) => ({ name, ...both(samples.map((one) => one.spans[i])) })),
      total: both(samples.map((one) => one.total)),
      frames: Object.fromEntries(["push", "tiles", "charts"].map((way) => [way, both(recent(way).map((value) => Math.max(0, value)))])),
      short: samples.reduce((sum, one) => sum + one.short, 0),
      measured: samples.length * SPANS.length,
      tolerance: tolerance() === null ? null : tolerance() + Math.max(0, ...samples.map((one) => one.tolerance)),
    };
  }

  /* the card */

  const FRAMES = [
    ["push", "Frame arrived", "made by the aggregator to arrived in this browser"],
    ["tiles", "Tiles painted", "made by the aggregator to painted: tiles, with every frame"],
    ["charts", "Charts painted", "made by the aggregator to painted: charts and tables in view, twice a second"],
  ];
  const SECOND_MS = 950;
  let written = 0;

  function draw(force) {
    if (!force && performance.now() - written < SECOND_MS) return;
    written = performance.now();
    const { draw, format } = headrace;
    const found = summary();
    const card = document.getElementById("glass-card");
    draw.mark(card, "empty", found.frames.tiles.count ? "" : "yes");
    if (!found.frames.tiles.count) return;
    let from = 0;
    const lines = found.spans.map((span, i) => {
      const line = { name: span.name, why: SPANS[i][1], kind: "span", from, ...span };
      from += span.p50 || 0;
      return line;
    });
    lines.push({ name: "created → painted", why: "a prediction, from its request made to painted here", kind: "total", from: 0, ...found.total });
    for (const [way, name, why] of FRAMES) lines.push({ name, why, kind: "frames", from: 0, ...found.frames[way] });
    const most = Math.max(0.001, ...lines.map((line) => line.from + (line.p95 || 0)));
    const text = (value) => (value === null ? format.NONE : format.milliseconds(value * 1000));
    draw.fill(document.getElementById("rows-glass"), lines.length, () => {
      const row = draw.element("tr");
      const name = draw.element("th");
      name.scope = "row";
      const bar = draw.element("td", "way");
      bar.append(draw.element("i"), draw.element("b"));
      row.append(name, bar, draw.element("td", "num number"), draw.element("td", "num number"));
      return row;
    }).forEach((row, i) => {
      const line = lines[i];
      const percent = (value) => `${((100 * value) / most).toFixed(1)}%`;
      draw.mark(row, "kind", line.kind);
      draw.write(row.children[0], line.name);
      if (row.title !== line.why) row.title = line.why;
      const [late, usual] = row.children[1].children;
      late.hidden = usual.hidden = line.p50 === null;
      late.style.cssText = `left:${percent(line.from)};width:${percent(line.p95 || 0)}`;
      usual.style.cssText = `left:${percent(line.from)};width:${percent(line.p50 || 0)}`;
      draw.write(row.children[2], text(line.p50));
      draw.write(row.children[3], text(line.p95));
    });
    const counted = `${format.counted(found.total.count, "prediction")} and ${format.counted(found.frames.tiles.count, "frame")} in a minute`;
    const clock = found.tolerance === null ? "clocks not compared yet" : `clocks known to ± ${format.milliseconds(found.tolerance * 1000)}`;
    const short = found.short ? `; ${format.percent(found.short / found.measured, 0)} of spans shorter than that, shown as 0` : "";
    draw.write(document.getElementById("glass-clocks"), `${counted} · ${clock}${short}`);
  }

  document.addEventListener("visibilitychange", rest);
  /** `first`: when numbers were painted for the first time, milliseconds after the page was asked for. */
  headrace.glass = { first: null, arrived, rest, drawn, draw, spans, percentile, summary, ways: WAYS };
})((window.headrace = window.headrace || {}));
