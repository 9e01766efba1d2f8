/* The time bar: how far back the logs go, what came in meanwhile, where frames are missing, when it was alerted; and a
   slider that takes the whole page to any second of it. It is the only part that shows the present while the page shows
   the past. */
"use strict";
(function (headrace) {
  const ASK_MS = { live: 5_000, still: 15_000 };
  const DRAW_MS = 1_000;
  const NEAR_PX = 7;
  const BEHIND_S = 3;
  const SPARSE_S = 11;
  const WAY = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -60, PageUp: 60 };
  const HEIGHT = 100;
  const bar = { seconds: 900, span: null, asked: -Infinity, asking: false, drawn: 0, held: null, pointed: null };

  const byId = (id) => document.getElementById(id);
  const present = () => headrace.connection.present();
  const away = () => headrace.connection.wanted !== null || headrace.store.at !== null;
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

  /** A moment, Unix ms, as a reader's clock shows it; with its day if that is another. */
  function told(at) {
    const date = new Date(at);
    const today = new Date();
    if (date.toDateString() === today.toDateString()) return clock.format(date);
    const year = date.getFullYear() === today.getFullYear() ? "" : ` ${date.getFullYear()}`;
    return `${day.format(date)}${year} ${clock.format(date)}`;
  }

  const ago = (s) => `${headrace.format.duration(Math.max(0, s))} ago`;

  /** Where the axis begins and ends, Unix seconds; it stands still while a reader drags. */
  function axis() {
    if (bar.held) return bar.held;
    const end = present();
    const oldest = bar.span?.oldest ?? end - 60;
    return { begin: Math.min(Math.max(end - bar.seconds, oldest), end - 60), end };
  }

  const share = (time, { begin, end }) => Math.min(1, Math.max(0, (time - begin) / (end - begin)));
  const percent = (time, on) => `${(100 * share(time, on)).toFixed(3)}%`;

  async function ask() {
    const now = performance.now();
    if (bar.asking || document.hidden || now - bar.asked < (away() ? ASK_MS.still : ASK_MS.live)) return;
    Object.assign(bar, { asking: true, asked: now });
    const { seconds } = bar;
    try {
      const answer = await fetch(headrace.links.address("api/span", { seconds }), { cache: "no-store" });
      if (answer.ok && seconds === bar.seconds) bar.span = await answer.json();
      bar.drawn = 0;
    } catch {
      /* the pill says that nothing answers */
    }
    bar.asking = false;
  }

  /** Called with every picture of the page; drawn once a second, and when another moment is shown. */
  function draw() {
    const track = byId("time-track");
    if (!track || headrace.connection.frozen) return;
    listen(track);
    ask();
    const { wanted } = headrace.connection;
    const { at, gone } = headrace.store;
    const sign = `${wanted} ${at} ${gone?.at} ${bar.pointed} ${headrace.store.time > 0}`;
    const now = performance.now();
    if (sign === bar.sign && now - bar.drawn < DRAW_MS) return;
    Object.assign(bar, { sign, drawn: now });
    const on = axis();
    drawPast(track, on);
    drawCursor(track, on, wanted);
    drawNote(gone, at);
    const live = byId("time-live");
    live.setAttribute("aria-pressed", String(!away()));
    headrace.draw.mark(byId("time"), "moment", away() ? "past" : "live");
  }

  function drawPast(track, on) {
    const [picture, gaps, marks] = track.children;
    const { draw, format } = headrace;
    const { span } = bar;
    headrace.draw.write(byId("time-begin"), told(on.begin * 1000));
    if (!span) return;
    const known = span.rates.filter((rate) => rate !== null);
    const most = Math.max(1e-9, ...known);
    const y = (rate) => (HEIGHT - 6 - (rate / most) * (HEIGHT - 22)).toFixed(1);
    const parts = [];
    let part = [];
    const end = () => {
      if (part.length > 1) parts.push(part);
      part = [];
    };
    span.times.forEach((time, i) => {
      const hole = i > 0 && span.gaps.some(([a, b]) => span.times[i - 1] <= a && b <= time);
      if (hole || span.rates[i] === null) end();
      if (span.rates[i] !== null && time >= on.begin) part.push(`${(1000 * share(time, on)).toFixed(1)} ${y(span.rates[i])}`);
    });
    end();
    const line = parts.map((one) => `M${one.join("L")}`).join("");
    const area = parts.map((one) => `M${one[0].split(" ")[0]} ${HEIGHT}L${one.join("L")}V${HEIGHT}Z`).join("");
    const svg = picture.firstElementChild || picture.appendChild(paths());
    svg.children[0].setAttribute("d", area);
    svg.children[1].setAttribute("d", line);
    draw.fill(gaps, span.gaps.length, () => draw.element("i")).forEach((gap, i) => {
      const [from, to] = span.gaps[i];
      gap.style.cssText = `left:${percent(from, on)};width:${(100 * (share(to, on) - share(from, on))).toFixed(3)}%`;
      gap.title = `No frames from ${told(from * 1000)} for ${format.duration(to - from)}`;
    });
    const shown = span.alerts.filter(({ at, state }) => state === "raised" && at >= on.begin);
    draw.fill(marks, shown.length, () => draw.element("i")).forEach((one, i) => {
      const { at, severity, text, name } = shown[i];
      one.style.left = percent(at, on);
      draw.mark(one, "kind", severity);
      one.title = `${told(at * 1000)} · ${severity}: ${text || name}`;
    });
  }

  function paths() {
    const SVG = "http://www.w3.org/2000/svg";
    const made = document.createElementNS(SVG, "svg");
    made.setAttribute("viewBox", `0 0 1000 ${HEIGHT}`);
    made.setAttribute("preserveAspectRatio", "none");
    made.append(document.createElementNS(SVG, "path"), document.createElementNS(SVG, "path"));
    return made;
  }

  function drawCursor(track, on, wanted) {
    const [, , , band, cursor, bubble] = track.children;
    const moment = wanted === null ? on.end : wanted / 1000;
    cursor.style.left = percent(moment, on);
    const from = moment - headrace.clock.seconds();
    band.style.cssText = `left:${percent(from, on)};width:${(100 * (share(moment, on) - share(from, on))).toFixed(3)}%`;
    const pointed = bar.pointed;
    bubble.hidden = pointed === null;
    if (pointed !== null) {
      headrace.draw.write(bubble, `${told(pointed * 1000)} · ${ago(on.end - pointed)}`);
      bubble.style.left = percent(pointed, on);
      headrace.draw.mark(bubble, "side", share(pointed, on) > 0.5 ? "left" : "right");
    }
    const set = (name, value) => track.getAttribute(name) !== value && track.setAttribute(name, value);
    const round = (time) => String(10 * Math.round(time / 10)); // the present moves on: not every second is news to tell
    set("aria-valuemin", round(on.begin));
    set("aria-valuemax", round(on.end));
    set("aria-valuenow", wanted === null ? round(on.end) : String(Math.round(moment)));
    set("aria-valuetext", wanted === null ? "live" : `${told(wanted)}, ${ago(present() - moment)}`);
  }

  /** What a reader must know of the moment shown: that it is not kept, that frames are missing. */
  function drawNote(gone, at) {
    const note = byId("time-note");
    const { store, draw } = headrace;
    let text = "";
    let oldest = null;
    if (gone) {
      text = gone.why;
      oldest = gone.oldest;
    } else if (at !== null) {
      const behind = at / 1000 - store.time;
      const sparse = bar.span?.exact && at / 1000 < bar.span.exact && behind < SPARSE_S;
      if (sparse) text = `Of this time one frame in ten seconds is kept: what is shown is of ${told(store.time * 1000)}. `;
      else if (behind > BEHIND_S) text = `No frame was made at this moment: what is shown is of ${told(store.time * 1000)}. `;
    }
    draw.write(note.firstElementChild, text.trim());
    const button = note.lastElementChild;
    button.hidden = oldest === null || oldest === undefined;
    draw.mark(button, "value", String(oldest + 2_000));
    note.hidden = !text;
  }

  /* what a reader does */

  /** Go to a moment, Unix seconds; past either end of what is kept is at that end. */
  function go(time, settled = true) {
    const { oldest } = bar.span || {};
    if (time >= present() - 0.5) return headrace.clock.travel(null, settled);
    const earliest = oldest ? oldest + 1 : present() - bar.seconds;
    return headrace.clock.travel(1000 * Math.ceil(Math.max(earliest, time)), settled);
  }

  function pointedAt(track, event) {
    const box = track.getBoundingClientRect();
    const on = axis();
    const x = event.clientX - box.left;
    if (x > box.width - NEAR_PX) return present();
    return Math.round(on.begin + Math.min(1, Math.max(0, x / box.width)) * (on.end - on.begin));
  }

  function refresh() {
    bar.drawn = 0;
    headrace.repaint();
  }

  function onKey(event) {
    const { wanted } = headrace.connection;
    const now = wanted === null ? present() : wanted / 1000;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in WAY) go(now + WAY[event.key] * (event.shiftKey ? 10 : 1));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") headrace.clock.travel(null);
    else if (event.key === " ") byId("pause").click();
    else return;
    event.preventDefault();
    refresh();
  }

  function listen(track) {
    if (bar.track === track) return;
    bar.track = track;
    const move = (event) => {
      bar.pointed = pointedAt(track, event);
      if (bar.held) go(bar.pointed, false);
      refresh();
    };
    track.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      bar.held = axis();
      track.setPointerCapture(event.pointerId);
      track.focus({ preventScroll: true });
      move(event);
    });
    track.addEventListener("pointermove", move);
    const drop = (event) => {
      if (!bar.held) return;
      const at = event.type === "pointerup" ? pointedAt(track, event) : null;
      bar.held = null;
      if (event.pointerType !== "mouse") bar.pointed = null;
      if (at !== null) go(at);
      refresh();
    };
    track.addEventListener("pointerup", drop);
    track.addEventListener("pointercancel", drop);
    track.addEventListener("pointerleave", () => {
      if (!bar.held) bar.pointed = null;
      refresh();
    });
    track.addEventListener("keydown", onKey);
    document.addEventListener("keydown", (event) => {
      if (event.key === " " && event.target === document.body && !event.repeat) onKey(event);
    });
    byId("time-span").addEventListener("change", ({ target }) => {
      Object.assign(bar, { seconds: Number(target.value), asked: -Infinity, span: bar.span && { ...bar.span, times: [], rates: [], gaps: [] } });
      refresh();
    });
  }

  headrace.time = { draw, told };
})((window.headrace = window.headrace || {}));
