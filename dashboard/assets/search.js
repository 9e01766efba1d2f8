/* A search as its candidates arrive: the best so far, rungs, and a table; its parameters are drawn by parallel.js. */
"use strict";
(function (headrace) {
  const PARAMS = 6;
  const LINES = 80;
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);
  let made = { of: null };
  let order = [];
  let columns = [];
  let top = 0;

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
    const past = headrace.store.at !== null && headrace.store.at !== undefined;
    if (!search && past) put("search-facts", "Candidates are looked up of the present only: go back to live to see them.");
    if (!search) return;
    headrace.draw.options(byId("objective"), search.metrics.map((name) => [name, name]), search.objective);
    drawFacts(search);
    headrace.parallel.draw(byId("parallel"), search, force);
    drawBest(search, force);
    drawRungs(search, force);
    drawTable(search, runs);
  }

  function drawFacts({ of, candidates, lines, best, score, objective }) {
    const { format } = headrace;
    const count = (status) => candidates.filter((line) => line.status === status).length;
    const rungs = new Set(lines.map((line) => line.rung)).size;
    const parts = [of.state, format.counted(candidates.length, "candidate")];
    for (const status of ["running", "failed", "pruned"]) if (count(status)) parts.push(`${count(status)} ${status}`);
    if (rungs > 1) parts.push(`${rungs} rungs`);
    if (of.cut) parts.push(`${format.count(of.cut)} more are not shown`);
    if (best) parts.push(`best ${objective} ${format.metric(score(best))} by ${best.candidate}: ${Object.entries(best.params).map(([key, one]) => `${key}=${headrace.runs.param(one)}`).join(", ")}`);
    put("search-facts", parts.join(" · "));
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
    const show = (one) => (typeof one === "number" ? format.metric(one) : format.NONE);
    return [
      ["number", "#", "num", (line) => line.number, (line) => String(line.number)],
      ["candidate", "Candidate", "", (line) => line.candidate, (line) => line.candidate],
      ["status", "Status", "", (line) => line.status, (line) => line.status],
      ...(search.objective ? [["score", search.objective, "num", search.score, (line) => `${line === search.best ? "★ " : ""}${show(search.score(line))}`]] : []),
      ...(halving ? [["rung", "Rung", "num", (line) => line.rung, (line) => `${line.rung}${line.resource ? ` · ${format.number(line.resource)}` : ""}`]] : []),
      ...params.map((name) => [`p:${name}`, name, "num wide", (line) => line.params[name] ?? null, (line) => headrace.runs.param(line.params[name])]),
      ...others.map((name) => [`m:${name}`, name, "num wide", (line) => line.metrics[name] ?? null, (line) => show(line.metrics[name])]),
    ];
  }

  function drawTable(search, runs) {
    columns = cells(search);
    const sort = choice("rank", search.smaller ? "score" : "-score");
    runs.headings(byId("candidates-head"), columns.map(([key, text, kind]) => [key, text, kind]), "rank", sort);
    const by = columns.find(([key]) => key === sort.replace("-", "")) || columns[0];
    const picked = headrace.parallel.picked(byId("parallel"));
    const found = picked ? search.candidates.filter((line) => picked.has(line)) : search.candidates;
    order = runs.sorted(found, by[3], sort.startsWith("-"));
    const { format } = headrace;
    const all = format.counted(search.candidates.length, "candidate");
    put("candidates-shown", picked ? `${format.count(order.length)} of ${all} · click an axis to lift its span` : all);
    drawWindow();
  }

  function drawWindow() {
    const { draw, runs } = headrace;
    const sign = columns.map(([key]) => key).join();
    const body = byId("rows-candidates");
    top = byId("candidates-window").scrollTop;
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
    const box = byId("candidates-window");
    if (order.length && box && box.scrollTop !== top) drawWindow();
  }

  function left() {
    order = [];
    made = { of: null };
  }

  function rank(key) {
    const now = choice("rank");
    headrace.view.set("rank", now === key ? `-${key}` : now === `-${key}` ? "" : key);
  }

  headrace.search = { listed: () => order, chosen, draw, scrolled, left, rank };
})((window.headrace = window.headrace || {}));
