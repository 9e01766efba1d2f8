/* Who reads this page: `headrace.role` is "operator", "viewer", or empty until it is known; style sheets see it as
   `data-role` of the root. What stands in `data-needs="operator"` shows for operators alone; the server refuses others
   whatever a page shows. A page that is left open asks in time for a longer session, and goes to the sign-in page when
   there is none any more. */
"use strict";
(function (headrace) {
  const LONGER_MS = 15 * 60_000;
  const LOOK_MS = 1_000;
  const AWAY_TICKS = 5;
  const SOON_MS = 100;
  const state = { asked: 0, busy: false, shown: "", away: 0 };
  headrace.role = "";

  function base() {
    const config = document.getElementById("_dash-config");
    return config ? JSON.parse(config.textContent).requests_pathname_prefix : "/";
  }

  function leave() {
    location.assign(`${base()}sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }

  function element(name, attributes, ...children) {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  }

  function signOut() {
    const button = element("button", { type: "submit", className: "button" }, "Sign out");
    return element("form", { method: "post", action: `${base()}sign-out` }, button);
  }

  function signIn() {
    const there = encodeURIComponent(location.pathname + location.search);
    return element("a", { className: "button", href: `${base()}sign-in?next=${there}` }, "Sign in");
  }

  /** Written once for each state; later if the page is not up yet. */
  function write() {
    const { session } = state;
    const place = document.getElementById("session");
    if (!place) return void setTimeout(write, SOON_MS);
    const wanted = JSON.stringify(session);
    if (state.shown === wanted) return;
    state.shown = wanted;
    const parts = [];
    if (session.signed_in) parts.push(element("p", {}, "Signed in as ", element("b", {}, session.name)), signOut());
    else if (session.may_sign_in) parts.push(element("p", {}, "Looking only"), signIn());
    place.replaceChildren(...parts);
  }

  async function ask() {
    if (state.busy) return;
    state.busy = true;
    try {
      const answer = await fetch(`${base()}api/session`, { cache: "no-store" });
      if (!answer.ok) return;
      state.asked = Date.now();
      const session = await answer.json();
      if (!session.role) return leave();
      state.session = session;
      const changed = headrace.role !== state.session.role;
      headrace.role = document.documentElement.dataset.role = state.session.role;
      write();
      if (changed) headrace.repaint?.(true);
    } catch {
      /* nobody answers: the page says so already */
    } finally {
      state.busy = false;
    }
  }

  function look() {
    const away = headrace.connection && !headrace.connection.open;
    state.away = away ? state.away + 1 : 0;
    if (Date.now() - state.asked > LONGER_MS || state.away % AWAY_TICKS === 1) ask();
  }

  function start() {
    ask();
    setInterval(look, LOOK_MS);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})((window.headrace = window.headrace || {}));
