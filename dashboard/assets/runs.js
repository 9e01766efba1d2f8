/* The runs that a browser knows, from frames and from what was looked up; which are chosen, their colours and curves;
   and tables of hundreds of lines of which only those in view exist. No network. */
"use strict";
(function (headrace) {
  const CHOSEN = 10;
  const ALONE = 6;
  const CLOCK = "@time";
  const LEFT_S = 5;
  const ROW = 42;
  const SPARE = 4;
  const DASHES = [[], [6, 3], [2, 3]];
  const SMALLER = /^(?!neg_).*(loss|error|mae|mse)/i;
  const lines = new Map();
  const details = new Map();
  const slots = new Map();
  let seen = { frame: null, past: null };

  const list = (text) => (text ? text.split(",").map(decodeURIComponent) : []);
  const text = (items) => items.map(encodeURIComponent).join(",");

  /** All lines, brought up to the newest sections. A run that left the frames stays until it is looked up. */
  function all() {
    const { training, runs } = headrace.store.sections;
    if (training && (training !== seen.frame || runs !== seen.past)) {
      seen = { frame: training, past: runs };
      const now = training.time;
      for (const line of runs ? runs.runs : []) take(line, now);
      for (const line of training.runs) take(line, now);
      for (const [run, line] of lines) if (now - line.seen > LEFT_S || line.seen > now) lines.delete(run);
    }
    return lines;
  }

  function take(line, now) {
    lines.set(line.run, { step: 0, total_steps: 0, steps_per_s: 0, ranks: 1, candidates: 0, started: 0, ended: 0, parent: "", error: "", metrics: {}, best: {}, params: {}, ...line, seen: now });
  }

  const isHere = (run) => Boolean(headrace.store.sections.training?.runs.some((line) => line.run === run));
  const detail = (run) => headrace.store.sections[`run:${run}`] || null;
  const goesOn = (line) => line.state === "running" || line.state === "stalled";

  /** The runs that are drawn: those ticked, or while none is, those that run, or the last that ended. */
  function chosen() {
    const asked = ticked().slice(0, CHOSEN);
    if (asked.length) return asked;
    const having = [...all().values()].filter((line) => Object.keys(line.metrics).length && !line.candidates);
    const running = having.filter((line) => line.state === "running").sort((a, b) => b.started - a.started);
    const ended = having.filter((line) => !goesOn(line)).sort((a, b) => b.ended - a.ended);
    return (running.length ? running.slice(0, ALONE) : ended.slice(0, 4)).map((line) => line.run);
  }

  /** The runs ticked; other pages lead here with one, as `run`. */
  function ticked() {
    const one = headrace.view.get("run");
    return list(headrace.view.get("runs")).concat(one ? [one] : []);
  }

  /** Tick these, and no others. */
  function tick(all) {
    headrace.view.set("run", "");
    headrace.view.set("runs", text(all));
  }

  /** Tick a run or take it off; the first tick starts from nothing. */
  function toggle(run) {
    const now = ticked();
    tick(now.includes(run) ? now.filter((one) => one !== run) : [...now, run].slice(-CHOSEN));
  }

  /** Colour and dashes of each run, kept while it is drawn. */
  function style(run, drawn) {
    for (const known of slots.keys()) if (!drawn.includes(known)) slots.delete(known);
    if (!slots.has(run)) {
      const taken = new Set(slots.values());
      let free = 0;
      while (taken.has(free)) free += 1;
      slots.set(run, free);
    }
    const colours = headrace.theme.colours().lines;
    const slot = slots.get(run);
    return { colour: colours[slot % colours.length], dash: DASHES[Math.floor(slot / colours.length) % DASHES.length] };
  }

  /** The curves of a run by metric: from the frames, or what was looked up. */
  function curves(run) {
    const found = detail(run);
    if (isHere(run) || !found || !found.curves) return headrace.store.curves.get(run) || new Map();
    const held = details.get(run);
    if (held && held.of === found) return held.curves;
    const made = new Map(Object.entries(found.curves).map(([metric, [stride, points]]) => [metric, new headrace.Curve(found.limit, stride, points)]));
    details.set(run, { of: found, curves: made });
    return made;
  }

  /** Let go of curves that nobody draws and no frame brings. */
  function prune(drawn) {
    for (const run of details.keys()) if (!drawn.includes(run)) details.delete(run);
    const { store } = headrace;
    if (store.curves.size < 60) return;
    for (const run of store.curves.keys()) if (!drawn.includes(run) && !isHere(run)) store.curves.delete(run);
  }

  /** A name that tells it from the others drawn. */
  function title(run, drawn) {
    const name = all().get(run)?.name || run;
    const twins = drawn.filter((one) => (all().get(one)?.name || one) === name).length > 1;
    return twins ? `${name} · ${run.slice(-4)}` : name;
  }

  /** A parameter as it was set: no digit that the table has no room for. */
  function param(one) {
    if (one === undefined || one === null) return headrace.format.NONE;
    if (typeof one !== "number") return String(one);
    const shown = Number(one.toPrecision(6));
    return shown && Math.abs(shown) < 0.001 ? shown.toExponential() : String(shown);
  }

  const isSmaller = (metric) => SMALLER.test(metric);

  /** Losses first, then by name; what candidates said comes last. */
  function order(metrics) {
    const place = (name) => (name.startsWith("candidates/") ? 2 : isSmaller(name) ? 0 : 1);
    return [...metrics].filter((name) => name !== CLOCK).sort((a, b) => place(a) - place(b) || a.localeCompare(b));
  }

  /* tables */

  /** Rows of a long table, of which only those in view exist: `made` by their key, so that the focus stays.
      `box` scrolls; `items` are all; `make` makes a row, `update` writes an item into it. */
  function windowed(box, body, items, key, make, update) {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const last = Math.min(items.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
    const rows = (body.made ??= new Map());
    const focused = document.activeElement;
    const wanted = new Map(items.slice(first, last).map((item) => [key(item), item]));
    for (const [name, row] of rows) {
      if (wanted.has(name) || row.contains(focused)) continue;
      row.remove();
      rows.delete(name);
    }
    const [above, below] = (body.spacers ??= [spacer(), spacer()]);
    if (above.parentElement !== body) body.replaceChildren(above, below);
    stretch(above, first);
    stretch(below, items.length - last);
    let before = above;
    for (const [name, item] of wanted) {
      let row = rows.get(name);
      if (!row) rows.set(name, (row = make(item)));
      if (before.nextElementSibling !== row) before.after(row);
      update(row, item);
      before = row;
    }
    if (body.parentElement.ariaRowCount !== String(items.length)) body.parentElement.ariaRowCount = String(items.length);
  }

  function spacer() {
    const row = headrace.draw.element("tr", "spacer");
    row.setAttribute("aria-hidden", "true");
    row.append(headrace.draw.element("td"));
    return row;
  }

  function stretch(row, count) {
    const height = `${count * ROW}px`;
    if (row.firstElementChild.style.height !== height) row.firstElementChild.style.height = height;
    row.hidden = !count;
  }

  /** The headings of a table, each a button that sorts: `columns` are [key, text, classes]. */
  function headings(head, columns, verb, sort) {
    const { draw } = headrace;
    const sign = columns.map((column) => column.join("\u0000")).join("\u0001");
    if (head.dataset.sign !== sign) {
      head.dataset.sign = sign;
      head.replaceChildren(
        ...columns.map(([key, words, kind]) => {
          const cell = draw.element("th", kind);
          cell.scope = "col";
          if (!key) {
            cell.append(draw.element("span", "unseen", words));
            return cell;
          }
          const button = draw.element("button", "sort");
          button.type = "button";
          button.dataset.do = verb;
          button.dataset.value = key;
          button.append(draw.element("span", "", words), draw.element("i"));
          cell.append(button);
          return cell;
        }),
      );
    }
    [...head.children].forEach((cell, i) => {
      const [key] = columns[i];
      const way = key && sort === key ? "ascending" : key && sort === `-${key}` ? "descending" : "none";
      if (cell.ariaSort !== way) cell.ariaSort = way;
      if (key) draw.write(cell.firstElementChild.lastElementChild, way === "ascending" ? "▲" : way === "descending" ? "▼" : "");
    });
  }

  /** Items in the order that a reader chose; what has no value comes last either way. */
  function sorted(items, value, down) {
    const sign = down ? -1 : 1;
    return items
      .map((item) => [value(item), item])
      .sort(([a], [b]) => {
        const [none, nil] = [a === null || a === undefined || a === "", b === null || b === undefined || b === ""];
        if (none || nil) return none - nil;
        return sign * (typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a - b);
      })
      .map(([, item]) => item);
  }

  headrace.runs = { CHOSEN, CLOCK, all, chosen, ticked, tick, toggle, style, curves, detail, prune, title, param, goesOn, isSmaller, order, list, text, windowed, headings, sorted };
})((window.headrace = window.headrace || {}));
