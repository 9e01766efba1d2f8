/* Side by side: what the chosen runs were given and what came out, with what differs marked. */
"use strict";
(function (headrace) {
  const byId = (id) => document.getElementById(id);
  const choice = (name, otherwise = "") => headrace.view.get(name, otherwise);

  function comparison(drawn) {
    const { runs, format } = headrace;
    const now = headrace.store.time;
    const shown = drawn.map((run) => ({ run, line: runs.all().get(run), detail: runs.detail(run) })).filter(({ line }) => line);
    const rows = [];
    const add = (group, name, values, texts, best) => rows.push({ group, name, values, texts, best });
    const plain = (group, name, value, text) => add(group, name, shown.map(value), shown.map(text), "");
    plain("", "State", ({ line }) => line.state, ({ line }) => line.error ? `${line.state}: ${line.error}` : line.state);
    plain("", "Steps", ({ line }) => line.step, ({ line }) => format.count(line.step));
    plain("", "Took", ({ line }) => (line.ended || now) - line.started, ({ line }) => format.duration((line.ended || now) - line.started));
    plain("", "Ranks", ({ line }) => line.ranks, ({ line }) => format.count(line.ranks));
    plain("", "Cost of a step", ({ detail }) => detail?.cost_us || null, ({ detail }) => (detail?.cost_us ? `${format.number(detail.cost_us)} µs` : format.NONE));
    for (const metric of runs.order(new Set(shown.flatMap(({ line }) => [...Object.keys(line.metrics), ...Object.keys(line.best)])))) {
      for (const [kind, key] of [["best", "best"], ["last", "metrics"]]) {
        const values = shown.map(({ line }) => line[key][metric] ?? null);
        const known = values.filter((one) => one !== null);
        const best = known.length > 1 ? (runs.isSmaller(metric) ? Math.min(...known) : Math.max(...known)) : null;
        add("Results", `${metric}, ${kind}`, values, values.map(format.metric), best);
      }
    }
    const params = shown.map(({ line, detail }) => (detail ? detail.params : line.params));
    for (const name of new Set(params.flatMap((one) => Object.keys(one)))) {
      const values = params.map((one) => (name in one ? one[name] : undefined));
      add("Parameters", name, values, values.map(runs.param), "");
    }
    for (const row of rows) row.differs = new Set(row.values.map((one) => JSON.stringify(one) ?? "")).size > 1;
    return [shown, rows];
  }

  function draw() {
    const { runs } = headrace;
    const drawn = runs.chosen();
    const [shown, all] = comparison(drawn);
    headrace.draw.mark(byId("compare-card"), "empty", shown.length < 2 ? "yes" : "");
    if (shown.length < 2) return;
    const rows = choice("differ") ? all.filter((row) => row.differs) : all;
    headrace.draw.fill(byId("compare-head"), shown.length + 1, (i) => {
      const cell = headrace.draw.element("th", i ? "num" : "");
      cell.scope = "col";
      if (i) cell.append(headrace.draw.element("i", "line"), headrace.draw.element("span"));
      else cell.append(headrace.draw.element("span", "unseen", "What"));
      return cell;
    }).forEach((cell, i) => {
      if (!i) return;
      const { run } = shown[i - 1];
      cell.firstElementChild.style.setProperty("--line", runs.style(run, drawn).colour);
      headrace.draw.write(cell.lastElementChild, runs.title(run, drawn));
    });
    headrace.draw.fill(byId("rows-compare"), rows.length, () => {
      const row = headrace.draw.element("tr");
      const name = headrace.draw.element("th");
      name.scope = "row";
      name.append(headrace.draw.element("i"), headrace.draw.element("span"));
      row.append(name);
      return row;
    }).forEach((row, n) => {
      const { group, name, values, texts, best, differs } = rows[n];
      headrace.draw.mark(row, "differs", differs ? "yes" : "");
      headrace.draw.mark(row, "group", n && rows[n - 1].group !== group ? "first" : "");
      headrace.draw.write(row.firstElementChild.firstElementChild, differs ? "≠" : "");
      headrace.draw.write(row.firstElementChild.lastElementChild, name);
      while (row.children.length > shown.length + 1) row.lastElementChild.remove();
      while (row.children.length < shown.length + 1) row.append(headrace.draw.element("td", "num number"));
      texts.forEach((text, i) => {
        const cell = row.children[i + 1];
        const isBest = differs && best !== "" && best !== null && values[i] === best;
        headrace.draw.write(cell, isBest ? `★ ${text}` : text);
        headrace.draw.mark(cell, "best", isBest ? "yes" : "");
        if (cell.title !== text) cell.title = text;
      });
    });
  }

  headrace.compare = { draw };
})((window.headrace = window.headrace || {}));
