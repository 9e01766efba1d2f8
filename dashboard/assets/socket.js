/* The connection: one socket for the page, reconnected for ever, silent while nobody looks.

   What arrives goes into the store at once; drawing is somebody else's business and happens in its own time, so that a
   slow page gets fewer pictures, never a queue. */
"use strict";
(function (headrace) {
  const PING_MS = 2_000;
  const SILENT_MS = 12_000;

  class Connection {
    /** First and longest delay before the next try, seconds. */
    static DELAYS_S = [0.25, 5];

    /** `onNews` is called with each message, and without one when the connection changes; `at` is the moment to begin with. */
    constructor(store, onNews, at = null) {
      Object.assign(this, { store, onNews, socket: null, open: false, delay: Connection.DELAYS_S[0], timer: 0 });
      Object.assign(this, { show: ["overview", "status"], paused: false, heard: 0, since: Date.now() });
      Object.assign(this, { wanted: at, travelling: false });
      this.clocks = [];
      this.held = []; // what was on its way when a reader paused; the dashboard sends no more than its window unanswered
      document.addEventListener("visibilitychange", () => this.tellPause());
      window.addEventListener("online", () => this.connect());
      window.addEventListener("pagehide", () => this.socket && this.socket.close());
      setInterval(() => this.ping(), PING_MS);
      this.connect();
    }

    url() {
      const config = document.getElementById("_dash-config");
      const base = config ? JSON.parse(config.textContent).requests_pathname_prefix : "/";
      return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${base}live`;
    }

    connect() {
      clearTimeout(this.timer);
      if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
      const socket = (this.socket = new WebSocket(this.url()));
      socket.onopen = () => {
        this.heard = Date.now();
        this.travelling = this.wanted !== null;
        const after = this.store.at === null ? [this.store.epoch, this.store.number] : ["", 0];
        this.say({ show: this.show, after, pause: this.isQuiet(), ...(this.travelling ? { at: this.wanted } : {}) });
        this.ping();
      };
      socket.onmessage = (event) => socket === this.socket && this.take(JSON.parse(event.data));
      socket.onclose = () => socket === this.socket && this.lost();
    }

    take(message) {
      if (!this.open) {
        Object.assign(this, { open: true, delay: Connection.DELAYS_S[0], since: Date.now() });
      }
      this.heard = Date.now();
      if (message.pong !== undefined) this.tellClock(message);
      if (message.serial === undefined) return;
      if (this.paused) {
        this.held.push(message);
        return;
      }
      const left = message.at !== undefined && this.wanted === null; // on its way when a reader went back to the present
      if (message.at === undefined && this.wanted === null) headrace.glass.arrived(message);
      else headrace.glass.rest();
      if (!left) this.store.take(message);
      this.say({ seen: message.serial });
      if (message.at !== undefined) this.arrive(message.at);
      this.onNews(message);
    }

    /** Show another moment, Unix ms; null is the present. One is asked for at a time, and of several only the last. */
    travel(at) {
      this.wanted = at === null ? null : Math.round(at);
      if (at === null || !this.travelling) this.tellMoment();
    }

    tellMoment() {
      this.travelling = this.wanted !== null;
      this.say({ at: this.wanted });
    }

    arrive(at) {
      this.travelling = false;
      if (this.wanted !== null && this.wanted !== at) this.tellMoment();
    }

    lost() {
      this.held = []; // it is sent again to whoever says that it has not got it
      if (this.open) Object.assign(this, { open: false, since: Date.now() });
      this.timer = setTimeout(() => this.connect(), this.delay * (800 + 400 * Math.random()));
      this.delay = Math.min(this.delay * 2, Connection.DELAYS_S[1]);
      this.onNews();
    }

    say(words) {
      if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(words));
    }

    ping() {
      if (this.open && Date.now() - this.heard > SILENT_MS) {
        const dead = this.socket;
        this.socket = null;
        dead.close();
        this.lost();
      }
      if (!document.hidden) this.say({ ping: performance.now() });
    }

    /** The dashboard's clock against ours, from the quickest of the last round trips. */
    tellClock({ pong, now }) {
      const trip = (performance.now() - pong) / 1000;
      this.clocks.push({ trip, offset: now + trip / 2 - Date.now() / 1000 });
      if (this.clocks.length > 10) this.clocks.shift();
      this.clock = this.clocks.reduce((best, one) => (one.trip < best.trip ? one : best));
    }

    /** Unix seconds of what is shown: the present on the dashboard's clock, or the moment of the past. */
    now() {
      return this.store.at === null ? this.present() : this.store.at / 1000;
    }

    /** Unix seconds on the dashboard's clock, whatever is shown. */
    present() {
      return Date.now() / 1000 + (this.clock ? this.clock.offset : 0);
    }

    isQuiet() {
      return this.paused || document.hidden;
    }

    /** While paused the store stands still: what comes nevertheless is taken in when the reader goes on. */
    pause(paused) {
      this.paused = paused;
      if (!paused) {
        for (const message of this.held.splice(0)) this.take(message);
        headrace.glass.rest(); // what waited says nothing of speed
      }
      this.tellPause();
    }

    tellPause() {
      this.say({ pause: this.isQuiet() });
      if (!this.isQuiet()) this.connect();
    }

    showing(sections) {
      if (sections.join() === this.show.join()) return;
      this.show = sections;
      this.say({ show: sections });
    }
  }

  headrace.Connection = Connection;
})((window.headrace = window.headrace || {}));
