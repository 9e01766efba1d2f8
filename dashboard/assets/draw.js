/* Small pictures: sparklines, bars, tables, the matrix, inputs. Elements are made once and then only change. */
"use strict";
(function (headrace) {
  const SVG = "http://www.w3.org/2000/svg";

  function element(tag, className = "", text = "") {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function svg(tag, attributes) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  /** Write only what differs: an unchanged text costs no layout. */
  function write(node, text) {
    if (node && node.textContent !== text) node.textContent = text;
  }

  function mark(node, name, value) {
    if (node && node.dataset[name] !== value) node.dataset[name] = value;
  }

  /** Exactly `count` children, made by `make` when one is missing. */
  function fill(parent, count, make) {
    while (parent.children.length > count) parent.lastElementChild.remove();
    while (parent.children.length < count) parent.append(make(parent.children.length));
    return [...parent.children];
  }

  /** A line over the width of `box`, with its last point marked; values may be null. From zero where that is near, or
      between the two `bounds`. */
  function sparkline(box, times, values, from, to, bounds = null) {
    let picture = box.firstElementChild;
    if (!picture) {
      picture = svg("svg", { viewBox: "0 0 200 44", preserveAspectRatio: "none", focusable: "false" });
      picture.append(svg("path", { class: "area" }), svg("path", { class: "line" }));
      box.append(picture, element("i", "last"));
    }
    const known = values.filter((value) => value !== null && value !== undefined);
    const dot = box.lastElementChild;
    if (known.length < 2) {
      picture.children[0].setAttribute("d", "");
      picture.children[1].setAttribute("d", "");
      dot.hidden = true;
      return;
    }
    const high = bounds ? bounds[1] : Math.max(...known);
    let low = bounds ? bounds[0] : Math.min(...known);
    if (low > 0 && low < 0.6 * high) low = 0;
    const flat = high - low < 1e-9 * Math.max(1, Math.abs(high));
    const x = (time) => ((time - from) / (to - from)) * 195;
    const y = (value) => (flat ? (high ? 22 : 40) : 40 - ((value - low) / (high - low)) * 34);
    const parts = [];
    let run = [];
    const end = () => {
      if (run.length > 1) parts.push(run);
      run = [];
    };
    times.forEach((time, i) => {
      if (values[i] === null || values[i] === undefined) end();
      else if (time >= from) run.push([x(time), y(values[i])]);
    });
    const last = run[run.length - 1];
    end();
    const line = parts.map((part) => `M${part.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")}`);
    const area = parts.map((part, i) => `${line[i]}V44H${part[0][0].toFixed(1)}Z`);
    picture.children[0].setAttribute("d", area.join(""));
    picture.children[1].setAttribute("d", line.join(""));
    dot.hidden = !last;
    if (last) dot.style.cssText = `left:${(last[0] / 2).toFixed(2)}%;top:${((last[1] / 44) * 100).toFixed(2)}%`;
  }

  /** Upright bars with a caption each now and then; `titles` say the whole. */
  function bars(box, counts, captions, titles) {
    const most = Math.max(1, ...counts);
    box.shown = { labels: null, counts, titles };
    fill(box, counts.length, () => {
      const made = element("div", "bar");
      made.append(element("i"), element("span"));
      return made;
    }).forEach((bar, i) => {
      const height = counts[i] ? Math.max(1.5, (counts[i] / most) * 100) : 0;
      bar.firstElementChild.style.height = `${height.toFixed(1)}%`;
      write(bar.lastElementChild, captions[i]);
      if (bar.title !== titles[i]) bar.title = titles[i];
    });
  }

  /** Counts by true class (rows) and predicted class (columns), shaded by the share of the row. */
  function matrix(box, labels, counts) {
    const key = labels.join("\u0000");
    box.shown = { labels, counts };
    if (box.dataset.key !== key) {
      box.dataset.key = key;
      const head = element("tr");
      const corner = element("td", "corner");
      corner.append(element("span", "", "true"), element("span", "", "predicted"));
      head.append(corner, ...labels.map((label) => heading(label, "col")));
      const rows = labels.map((label) => {
        const row = element("tr");
        row.append(heading(label, "row"), ...labels.map(() => element("td", "number")));
        return row;
      });
      const body = element("table");
      body.append(head, ...rows);
      box.replaceChildren(body);
      box.style.setProperty("--classes", labels.length);
    }
    const rows = box.querySelectorAll("tr");
    counts.forEach((row, a) => {
      const total = row.reduce((sum, n) => sum + n, 0);
      row.forEach((n, b) => {
        const cell = rows[a + 1].children[b + 1];
        const share = total ? n / total : 0;
        write(cell, n ? headrace.format.short(n) : "·");
        const shade = String(Math.round(Math.sqrt(share) * 100));
        if (cell.dataset.shade !== shade) {
          cell.dataset.shade = shade;
          cell.style.setProperty("--shade", `${shade}%`);
          cell.className = `number ${a === b ? "right" : "wrong"} ${share > 0.35 ? "full" : ""} ${n ? "" : "none"}`;
        }
        cell.title = `true ${labels[a]}, predicted ${labels[b]}: ${n} of ${total} (${headrace.format.percent(share)})`;
      });
    });
  }

  function heading(label, scope) {
    const made = element("th", "", label);
    made.scope = scope;
    made.title = label;
    return made;
  }

  /** A row of values as grey pixels, base64 of one byte each; flat rows become a strip. */
  function picture(canvas, pixels, shape) {
    const [height, width] = shape;
    canvas.width = width;
    canvas.height = height;
    canvas.classList.toggle("strip-of-values", height === 1);
    const context = canvas.getContext("2d");
    const drawn = context.createImageData(width, height);
    const bytes = atob(pixels);
    for (let i = 0; i < bytes.length; i += 1) {
      const shade = bytes.charCodeAt(i);
      drawn.data.set([shade, shade, shade, 255], 4 * i);
    }
    context.putImageData(drawn, 0, 0);
  }

  /** Names with a swatch that hide their line when pressed. `entries`: {key, name, colour, hidden, fixed}. */
  function legend(box, entries) {
    fill(box, entries.length, () => {
      const made = element("button", "entry");
      made.type = "button";
      made.dataset.do = "line";
      made.append(element("i"), element("span"));
      return made;
    }).forEach((button, i) => {
      const { key, name, colour, hidden, fixed } = entries[i];
      mark(button, "value", key);
      write(button.lastElementChild, name);
      if (button.title !== name) button.title = name;
      button.disabled = Boolean(fixed);
      button.setAttribute("aria-pressed", String(!hidden));
      button.style.setProperty("--line", colour);
    });
  }

  /** Options of a select, kept in order; the choice survives. */
  function options(select, values, chosen) {
    const key = values.map(([value, text]) => `${value}\u0000${text}`).join("\u0001");
    if (select.dataset.key !== key) {
      select.dataset.key = key;
      select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
    }
    if (select.value !== chosen) select.value = chosen;
    select.hidden = values.length < 2;
  }

  /** Pixels of a canvas for one of the page: of the screen, or of a picture that is painted of it (`sharp`). */
  const ratio = () => headrace.draw.sharp || Math.min(2, window.devicePixelRatio || 1);

  headrace.draw = { sharp: 0, ratio, element, write, mark, fill, sparkline, bars, matrix, picture, legend, options };
})((window.headrace = window.headrace || {}));
