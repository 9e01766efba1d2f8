/* The tables: which cells a row has and what stands in them. Rows are made once and rewritten. */
"use strict";
(function (headrace) {
  const PREDICTIONS = 10;

  /** Rewrite the rows of a table: `cells` make a row's cells, `update` writes one item into them. */
  function rows(name, items, make, update) {
    const body = document.getElementById(`rows-${name}`);
    if (!body) return;
    const { draw } = headrace;
    body.shown = items; // exports.js takes them along as they are
    draw.fill(body, items.length, () => {
      const row = draw.element("tr");
      row.append(...make());
      return row;
    }).forEach((row, i) => update(row.children, items[i], row));
  }

  /** Rows of a table by key: a line that stays keeps its row, so that nothing moves under a pointer. */
  function keyed(name, items, key, make, update) {
    const body = document.getElementById(`rows-${name}`);
    const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
    items.forEach((item, i) => {
      const id = key(item);
      let row = known.get(id);
      known.delete(id);
      if (!row) {
        row = el("tr");
        row.dataset.key = id;
        row.append(...make());
      }
      if (body.children[i] !== row) body.insertBefore(row, body.children[i] || null);
      update(row.children, item, row);
    });
    for (const row of known.values()) row.remove();
  }

  const cell = (kind = "", ...children) => {
    const made = headrace.draw.element("td", kind);
    made.append(...children);
    return made;
  };
  const el = (...words) => headrace.draw.element(...words);
  const put = (...words) => headrace.draw.write(...words);

  function meter() {
    const made = el("span", "meter");
    made.append(el("i"));
    return made;
  }

  function setMeter(node, share) {
    const width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
    if (node.firstElementChild.style.width !== width) node.firstElementChild.style.width = width;
  }

  function runs(items, metric) {
    const { format, draw } = headrace;
    rows(
      "runs",
      items,
      () => {
        const name = cell("name", el("i", "dot"), el("a", "to"), el("small"));
        return [name, cell("progress", meter(), el("small", "number")), cell("num number wide"), cell("num number"), cell("num number wide")];
      },
      ([name, progress, speed, value, best], run, row) => {
        draw.mark(row, "state", run.state);
        put(name.children[1], run.name);
        headrace.links.to(name.children[1], "training", { run: run.run });
        const words = run.state === "running" && run.ranks > 1 ? `${run.ranks} ranks` : run.state;
        put(name.children[2], run.error ? `${words}: ${run.error}` : words);
        name.title = Object.entries(run.params).map(([key, one]) => `${key} = ${one}`).join("\n");
        const share = run.total_steps ? run.step / run.total_steps : run.state === "running" ? 0 : 1;
        setMeter(progress.firstElementChild, share);
        const left = run.state === "running" && run.total_steps && run.steps_per_s > 0 ? (run.total_steps - run.step) / run.steps_per_s : null;
        const steps = run.total_steps ? `${format.count(run.step)} / ${format.count(run.total_steps)}` : format.counted(run.step, "step");
        put(progress.lastElementChild, left === null ? steps : `${steps} · ${format.duration(left)} left`);
        put(speed, run.state === "running" ? format.number(run.steps_per_s) : format.NONE);
        put(value, format.metric(run.metrics[metric]));
        put(best, format.metric(run.best[metric]));
      },
    );
  }

  function models(items) {
    const { format } = headrace;
    rows(
      "models",
      items,
      () => [cell("name", el("a", "to"), el("small")), cell("num number"), cell("num number wide"), cell("num number two", el("span"), el("small"))],
      ([name, speed, late, good], model) => {
        put(name.children[0], model.key);
        headrace.links.to(name.children[0], "models", { model: model.key });
        put(name.children[1], model.champion ? "in service" : "earlier version");
        put(speed, format.number(model.requests_s));
        put(late, model.p95_ms === null ? format.NONE : format.milliseconds(model.p95_ms));
        const { accuracy } = model;
        if (accuracy) {
          put(good.children[0], format.percent(accuracy.share));
          put(good.children[1], `${format.percent(accuracy.low).replace(" %", "")}–${format.percent(accuracy.high)} · n ${format.number(accuracy.joined)}`);
        } else {
          put(good.children[0], model.mae === null ? format.NONE : `MAE ${format.number(model.mae)}`);
          put(good.children[1], model.mae === null ? "no labels yet" : "regression");
        }
      },
    );
  }

  const SIGNS = { scorer: "blue", aggregator: "green", dashboard: "purple", gateway: "orange", publisher: "sky" };

  function workers(items, elapsed) {
    const { format, draw } = headrace;
    rows(
      "workers",
      items,
      () => [
        cell("name", el("i", "dot"), el("b"), el("small")),
        cell("num number"),
        cell("num number wide"),
        cell("num number busy", meter(), el("span")),
        cell("num number wide"),
        cell("num number"),
      ],
      ([name, speed, batch, busy, memory, seen], worker, row) => {
        draw.mark(row, "state", worker.state || "up");
        draw.mark(row, "kind", SIGNS[worker.kind] || "grey");
        put(name.children[1], worker.kind);
        put(name.children[2], worker.host ? `${worker.host}:${worker.pid}` : worker.worker);
        name.title = [worker.worker, ...Object.entries(worker.models || {}).map(([model, v]) => `${model}@${v}`)].join("\n");
        put(speed, `${format.number(worker.rate || 0)}/s`);
        put(batch, worker.batch_mean ? format.number(worker.batch_mean) : format.NONE);
        setMeter(busy.firstElementChild, worker.busy || 0);
        put(busy.lastElementChild, format.percent(worker.busy || 0, 0));
        put(memory, worker.memory_bytes ? format.bytes(worker.memory_bytes) : format.NONE);
        put(seen, `${format.duration((worker.age_s || 0) + elapsed)}`);
      },
    );
  }

  /** Newest first. A picture is drawn again only when another prediction takes its row. */
  function predictions(tail, truths, now) {
    const { format, draw } = headrace;
    const items = tail.slice(-PREDICTIONS).reverse();
    rows(
      "predictions",
      items,
      () => [
        cell("input", el("canvas", "picture")),
        cell("", el("b")),
        cell("sure", meter(), el("span", "number")),
        cell("truth", el("i"), el("span")),
        cell("wide quiet"),
        cell("num number wide"),
        cell("num number wide quiet"),
      ],
      ([input, said, sure, truth, model, late, age], sample, row) => {
        if (row.dataset.id !== sample.id) {
          row.dataset.id = sample.id;
          const canvas = input.firstElementChild;
          canvas.hidden = !sample.shape;
          if (sample.shape) draw.picture(canvas, sample.pixels, sample.shape);
          put(said.firstElementChild, sample.label || format.NONE);
          sure.firstElementChild.hidden = sample.confidence === null;
          setMeter(sure.firstElementChild, sample.confidence || 0);
          put(sure.lastElementChild, format.percent(sample.confidence));
          put(model, sample.model);
          put(late, sample.latency_ms === null ? format.NONE : format.milliseconds(sample.latency_ms));
        }
        const known = truths.get(sample.id);
        const right = known === undefined || sample.confidence === null ? "" : known === sample.label ? "yes" : "no";
        draw.mark(truth, "right", right);
        put(truth.firstElementChild, { yes: "✓", no: "✗" }[right] || "");
        put(truth.lastElementChild, known === undefined ? format.NONE : known);
        put(age, format.duration(Math.max(0, now - sample.created)));
      },
    );
  }

  headrace.tables = { rows, keyed, cell, runs, models, workers, predictions };
})((window.headrace = window.headrace || {}));
