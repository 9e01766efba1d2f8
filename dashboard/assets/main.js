/* The loop of every page: what the store holds is written into the page that is up, and drawn when there is news.

   The one clock is the browser's frame: news marks the page as dirty, the next animation frame draws it. A page is an
   entry in `headrace.pages`, named as its root says in `data-page`:

       sections(view)    names of the sections it needs, beside `status`
       fast()            drawn with every frame: numbers and tiles
       cards             drawn twice a second while in view: by the id of a card, a function of `force`
       actions           what its controls do: by their `data-do`, a function of their `data-value` and the element
       settled()         what it chose by itself, to be written into a snapshot
       bound(root)       called once the page is up; `left()` before another takes its place

   `headrace.view` is what a reader has chosen. It is in the address, so that a link shows somebody else the same.

   A moment of the past is shown by the same functions: the store holds what was then, `headrace.clock.end()` and
   `headrace.connection.now()` are that moment, and nothing is drawn before something else is asked for. */
"use strict";
(function (headrace) {
  const SLOW_MS = 500;
  const TICK_MS = 250;
  const STALE_S = 3;
  const WINDOWS = [60, 300, 900];
  const LATEST_MS = 1e14;
  const LATE_MS = 30_000;
  const pages = (headrace.pages ??= {});
  const page = { root: null, name: "", seen: new Set(), paused: false, pausedAt: 0, asked: false, slow: 0 };
  let connection = null;
  let store = null;

  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const shown = () => pages[page.name] || {};

  /** Ask for a picture in the next animation frame; `all` draws also what a reader holds. */
  function repaint(all = false) {
    if (all) {
      page.slow = 0;
      page.force = true;
    }
    if (page.asked || document.hidden) return;
    page.asked = true;
    requestAnimationFrame(() => {
      page.asked = false;
      paint();
    });
  }

  function paint() {
    if (!page.root?.isConnected) bind(); // Dash has put up another page since
    if (!page.root) return;
    const { sections, fast, cards } = shown();
    connection.showing([...(sections ? sections(headrace.view) : []), "status"]);
    drawPill();
    headrace.time?.draw();
    const still = page.paused || connection.wanted !== null || store.at !== null;
    if (still) headrace.glass.rest();
    if (still && !page.force) return;
    fast?.();
    if (!still) headrace.glass.drawn("tiles");
    const now = performance.now();
    if (now - page.slow < SLOW_MS) return;
    page.slow = now;
    drawSubtitle();
    const queue = Object.entries(cards || {}).filter(([name]) => page.force || page.seen.has(name));
    page.queue = queue.map(([, one]) => one);
    page.pictureForce = Boolean(page.force);
    page.force = false;
    drawNext();
  }

  /** One picture in each animation frame: no long task, however many there are. */
  function drawNext() {
    const one = page.root?.isConnected && page.queue?.shift();
    if (!one) return;
    one(page.pictureForce);
    if (page.queue.length) requestAnimationFrame(drawNext);
    else if (store.at === null) headrace.glass.drawn("charts");
  }

  /** Draw one card at once, whatever is in view or held. */
  const redraw = (id) => shown().cards?.[id]?.(true);

  /** The end of the time axis: the newest frame, or the present if that is late, so that silence shows as a hole. */
  function end() {
    if (store.at !== null) return store.at / 1000;
    if (page.paused) return page.pausedAt;
    const now = connection.now();
    return now - store.time > 1.5 ? now : store.time;
  }

  const seconds = () => Number(view.get("window", WINDOWS[0]));

  /** The tier of the store that holds the window of time. */
  const tier = () => store.tier(seconds());

  /** The time axis, in the steps of its tier: a long window need not be drawn twice a second. */
  function range() {
    const { step } = tier() || { step: 0 };
    const until = step && store.at === null ? Math.ceil(end() / step) * step : end();
    return [headrace.charts.local(until - seconds()), headrace.charts.local(until)];
  }

  /* connection */

  function condition() {
    const age = store.time ? Math.max(0, connection.present() - store.time) : null;
    const status = store.sections.status || {};
    if (!connection.open) {
      const away = (Date.now() - connection.since) / 1000;
      if (!store.time && away < 3) return { state: "connecting", text: "connecting", age: "" };
      return { state: "gone", text: "disconnected", age: headrace.format.duration(away), why: "The dashboard does not answer; trying again for ever." };
    }
    if (connection.wanted !== null || store.at !== null) return conditionThen();
    if (page.paused) return { state: "paused", text: "paused", age: headrace.format.duration(connection.now() - page.pausedAt) };
    if (status.bus === "down") {
      return { state: "stale", text: "no server", age: headrace.format.duration(age), why: status.reason };
    }
    if (age === null) return { state: "connecting", text: "no data", age: "", why: "No frame yet: is an aggregator running?" };
    if (age > STALE_S) return { state: "stale", text: "stale", age: headrace.format.duration(age), why: "No frame comes: is an aggregator running?" };
    return { state: "live", text: "live", age: headrace.format.duration(age) };
  }

  /** The same of the past: it is told which moment is shown, never which one is only asked for. */
  function conditionThen() {
    const { time, format } = headrace;
    const ago = (at) => `(${format.duration(Math.max(0, connection.present() - at / 1000))} ago)`;
    if (connection.frozen) return { state: "past", text: `snapshot · ${time.told(store.at)}`, age: "", why: "A snapshot: nothing moves." };
    if (store.gone) return { state: "past", text: `not kept · ${time.told(store.gone.at)}`, age: "", why: store.gone.why };
    if (connection.wanted === null) return { state: "past", text: "back to live", age: "" };
    if (store.at === null) return { state: "past", text: `going to ${time.told(connection.wanted)}`, age: "" };
    return { state: "past", text: `past · ${time.told(store.at)}`, age: ago(store.at), why: "What is shown is of this moment; nothing moves. Press Live to go back." };
  }

  function drawPill() {
    const pill = byId("pill");
    const now = condition();
    if (pill.dataset.state !== now.state) {
      put("said", `${now.text}. ${now.why || ""}`);
      page.state = now.state;
    }
    entitle(now.text);
    headrace.draw.mark(pill, "state", now.state);
    headrace.draw.write(pill.children[1], now.text);
    headrace.draw.write(pill.children[2], now.age);
    const { clock } = connection;
    const tolerance = clock ? `Clock known to ± ${headrace.format.milliseconds(clock.trip * 500)}.` : "";
    const why = now.why || "Age of the newest data.";
    if (pill.title !== `${why} ${tolerance}`) pill.title = `${why} ${tolerance}`;
    put("connection-age", now.state === "past" || !now.age ? headrace.format.NONE : now.age);
    put("connection-trip", clock ? headrace.format.milliseconds(clock.trip * 1000) : headrace.format.NONE);
    put("connection-skipped", headrace.format.count(store.skipped));
    put("connection-viewers", headrace.format.count((store.sections.status || {}).viewers));
    headrace.draw.mark(page.root, "state", now.state);
    headrace.draw.mark(page.root, "moment", store.gone ? "gone" : store.at !== null ? "past" : "");
    drawPause();
    headrace.draw.mark(page.root, "frames", store.time ? "some" : "none");
  }

  function drawSubtitle() {
    const status = store.sections.status || {};
    const title = byId("title");
    headrace.draw.write(title, page.root.dataset.title);
    put("subtitle", shown().subtitle?.() || [page.root.dataset.about, status.server].filter(Boolean).join(" · "));
  }

  function entitle(text) {
    const title = page.root.dataset.title;
    const whole = page.state === "live" ? `${title} · headrace` : `${text} · ${page.state === "past" ? `${title} · ` : ""}headrace`;
    if (document.title !== whole) document.title = whole;
  }

  /* what a reader has chosen */

  const view = {
    chosen: new Map(new URLSearchParams(location.search)),
    get: (name, otherwise = "") => view.chosen.get(name) ?? otherwise,
    /** Choose, and write it into the address; an empty choice is none. */
    set(name, value) {
      if (value === "" || value === null || value === undefined) view.chosen.delete(name);
      else view.chosen.set(name, String(value));
      view.write();
      repaint(true);
    },
    write() {
      if (connection?.frozen) return;
      const address = new URL(location.href);
      address.search = new URLSearchParams([...view.chosen]).toString();
      history.replaceState(history.state, "", address);
    },
  };

  /* controls */

  /** What stands still is the newest frame, whole: no later picture of it can differ from the one a reader has seen. */
  function pause(paused) {
    if (paused) {
      page.slow = 0;
      paint();
    }
    page.pausedAt = end();
    page.paused = paused;
    connection.pause(paused);
    drawPause();
    repaint(!paused);
  }

  /** Paused, or in the past: then the button goes on with the present. */
  function drawPause() {
    const held = page.paused || connection.wanted !== null;
    const button = byId("pause");
    if (!button || button.getAttribute("aria-pressed") === String(held)) return;
    button.setAttribute("aria-pressed", String(held));
    headrace.draw.write(button.lastElementChild, held ? "Resume" : "Pause");
    button.firstElementChild.className = `icon ${held ? "play" : "pause"}`;
  }

  /** Show a moment, Unix ms, or the present: null. `settled` is false while a reader still drags. */
  function travel(at, settled = true) {
    if (page.paused) pause(false);
    const moment = at === null ? null : Math.round(at);
    if (moment !== connection.wanted || store.gone) connection.travel(moment);
    if (!settled) return;
    if (moment === null) view.chosen.delete("at");
    else view.chosen.set("at", String(moment));
    view.write();
    repaint();
  }

  /** The moment that an address asks for; null if none, or none that can be. */
  function momentIn(chosen) {
    const at = Number(chosen.get("at") || NaN);
    return Number.isInteger(at) && at > 0 && at < LATEST_MS ? at : null;
  }

  function markWindow() {
    for (const button of document.querySelectorAll("[data-do=window]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.value) === seconds()));
    }
  }

  const ACTIONS = {
    pause: () => (connection.wanted !== null ? travel(null) : pause(!page.paused)),
    live: () => travel(null),
    travel: (value) => travel(Number(value)),
    snapshot: (_, button) => headrace.exports.snapshot(button),
    theme: () => headrace.theme.toggle(),
    window: (value) => {
      view.set("window", value);
      markWindow();
    },
    line: (key) => {
      headrace.charts.toggleLine(key);
      repaint(true);
    },
    choose: (value, control) => view.set(control.dataset.name, value),
  };

  function onClick(event) {
    const control = event.target.closest("[data-do]");
    if (!control) return;
    const act = shown().actions?.[control.dataset.do] || ACTIONS[control.dataset.do];
    act?.(control.dataset.value, control);
  }

  /** Controls with a `data-view` write what was chosen into the view under that name. */
  function onChoice({ target }) {
    const name = target.dataset?.view;
    if (name) view.set(name, target.type === "checkbox" ? (target.checked ? "1" : "") : target.value);
  }

  /* life */

  const watcher = new IntersectionObserver(
    (changes) => {
      for (const { target, isIntersecting } of changes) {
        if (isIntersecting) page.seen.add(target.id);
        else page.seen.delete(target.id);
      }
      page.slow = 0;
      repaint();
    },
    { rootMargin: "80px" },
  );

  /** Tells when Dash puts up a page: its numbers can be painted before the library of its charts begins to load. */
  const arrivals = new MutationObserver(() => bind());

  function awaitPage(root) {
    arrivals.disconnect();
    arrivals.observe(root?.parentElement || document.body, { childList: true, subtree: !root });
  }

  /** Bind to the page that Dash has put up, whenever it is another one. */
  function bind() {
    const root = document.querySelector("[data-page]");
    if (root === page.root) return;
    awaitPage(root);
    if (page.root) shown().left?.();
    page.seen.clear();
    page.queue = []; // what is still to be drawn is of the page that was left
    watcher.disconnect();
    page.root = root;
    page.name = root ? root.dataset.page : "";
    Object.assign(page, { bound: performance.now(), late: true });
    if (!root) return;
    if (!connection.frozen) view.chosen = keep(new URLSearchParams(location.search));
    if (momentIn(view.chosen) !== connection.wanted) connection.travel(momentIn(view.chosen));
    view.write();
    for (const field of root.querySelectorAll("[data-view]")) {
      if (field.type === "checkbox") field.checked = view.get(field.dataset.view) === "1";
      else if (field.tagName !== "SELECT") field.value = view.get(field.dataset.view);
    }
    root.querySelectorAll(".card").forEach((card) => watcher.observe(card));
    for (const link of document.querySelectorAll("#nav a")) {
      if (link.id === `to-${page.name}`) {
        link.setAttribute("aria-current", "page");
        headrace.links.reveal(link);
      } else link.removeAttribute("aria-current");
    }
    headrace.exports?.attach(root);
    shown().bound?.(root);
    markWindow();
    repaint(true);
  }

  /** The choices of an address, and the window of time, which goes along from page to page. */
  function keep(found) {
    const chosen = new Map(found);
    if (!chosen.has("window") && view.chosen.has("window")) chosen.set("window", view.chosen.get("window"));
    if (!chosen.has("at") && connection.wanted !== null) chosen.set("at", String(connection.wanted));
    if (chosen.has("at") && momentIn(chosen) === null) chosen.delete("at");
    if (chosen.has("window") && !WINDOWS.includes(Number(chosen.get("window")))) chosen.delete("window");
    return chosen;
  }

  /** Whether what stands still must be drawn again: Dash brings charts in its own time, after what is to be drawn. */
  function lateCharts() {
    const late = page.root && performance.now() - page.bound < LATE_MS &&
      [...page.root.querySelectorAll(".dash-graph")].some((graph) => !graph.querySelector(".js-plotly-plot")?.layout);
    const again = (late || page.late) && (page.paused || connection.wanted !== null);
    page.late = late;
    return Boolean(again);
  }

  function start() {
    store = headrace.store;
    const onNews = (message) => {
      bind();
      const news = Object.keys(message?.sections || {}).some((name) => name !== "status" && name !== "clock");
      repaint(message?.past !== undefined || (news && store.at !== null));
    };
    const frozen = byId("frozen");
    connection = headrace.connection = frozen
      ? new headrace.Frozen(store, onNews, JSON.parse(frozen.textContent))
      : new headrace.Connection(store, onNews, momentIn(view.chosen));
    awaitPage(page.root);
    if (frozen) onNews({});
    headrace.theme.onChange(() => repaint(true));
    document.addEventListener("click", onClick);
    document.addEventListener("change", onChoice);
    document.addEventListener("input", onChoice);
    document.addEventListener("visibilitychange", () => repaint());
    setInterval(() => {
      bind();
      repaint(lateCharts());
    }, TICK_MS);
  }

  const at = () => store.at;
  const shownPage = () => ({ name: page.name, root: page.root });
  Object.assign(headrace, { repaint, redraw, view, shownPage, clock: { end, seconds, tier, range, at, travel } });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})((window.headrace = window.headrace || {}));
