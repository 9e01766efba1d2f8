/* Where one version is wrong: the confusion matrix, whose cells a reader may choose, and its worst mistakes. */
"use strict";
(function (headrace) {
  const WORST = 12;
  const MATRIX = 26;
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const el = (...words) => headrace.draw.element(...words);
  const model = () => headrace.model;
  const cell = (...words) => headrace.tables.cell(...words);

  /* the matrix */

  let drawnMatrix = "";

  function matrix(force) {
    const { draw } = headrace;
    const now = model().quality();
    const counts = now ? now.confusion : [];
    const none = !now || !now.accuracy; // also of a regression that was chosen a moment ago
    model().emptied("model-confusion", none);
    if (none) return;
    const box = byId("confusion");
    const wide = !counts.length || counts.length > MATRIX;
    const sign = `${model().key()}/${now.joined}/${headrace.view.get("cell")}`;
    if (sign === drawnMatrix && !force && box.firstElementChild) return;
    drawnMatrix = sign;
    if (wide) box.replaceChildren(el("p", "quiet", `A matrix is drawn of at most ${MATRIX} classes; accuracy counts them all.`));
    else {
      draw.matrix(box, counts.map((_, i) => model().className(i)), counts);
      const table = box.firstElementChild;
      table.setAttribute("role", "grid");
      table.setAttribute("aria-label", "Confusion matrix: rows are true, columns predicted");
      box.querySelectorAll("td.number").forEach((node, n) => {
        const place = `${Math.floor(n / counts.length)}-${n % counts.length}`;
        const picked = place === headrace.view.get("cell");
        draw.mark(node, "do", "cell");
        draw.mark(node, "value", place);
        node.setAttribute("aria-selected", String(picked));
        // One stop for the tabulator; arrows go on from there.
        node.tabIndex = picked || (n === 0 && !headrace.view.get("cell")) ? 0 : -1;
      });
    }
    put("cell-said", said(now));
  }

  /** What the cell that was chosen says, or the whole. */
  function said(now) {
    const { format } = headrace;
    const [a, b] = headrace.view.get("cell").split("-").map(Number);
    const row = now.confusion[a];
    if (!row || row[b] === undefined) {
      const { accuracy } = now;
      return `${format.count(Math.round(accuracy.share * accuracy.joined))} of ${format.count(accuracy.joined)} right: ${format.percent(accuracy.share)} (${model().between(accuracy.low, accuracy.high)})`;
    }
    const total = row.reduce((sum, n) => sum + n, 0);
    const asked = now.confusion.reduce((sum, one) => sum + one[b], 0);
    const share = total ? row[b] / total : 0;
    return `True ${model().className(a)}, predicted ${model().className(b)}: ${format.count(row[b])} of ${format.count(total)} true ${model().className(a)}, ${format.percent(share)} (${model().between(...model().interval(row[b], total))}); ${format.percent(asked ? row[b] / asked : 0)} of ${format.count(asked)} predicted ${model().className(b)}`;
  }

  /** Arrows move within the matrix; the space bar and Enter choose, there as on rows. */
  function onKey(event) {
    const node = event.target.closest?.("#confusion td.number");
    if (!node) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      node.click();
      return;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [a, b] = node.dataset.value.split("-").map(Number);
    byId("confusion").querySelector(`td[data-value="${a + step[0]}-${b + step[1]}"]`)?.focus();
  }

  /* mistakes */

  function worst() {
    const { draw, format } = headrace;
    const now = model().quality();
    const section = model().found(`worst:${model().key()}`);
    const place = now && now.kind === "classification" ? headrace.view.get("cell") : "";
    const all = section ? section.rows : [];
    const shown = place ? all.filter((row) => row.cell === place) : all;
    model().emptied("model-worst", Boolean(now) && !all.length && !(now.joined && !section));
    byId("all-cells").hidden = !place;
    if (byId("model-worst").matches(":hover") && byId("rows-worst").childElementCount && byId("rows-worst").dataset.of === `${model().key()}/${place}`) return ages(shown);
    byId("rows-worst").dataset.of = `${model().key()}/${place}`;
    headrace.tables.rows(
      "worst",
      shown.slice(0, WORST),
      () => {
        const meter = el("span", "meter");
        meter.append(el("i"));
        return [cell("input", el("canvas", "picture"), el("small")), cell("", el("b")), cell("truth", el("i"), el("span")), cell("sure", meter, el("span", "number")), cell("wide quiet id"), cell("num number quiet")];
      },
      ([input, predicted, truth, sure, id], one, row) => {
        const sign = `${one.id}/${one.row}/${one.looked}/${one.pixels.length}`;
        if (row.dataset.id === sign) return;
        row.dataset.id = sign;
        const canvas = input.firstElementChild;
        canvas.hidden = !one.shape;
        if (one.shape) draw.picture(canvas, one.pixels, one.shape);
        draw.write(input.lastElementChild, one.shape ? "" : one.looked ? "not kept" : "…");
        input.title = one.shape || !one.looked ? "" : "The log has this request no more.";
        draw.write(predicted.firstElementChild, one.predicted);
        draw.mark(truth, "right", one.confidence === null ? "" : "no");
        draw.write(truth.firstElementChild, one.confidence === null ? "" : "✗");
        draw.write(truth.lastElementChild, one.actual);
        sure.firstElementChild.hidden = one.confidence === null;
        sure.firstElementChild.firstElementChild.style.width = `${(100 * (one.confidence || 0)).toFixed(1)}%`;
        draw.write(sure.lastElementChild, one.confidence === null ? `${one.error > 0 ? "+" : "−"}${format.number(Math.abs(one.error))}` : format.percent(one.confidence));
        draw.write(id, one.id);
        id.title = one.row ? `row ${one.row} of prediction ${one.id}` : `prediction ${one.id}`;
      },
    );
    ages(shown);
    const heading = byId("model-worst").querySelector("th.sure");
    draw.write(heading, now && now.kind === "regression" ? "Error" : "How sure");
    const none = place && !shown.length ? `None of the worst mistakes is in the cell true ${model().className(place.split("-")[0])}, predicted ${model().className(place.split("-")[1])}.` : "";
    put("more-worst", !section && now && now.joined ? "Looking for them …" : none);
  }

  function ages(shown) {
    const now = headrace.connection.now();
    [...byId("rows-worst").children].forEach((row, i) => {
      const one = shown[i];
      if (one) headrace.draw.write(row.lastElementChild, one.created > 1e9 ? headrace.format.duration(Math.max(0, now - one.created)) : headrace.format.NONE);
    });
  }

  function bound() {
    drawnMatrix = "";
    byId("confusion").addEventListener("keydown", onKey);
  }

  headrace.mistakes = { matrix, worst, bound };
})((window.headrace = window.headrace || {}));
