/* The loop of every page: what the store holds is written into the page that is up, and drawn when there is news.

   The one clock is the browser's frame: news marks the page as dirty, the next animation frame draws it. A page is an
   entry in `headrace.pages`, named as its root says in `data-page`:

       sections(view)    names of the sections it needs, beside `status`
       fast()            drawn with every frame: numbers and tiles
       cards             drawn twice a second while in view: by the id of a card, a function of `force`
       actions           what its controls do: by their `data-do`, a function of their `data-value` and the element
       bound(root)       called once the page is up; `left()` before another takes its place

   `headrace.view` is what a reader has chosen. It is in the address, so that a link shows somebody else the same. */
"use strict";
(function (headrace) {
  const SLOW_MS = 500;
  const TICK_MS = 250;
  const STALE_S = 3;
  const WINDOWS = [60, 300, 900];
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
    if (!page.root) return;
    const { sections, fast, cards } = shown();
    connection.showing([...(sections ? sections(headrace.view) : []), "status"]);
    drawPill();
    if (page.paused && !page.force) return headrace.glass.rest();
    fast?.();
    headrace.glass.drawn("tiles");
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
    const one = page.queue.shift();
    if (!one) return;
    one(page.pictureForce);
    if (page.queue.length) requestAnimationFrame(drawNext);
    else headrace.glass.drawn("charts");
  }

  /** The end of the time axis: the newest frame, or the present if that is late, so that silence shows as a hole. */
  function end() {
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
    const until = step ? Math.ceil(end() / step) * step : end();
    return [headrace.charts.local(until - seconds()), headrace.charts.local(until)];
  }

  /* connection */

  function condition() {
    const age = store.time ? Math.max(0, connection.now() - store.time) : null;
    const status = store.sections.status || {};
    if (!connection.open) {
      const away = (Date.now() - connection.since) / 1000;
      if (!store.time && away < 3) return { state: "connecting", text: "connecting", age: "" };
      return { state: "gone", text: "disconnected", age: headrace.format.duration(away), why: "The dashboard does not answer; trying again for ever." };
    }
    if (page.paused) return { state: "paused", text: "paused", age: headrace.format.duration(connection.now() - page.pausedAt) };
    if (status.bus === "down") {
      return { state: "stale", text: "no server", age: headrace.format.duration(age), why: status.reason };
    }
    if (age === null) return { state: "connecting", text: "no data", age: "", why: "No frame yet: is an aggregator running?" };
    if (age > STALE_S) return { state: "stale", text: "stale", age: headrace.format.duration(age), why: "No frame comes: is an aggregator running?" };
    return { state: "live", text: "live", age: headrace.format.duration(age) };
  }

  function drawPill() {
    const pill = byId("pill");
    const now = condition();
    if (pill.dataset.state !== now.state) {
      put("said", `${now.text}. ${now.why || ""}`);
      page.state = now.state;
      entitle(now.text);
    }
    headrace.draw.mark(pill, "state", now.state);
    headrace.draw.write(pill.children[1], now.text);
    headrace.draw.write(pill.children[2], now.age);
    const { clock } = connection;
    const tolerance = clock ? `Clock known to ± ${headrace.format.milliseconds(clock.trip * 500)}.` : "";
    const why = now.why || "Age of the newest data.";
    if (pill.title !== `${why} ${tolerance}`) pill.title = `${why} ${tolerance}`;
    put("connection-age", now.state === "live" ? now.age : `${now.age || headrace.format.NONE}`);
    put("connection-trip", clock ? headrace.format.milliseconds(clock.trip * 1000) : headrace.format.NONE);
    put("connection-skipped", headrace.format.count(store.skipped));
    put("connection-viewers", headrace.format.count((store.sections.status || {}).viewers));
    headrace.draw.mark(page.root, "state", now.state);
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
    document.title = page.state === "live" ? `${title} · headrace` : `${text} · headrace`;
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
      const address = new URL(location.href);
      address.search = new URLSearchParams([...view.chosen]).toString();
      history.replaceState(history.state, "", address);
    },
  };

  /* controls */

  function pause(paused) {
    page.pausedAt = end();
    page.paused = paused;
    connection.pause(paused);
    const button = byId("pause");
    button.setAttribute("aria-pressed", String(paused));
    headrace.draw.write(button.lastElementChild, paused ? "Resume" : "Pause");
    button.firstElementChild.className = `icon ${paused ? "play" : "pause"}`;
    repaint(!paused);
  }

  function markWindow() {
    for (const button of document.querySelectorAll("[data-do=window]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.value) === seconds()));
    }
  }

  const ACTIONS = {
    pause: () => pause(!page.paused),
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

  /** Bind to the page that Dash has put up, whenever it is another one. */
  function bind() {
    const root = document.querySelector("[data-page]");
    if (root === page.root) return;
    if (page.root) shown().left?.();
    page.seen.clear();
    watcher.disconnect();
    page.root = root;
    page.name = root ? root.dataset.page : "";
    if (!root) return;
    view.chosen = keep(new URLSearchParams(location.search));
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
    shown().bound?.(root);
    if (page.state) entitle(page.state);
    markWindow();
    repaint(true);
  }

  /** The choices of an address, and the window of time, which goes along from page to page. */
  function keep(found) {
    const chosen = new Map(found);
    if (!chosen.has("window") && view.chosen.has("window")) chosen.set("window", view.chosen.get("window"));
    if (chosen.has("window") && !WINDOWS.includes(Number(chosen.get("window")))) chosen.delete("window");
    return chosen;
  }

  function start() {
    store = headrace.store;
    connection = headrace.connection = new headrace.Connection(store, () => {
      bind();
      repaint();
    });
    headrace.theme.onChange(() => repaint(true));
    document.addEventListener("click", onClick);
    document.addEventListener("change", onChoice);
    document.addEventListener("input", onChoice);
    document.addEventListener("visibilitychange", () => repaint());
    setInterval(() => {
      bind();
      repaint();
    }, TICK_MS);
  }

  Object.assign(headrace, { repaint, view, clock: { end, seconds, tier, range } });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})((window.headrace = window.headrace || {}));
