/* The page of dead letters: asked for when the dashboard says that there is news, and never more than every other second.

   Nothing is done without a question that says to how many letters; an order names the newest letter that was there. */
"use strict";
(function (headrace) {
  const AGAIN_MS = 2_000;
  const LIMIT = 50;
  const REASON = 160;
  const byId = (id) => document.getElementById(id);
  const view = () => headrace.view;
  const state = { found: null, error: "", news: "", sign: "", drawn: "", asked: 0, busy: false, order: null, said: "" };

  const sections = () => ["dead", "clock"];
  const now = () => headrace.connection.now() + (headrace.store.sections.clock?.offset_s || 0);
  const plural = (count, word = "dead letter") => headrace.format.counted(count, word);

  /* what there is */

  const chosen = () => ({
    channel: view().get("channel"),
    group: view().get("group"),
    text: view().get("text").trim(),
    done: view().get("done"),
    before: view().get("before"),
    at: headrace.store.at ?? "",
  });
  const told = ({ channel, group, text }) => [channel && `channel ${channel}`, group && `group ${group}`, text && `reason “${text}”`].filter(Boolean).join(", ");
  const filtered = () => Boolean(view().get("channel") || view().get("group") || view().get("text").trim());

  /** Ask for the letters when the filter is another one, or when there is news and it was not asked just now. */
  async function load() {
    if (headrace.connection.frozen) {
      Object.assign(state, { found: headrace.store.sections.letters || null, sign: "frozen" }); // a snapshot has them in it
      return;
    }
    const news = headrace.store.sections.dead?.news ?? "";
    const sign = JSON.stringify(chosen());
    const other = sign !== state.sign;
    const stale = news !== state.news || (state.error && !state.found);
    if (state.busy || document.hidden || (!other && (!stale || Date.now() - state.asked < AGAIN_MS))) return;
    if (!other && isHeld()) return;
    state.busy = true;
    state.asked = Date.now();
    try {
      state.found = await headrace.ask("api/dead", { ...chosen(), limit: LIMIT });
      state.error = "";
    } catch (error) {
      state.error = error.message;
    }
    Object.assign(state, { busy: false, news, sign, drawn: "" });
    headrace.repaint(true);
  }

  /** Letters do not move under a pointer, nor while somebody decides about them. */
  const isHeld = () => byId("question").open || byId("letters-table").matches(":hover");

  function drawReasons() {
    const { draw, format } = headrace;
    load();
    const { found } = state;
    draw.mark(byId("reasons-card"), "empty", found && !found.reasons.length ? "yes" : "");
    if (!found) return;
    const most = Math.max(1, ...found.reasons.map(([, count]) => count));
    draw.fill(byId("reasons"), found.reasons.length, () => {
      const item = draw.element("li");
      const press = draw.element("button");
      press.type = "button";
      press.dataset.do = "reason";
      press.append(draw.element("i"), draw.element("span"), draw.element("b", "number"));
      item.append(press);
      return item;
    }).forEach((item, i) => {
      const [reason, count] = found.reasons[i];
      const press = item.firstElementChild;
      draw.mark(press, "value", reason);
      press.setAttribute("aria-pressed", String(view().get("text") === reason));
      press.children[0].style.width = `${((100 * count) / most).toFixed(1)}%`;
      draw.write(press.children[1], reason);
      draw.write(press.children[2], format.count(count));
      if (press.title !== reason) press.title = reason;
    });
    const parts = [];
    if (found.more_reasons) parts.push(`and ${plural(found.more_reasons, "other reason")}`);
    if (!found.complete) parts.push(`counted over the newest ${plural(found.looked, "letter")}, back to ${format.clock(found.since)}`);
    draw.write(byId("reasons-more"), parts.join(" · "));
  }

  function drawHistory() {
    const { draw, format } = headrace;
    const { found } = state;
    draw.mark(byId("history-card"), "empty", found && !found.actions.length ? "yes" : "");
    if (!found) return;
    draw.fill(byId("history"), found.actions.length, () => {
      const item = draw.element("li");
      item.append(draw.element("b"), draw.element("span"), draw.element("small", "number"));
      return item;
    }).forEach((item, i) => {
      const { action, actor, count, subject, text, time } = found.actions[i];
      draw.mark(item, "action", action);
      draw.write(item.children[0], PAST[action] || action);
      draw.write(item.children[1], `${format.count(count)} ${count === 1 ? subject.replace("letters", "letter") : subject}`);
      draw.write(item.children[2], `${actor || "somebody"} · ${format.duration(Math.max(0, now() - time))} ago`);
      const title = `${format.clock(time)}\n${text}`;
      if (item.title !== title) item.title = title;
    });
  }

  const PAST = { requeue: "Requeued", discard: "Discarded" };

  function drawLetters() {
    const { draw, format } = headrace;
    load();
    const { found } = state;
    drawBar();
    draw.write(byId("dead-said"), state.error || state.said);
    draw.mark(byId("dead-said"), "kind", state.error ? "bad" : "");
    if (!found) return;
    draw.mark(byId("letters-card"), "empty", !found.letters.length && !filtered() && !found.done && !view().get("before") ? "yes" : "");
    const ages = state.drawn === state.sign;
    const rows = byId("rows-letters");
    if (!ages) {
      state.drawn = state.sign;
      keyed(rows, found.letters);
    }
    for (const [i, row] of [...rows.children].entries()) {
      const letter = found.letters[i];
      if (letter) draw.write(row.children[0].firstElementChild, `${format.duration(Math.max(0, now() - letter.time))} ago`);
    }
    const parts = [`${format.count(found.letters.length)} shown of ${plural(found.waiting, "letter")} that wait${found.waiting === 1 ? "s" : ""}`];
    if (found.done) parts.push(`${format.count(found.done)} dealt with`);
    if (filtered()) parts.push(`only ${told(chosen())}`);
    if (!found.complete) parts.push(`looked back to ${format.clock(found.since)}`);
    if (headrace.store.at === null && headrace.store.sections.dead && headrace.store.sections.dead.news !== state.news) parts.push("there is news: move the pointer away to see it");
    draw.write(byId("dead-shown"), parts.join(" · "));
    byId("dead-older").hidden = !found.before;
    byId("dead-newest").hidden = !view().get("before");
  }

  /** A row for each letter, kept for as long as its letter is listed and says the same. */
  function keyed(body, letters) {
    const { draw } = headrace;
    body.shown = letters.map(({ mark, ...letter }) => ({ ...letter, done: mark ? mark.action : "" }));
    const rows = new Map([...body.children].map((row) => [row.dataset.letter, row]));
    const wanted = new Set(letters.map((letter) => letter.letter));
    for (const [key, row] of rows) if (!wanted.has(key)) row.remove();
    let place = body.firstElementChild;
    for (const letter of letters) {
      const row = rows.get(letter.letter) || makeRow(letter);
      if (row === place) place = place.nextElementSibling;
      else body.insertBefore(row, place);
      writeRow(row, letter);
    }
  }

  function makeRow(letter) {
    const { draw } = headrace;
    const row = draw.element("tr");
    row.dataset.letter = letter.letter;
    const reason = draw.element("td", "reason");
    reason.append(draw.element("b"), draw.element("small"));
    const payload = draw.element("td", "payload");
    payload.append(press("", "open", letter.letter));
    const acts = draw.element("td", "acts");
    acts.append(press("Requeue", "requeue", letter.letter), press("Discard", "discard", letter.letter), draw.element("span", "quiet"));
    const age = draw.element("td", "age number");
    age.append(draw.element("span"));
    row.append(
      age,
      reason,
      draw.element("td", "wide"),
      draw.element("td", "wide"),
      draw.element("td", "num number wide"),
      draw.element("td", "wide worker"),
      payload,
      acts,
    );
    return row;
  }

  function press(text, act, letter) {
    const made = headrace.draw.element("button", "button small", text);
    made.type = "button";
    made.dataset.do = act;
    made.dataset.value = letter;
    if (act !== "open") made.dataset.needs = "operator";
    return made;
  }

  function writeRow(row, letter) {
    const { draw, format } = headrace;
    const [age, reason, channel, group, attempts, worker, payload, acts] = row.children;
    const { mark } = letter;
    age.title = `${format.clock(letter.time)} · letter ${letter.letter}`;
    draw.mark(row, "state", mark ? mark.action : "");
    draw.write(reason.children[0], letter.reason.length > REASON ? `${letter.reason.slice(0, REASON)}…` : letter.reason);
    reason.title = letter.reason;
    draw.write(reason.children[1], letter.unfit ? `cannot be requeued: ${letter.unfit}` : letter.warning);
    draw.mark(reason, "warned", letter.unfit || letter.warning ? "yes" : "");
    draw.write(channel, letter.channel);
    draw.write(group, letter.group);
    draw.write(attempts, format.count(letter.attempts));
    draw.write(worker, letter.worker || format.NONE);
    draw.write(payload.firstElementChild, `${letter.type} · ${format.bytes(letter.bytes)}`);
    payload.firstElementChild.setAttribute("aria-label", `Open ${letter.type} of letter ${letter.letter}`);
    const [requeue, discard, done] = acts.children;
    requeue.hidden = discard.hidden = Boolean(mark);
    requeue.disabled = Boolean(letter.unfit) || headrace.store.at !== null;
    discard.disabled = headrace.store.at !== null;
    draw.write(done, mark ? `${PAST[mark.action].toLowerCase()} by ${mark.actor || "somebody"}` : "");
    done.title = mark ? format.clock(mark.time) : "";
  }

  function drawBar() {
    const { draw } = headrace;
    const { found } = state;
    const places = found ? found.places : [];
    choices("dead-channel", "all channels", places.map(([channel]) => channel), view().get("channel"));
    choices("dead-group", "all groups", places.map(([, group]) => group), view().get("group"));
    const field = byId("dead-field");
    if (field && document.activeElement !== field && field.value !== view().get("text")) field.value = view().get("text");
    byId("dead-done").setAttribute("aria-pressed", String(view().get("done") === "1"));
    byId("dead-clear").hidden = !filtered();
    const count = found ? found.waiting : 0;
    for (const [act, text] of [["requeue", "Requeue"], ["discard", "Discard"]]) {
      const button = byId(`dead-${act}-all`);
      button.disabled = !count || Boolean(state.error) || headrace.store.at !== null;
      draw.write(button, count ? `${text} ${filtered() ? "these" : "all"} ${headrace.format.count(count)}` : `${text} all`);
    }
  }

  function choices(id, all, names, choice) {
    const known = [...new Set([...names, ...(choice ? [choice] : [])])].sort();
    const select = byId(id);
    if (document.activeElement === select) return;
    headrace.draw.options(select, [["", all], ...known.map((name) => [name, name])], choice);
  }

  /* what is done */

  /** Ask before anything happens: what, to how many, and what is known against it. */
  function question(action, letters, order, count) {
    const { draw } = headrace;
    const verb = action === "requeue" ? "Requeue" : "Discard";
    const homes = [...new Set(letters.map((letter) => letter.channel))];
    const lines = [];
    if (action === "requeue") {
      lines.push(`The payload is published again, unchanged and once, to ${homes.length === 1 ? homes[0] : "the channel it came from"}; every group of the channel gets it.`);
      const vain = letters.filter((letter) => letter.warning).length;
      if (vain) lines.push(count === 1 ? `It would die again: ${letters[0].warning}` : `${order.letters ? "" : "At least "}${vain} of them would die again: their deadline has passed, or they cannot be read.`);
      const unfit = letters.filter((letter) => letter.unfit).length;
      if (unfit) lines.push(`${order.letters ? "" : "At least "}${unfit} of them cannot be published again and will be left.`);
    } else {
      lines.push("Nothing is published. The letters are marked as dealt with, and stay in the log until retention removes them.");
    }
    if (order.filter) {
      const said = told(order.filter);
      lines.push(`${said ? `Only letters of ${said}` : "All letters that wait"}; none that came after those shown.`);
    } else lines.push(`${letters[0].reason}`);
    lines.push("An event in the channel of actions will say who did it.");
    state.order = { action, order };
    draw.write(byId("question-title"), `${verb} ${plural(count)}?`);
    byId("question-text").replaceChildren(...lines.map((line) => draw.element("li", "", line)));
    const yes = byId("question-yes");
    draw.write(yes, `${verb} ${headrace.format.count(count)}`);
    yes.disabled = false;
    draw.mark(yes, "action", action);
    byId("question").showModal();
  }

  function one(action, key) {
    const letter = state.found?.letters.find((each) => each.letter === key);
    if (letter && headrace.store.at === null) question(action, [letter], { letters: [key] }, 1);
  }

  function all(action) {
    const { found } = state;
    if (!found || !found.waiting) return;
    const { channel, group, text } = chosen();
    const waiting = found.letters.filter((letter) => !letter.mark);
    question(action, waiting, { filter: { channel, group, text, newest: found.newest } }, found.waiting);
  }

  async function confirm() {
    if (!state.order) return;
    const { action, order } = state.order;
    byId("question-yes").disabled = true;
    try {
      const done = await headrace.ask(`api/dead/${action}`, null, order);
      const refused = Object.values(done.refused);
      state.said = [
        `${PAST[action]} ${plural(done.done)}`,
        done.already ? `${headrace.format.count(done.already)} had been dealt with before` : "",
        refused.length ? `${headrace.format.count(refused.length)} left: ${refused[0]}` : "",
      ].filter(Boolean).join("; ");
      state.error = "";
    } catch (error) {
      state.error = error.message;
    }
    state.order = null;
    byId("question").close();
    state.sign = "";
    headrace.repaint(true);
  }

  /* life */

  function bound() {
    const field = headrace.draw.element("input", "field");
    Object.assign(field, { id: "dead-field", type: "search", placeholder: "Filter by reason", autocomplete: "off", spellcheck: false, value: view().get("text") });
    field.setAttribute("aria-label", "Only letters with this text in their reason");
    field.dataset.view = "text";
    byId("dead-text").replaceChildren(field);
    Object.assign(state, { found: null, error: "", sign: "", drawn: "", said: "", order: null });
    byId("question").onclose = () => {
      state.order = null;
    };
  }

  const page = (before) => view().set("before", before);

  const actions = {
    reason: (reason) => {
      page("");
      view().set("text", view().get("text") === reason ? "" : reason);
    },
    done: () => view().set("done", view().get("done") === "1" ? "" : "1"),
    clear: () => ["channel", "group", "text", "before"].forEach((name) => view().set(name, "")),
    open: (letter) => headrace.drawer.show("dead", letter),
    requeue: (letter) => one("requeue", letter),
    discard: (letter) => one("discard", letter),
    "requeue-all": () => all("requeue"),
    "discard-all": () => all("discard"),
    older: () => page(state.found.before),
    newest: () => page(""),
    cancel: () => byId("question").close(),
    confirm,
  };

  (headrace.pages ??= {}).dead = {
    sections,
    cards: { "reasons-card": drawReasons, "history-card": drawHistory, "letters-card": drawLetters },
    actions,
    bound,
  };
})((window.headrace = window.headrace || {}));
