/* A card without a Plotly chart as a picture: what stands on the page painted once more, larger and without its controls.

   `has(card)` tells whether there is anything to paint, `paint(card, title)` gives a canvas: title, legends, pictures.
   Canvases are drawn anew for it, in its resolution; boxes and texts are painted where the browser has put them. What a
   picture needs to be understood alone and the page says elsewhere is in `element.legend`: a list of {name, colour, sign}. */
"use strict";
(function (headrace) {
  const PICTURES = ".plots, .search-grid, .cloud, .matrix, .bars";
  const BESIDE = ".said, h3, .legend";
  const LEFT_OUT = ".over, .tip, .take, .takes, select, input, [hidden]";
  const SCALE = 2;
  const EDGE = 18;
  const GAP = 10;
  const HEAD = 26;
  const LINE = 20;

  const seen = (element) => element.clientWidth > 0 && element.clientHeight > 0 && !element.matches(LEFT_OUT);
  const pictures = (card) => [...card.querySelectorAll(PICTURES)].filter((one) => seen(one) && one.childElementCount);
  const has = (card) => pictures(card).length > 0;

  /** Pictures and what is said beside them, in order; none that lies within another. */
  function blocks(card) {
    const found = [];
    for (const one of card.querySelectorAll(`${PICTURES}, ${BESIDE}`)) {
      if (seen(one) && one.textContent + one.childElementCount && !found.some((other) => other.contains(one))) found.push(one);
    }
    return found;
  }

  /* painting what the browser has laid out */

  function paintElement(pen, element, left, top) {
    const style = getComputedStyle(element);
    if (element.matches(LEFT_OUT) || style.display === "none" || style.visibility === "hidden") return;
    const box = element.getBoundingClientRect();
    pen.save();
    pen.globalAlpha *= Number(style.opacity);
    if (!/^(transparent|rgba\(0, 0, 0, 0\))$/.test(style.backgroundColor)) {
      pen.fillStyle = style.backgroundColor;
      pen.beginPath();
      pen.roundRect(box.left - left, box.top - top, box.width, box.height, Math.min(parseFloat(style.borderTopLeftRadius) || 0, box.width / 2));
      pen.fill();
    }
    if (element.tagName === "CANVAS") pen.drawImage(element, box.left - left, box.top - top, box.width, box.height);
    if (style.overflowX !== "visible") {
      pen.beginPath();
      pen.rect(box.left - left, box.top - top, box.width, box.height);
      pen.clip();
    }
    for (const child of element.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) paintText(pen, child, style, left, top);
      else if (child.nodeType === Node.ELEMENT_NODE) paintElement(pen, child, left, top);
    }
    pen.restore();
  }

  /** A text, word by word: each stands where it was put, whatever line that is. */
  function paintText(pen, node, style, left, top) {
    const range = document.createRange();
    pen.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    pen.letterSpacing = style.letterSpacing === "normal" ? "0px" : style.letterSpacing;
    pen.fillStyle = style.color;
    pen.textBaseline = "middle";
    for (const { index, 0: word } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const box = range.getBoundingClientRect();
      pen.fillText(style.textTransform === "uppercase" ? word.toUpperCase() : word, box.left - left, box.top - top + box.height / 2);
    }
  }

  /* the whole */

  /** Where each block goes: below the one before, or beside it where it stands beside it on the page. */
  function arrange(found, top) {
    const placed = [];
    let bottom = top;
    let row = null;
    for (const block of found) {
      const box = block.getBoundingClientRect();
      if (!row || box.top > row.bottom - 2) {
        row = { top: box.top, bottom: box.bottom, at: placed.length ? bottom + GAP : bottom };
      }
      row.bottom = Math.max(row.bottom, box.bottom);
      const y = row.at + box.top - row.top;
      placed.push({ block, box, y });
      bottom = Math.max(bottom, y + box.height);
    }
    return [placed, bottom];
  }

  /** Names with their colours, as many on a line as fit; how high they are. Painted only if there is a pen. */
  function legend(measure, pen, entries, width, top) {
    let [x, y] = [EDGE, top];
    for (const { name, colour, sign } of entries) {
      const wide = measure.measureText(name).width + 34;
      if (x > EDGE && x + wide > width - EDGE) [x, y] = [EDGE, y + LINE];
      if (pen) {
        pen.fillStyle = colour;
        if (sign) pen.fillText(sign, x, y + LINE / 2);
        else pen.fillRect(x, y + LINE / 2 - 5, 10, 10);
        pen.fillStyle = headrace.theme.colours().muted;
        pen.fillText(name, x + 16, y + LINE / 2);
      }
      x += wide;
    }
    return entries.length ? y + LINE - top : 0;
  }

  /** A card as a canvas, `SCALE` times as large as on the page. `redraw` draws the pictures of the card anew. */
  function paint(card, title, redraw) {
    headrace.draw.sharp = SCALE;
    redraw();
    const found = blocks(card);
    const entries = found.concat(...found.map((one) => [...one.querySelectorAll("*")])).flatMap((one) => one.legend || []);
    const edges = found.map((one) => one.getBoundingClientRect());
    const from = Math.min(...edges.map((box) => box.left));
    const width = Math.max(...edges.map((box) => box.right)) - from + 2 * EDGE;
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d");
    pen.font = font;
    const [placed, bottom] = arrange(found, EDGE + HEAD + GAP);
    const below = legend(pen, null, entries, width, 0);
    canvas.width = Math.round(width * SCALE);
    canvas.height = Math.round((bottom + EDGE + (below ? below + GAP : 0)) * SCALE);
    pen.scale(SCALE, SCALE);
    pen.fillStyle = getComputedStyle(card).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = headrace.theme.colours().text;
    pen.textBaseline = "middle";
    pen.font = `600 15px ${getComputedStyle(document.body).fontFamily}`;
    pen.fillText(title, EDGE, EDGE + HEAD / 2, width - 2 * EDGE);
    for (const { block, box, y } of placed) paintElement(pen, block, from - EDGE, box.top - y);
    pen.font = font;
    pen.letterSpacing = "0px";
    pen.textBaseline = "middle";
    legend(pen, pen, entries, width, bottom + GAP);
    headrace.draw.sharp = 0;
    redraw();
    return canvas;
  }

  headrace.painter = { has, paint };
})((window.headrace = window.headrace || {}));
