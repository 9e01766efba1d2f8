/* One event whole, in a drawer at the side: its JSON, its picture, where to follow it. Asked for when it is opened.

   It is a modal dialog, so that the keyboard stays in it and Escape closes it; what opened it gets the focus back. */
"use strict";
(function (headrace) {
  const SHOWN = 12;
  const state = { dialog: null, asked: 0, text: "" };

  function make() {
    const { draw } = headrace;
    const dialog = draw.element("dialog", "drawer");
    dialog.setAttribute("aria-labelledby", "drawer-title");
    const head = draw.element("div", "head");
    const title = draw.element("h2");
    title.id = "drawer-title";
    const close = button("Close", () => dialog.close());
    const copy = button("Copy JSON", copied);
    copy.id = "drawer-copy";
    const acts = draw.element("div", "acts");
    acts.append(copy, close);
    head.append(title, acts);
    const facts = draw.element("dl", "facts");
    const picture = draw.element("canvas", "picture large");
    const ways = draw.element("div", "ways");
    const json = draw.element("pre");
    json.tabIndex = 0;
    json.setAttribute("aria-label", "The event as JSON");
    dialog.append(head, facts, picture, ways, json);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("a")) dialog.close();
    });
    document.body.append(dialog);
    return Object.assign(state, { dialog, title, facts, picture, ways, json, copy });
  }

  function button(text, act) {
    const made = headrace.draw.element("button", "button small", text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  async function copied() {
    try {
      await navigator.clipboard.writeText(state.text);
      state.copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(state.json); // no clipboard without a secure address: the reader can copy it
      state.copy.textContent = "Selected: press Ctrl C";
    }
  }

  /** Show the entry at a handle of a channel. */
  async function show(channel, at) {
    if (!state.dialog) make();
    const asked = (state.asked += 1);
    fill(channel, at, null);
    if (!state.dialog.open) state.dialog.showModal();
    try {
      const held = channel === "dead" && headrace.store.sections.letters?.whole[at]; // a snapshot has it in it
      const found = held || (await headrace.ask("api/events/one", { channel, at }));
      if (asked === state.asked) fill(channel, at, found);
    } catch (error) {
      if (asked === state.asked) state.json.textContent = error.message;
    }
  }

  function fill(channel, at, found) {
    const { draw, format, links } = headrace;
    const { title, facts, picture, ways, json, copy } = state;
    title.textContent = found ? found.event.type || "not an event" : "…";
    const lines = [["Channel", channel], ["Handle", at]];
    if (found) {
      lines.push(["Appended", format.clock(found.appended)]);
      lines.push(["Size", `${format.bytes(found.bytes)} of ${found.codec}`]);
    }
    draw.fill(facts, lines.length, () => {
      const line = draw.element("div");
      line.append(draw.element("dt"), draw.element("dd", "number"));
      return line;
    }).forEach((line, i) => {
      draw.write(line.children[0], lines[i][0]);
      draw.write(line.children[1], lines[i][1]);
    });
    picture.hidden = !found?.picture;
    if (found?.picture) {
      draw.picture(picture, found.picture.pixels, found.picture.shape);
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", "The input as an image");
    }
    const handles = (found?.predictions || []).slice(0, SHOWN);
    const followed = handles.map((handle) => ["requests", handle, handles.length > 1 ? handle : "Follow this prediction"]);
    if (found && !handles.length) followed.push([channel, at, "Follow this event"]);
    const more = (found?.predictions || []).length - handles.length;
    ways.replaceChildren(
      ...(handles.length > 1 ? [draw.element("span", "quiet", "Follow")] : []),
      ...followed.map(([home, handle, text]) => {
        const anchor = draw.element("a", "button small", text);
        const of = home === "requests" ? "" : home;
        links.to(anchor, "events", { trace: handle, of });
        anchor.addEventListener("click", (event) => {
          if (!document.getElementById("page-events")) return;
          event.preventDefault();
          event.stopPropagation(); // the page is up: only what it shows changes
          state.dialog.close();
          headrace.journey.follow(handle, of);
        });
        return anchor;
      }),
      ...(more > 0 ? [draw.element("span", "quiet", `and ${format.count(more)} more`)] : []),
    );
    state.text = found ? JSON.stringify(found.event, null, 2) : "";
    json.textContent = found ? compact(found.event) : "…";
    copy.textContent = "Copy JSON";
    copy.disabled = !found;
  }

  /** Indented, but lists of numbers on one line. */
  function compact(event) {
    return JSON.stringify(event, null, 2).replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, inner) => `[${inner.replace(/\s*\n\s*/g, " ")}]`);
  }

  headrace.drawer = { show, compact };
})((window.headrace = window.headrace || {}));
