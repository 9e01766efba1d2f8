/* The page of queues and workers: groups, the one that was chosen, workers, channels, alerts; batching.js draws how
   batches form. */
"use strict";
(function (headrace) {
  const SIGNS = { scorer: "blue", aggregator: "green", dashboard: "purple", gateway: "orange", publisher: "sky" };
  const FEW = 10;
  const SOON_S = 3_600;
  const DAY_S = 86_400;
  const MONTH_S = 30 * DAY_S;
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const el = (...words) => headrace.draw.element(...words);
  const now = () => headrace.store.sections.queues || null;
  const tier = () => headrace.clock.tier();
  const empty = (card, yes) => headrace.draw.mark(byId(card), "empty", yes ? "yes" : "");

  function chosenGroup() {
    const groups = now() ? now().groups : [];
    return groups.find((group) => group.key === headrace.view.get("group")) || groups[0] || null;
  }

  const own = () => headrace.view.get("own") === "1";
  const rooms = () => (now() ? now().channels.filter((channel) => own() || !channel.own) : []);

  function chosenChannel() {
    const name = headrace.view.get("channel") || chosenGroup()?.channel;
    return rooms().find((channel) => channel.name === name) || rooms()[0] || null;
  }

  /* tables */

  const cell = (...words) => headrace.tables.cell(...words);
  const rows = (...words) => headrace.tables.keyed(...words);

  /** A button in a cell, and its row as a large target for the pointer. */
  function pick(row, button, action, value, chosen) {
    for (const one of [row, button]) {
      headrace.draw.mark(one, "do", action);
      headrace.draw.mark(one, "value", value);
    }
    headrace.draw.mark(row, "chosen", chosen ? "yes" : "");
    button.setAttribute("aria-pressed", String(chosen));
  }

  function button() {
    const made = el("button", "pick");
    made.type = "button";
    return made;
  }

  /** A series of the store without its holes: some are in one frame of four only. */
  function series(name) {
    const shown = tier();
    const column = shown && shown.values[name];
    if (!column) return [[], []];
    const times = [];
    const values = [];
    column.forEach((value, i) => {
      if (value === null || value === undefined) return;
      times.push(shown.times[i]);
      values.push(value);
    });
    return [times, values];
  }

  function trend(box, name, bounds) {
    const until = headrace.clock.end();
    headrace.draw.sparkline(box, ...series(name), until - headrace.clock.seconds(), until, bounds);
  }

  const perSecond = (value) => (value ? `${headrace.format.number(value)}/s` : "0");

  /** Whether more comes than goes, and enough waits for that to mean something. */
  const grows = (group) => group.drain_s === null && group.lag + group.in_flight >= Math.max(FEW, group.committed_s);

  function drains(group) {
    if (group.lag + group.in_flight === 0) return "empty";
    if (group.drain_s === null) return grows(group) ? "grows ▲" : headrace.format.NONE;
    return group.drain_s < 1 ? "< 1 s" : headrace.format.duration(group.drain_s);
  }

  const trendCell = () => cell("trend wide", el("div", "trend-box"));

  function drawGroups() {
    const shown = now();
    empty("groups-card", !shown || !shown.groups.length);
    if (!shown) return;
    const { draw, format } = headrace;
    const chosen = chosenGroup();
    rows(
      "groups",
      shown.groups,
      (group) => group.key,
      () => {
        const name = cell("name", el("i", "dot"), button(), el("small"));
        return [name, cell("num number strong"), trendCell(), ...["num number wide", "num number", "num number wide", "num number", "num number wide", "num number wide", "num number"].map((kind) => cell(kind))];
      },
      ([name, depth, line, flight, oldest, comes, goes, again, dead, drain], group, row) => {
        draw.mark(row, "state", grows(group) ? "stalled" : "up");
        pick(row, name.children[1], "group", group.key, group.key === chosen.key);
        draw.write(name.children[1], `${group.channel} → ${group.group}`);
        draw.write(name.children[2], `${format.count(group.total)} committed`);
        draw.write(depth, format.count(group.lag + group.in_flight));
        trend(line.firstElementChild, `depth:${group.key}`);
        draw.write(flight, format.count(group.in_flight));
        draw.write(oldest, group.lag + group.in_flight ? format.duration(group.oldest_ms / 1000) : format.NONE);
        draw.write(comes, perSecond(group.arriving_s));
        draw.write(goes, perSecond(group.committed_s));
        draw.write(again, perSecond(group.retried_s));
        draw.write(dead, group.dead_s ? `${format.count(group.dead_total)} · ${perSecond(group.dead_s)}` : format.count(group.dead_total));
        draw.mark(dead, "kind", group.dead_s ? "bad" : "");
        draw.write(drain, drains(group));
        draw.mark(drain, "kind", grows(group) ? "warn" : "");
      },
    );
    put("more-groups", shown.cut.groups ? `and ${shown.cut.groups} more` : "");
  }

  function drawCrew() {
    const shown = now();
    empty("crew-card", !shown || !shown.workers.length);
    if (!shown) return;
    const { draw, format } = headrace;
    const at = headrace.clock.end();
    rows(
      "crew",
      shown.workers,
      (worker) => worker.worker,
      () => {
        const busy = el("span", "meter");
        busy.append(el("i"));
        return [
          cell("name", el("i", "dot"), el("b"), el("small")),
          cell("num number"),
          trendCell(),
          cell("num number wide"),
          cell("num number busy", busy, el("span")),
          trendCell(),
          ...["num number wide", "num number wide", "num number wide", "wide quiet", "num number"].map((kind) => cell(kind)),
        ];
      },
      ([name, speed, speeds, batch, busy, shares, memory, done, failed, models, seen], worker, row) => {
        draw.mark(row, "state", worker.state);
        draw.mark(row, "kind", SIGNS[worker.kind] || "grey");
        draw.write(name.children[1], worker.kind);
        draw.write(name.children[2], worker.host ? `${worker.host}:${worker.pid}` : worker.worker);
        name.title = worker.worker;
        draw.write(speed, format.number(worker.rate));
        trend(speeds.firstElementChild, `rate:${worker.worker}`);
        draw.write(batch, worker.batch_mean ? format.number(worker.batch_mean) : format.NONE);
        busy.firstElementChild.firstElementChild.style.width = `${Math.min(100, 100 * worker.busy).toFixed(1)}%`;
        draw.write(busy.lastElementChild, format.percent(worker.busy, 0));
        trend(shares.firstElementChild, `busy:${worker.worker}`, [0, 1]);
        draw.write(memory, worker.memory_bytes ? format.bytes(worker.memory_bytes) : format.NONE);
        draw.write(done, format.count(worker.events));
        draw.write(failed, format.count(worker.failed));
        draw.mark(failed, "kind", worker.failed ? "bad" : "");
        const served = Object.entries(worker.models).map(([model, version]) => `${model}@${version}`).join(", ");
        draw.write(models, served || format.NONE);
        models.title = served;
        const age = Math.max(0, at - worker.seen);
        draw.write(seen, worker.state === "late" ? `silent ${format.duration(age)}` : `${format.duration(age)} ago`);
        draw.mark(seen, "kind", worker.state === "late" ? "warn" : "");
      },
    );
    put("more-crew", shown.cut.workers ? `and ${shown.cut.workers} more` : "");
  }

  function drawRooms() {
    const shown = now();
    empty("rooms-card", !shown || !shown.channels.length);
    byId("own").setAttribute("aria-pressed", String(own()));
    if (!shown) return;
    const { draw, format } = headrace;
    const chosen = chosenChannel();
    rows(
      "rooms",
      rooms(),
      (channel) => channel.name,
      () => {
        const left = el("span", "meter");
        left.append(el("i"));
        return [
          cell("name", button(), el("small", "number")),
          cell("num number"),
          trendCell(),
          cell("num number wide"),
          cell("num number wide"),
          cell("num number"),
          cell("room number", left, el("small")),
          cell("num number"),
        ];
      },
      ([name, speed, line, bytes, length, memory, left, full], channel, row) => {
        pick(row, name.firstElementChild, "channel", channel.name, channel.name === chosen.name);
        draw.write(name.firstElementChild, channel.name);
        draw.write(name.lastElementChild, `${format.count(channel.total)} so far`);
        draw.write(speed, format.number(channel.rate_s));
        trend(line.firstElementChild, `pub:${channel.name}`);
        draw.write(bytes, `${format.bytes(Math.round(channel.bytes_s))}/s`);
        draw.write(length, format.count(channel.length));
        draw.write(memory, channel.memory_bytes ? format.bytes(channel.memory_bytes) : format.NONE);
        const free = channel.limit ? 1 - channel.needed / channel.limit : 1;
        left.firstElementChild.firstElementChild.style.width = `${(100 * Math.max(0, free)).toFixed(1)}%`;
        draw.mark(left, "kind", free < 0.2 ? "bad" : "");
        draw.write(left.lastElementChild, channel.limit ? `${format.number(Math.max(0, channel.limit - channel.needed))} of ${format.number(channel.limit)}` : "no bound");
        const fills = channel.full_s !== null && channel.full_s < MONTH_S;
        draw.write(full, fills ? format.duration(channel.full_s) : format.NONE);
        full.title = channel.full_s === null ? "does not fill" : `${fills ? "" : "not within a month, "}at the pace of the last half minute`;
        draw.mark(full, "kind", fills && channel.full_s < DAY_S ? "warn" : "");
      },
    );
    put("more-rooms", shown.cut.channels ? `and ${shown.cut.channels} more` : "");
  }

  function clock(time) {
    const at = new Date(time * 1000);
    const today = at.toDateString() === new Date(headrace.clock.end() * 1000).toDateString();
    const hours = at.toLocaleTimeString("en-GB");
    return today ? hours : `${at.toLocaleDateString("en-CA")} ${hours}`;
  }

  function drawAlerts() {
    const shown = now();
    const past = headrace.store.sections.cleared || { alerts: [], more: false };
    if (!shown) return;
    const { draw, format } = headrace;
    const raised = shown.alerts.map((alert) => ({ severity: "warning", subject: "", ...alert, cleared: 0 }));
    const items = [...raised, ...past.alerts];
    empty("alerts-card", !items.length);
    rows(
      "alerts",
      items,
      (alert) => `${alert.cleared}/${alert.name}/${alert.subject}/${alert.cleared ? alert.since : ""}`,
      () => [cell("name", el("i", "dot"), el("b"), el("small")), cell("what"), cell("num number"), cell("num number")],
      ([name, what, since, lasted], alert, row) => {
        draw.mark(row, "alert", alert.cleared ? "over" : alert.severity);
        draw.write(name.children[1], alert.name);
        draw.write(name.children[2], alert.cleared ? "over" : alert.severity);
        draw.write(what, alert.text || alert.subject);
        what.title = alert.text;
        draw.write(since, alert.since ? clock(alert.since) : "earlier");
        const until = alert.cleared || headrace.store.time;
        draw.write(lasted, alert.since ? `${format.duration(until - alert.since)}${alert.cleared ? "" : " so far"}` : format.NONE);
      },
    );
    put("more-alerts", past.more ? "older ones are in the log of the channel alerts" : "");
    const hook = shown.webhook;
    const text = !hook
      ? "Not posted anywhere. To have them posted: headrace aggregator --alert-webhook URL"
      : `Posted to ${hook.place}: ${format.count(hook.sent || 0)} taken, ${format.count(hook.failed || 0)} given up, ${format.count(hook.dropped || 0)} dropped, ${format.count(hook.waiting || 0)} waiting${hook.error ? `; the last attempt failed: ${hook.error}` : ""}`;
    put("webhook", text);
    draw.mark(byId("webhook"), "kind", hook && hook.error ? "bad" : "");
  }

  /* the group that was chosen */

  const drawn = new Map();

  /** The time axis in whole seconds: once a second is often enough for charts of which five are in view at once. */
  const range = () => {
    const until = Math.floor(headrace.clock.end());
    return [headrace.charts.local(until - headrace.clock.seconds()), headrace.charts.local(until)];
  };

  const tick = () => Math.floor(headrace.clock.end());

  function chart(name, lines, force) {
    const { charts, draw } = headrace;
    if (!force && drawn.get(name) === `${tick()}/${lines[0].key}`) return;
    const traces = [];
    const entries = [];
    for (const { key, title, colour, more, scale = 1 } of lines) {
      const [times, values] = series(key);
      traces.push(charts.line(title, times.map(charts.local), values.map((value) => value * scale), colour, { key, ...more }));
      entries.push(charts.entry(key, title, colour));
    }
    if (charts.draw(name, traces, range(), [tick(), lines.map((line) => line.key)], force)) drawn.set(name, `${tick()}/${lines[0].key}`);
    const box = byId(`legend-${name}`);
    if (box) draw.legend(box, entries);
  }

  const filled = (colour, opacity = 0.12) => ({ trace: { fill: "tozeroy", fillcolor: headrace.theme.faded(colour, opacity) } });

  /** Draw a card of the chosen group, if there is one. */
  const ofGroup = (card, draw) => (force) => {
    const group = chosenGroup();
    empty(card, !group);
    if (group) draw(group, force);
  };

  const drawDepth = ofGroup("group-depth-card", (group, force) => {
    const { purple, orange } = headrace.theme.colours();
    put("title-group-depth-card", `Depth of ${group.channel} → ${group.group}`);
    chart(
      "group-depth",
      [
        { key: `depth:${group.key}`, title: "depth", colour: purple, more: filled(purple) },
        { key: `flight:${group.key}`, title: "in flight", colour: orange, more: filled(orange, 0.2) },
      ],
      force,
    );
  });

  const drawRates = ofGroup("group-rates-card", (group, force) => {
    const { blue, green } = headrace.theme.colours();
    chart(
      "group-rates",
      [
        { key: `pub:${group.channel}`, title: "in", colour: blue, more: filled(blue) },
        { key: `out:${group.key}`, title: "out", colour: green, more: {} },
      ],
      force,
    );
  });

  const drawAge = ofGroup("group-age-card", (group, force) => {
    const { sky } = headrace.theme.colours();
    chart("group-age", [{ key: `oldest:${group.key}`, title: "s", colour: sky, more: filled(sky), scale: 0.001 }], force);
  });

  const drawTrouble = ofGroup("group-trouble-card", (group, force) => {
    const { orange, red } = headrace.theme.colours();
    chart(
      "group-trouble",
      [
        { key: `retry:${group.key}`, title: "retries", colour: orange, more: {} },
        { key: `dead:${group.key}`, title: "dead letters", colour: red, more: filled(red) },
      ],
      force,
    );
  });

  const VERDICTS = {
    few: "Hardly anything waits, so the check has nothing to say.",
    balanced: "In balance: what waits is what the arrivals and their wait explain.",
    more: "More waits than that explains: a backlog builds up whose wait is not over yet, or workers hold entries without an end.",
    less: "Less waits than that explains: a backlog was just worked off, entries spend their time in the buffers of publishers, or clocks differ.",
  };

  const drawLittle = ofGroup("little-card", ({ little, group, channel }) => {
    const { draw, format } = headrace;
    empty("little-card", !little);
    put("law-missing", group === "scorers" ? "Nothing came to an end in the last 30 seconds." : `The wait of ${channel} → ${group} is not measured: only requests carry the time they were made.`);
    if (!little) return;
    put("law-depth", format.number(little.depth));
    put("law-expected", format.number(little.expected));
    put("law-expected-note", `${format.number(little.arrivals_s)}/s × ${format.milliseconds(little.wait_ms)}`);
    put("law-sign", { balanced: "≈", few: "≈", more: ">", less: "<" }[little.verdict]);
    put("law-ratio", little.ratio === null ? format.NONE : `${little.ratio.toFixed(2)} `);
    put("law-verdict", VERDICTS[little.verdict]);
    draw.mark(byId("little-card"), "verdict", little.verdict);
    const place = little.ratio ? 50 + (50 * Math.log(little.ratio)) / Math.log(3) : 50;
    byId("law-mark").style.left = `${Math.min(98, Math.max(2, place)).toFixed(1)}%`;
  });

  function drawMemory(force) {
    const shown = now();
    empty("memory-card", !shown || !shown.server.memory_bytes);
    const channel = chosenChannel();
    if (!shown || !shown.server.memory_bytes) return;
    const { format, theme } = headrace;
    const { memory_bytes: used, limit_bytes: limit, full_s: full } = shown.server;
    put("room-used", limit ? `${format.bytes(used)} of ${format.bytes(limit)}` : format.bytes(used));
    put("room-left", limit ? `${format.bytes(Math.max(0, limit - used))} · ${format.percent(Math.max(0, 1 - used / limit), 0)}` : "no limit is set");
    put("room-full", full === null ? "does not fill" : full > DAY_S ? "not within a day" : format.duration(full));
    byId("room-meter").hidden = !limit;
    byId("room-meter-bar").style.width = `${limit ? Math.min(100, (100 * used) / limit).toFixed(1) : 0}%`;
    if (!channel) return;
    const { blue } = theme.colours();
    chart("memory", [{ key: `memory:${channel.name}`, title: channel.name, colour: blue, more: filled(blue, 0.14) }], force);
  }

  /* strip */

  function fast() {
    const shown = now();
    if (!shown) return;
    const { draw, format } = headrace;
    const { alerts, server } = shown;
    const box = byId("queues-alerts");
    const critical = alerts.some((alert) => alert.severity === "critical");
    const { state } = byId("page-queues").dataset;
    const old = state === "stale" || state === "gone";
    draw.mark(box, "kind", alerts.length ? (critical ? "critical" : "warning") : old ? "" : "quiet");
    const first = alerts.find((alert) => alert.severity === "critical") || alerts[0];
    const said = first ? `${first.text || first.name}${alerts.length > 1 ? ` · and ${alerts.length - 1} more` : ""}` : "No alerts";
    draw.write(box.firstElementChild, old ? `Last known: ${said}` : said);
    const limit = server.limit_bytes;
    put("queues-room", limit ? `server memory ${format.percent(server.memory_bytes / limit, 0)} used${server.full_s === null || server.full_s > SOON_S ? "" : `, full in ${format.duration(server.full_s)}`}` : "");
  }

  const CARDS = {
    "groups-card": drawGroups,
    "group-depth-card": drawDepth,
    "little-card": drawLittle,
    "group-rates-card": drawRates,
    "group-age-card": drawAge,
    "group-trouble-card": drawTrouble,
    "batching-card": (force) => headrace.batching.picture(force),
    "released-card": () => headrace.batching.reasons(),
    "crew-card": drawCrew,
    "rooms-card": drawRooms,
    "memory-card": drawMemory,
    "alerts-card": drawAlerts,
  };

  const ACTIONS = {
    group: (value) => headrace.view.set("group", value),
    channel: (value) => headrace.view.set("channel", value),
    own: () => headrace.view.set("own", own() ? "" : "1"),
    alerts: () => byId("alerts-card").scrollIntoView({ block: "center" }),
  };

  (headrace.pages ??= {}).queues = { sections: () => ["queues", "batches", "cleared"], fast, cards: CARDS, actions: ACTIONS };
})((window.headrace = window.headrace || {}));
