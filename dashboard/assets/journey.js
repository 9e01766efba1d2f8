/* The way of one event through all its stamps: asked for until it is at its end, with the paint of this browser. */
"use strict";
(function (headrace) {
  const AGAIN_MS = 1_000;
  const PATIENCE_MS = 10 * 60_000;
  const byId = (id) => document.getElementById(id);
  const view = () => headrace.view;
  const painted = new Map(); // when results were painted here, by their place
  const journey = { key: "", found: null, error: "", asked: 0, since: 0, busy: false, drawn: null };

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

  function card() {
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
    if (found.death) return `${found.death.reason} · given up by ${found.death.group} after ${format.counted(found.death.attempts, "attempt")}`;
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

  /** Bring the journey into view, where a narrow window has it further down. */
  function show() {
    requestAnimationFrame(() => byId("journey-card")?.scrollIntoView({ block: "nearest" }));
  }

  /** Show the way of another event. */
  function follow(trace, of) {
    view().set("of", of);
    view().set("trace", trace);
    show();
  }

  const forget = () => Object.assign(journey, { drawn: null });

  headrace.journey = { card, steps, follow, show, forget, painted };
})((window.headrace = window.headrace || {}));
