/* A search as its candidates arrive: parameters against the result, the best so far, rungs, and a table. */
"use strict";
(function (headrace) {
  const AXES = 8;
  const PARAMS = 6;
  const LINES = 80;
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);
  let made = { of: null };
  let order = [];
  let columns = [];

  /** Searches, running ones first, then the newest. */
  function searches() {
    const lines = headrace.runs.all();
    const parents = new Set([...lines.values()].map((line) => line.parent).filter(Boolean));
    return [...lines.values()]
      .filter((line) => line.candidates || parents.has(line.run))
      .sort((a, b) => headrace.runs.goesOn(b) - headrace.runs.goesOn(a) || b.started - a.started);
  }

  /** The search that is shown: the one asked for, or the newest. */
  function chosen() {
    return choice("search") || searches()[0]?.run || "";
  }

  const section = () => headrace.store.sections[`search:${chosen()}`] || null;

  /** What the pictures need of the candidates, made once for each state of the search. */
  function model() {
    const found = section();
    if (!found) return null;
    const asked = choice("objective");
    if (made.of === found && made.asked === asked) return made;
    const lines = found.candidates.map((line) => ({ rung: 0, resource: 0, time: 0, run: "", params: {}, metrics: {}, ...line }));
    const metrics = headrace.runs.order(new Set(lines.flatMap((line) => Object.keys(line.metrics))));
    const objective = metrics.includes(asked) ? asked : metrics.find((name) => /score|accuracy|auc|f1|r2/i.test(name)) || metrics[0] || "";
    const smaller = headrace.runs.isSmaller(objective);
    const better = (a, b) => b === null || (smaller ? a < b : a > b);
    const score = (line) => line.metrics[objective] ?? null;
    const last = new Map();
    for (const line of lines) {
      const held = last.get(line.number);
      if (!held || (score(line) !== null && (score(held) === null || line.rung >= held.rung))) last.set(line.number, line);
    }
    const candidates = [...last.values()];
    let best = null;
    for (const line of candidates) if (score(line) !== null && (!best || line.rung > best.rung || (line.rung === best.rung && better(score(line), score(best))))) best = line;
    const names = [...new Set(lines.flatMap((line) => Object.keys(line.params)))];
    const varied = names.filter((name) => new Set(candidates.map((line) => line.params[name])).size > 1);
    made = { of: found, asked, lines, candidates, metrics, objective, smaller, score, better, best, names: varied.length ? varied : names };
    return made;
  }

  function draw(force) {
    const { runs } = headrace;
    const known = searches();
    headrace.draw.mark(byId("search-card"), "empty", known.length ? "" : "yes");
    if (!known.length) return;
    const names = known.map((line) => [line.run, `${line.name}${known.filter((one) => one.name === line.name).length > 1 ? ` · ${line.run.slice(-4)}` : ""}`]);
    headrace.draw.options(byId("search"), names, chosen());
    byId("search").hidden = false;
    const search = model();
    if (!search) return;
    headrace.draw.options(byId("objective"), search.metrics.map((name) => [name, name]), search.objective);
    drawFacts(search);
    drawParallel(search, force);
    drawBest(search, force);
    drawRungs(search, force);
    drawTable(search, runs);
  }

  function drawFacts({ of, candidates, lines, best, score, objective }) {
    const { format } = headrace;
    const count = (status) => candidates.filter((line) => line.status === status).length;
    const rungs = new Set(lines.map((line) => line.rung)).size;
    const parts = [of.state, `${format.count(candidates.length)} candidates`];
    for (const status of ["running", "failed", "pruned"]) if (count(status)) parts.push(`${count(status)} ${status}`);
    if (rungs > 1) parts.push(`${rungs} rungs`);
    if (of.cut) parts.push(`${format.count(of.cut)} more are not shown`);
    if (best) parts.push(`best ${objective} ${format.metric(score(best))} by ${best.candidate}: ${Object.entries(best.params).map(([key, one]) => `${key}=${one}`).join(", ")}`);
    put("search-facts", parts.join(" · "));
  }

  /* parallel coordinates */

  function axisOf(name, values) {
    const known = values.filter((one) => one !== null && one !== undefined);
    if (known.every((one) => typeof one === "number")) {
      const [low, high] = [Math.min(...known), Math.max(...known)];
      const log = low > 0 && high / low >= 30;
      const scale = (one) => (log ? Math.log10(one) : one);
      const span = scale(high) - scale(low);
      const ends = [headrace.format.metric(low), headrace.format.metric(high)];
      return { name, log, ends, place: (one) => (typeof one !== "number" ? null : span ? (scale(one) - scale(low)) / span : 0.5) };
    }
    const kinds = [...new Set(known.map(String))].sort();
    return { name, kinds, place: (one) => (one === null || one === undefined ? null : kinds.length > 1 ? kinds.indexOf(String(one)) / (kinds.length - 1) : 0.5) };
  }

  function drawParallel(search, force) {
    const box = byId("parallel");
    const { candidates, score, objective, smaller, best, names } = search;
    const canvas = box.firstElementChild || box.appendChild(headrace.draw.element("canvas"));
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [box.clientWidth, box.clientHeight];
    const sign = [width, height, headrace.theme.isDark(), search.objective].join();
    if (width < 80 || (box.of === search && box.sign === sign && !force)) return;
    Object.assign(box, { of: search, sign });
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { muted, grid, text, blue, orange } = headrace.theme.colours();
    const most = Math.max(2, Math.min(AXES, Math.floor(width / 96)));
    const axes = [...names.slice(0, most - 1).map((name) => axisOf(name, candidates.map((line) => line.params[name]))), axisOf(objective || "result", candidates.map(score))];
    const values = (line) => [...names.slice(0, most - 1).map((name, i) => axes[i].place(line.params[name])), axes[axes.length - 1].place(score(line))];
    const x = (i) => 46 + (i / Math.max(1, axes.length - 1)) * (width - 92);
    const y = (share) => 30 + (1 - share) * (height - 52);
    const judged = candidates.filter((line) => score(line) !== null).sort((a, b) => (smaller ? score(b) - score(a) : score(a) - score(b)));
    const lines = [...candidates.filter((line) => score(line) === null), ...judged];
    lines.forEach((line) => {
      const place = judged.length > 1 ? judged.indexOf(line) / (judged.length - 1) : 1;
      const isBest = line === best;
      context.strokeStyle = isBest ? orange : headrace.theme.faded(score(line) === null ? muted : blue, score(line) === null ? 0.25 : 0.1 + 0.75 * place ** 2);
      context.lineWidth = isBest ? 2.5 : 0.8 + 0.9 * Math.max(0, place);
      context.setLineDash(score(line) === null ? [3, 3] : []);
      context.beginPath();
      let drawn = false;
      values(line).forEach((share, i) => {
        if (share === null) return;
        if (drawn) context.lineTo(x(i), y(share));
        else context.moveTo(x(i), y(share));
        drawn = true;
      });
      context.stroke();
    });
    context.setLineDash([]);
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    axes.forEach((axis, i) => {
      context.textAlign = i === 0 ? "left" : i === axes.length - 1 ? "right" : "center";
      const edge = i === 0 ? x(i) - 42 : i === axes.length - 1 ? x(i) + 42 : x(i);
      context.strokeStyle = grid;
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x(i), y(0));
      context.lineTo(x(i), y(1));
      context.stroke();
      context.fillStyle = text;
      context.fillText(shorter(context, axis.log ? `${axis.name} (log)` : axis.name, 92), edge, 13);
      context.fillStyle = muted;
      if (axis.kinds) axis.kinds.slice(0, 12).forEach((kind, n) => label(context, kind, i === axes.length - 1 ? x(i) - 6 : x(i) + 6, y(axis.kinds.length > 1 ? n / (axis.kinds.length - 1) : 0.5) + 4, i === axes.length - 1));
      else {
        context.fillText(axis.ends[1], edge, 26);
        context.fillText(axis.ends[0], edge, height - 6);
      }
    });
  }

  /** A text with a ground of its own, so that lines do not cross it. */
  function label(context, text, x, y, right) {
    context.save();
    context.textAlign = right ? "right" : "left";
    const shown = shorter(context, text, 80);
    const width = context.measureText(shown).width;
    context.fillStyle = headrace.theme.faded(headrace.theme.colours().surface, 0.85);
    context.fillRect(right ? x - width - 2 : x - 2, y - 10, width + 4, 13);
    context.restore();
    context.save();
    context.textAlign = right ? "right" : "left";
    context.fillText(shown, x, y);
    context.restore();
  }

  function shorter(context, text, most) {
    let shown = text;
    while (shown.length > 4 && context.measureText(shown).width > most) shown = `${shown.slice(0, -2)}…`;
    return shown;
  }

  /* best so far, rungs */

  function drawBest({ lines, score, better, objective, of }, force) {
    const { lines: colours, orange } = headrace.theme.colours();
    const judged = lines.filter((line) => score(line) !== null).sort((a, b) => a.time - b.time || a.number - b.number);
    let best = null;
    const steps = judged.map((line) => (best = better(score(line), best) ? score(line) : best));
    const x = judged.map((_, i) => i + 1);
    const series = [
      { key: "each", name: objective, names: judged.map((line) => line.candidate), colour: colours[0], x, y: judged.map(score), dots: true },
      { key: "best", name: "best so far", colour: orange, x, y: steps, step: true, width: 2 },
    ];
    headrace.plot.draw(byId("best-so-far"), { series, kind: "whole", log: false, range: null, news: [of.run, judged.length, objective, steps[steps.length - 1]], group: "search", of: "judgement" }, force);
  }

  function drawRungs({ lines, score, objective, of, best }, force) {
    const { theme } = headrace;
    const { lines: colours, orange } = theme.colours();
    const judged = lines.filter((line) => score(line) !== null);
    const rungs = new Set(lines.map((line) => line.rung));
    byId("box-rungs").hidden = rungs.size < 2;
    headrace.draw.mark(byId("search-card"), "rungs", rungs.size < 2 ? "" : "yes");
    if (rungs.size < 2) return;
    const paths = new Map();
    for (const line of judged) {
      if (!paths.has(line.number)) paths.set(line.number, []);
      paths.get(line.number).push(line);
    }
    const long = [...paths.values()].filter((path) => path.length > 1).sort((a, b) => b.length - a.length).slice(0, LINES);
    const series = [
      { key: "all", name: objective, quiet: true, colour: colours[0], x: judged.map((line) => line.rung), y: judged.map(score), dots: true },
      ...long.reverse().map((path) => ({ key: String(path[0].number), name: path[0].candidate, colour: best && path[0].number === best.number ? orange : theme.faded(colours[0], 0.55), width: best && path[0].number === best.number ? 2.5 : 1.2, x: path.map((line) => line.rung), y: path.map(score) })),
    ];
    headrace.plot.draw(byId("rungs"), { series, kind: "whole", log: false, range: null, news: [of.run, judged.length, objective], of: "rung" }, force);
  }

  /* the table */

  function cells(search) {
    const params = search.names.slice(0, PARAMS);
    const others = search.metrics.filter((name) => name !== search.objective).slice(0, 2);
    const halving = new Set(search.lines.map((line) => line.rung)).size > 1;
    const { format } = headrace;
    const show = (one) => (one === undefined || one === null ? format.NONE : typeof one === "number" ? format.metric(one) : String(one));
    return [
      ["number", "#", "num", (line) => line.number, (line) => String(line.number)],
      ["candidate", "Candidate", "", (line) => line.candidate, (line) => line.candidate],
      ["status", "Status", "", (line) => line.status, (line) => line.status],
      ...(search.objective ? [["score", search.objective, "num", search.score, (line) => `${line === search.best ? "★ " : ""}${show(search.score(line))}`]] : []),
      ...(halving ? [["rung", "Rung", "num", (line) => line.rung, (line) => `${line.rung}${line.resource ? ` · ${format.number(line.resource)}` : ""}`]] : []),
      ...params.map((name) => [`p:${name}`, name, "num wide", (line) => line.params[name] ?? null, (line) => show(line.params[name])]),
      ...others.map((name) => [`m:${name}`, name, "num wide", (line) => line.metrics[name] ?? null, (line) => show(line.metrics[name])]),
    ];
  }

  function drawTable(search, runs) {
    columns = cells(search);
    const sort = choice("rank", search.smaller ? "score" : "-score");
    runs.headings(byId("candidates-head"), columns.map(([key, text, kind]) => [key, text, kind]), "rank", sort);
    const by = columns.find(([key]) => key === sort.replace("-", "")) || columns[0];
    order = runs.sorted(search.candidates, by[3], sort.startsWith("-"));
    put("candidates-shown", `${headrace.format.count(order.length)} candidates`);
    drawWindow();
  }

  function drawWindow() {
    const { draw, runs } = headrace;
    const sign = columns.map(([key]) => key).join();
    const body = byId("rows-candidates");
    if (body.dataset.sign !== sign) {
      body.dataset.sign = sign;
      body.made = null;
      body.replaceChildren();
    }
    runs.windowed(
      byId("candidates-window"),
      body,
      order,
      (line) => `${line.number}`,
      () => {
        const row = draw.element("tr");
        row.append(...columns.map(([, , kind]) => draw.element("td", kind.includes("num") ? `number ${kind}` : kind)));
        return row;
      },
      (row, line) => {
        draw.mark(row, "state", line.status === "pruned" ? "" : line.status);
        draw.mark(row, "best", line === made.best ? "yes" : "");
        columns.forEach(([, , , , text], i) => draw.write(row.children[i], text(line)));
      },
    );
  }

  function scrolled() {
    if (order.length && byId("candidates-window")) drawWindow();
  }

  function left() {
    order = [];
    made = { of: null };
  }

  function rank(key) {
    const now = choice("rank");
    headrace.view.set("rank", now === key ? `-${key}` : now === `-${key}` ? "" : key);
  }

  headrace.search = { chosen, draw, scrolled, left, rank };
})((window.headrace = window.headrace || {}));
