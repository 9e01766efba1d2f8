/* The events page: the tail of a channel, and a search. journey.js draws the way of one event. */
"use strict";
(function (headrace) {
  const ROWS = 200;
  const PAINTED = 2_000;
  const byId = (id) => document.getElementById(id);
  const view = () => headrace.view;
  const tail = { channel: "", epoch: "", section: null, lines: [], known: new Set(), seen: new Map(), top: new Map(), drawn: "" };
  const hunt = { serial: 0, found: null, said: "" };
  let held = false;

  const channel = () => view().get("channel", "requests");
  const sections = () => ["events", "clock", `tail:${channel()}`];

  /* the tail */

  /** Take in what came; rows stay for as long as there are not ROWS newer ones. */
  function gather() {
    const { at } = headrace.store;
    const name = at === null ? channel() : `${channel()} ${at}`;
    const section = headrace.store.sections[`tail:${channel()}`];
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
    if (line.skipped > 0) cells[6].title = `${format.counted(line.skipped, "entry", "entries")} between this one and the next below ${line.skipped === 1 ? "is" : "are"} not shown`;
    row.append(...cells);
    return row;
  }

  /** When rows are on the screen: told by the task after the picture in which they were written. */
  const glass = new MessageChannel();
  glass.port1.onmessage = ({ data }) => {
    const at = headrace.connection.now() + (headrace.store.sections.clock?.offset_s || 0);
    const { painted } = headrace.journey;
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
    const text = `${count}; looked at ${format.counted(entries, "entry", "entries")} of ${where.length === 1 ? where[0].channel : `${where.length} channels`}`;
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
    headrace.journey.forget();
    markHold();
    drawSearch();
    if (view().get("trace")) headrace.journey.show();
  }

  function markHold() {
    byId("tail-hold").setAttribute("aria-pressed", String(held));
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

  (headrace.pages ??= {}).events = {
    sections,
    fast: gather,
    cards: { "tail-card": drawTail, "search-card": drawSearch, "journey-card": () => headrace.journey.card() },
    actions,
    bound,
    appended,
  };
})((window.headrace = window.headrace || {}));
