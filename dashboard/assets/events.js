/* The events page: the tail of a channel, a search, and the way of one event. */
"use strict";
(function (headrace) {
  const ROWS = 200;
  const PAINTED = 2_000;
  const AGAIN_MS = 1_000;
  const PATIENCE_MS = 10 * 60_000;
  const byId = (id) => document.getElementById(id);
  const view = () => headrace.view;
  const tail = { channel: "", epoch: "", section: null, lines: [], known: new Set(), seen: new Map(), top: new Map(), drawn: "" };
  const past = { key: "", section: null };
  const painted = new Map();
  const journey = { key: "", found: null, error: "", asked: 0, since: 0, busy: false, drawn: null };
  const hunt = { serial: 0, found: null, said: "" };
  let held = false;

  const channel = () => view().get("channel", "requests");
  const sections = () => ["events", "clock", `tail:${channel()}`];

  /* the tail */

  /** The newest entries of a moment of the past, asked for once. */
  async function earlier(name, at) {
    const key = `${name} ${at}`;
    if (past.key === key) return;
    Object.assign(past, { key, section: null });
    try {
      const section = await headrace.ask("api/events/before", { channel: name, ms: at });
      if (past.key === key) past.section = section;
    } catch (error) {
      if (past.key === key) past.section = { epoch: "", lines: [], error: error.message };
    }
    headrace.repaint(true);
  }

  /** Take in what came; rows stay for as long as there are not ROWS newer ones. */
  function gather() {
    const { at } = headrace.store;
    if (at !== null) earlier(channel(), at);
    else past.key = "";
    const name = at === null ? channel() : past.key;
    const section = at === null ? headrace.store.sections[`tail:${name}`] : past.section;
    if (tail.channel !== name || (section && section.epoch !== tail.epoch)) {
      Object.assign(tail, { channel: name, epoch: section ? section.epoch : "", section: null, lines: [] });
      tail.known.clear();
      tail.seen.clear();
    }
    if (!section || section === tail.section) return;
    tail.section = section;
    for (const line of [...section.lines].reverse()) {
      if (tail.known.has(line.at)) continue;
      const [partition, ms, number] = line.at.split("-").map(Number);
      const before = tail.seen.get(partition);
      tail.seen.set(partition, number);
      tail.known.add(line.at);
      const text = [line.at, line.type, line.id, line.source, line.subject, line.text].join(" ").toLowerCase();
      tail.lines.unshift({ ...line, partition, ms, number, text_: text, skipped: before === undefined ? 0 : number - before - 1 });
    }
    for (const old of tail.lines.splice(ROWS)) tail.known.delete(old.at);
  }

  /** How many were appended from the oldest line to the newest: positions are dense. */
  function appended(lines) {
    const ends = new Map();
    for (const { partition, number } of lines) {
      const [low, high] = ends.get(partition) || [number, number];
      ends.set(partition, [Math.min(low, number), Math.max(high, number)]);
    }
    return [...ends.values()].reduce((sum, [low, high]) => sum + high - low + 1, 0);
  }

  function matching() {
    const type = view().get("type");
    const text = view().get("text").trim().toLowerCase();
    return tail.lines.filter((line) => (!type || line.type === type) && (!text || line.text_.includes(text)));
  }

  /** Rows do not move under a pointer, nor while somebody reads further down. */
  function isHeld() {
    const table = byId("tail-table");
    const scroller = table.querySelector(".scroll");
    return held || table.matches(":hover") || table.contains(document.activeElement) || scroller.scrollTop > 4;
  }

  function drawTail() {
    drawChoices();
    const { draw, format } = headrace;
    draw.mark(byId("tail-card"), "empty", tail.section && !tail.lines.length ? "yes" : "");
    const found = matching();
    const sign = `${channel()}\u0000${view().get("type")}\u0000${view().get("text")}`;
    const waits = isHeld() && tail.drawn === sign && found.length;
    draw.mark(byId("tail-card"), "waits", waits ? "yes" : "");
    const body = byId("rows-tail");
    const fresh = waits ? found.filter((line) => line.number > (tail.top.get(line.partition) ?? -1)).length : 0;
    if (!waits) {
      tail.drawn = sign;
      tail.top = new Map();
      for (const line of found) tail.top.set(line.partition, Math.max(line.number, tail.top.get(line.partition) ?? -1));
      drawRows(body, found);
    }
    const all = appended(tail.lines);
    const oldest = tail.lines[tail.lines.length - 1];
    const span = oldest ? Math.max(0, headrace.connection.now() + (headrace.store.sections.clock?.offset_s || 0) - oldest.ms / 1000) : 0;
    const parts = [];
    if (tail.lines.length) parts.push(`shown ${format.count(tail.lines.length)} of ${format.count(all)} appended in ${format.duration(span)}`);
    if (found.length !== tail.lines.length) parts.push(`${format.count(found.length)} of them match the filter`);
    if (tail.section?.error) parts.push(tail.section.error);
    if (waits) parts.push(`held${held ? "" : " while you read"}${fresh ? `: ${format.count(fresh)} newer` : ""}`);
    draw.write(byId("tail-shown"), parts.join(" · "));
  }

  /** A row for each line, kept for as long as its line is shown; what is new goes in above. */
  function drawRows(body, lines) {
    const { draw } = headrace;
    body.shown = lines.map(({ at, ms, type, id, source, subject, text, bytes, skipped }) => ({ at, time: ms / 1000, type, id, source, subject, fields: text, bytes, skipped }));
    const rows = new Map([...body.children].map((row) => [row.dataset.value, row]));
    const wanted = new Set(lines.map((line) => line.at));
    for (const [at, row] of rows) if (!wanted.has(at)) row.remove();
    let place = body.firstElementChild;
    const news = [];
    for (const line of lines) {
      let row = rows.get(line.at);
      if (!row) {
        row = makeRow(line);
        news.push(`${channel()} ${line.at}`);
      }
      if (row === place) place = place.nextElementSibling;
      else body.insertBefore(row, place);
      draw.mark(row, "traced", line.at === view().get("trace") ? "yes" : "");
    }
    if (news.length && headrace.store.at === null) glass.port2.postMessage(news);
  }

  function makeRow(line) {
    const { draw, format } = headrace;
    const row = draw.element("tr");
    row.dataset.do = "open";
    row.dataset.value = line.at;
    const open = draw.element("button", "open number", format.clock(line.ms / 1000));
    open.type = "button";
    open.dataset.do = "open";
    open.dataset.value = line.at;
    open.setAttribute("aria-label", `Open ${line.type} ${line.id || line.at}`);
    const time = draw.element("td", "stamp");
    time.append(open);
    const type = draw.element("td", "kind", line.type);
    type.dataset.family = line.type.split(".")[0];
    const cells = [
      time,
      type,
      draw.element("td", "wide id", line.id || format.NONE),
      draw.element("td", "wide source", [line.source, line.subject].filter(Boolean).join(" · ") || format.NONE),
      draw.element("td", "fields", line.text),
      draw.element("td", "num number wide", format.count(line.bytes)),
      draw.element("td", "num number wide quiet", line.skipped > 0 ? `+${format.count(line.skipped)}` : ""),
    ];
    cells[2].title = line.id;
    cells[4].title = line.text;
    if (line.skipped > 0) cells[6].title = `${line.skipped} entries between this one and the next below are not shown`;
    row.append(...cells);
    return row;
  }

  /** When rows are on the screen: told by the task after the picture in which they were written. */
  const glass = new MessageChannel();
  glass.port1.onmessage = ({ data }) => {
    const at = headrace.connection.now() + (headrace.store.sections.clock?.offset_s || 0);
    for (const key of data) painted.set(key, at);
    for (const key of painted.keys()) {
      if (painted.size <= PAINTED) break;
      painted.delete(key);
    }
  };

  function drawChoices() {
    const { draw, format } = headrace;
    const known = (headrace.store.sections.events || { channels: [] }).channels;
    const names = known.map(({ name, rate }) => [name, rate === null ? name : `${name} · ${format.number(rate)}/s`]);
    if (!known.some(({ name }) => name === channel())) names.unshift([channel(), channel()]);
    const choice = byId("tail-channel");
    // The rates would rewrite the list under a reader who has it open.
    if (document.activeElement !== choice) draw.options(choice, names, channel());
    const types = [...new Set(tail.lines.map((line) => line.type))].sort();
    const type = view().get("type");
    if (type && !types.includes(type)) types.push(type);
    const select = byId("tail-type");
    if (document.activeElement !== select) draw.options(select, [["", "all types"], ...types.map((name) => [name, name])], type);
  }

  /* search */

  async function search(event) {
    event?.preventDefault();
    const id = byId("search-field").value.trim();
    view().set("id", id);
    const serial = (hunt.serial += 1);
    if (!id) {
      Object.assign(hunt, { found: null, said: "" });
      drawSearch();
      return;
    }
    Object.assign(hunt, { found: null, said: "searching…" });
    drawSearch();
    try {
      const within = byId("search-where").value ? channel() : "";
      const found = await headrace.ask("api/events/search", { id, channel: within });
      if (serial !== hunt.serial) return;
      Object.assign(hunt, { found, said: looked(found) });
    } catch (error) {
      if (serial !== hunt.serial) return;
      Object.assign(hunt, { found: null, said: error.message });
    }
    drawSearch();
    const own = hunt.found?.hits.filter((hit) => hit.how !== "names" && hit.channel === "requests") || [];
    if (own.length === 1) view().set("trace", own[0].line.at);
  }

  /** How far a search went: honest about what it did not see. */
  function looked({ hits, looked: where }) {
    const { format } = headrace;
    const count = hits.length ? `${format.count(hits.length)} found` : "nothing found";
    if (!where.length) return `${count} at that place`;
    const entries = where.reduce((sum, one) => sum + one.entries, 0);
    const cut = where.filter((one) => !one.complete);
    const now = headrace.connection.now();
    const text = `${count}; looked at ${format.count(entries)} entries of ${where.length === 1 ? where[0].channel : `${where.length} channels`}`;
    if (!cut.length) return `${text}, all there are`;
    const back = cut.map((one) => `${one.channel} back ${one.since ? format.duration(Math.max(0, now - one.since)) : "not at all"}`);
    return `${text}; not to the beginning: ${back.join(", ")}`;
  }

  const HOW = { is: "is it", names: "names it", place: "stands there" };

  function drawSearch() {
    const { draw } = headrace;
    draw.write(byId("search-said"), hunt.said);
    const hits = hunt.found?.hits || [];
    draw.fill(byId("search-hits"), hits.length, () => {
      const item = draw.element("li");
      const open = draw.element("button", "hit");
      open.type = "button";
      open.dataset.do = "hit";
      open.append(draw.element("b"), draw.element("small"), draw.element("span", "number"));
      item.append(open);
      return item;
    }).forEach((item, i) => {
      const { channel: home, how, line } = hits[i];
      const open = item.firstElementChild;
      open.dataset.value = `${home} ${line.at}`;
      draw.write(open.children[0], line.type);
      draw.write(open.children[1], `${HOW[how] || how} · ${home}`);
      draw.write(open.children[2], line.at);
    });
  }

  /* the way of one */

  const FINAL = new Set(["scored", "dead", "committed", "kept", "unknown"]);

  /** Ask for the journey chosen; again each second while it is not at its end. */
  async function followed() {
    const trace = view().get("trace");
    const home = view().get("of", "requests");
    const key = trace && `${home} ${trace}`;
    if (key !== journey.key) Object.assign(journey, { key, found: null, error: "", asked: 0, since: Date.now(), drawn: null });
    if (!key || journey.busy || document.hidden || headrace.connection.frozen) return;
    const open = !journey.found || (!FINAL.has(journey.found.fate) && Date.now() - journey.since < PATIENCE_MS);
    if (!open || (journey.error && journey.asked) || Date.now() - journey.asked < AGAIN_MS) return;
    journey.busy = true;
    journey.asked = Date.now();
    let found = null;
    let error = "";
    try {
      found = (await headrace.ask("api/events/trace", { prediction: trace, channel: home })).journey;
    } catch (problem) {
      error = problem.message;
    }
    journey.busy = false;
    if (journey.key !== key) return;
    Object.assign(journey, { found, error, drawn: null });
    headrace.repaint(true);
  }

  const SAID = {
    scored: "scored",
    dead: "dead letter",
    waiting: "waiting",
    "in flight": "in a worker's hands",
    committed: "committed by every group",
    kept: "in the log; no group reads this channel",
    unknown: "decided; its outcome is in no log any more",
  };
  const MEANS = {
    created: "made by its sender",
    appended: "in the log",
    received: "a worker read it",
    scored: "its batch was predicted",
    committed: "the result is in the log",
    pushed: "sent to whoever listens, in the same step",
    painted: "its result was on this screen",
    "given up": "it became a dead letter",
    labelled: "the truth about it came",
    joined: "prediction and truth met",
  };
  const HUES = { appended: "sky", received: "orange", scored: "blue", committed: "purple", pushed: "purple", painted: "green", "given up": "red", labelled: "grey", joined: "grey" };

  /** Stamps with the paint of this browser, each with its span since the one before. Pure. */
  function steps(found, paints) {
    const stamps = found.stamps.map((stamp) => ({ ...stamp }));
    const committed = stamps.find((stamp) => stamp.name === "committed");
    const paint = committed && paints.get(committed.where);
    if (paint) {
      const last = stamps.findIndex((stamp) => stamp.name === "pushed");
      const from = stamps[last].at;
      stamps.splice(last + 1, 0, { name: "painted", at: Math.max(paint, from), clock: "browser", where: "", moved_s: Math.max(0, from - paint) });
      stamps.sort((a, b) => a.at - b.at);
    }
    return stamps.map((stamp, i) => ({ ...stamp, span: i ? stamp.at - stamps[i - 1].at : null, from: i ? stamps[i - 1].at : stamp.at }));
  }

  function drawJourney() {
    followed();
    const { draw, format, theme } = headrace;
    const { found, error, key } = journey;
    draw.mark(byId("journey-card"), "empty", key ? "" : "yes");
    if (!key) return;
    const sign = JSON.stringify([found, error, found && [...painted.keys()].filter((one) => found.stamps.some(({ where }) => where === one)), theme.isDark()]);
    if (sign === journey.drawn) return;
    journey.drawn = sign;
    drawHead(found, error, key);
    const list = byId("journey");
    const lines = found ? steps(found, painted) : [];
    const shown = lines.filter((line) => !["labelled", "joined"].includes(line.name));
    const first = lines[0]?.at || 0;
    const whole = Math.max(1e-6, (shown[shown.length - 1]?.at || 0) - first);
    draw.fill(list, lines.length, () => {
      const item = draw.element("li");
      const bar = draw.element("div", "way");
      bar.append(draw.element("i"));
      item.append(draw.element("b"), bar, draw.element("span", "number"), draw.element("small", "number"));
      return item;
    }).forEach((item, i) => {
      const line = lines[i];
      const late = !shown.includes(line);
      const [name, way, span, clock] = item.children;
      draw.write(name, line.name);
      const left = Math.min(100, ((line.from - first) / whole) * 100);
      const width = late ? 0 : (Math.max(0, line.at - line.from) / whole) * 100;
      way.firstElementChild.style.cssText = `left:min(${left.toFixed(2)}%, 100% - 3px);width:max(3px, ${width.toFixed(2)}%);background:var(--${HUES[line.name] || "blue"})`;
      draw.mark(way, "late", late ? "yes" : "");
      const unsure = line.moved_s > 0 ? "≈ " : "";
      draw.write(span, line.span === null ? "" : line.name === "pushed" ? "same step" : `${unsure}+${line.span >= 1 ? format.duration(line.span) : format.milliseconds(line.span * 1000)}`);
      draw.write(clock, format.clock(line.at));
      const whose = { publisher: "its publisher's clock", server: "the server's clock", worker: "the worker's clock", browser: "measured here" }[line.clock];
      const title = [MEANS[line.name], line.where, whose].filter(Boolean).join(" · ");
      if (item.title !== title) item.title = title;
    });
    drawClocks(lines, found);
    drawAnswer(found);
  }

  function drawHead(found, error, key) {
    const { draw, format } = headrace;
    const head = byId("journey-head");
    if (!head.children.length) {
      const open = draw.element("button", "button small", "Open");
      open.type = "button";
      open.dataset.do = "hit";
      head.append(draw.element("b"), draw.element("span"), draw.element("code"), open);
    }
    const [fate, more, place, open] = head.children;
    draw.mark(head, "fate", error ? "error" : found ? found.fate : "");
    draw.write(fate, error ? "not found" : found ? SAID[found.fate] : "reading the logs…");
    draw.write(more, error || (found ? outcome(found) : ""));
    draw.write(place, found ? found.handle : key.split(" ")[1]);
    open.hidden = !found;
    if (found) open.dataset.value = `${found.channel} ${found.handle}`;
    const total = found && found.stamps.filter((stamp) => !["labelled", "joined"].includes(stamp.name));
    if (total && total.length > 1 && found.fate === "scored") {
      draw.write(more, `${outcome(found)} · ${format.milliseconds((total[total.length - 1].at - total[0].at) * 1000)} in all`);
    }
  }

  function outcome(found) {
    const { format } = headrace;
    if (found.death) return `${found.death.reason} · given up by ${found.death.group} after ${found.death.attempts} attempt${found.death.attempts === 1 ? "" : "s"}`;
    if (found.answer) {
      const { labels, values, rows, model, version } = found.answer;
      const said = labels.length ? labels.slice(0, 3).join(", ") : values.slice(0, 3).map((value) => format.metric(value)).join(", ");
      const truth = found.actual.length ? `, in truth ${found.actual.slice(0, 3).join(", ")}` : "";
      return `${said}${rows > 3 ? ` … ${rows} rows` : ""}${truth} · ${model}@${version}`;
    }
    const late = found.groups.filter((group) => group.state !== "committed");
    if (late.length) return late.map(({ group, state, ahead }) => `${group}: ${state}${ahead ? `, ${format.count(ahead)} in front` : ", next"}`).join(" · ");
    if (found.fate === "waiting") return "no group reads the channel yet: start `headrace scorer`";
    return "";
  }

  function drawClocks(lines, found) {
    const { draw, format } = headrace;
    const clocks = headrace.store.sections.clock || { trip_s: 0 };
    const trip = headrace.connection.clock ? headrace.connection.clock.trip / 2 : 0;
    const moved = lines.filter((line) => line.moved_s > 0);
    const parts = [];
    if (found) parts.push("positions are whole milliseconds");
    if (lines.some((line) => line.clock === "browser")) parts.push(`this browser's clock is known to ± ${format.milliseconds((trip + clocks.trip_s / 2) * 1000)}`);
    else if (found?.fate === "scored") parts.push("painted is measured for results that are in this browser's tail");
    for (const line of moved) parts.push(`${line.name} seemed ${format.milliseconds(line.moved_s * 1000)} too early: clocks differ by that much at least, and the span is shown as 0`);
    draw.write(byId("journey-clocks"), parts.join(" · "));
  }

  function drawAnswer(found) {
    const { draw, format } = headrace;
    const box = byId("journey-answer");
    const shares = found?.answer?.probabilities?.[0] || [];
    draw.fill(box, Math.min(shares.length, 5), () => {
      const row = draw.element("div");
      const meter = draw.element("span", "meter");
      meter.append(draw.element("i"));
      row.append(draw.element("b"), meter, draw.element("span", "number"));
      return row;
    }).forEach((row, i) => {
      const [name, share] = shares[i];
      draw.write(row.children[0], name);
      row.children[1].firstElementChild.style.width = `${(100 * share).toFixed(1)}%`;
      draw.write(row.children[2], format.percent(share));
    });
  }

  /* life */

  function field(box, id, name, label, hint) {
    const made = headrace.draw.element("input", "field");
    Object.assign(made, { id, type: "search", placeholder: hint, autocomplete: "off", spellcheck: false, value: name ? view().get(name) : "" });
    made.setAttribute("aria-label", label);
    if (name) made.dataset.view = name;
    box.replaceChildren(made);
    return made;
  }

  function bound() {
    field(byId("tail-text"), "tail-field", "text", "Only rows with this text", "Filter: id, source, type, fields");
    field(byId("search-id"), "search-field", "", "Event id, position or handle", "Event id or handle").value = view().get("id");
    byId("search-form").onsubmit = search;
    Object.assign(tail, { drawn: "", top: new Map() });
    Object.assign(journey, { drawn: null });
    markHold();
    drawSearch();
    if (view().get("trace")) show();
  }

  function markHold() {
    byId("tail-hold").setAttribute("aria-pressed", String(held));
  }

  /** Bring the journey into view, where a narrow window has it further down. */
  function show() {
    requestAnimationFrame(() => byId("journey-card")?.scrollIntoView({ block: "nearest" }));
  }

  const actions = {
    hold: () => {
      held = !held;
      markHold();
      headrace.repaint(true);
    },
    open: (at) => headrace.drawer.show(channel(), at),
    hit: (value) => headrace.drawer.show(...value.split(" ")),
  };

  /** Show the way of another event. */
  function follow(trace, of) {
    view().set("of", of);
    view().set("trace", trace);
    show();
  }

  (headrace.pages ??= {}).events = {
    sections,
    fast: gather,
    cards: { "tail-card": drawTail, "search-card": drawSearch, "journey-card": drawJourney },
    actions,
    bound,
    follow,
    steps,
    appended,
  };
})((window.headrace = window.headrace || {}));
