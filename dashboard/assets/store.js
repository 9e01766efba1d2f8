/* What the browser keeps: series in three tiers, curves, the tail, the newest sections. Bounded, no drawing, no network.

   The tiers are those of history.py, the curves those of headrace/curves.py: a page that has been open all day and one
   that was opened just now hold the same. */
"use strict";
(function (headrace) {
  const TAIL = 60;
  const RUNS = 48;
  const OF_NOW = new Set(["status", "clock"]);
  const PEAKS = ["depth", "flight", "oldest", "p50", "p95", "p99"];
  const isPeak = (name) => PEAKS.some((start) => name.startsWith(start));

  /** The last `span` seconds in steps of `step` (0 = every frame) as columns; null where a series has no value. */
  class Tier {
    constructor({ step_s: step, span_s: span, times, values }) {
      Object.assign(this, { step, span, times, values });
      this.open = new Map();
      this.slot = times.length && step ? Math.floor(times[times.length - 1] / step) : -1;
    }

    add(time, row) {
      if (!this.step) {
        this.append(time, Object.entries(row));
        return;
      }
      const slot = Math.floor(time / this.step);
      if (slot > this.slot) {
        this.close();
        this.slot = slot;
      }
      for (const [name, value] of Object.entries(row)) {
        const held = this.open.get(name);
        if (!held) this.open.set(name, [value, 1]);
        else {
          held[0] = isPeak(name) ? Math.max(held[0], value) : held[0] + value;
          held[1] += 1;
        }
      }
    }

    close() {
      if (!this.open.size) return;
      const row = [...this.open].map(([name, [sum, n]]) => [name, isPeak(name) ? sum : sum / n]);
      this.append((this.slot + 0.5) * this.step, row);
      this.open = new Map();
    }

    append(time, row) {
      const length = this.times.push(time);
      for (const [name, value] of row) {
        const column = (this.values[name] ??= []);
        while (column.length < length - 1) column.push(null);
        column.push(value);
      }
      for (const column of Object.values(this.values)) if (column.length < length) column.push(null);
      let old = 0;
      while (old < length && time - this.times[old] > this.span) old += 1;
      if (!old) return;
      this.times.splice(0, old);
      for (const [name, column] of Object.entries(this.values)) {
        column.splice(0, old);
        if (column.every((value) => value === null)) delete this.values[name];
      }
    }

    /** Mean of a series between two times; null if there is nothing. */
    mean(name, from, to) {
      const column = this.values[name];
      let sum = 0;
      let n = 0;
      for (let i = this.times.length - 1; column && i >= 0 && this.times[i] >= from; i -= 1) {
        if (this.times[i] <= to && column[i] !== null) {
          sum += column[i];
          n += 1;
        }
      }
      return n ? sum / n : null;
    }
  }

  /** Points by step, at most `limit`: beyond that the stride doubles and neighbours merge. */
  class Curve {
    constructor(limit, stride = 1, points = []) {
      Object.assign(this, { limit, stride, buckets: new Map(), version: 0 });
      this.put(points);
    }

    put(points) {
      for (const [step, value, low = value, high = value] of points) {
        this.buckets.set(Math.floor(step / this.stride), [step, value, 1, low, high]);
        while (this.buckets.size > this.limit) this.thin();
      }
      this.version += points.length;
    }

    thin() {
      const old = this.buckets;
      this.buckets = new Map();
      this.stride *= 2;
      for (const [key, bucket] of old) {
        const half = Math.floor(key / 2);
        const held = this.buckets.get(half);
        const [step, sum, n, low, high] = bucket;
        this.buckets.set(half, held ? [Math.min(held[0], step), held[1] + sum, held[2] + n, Math.min(held[3], low), Math.max(held[4], high)] : bucket);
      }
    }

    /** [steps, values, smallest, largest], in order; made once for each state of the curve. */
    columns() {
      if (this.made?.version === this.version) return this.made.columns;
      const sorted = [...this.buckets].sort((a, b) => a[0] - b[0]).map(([, bucket]) => bucket);
      const columns = [sorted.map((b) => b[0]), sorted.map((b) => b[1] / b[2]), sorted.map((b) => b[3]), sorted.map((b) => b[4])];
      this.made = { version: this.version, columns };
      return columns;
    }
  }

  class Store {
    constructor() {
      Object.assign(this, { epoch: "", number: 0, time: 0, skipped: 0, limit: 512 });
      Object.assign(this, { tiers: [], curves: new Map(), tail: [], truths: new Map(), sections: {} });
      this.values = {};
      this.at = null; // Unix ms of the moment of the past that all of this is of; null is the present
      this.gone = null; // why a moment cannot be shown: {at, why, oldest}
    }

    /** Fold one message of the dashboard in. */
    take(message) {
      this.takeMomentOf(message);
      if (message.past) this.takePast(message.past);
      for (const moment of message.moments || []) this.takeMoment(moment);
      if (message.epoch) Object.assign(this, { epoch: message.epoch, number: message.number, skipped: message.skipped });
      Object.assign(this.sections, message.sections);
      this.takeOverview(message.sections && message.sections.overview);
    }

    /** Another moment: sections are of the one before, but those about the dashboard itself. */
    takeMomentOf(message) {
      const { at = null, past, gone, oldest } = message;
      if (gone) {
        this.gone = { at, why: gone, oldest };
        return;
      }
      if (!past || (at === null && this.at === null && !this.gone)) return;
      Object.assign(this, { at, gone: null });
      for (const name of Object.keys(this.sections)) if (!OF_NOW.has(name)) delete this.sections[name];
    }

    takePast(past) {
      this.tiers = past.tiers.map((columns) => new Tier(columns));
      this.limit = past.limit;
      const raw = this.tiers[0];
      const names = Object.keys(raw.values);
      const row = (i) => Object.fromEntries(names.map((n) => [n, raw.values[n][i]]).filter(([, v]) => v !== null));
      for (const tier of this.tiers.slice(1)) {
        const closed = (tier.slot + 1) * tier.step;
        raw.times.forEach((time, i) => time >= closed && tier.add(time, row(i)));
      }
      this.values = raw.times.length ? row(raw.times.length - 1) : {};
      this.time = raw.times.length ? raw.times[raw.times.length - 1] : 0;
      this.curves = new Map();
      for (const [run, metrics] of Object.entries(past.curves)) {
        const curves = Object.entries(metrics).map(([name, [stride, points]]) => [name, new Curve(past.limit, stride, points)]);
        this.curves.set(run, new Map(curves));
      }
      this.tail = past.tail.slice(-TAIL);
      this.truths = new Map(Object.entries(past.truths));
    }

    takeMoment(moment) {
      this.time = moment.time;
      this.values = moment.values;
      for (const tier of this.tiers) tier.add(moment.time, moment.values);
      for (const [run, metrics] of Object.entries(moment.points || {})) {
        if (!this.curves.has(run)) this.curves.set(run, new Map());
        for (const [name, points] of Object.entries(metrics)) {
          const curves = this.curves.get(run);
          if (!curves.has(name)) curves.set(name, new Curve(this.limit));
          curves.get(name).put(points);
        }
      }
      this.tail.push(...(moment.samples || []));
      this.tail.splice(0, this.tail.length - TAIL);
      for (const [id, truth] of Object.entries(moment.truths || {})) this.truths.set(id, truth);
      if (this.truths.size > 2 * TAIL) {
        const here = new Set(this.tail.map((sample) => sample.id));
        for (const id of this.truths.keys()) if (!here.has(id)) this.truths.delete(id);
      }
    }

    /** Curves of runs that the overview does not know any more are let go; of very many, the oldest. */
    takeOverview(overview) {
      if (!overview) return;
      const shown = new Set(overview.runs.map((run) => run.run));
      let room = overview.cut.runs ? RUNS - shown.size : 0;
      for (const run of [...this.curves.keys()].reverse()) {
        if (!shown.has(run) && (room -= 1) < 0) this.curves.delete(run);
      }
    }

    /** The tier that shows a window of `seconds`. */
    tier(seconds) {
      return this.tiers.find((tier) => tier.span >= seconds) || this.tiers[this.tiers.length - 1];
    }
  }

  headrace.store = new Store();
  Object.assign(headrace, { Store, Tier, Curve });
})((window.headrace = window.headrace || {}));
