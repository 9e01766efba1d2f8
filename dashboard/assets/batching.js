/* How batches form: each one sampled, and why it was released. */
"use strict";
(function (headrace) {
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const el = (...words) => headrace.draw.element(...words);
  const cell = (...words) => headrace.tables.cell(...words);
  const empty = (card, yes) => headrace.draw.mark(byId(card), "empty", yes ? "yes" : "");

  function picture(force) {
    const section = headrace.store.sections.batches;
    empty("batching-card", !section || !section.points.length);
    if (!section || !section.points.length) return;
    headrace.cloud.draw(byId("batching"), section, force);
    const all = section.points.length + section.left_out;
    put("batching-shown", section.left_out ? `${headrace.format.count(section.points.length)} of ${headrace.format.count(all)} drawn` : `${headrace.format.count(all)} sampled`);
  }

  const MEANS = {
    "all that waited": "all that waited: the read took everything there was, so nobody waits for a batch to fill",
    "entries bound": "entries bound: more waited than one read takes (HEADRACE_CONSUME_ENTRIES)",
    "bytes bound": "bytes bound: large entries are read in smaller numbers (HEADRACE_CONSUME_BYTES)",
    retry: "retry: entries that failed and were due again",
    claimed: "claimed: entries taken over from a worker that fell silent",
  };

  function reasons() {
    const section = headrace.store.sections.batches;
    empty("released-card", !section || !section.reasons.length);
    if (!section) return;
    const { draw, format, cloud } = headrace;
    const all = section.reasons.reduce((sum, one) => sum + one.count, 0);
    const order = Object.keys(MEANS);
    const place = ({ reason }) => (order.includes(reason) ? order.indexOf(reason) : order.length);
    const lines = [...section.reasons].sort((a, b) => place(a) - place(b) || a.reason.localeCompare(b.reason)); // shares change, places do not
    headrace.tables.keyed(
      "released",
      lines,
      (one) => one.reason,
      () => [cell("reason", el("i"), el("span")), cell("num number"), cell("num number"), cell("num number"), cell("num number wide")],
      ([name, share, size, wait, model], one) => {
        const [glyph, colour] = cloud.sign(one.reason);
        draw.write(name.firstElementChild, glyph);
        name.firstElementChild.style.color = `var(--${colour})`;
        draw.write(name.lastElementChild, one.reason);
        name.title = MEANS[one.reason] || "";
        draw.write(share, format.percent(one.count / all, one.count / all < 0.1 ? 1 : 0));
        draw.write(size, format.number(one.size));
        draw.write(wait, format.milliseconds(one.wait_ms));
        draw.write(model, format.milliseconds(one.model_ms));
      },
    );
    const texts = Object.values(MEANS); // all of them, always: what a reason means does not come and go
    draw.fill(byId("released-means"), texts.length, () => el("span")).forEach((line, i) => draw.write(line, texts[i]));
  }

  headrace.batching = { picture, reasons };
})((window.headrace = window.headrace || {}));
