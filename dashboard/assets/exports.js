/* What is on screen, to take along: a card's lines or rows as CSV or JSON, a picture as PNG, the page as one file.

   Values are those that were drawn, not rounded; times are ISO 8601 in UTC. Tables and small pictures remember what they
   were made of: `element.shown` is a list of objects (rows), or `{labels, counts}` (matrix, bars). */
"use strict";
(function (headrace) {
  const TIMES = /^(time|at|created|started|ended|updated|since|received|scored|seen)$/;
  const EARLIEST_S = 1e9;
  const KINDS = [["csv", "CSV"], ["json", "JSON"], ["png", "PNG"]];
  const SCALE = 2;
  let open = null;

  const el = (...words) => headrace.draw.element(...words);
  const iso = (ms) => (Number.isFinite(ms) ? new Date(ms).toISOString() : "");
  const moment = () => headrace.clock.end() * 1000;

  /** Undo what charts.js does to show local time on an axis that knows none. */
  const unshifted = (ms) => ms + new Date(ms + new Date(ms).getTimezoneOffset() * 60_000).getTimezoneOffset() * 60_000;

  const plotOf = (card) => card.querySelector(".js-plotly-plot");
  const headingOf = (card) => card.querySelector("h2")?.textContent.trim() || card.id;

  /* what a card shows, as {columns, rows} */

  function numbers(list) {
    return list && typeof list === "object" && !Array.isArray(list) ? Array.from(list) : list || [];
  }

  /** The lines of a chart that are visible, within its axis, as columns; one column of x if they share it. */
  function ofChart(plot) {
    const dated = plot.layout.xaxis?.type === "date";
    const range = (plot.layout.xaxis?.range || []).map((edge) => (dated && typeof edge === "string" ? Date.parse(`${edge.replace(" ", "T")}Z`) : Number(edge)));
    const inside = (x) => typeof x !== "number" || range.length < 2 || plot.layout.xaxis.type === "log" || (x >= Math.min(...range) && x <= Math.max(...range));
    const told = (x) => (dated ? iso(unshifted(typeof x === "number" ? x : Date.parse(`${x}Z`))) : x);
    const traces = plot.data.filter((trace) => trace.visible !== "legendonly" && trace.visible !== false);
    const lines = traces.filter((trace) => trace.x && trace.y && !trace.z);
    if (!lines.length) return ofOthers(traces);
    const names = new Map();
    const columns = lines.map((trace, i) => {
      const name = trace.meta?.name || trace.name || `line ${i + 1}`;
      names.set(name, (names.get(name) || 0) + 1);
      return names.get(name) > 1 ? `${name} (${names.get(name)})` : name;
    });
    const head = dated ? "time" : plot.layout.xaxis?.title?.text || "x";
    const rows = new Map();
    lines.forEach((trace, i) => {
      const y = numbers(trace.y);
      numbers(trace.x).forEach((x, j) => {
        if (!inside(x)) return;
        if (!rows.has(x)) rows.set(x, [told(x), ...columns.map(() => null)]);
        rows.get(x)[i + 1] = y[j] ?? null;
      });
    });
    const inOrder = [...rows].sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : 0));
    return { columns: [head, ...columns], rows: inOrder.map(([, row]) => row) };
  }

  function ofOthers(traces) {
    const dimensions = traces.flatMap((trace) => trace.dimensions || []);
    if (dimensions.length) {
      const columns = dimensions.map((one) => one.label);
      return { columns, rows: (dimensions[0].values || []).map((_, i) => dimensions.map((one) => one.values[i])) };
    }
    const heat = traces.find((trace) => trace.z);
    if (!heat) return { columns: [], rows: [] };
    const rows = [];
    heat.z.forEach((line, j) => numbers(line).forEach((z, i) => rows.push([heat.x?.[i] ?? i, heat.y?.[j] ?? j, z])));
    return { columns: ["x", "y", "value"], rows };
  }

  /** An object's fields, those of objects in it as `outer.inner`; lists as JSON; times as text. */
  function flat(item, before = "") {
    return Object.entries(item).flatMap(([name, value]) => {
      if (value && typeof value === "object" && !Array.isArray(value)) return flat(value, `${before}${name}.`);
      if (Array.isArray(value)) return [[before + name, JSON.stringify(value)]];
      const time = TIMES.test(name) && typeof value === "number";
      return [[before + name, time ? (value > EARLIEST_S ? iso(value * 1000) : "") : value]];
    });
  }

  function ofItems(items) {
    const rows = items.map((item) => new Map(flat(item)));
    const columns = [...new Set(rows.flatMap((row) => [...row.keys()]))].filter((name) => name !== "pixels");
    return { columns, rows: rows.map((row) => columns.map((name) => row.get(name) ?? null)) };
  }

  function ofCounts({ labels, counts, titles }) {
    if (Array.isArray(counts[0])) {
      return { columns: ["true \\ predicted", ...labels], rows: counts.map((row, i) => [labels[i], ...row]) };
    }
    return { columns: ["bar", "count"], rows: counts.map((count, i) => [labels?.[i] || titles?.[i]?.split(":")[0] || i, count]) };
  }

  /** Any table: its headings and cells, `data-value` before what is written. */
  function ofTable(table) {
    const texts = (row) => [...row.children].map((cell) => cell.dataset.value ?? cell.innerText.replace(/\s+/g, " ").trim());
    const rows = [...table.querySelectorAll("tbody tr, tr")].filter((row) => row.querySelector("td"));
    const head = table.querySelector("thead tr") || table.querySelector("tr");
    return { columns: head ? texts(head) : [], rows: [...new Set(rows)].map(texts) };
  }

  function contentOf(card) {
    const plot = plotOf(card);
    if (plot) return ofChart(plot);
    const known = [...card.querySelectorAll("*")].find((one) => one.shown);
    if (known) return Array.isArray(known.shown) ? ofItems(known.shown) : ofCounts(known.shown);
    const table = card.querySelector("table");
    return table ? ofTable(table) : { columns: [], rows: [] };
  }

  /* files */

  function field(value) {
    if (value === null || value === undefined) return "";
    const text = String(value);
    const formula = typeof value === "string" && /^[=+@\t\r-]/.test(text); // a spreadsheet would run it
    return /[",\n\r]/.test(text) || formula ? `"${formula ? "'" : ""}${text.replaceAll('"', '""')}"` : text;
  }

  const csv = ({ columns, rows }) => `${[columns, ...rows].map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;

  function json(card, { columns, rows }) {
    const about = { page: headrace.shownPage().name, card: card.id, title: headingOf(card), moment: iso(moment()), window_s: headrace.clock.seconds() };
    return JSON.stringify({ ...about, columns, rows }, null, 1);
  }

  async function png(card) {
    const plot = plotOf(card);
    return plot ? pngOfChart(card, plot) : pngOfOthers(card);
  }

  /** What is drawn on canvases and by boxes. */
  function pngOfOthers(card) {
    const canvas = headrace.painter.paint(card, headingOf(card), () => headrace.redraw(card.id));
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  async function pngOfChart(card, plot) {
    const { text, muted } = headrace.theme.colours();
    const { layout } = plot;
    const ground = getComputedStyle(card).backgroundColor;
    const margin = { ...layout.margin, t: 44, b: (layout.margin?.b || 30) + 26 };
    const figure = {
      data: plot.data,
      layout: {
        ...layout,
        margin,
        paper_bgcolor: ground,
        plot_bgcolor: ground,
        showlegend: plot.data.filter((trace) => trace.visible !== "legendonly").length > 1,
        legend: { orientation: "h", y: -0.12, font: { color: muted } },
        title: { text: headingOf(card).replaceAll("<", "&lt;"), x: 0.02, font: { size: 15, color: text } },
      },
    };
    const url = await window.Plotly.toImage(figure, { format: "png", width: plot.clientWidth, height: plot.clientHeight + 60, scale: SCALE });
    const bytes = atob(url.slice(url.indexOf(",") + 1));
    return new Blob([Uint8Array.from(bytes, (one) => one.charCodeAt(0))], { type: "image/png" });
  }

  function nameOf(card, kind) {
    const time = iso(moment()).slice(0, 19).replaceAll(/[-:]/g, "");
    const parts = ["headrace", headrace.shownPage().name, card?.id.replace(/-card$/, ""), `${time}Z`];
    return `${parts.filter(Boolean).join("-")}.${kind}`;
  }

  function save(blob, name) {
    const link = el("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    headrace.draw.write(document.getElementById("said"), `${name}: ${headrace.format.bytes(blob.size)} saved`);
  }

  async function take(card, kind) {
    if (kind === "png") return save(await png(card), nameOf(card, kind));
    const found = contentOf(card);
    const text = kind === "csv" ? csv(found) : json(card, found);
    return save(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }), nameOf(card, kind));
  }

  /* the menu of a card */

  function attach(root) {
    for (const card of root.querySelectorAll(".card")) {
      const has = card.querySelector(".dash-graph, .chart, table, .scroll, .matrix, .bars, .cloud, [data-export]");
      const head = card.querySelector(":scope > .head");
      if (!has || !head || head.querySelector(".take")) continue;
      const button = el("button", "take");
      button.type = "button";
      button.title = "Take along what is shown";
      button.setAttribute("aria-label", `Export ${headingOf(card)}`);
      button.setAttribute("aria-haspopup", "menu");
      button.setAttribute("aria-expanded", "false");
      button.append(el("i", "icon save"));
      button.addEventListener("click", () => (open?.button === button ? close(true) : show(card, button)));
      (head.querySelector(".aside") || head).append(button);
    }
  }

  function show(card, button) {
    close();
    const menu = el("div", "takes");
    menu.setAttribute("role", "menu");
    menu.setAttribute("aria-label", `Export ${headingOf(card)} as`);
    for (const [kind, text] of KINDS) {
      if (kind === "png" && !plotOf(card) && !headrace.painter.has(card)) continue;
      const item = el("button", "", text);
      item.type = "button";
      item.setAttribute("role", "menuitem");
      item.tabIndex = -1;
      item.addEventListener("click", () => {
        close(true);
        take(card, kind);
      });
      menu.append(item);
    }
    card.append(menu);
    button.setAttribute("aria-expanded", "true");
    open = { menu, button };
    menu.firstElementChild.focus();
    menu.addEventListener("keydown", (event) => {
      const items = [...menu.children];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
      else if (event.key === "Escape" || event.key === "Tab") close(true);
      else return;
      event.preventDefault();
    });
  }

  function close(back = false) {
    if (!open) return;
    const { menu, button } = open;
    open = null;
    menu.remove();
    button.setAttribute("aria-expanded", "false");
    if (back) button.focus();
  }

  document.addEventListener("pointerdown", ({ target }) => {
    if (open && !open.menu.contains(target) && !open.button.contains(target)) close();
  });

  /* the page as one file */

  async function snapshot(button) {
    if (button.getAttribute("aria-busy") === "true") return;
    const { connection, clock, view, draw, format } = headrace;
    const said = document.getElementById("said");
    button.setAttribute("aria-busy", "true");
    const chosen = new URLSearchParams([...view.chosen].filter(([name]) => name !== "at"));
    for (const [name, value] of Object.entries(headrace.pages[headrace.shownPage().name].settled?.() || {})) chosen.set(name, value);
    const words = { page: headrace.shownPage().name, seconds: clock.seconds(), at: clock.at() ?? Math.round(moment()), view: chosen.toString() };
    try {
      const address = new URLSearchParams(words);
      for (const name of connection.show) address.append("show", name);
      const answer = await fetch(`${headrace.links.address("api/snapshot")}?${address}`, { cache: "no-store" });
      if (!answer.ok) throw new Error((await answer.json()).error);
      const blob = await answer.blob();
      save(blob, nameOf(null, "html"));
      button.title = `Saved: ${format.bytes(blob.size)}, opens without a server`;
    } catch (error) {
      button.title = `No snapshot: ${error.message}`;
      draw.write(said, button.title);
    }
    button.removeAttribute("aria-busy");
  }

  headrace.exports = { attach, contentOf, csv, snapshot, take };
})((window.headrace = window.headrace || {}));
