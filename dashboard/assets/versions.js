/* The versions of a model in the registry, and what an operator may do: promote one, or roll back. */
"use strict";
(function (headrace) {
  const byId = (id) => document.getElementById(id);
  const put = (id, text) => headrace.draw.write(byId(id), text);
  const el = (...words) => headrace.draw.element(...words);
  const model = () => headrace.model;
  const cell = (...words) => headrace.tables.cell(...words);

  function mayNot() {
    const known = model().versions();
    if (headrace.store.at !== null) return "This is how it was: go back to live to change what is in service.";
    if (headrace.role && headrace.role !== "operator") return "Only operators may change what is in service: sign in as one.";
    return known ? known.reason : "";
  }

  function table() {
    const { draw, format } = headrace;
    const known = model().versions();
    model().emptied("model-versions", Boolean(known) && !known.rows.length);
    byId("changes-title").hidden = !known || !known.changes.length;
    if (!known) {
      byId("rollback").disabled = true;
      return;
    }
    const why = mayNot();
    put("versions-why", why);
    const back = byId("rollback");
    back.disabled = Boolean(why) || !known.back;
    draw.write(back, known.back ? `Roll back to version ${known.back}` : "Roll back");
    back.title = why || (known.back ? "" : "Nothing was in service before.");
    const now = headrace.connection.now();
    headrace.tables.rows(
      "versions",
      known.rows,
      () => {
        const act = el("button", "button small", "Promote");
        act.type = "button";
        act.dataset.do = "promote";
        return [cell("name", el("b")), cell("", el("span", "badge")), cell("metrics number"), cell("num number wide"), cell("wide"), cell("wide quiet libraries"), cell("num number wide two", el("span"), el("small")), cell("num", act)];
      },
      ([name, state, metrics, stored, algorithm, libraries, file, change], one, row) => {
        draw.mark(row, "picked", `${known.name}@${one.version}` === model().key() ? "yes" : "");
        draw.write(name.firstElementChild, `version ${one.version}`);
        model().badge(state.firstElementChild, one.in_service);
        draw.write(metrics, Object.entries(one.metrics).map(([measure, value]) => `${measure} ${format.metric(value)}`).join(" · ") || format.NONE);
        draw.write(stored, one.created ? `${format.duration(now - one.created)} ago` : format.NONE);
        stored.title = one.created ? new Date(one.created * 1000).toLocaleString() : "";
        draw.write(algorithm, one.algorithm || format.NONE);
        const used = Object.entries(one.libraries).map(([library, version]) => `${library} ${version}`).join(", ");
        draw.write(libraries, used || format.NONE);
        libraries.title = used;
        draw.write(file.children[0], one.size_bytes ? format.bytes(one.size_bytes) : format.NONE);
        draw.write(file.children[1], one.sha256.slice(0, 12));
        file.title = one.sha256 ? `SHA-256 ${one.sha256}` : "";
        const act = change.firstElementChild;
        act.hidden = one.in_service;
        act.disabled = Boolean(why);
        act.title = why;
        act.setAttribute("aria-label", `Promote version ${one.version}`);
        draw.mark(act, "value", String(one.version));
      },
    );
    put("more-versions", known.cut ? `and ${known.cut} older ${known.cut === 1 ? "one" : "ones"}` : "");
    draw.fill(byId("changes"), known.changes.length, () => {
      const line = el("li");
      line.append(el("b"), el("span"), el("small", "number"));
      return line;
    }).forEach((line, i) => {
      const one = known.changes[i];
      draw.write(line.children[0], `version ${one.version}`);
      draw.write(line.children[1], `${one.rollback ? "rolled back to" : "promoted"}${one.previous && one.previous !== one.version ? `, in place of version ${one.previous}` : ""}`);
      draw.write(line.children[2], `${format.duration(now - one.at)} ago`);
      line.title = new Date(one.at * 1000).toLocaleString();
    });
  }

  /* changes */

  const asked = { path: "", body: null, busy: false };

  function ask(title, text, path, body) {
    Object.assign(asked, { path, body, busy: false });
    put("sure-title", title);
    put("sure-text", text);
    outcome("", "");
    put("sure-cancel", "Cancel");
    byId("sure-go").hidden = byId("sure-go").disabled = false;
    put("sure-go", "Go on");
    byId("sure").showModal();
    byId("sure-cancel").focus();
  }

  function outcome(text, kind) {
    put("sure-outcome", text);
    headrace.draw.mark(byId("sure-outcome"), "kind", kind);
  }

  async function confirm() {
    if (asked.busy) return;
    asked.busy = byId("sure-go").disabled = true;
    outcome("Working …", "");
    let text = "";
    let done = false;
    try {
      text = (await headrace.ask(asked.path, null, asked.body || {})).text;
      done = true;
    } catch (error) {
      text = error.message;
    }
    asked.busy = byId("sure-go").disabled = false;
    byId("sure-go").hidden = done;
    put("sure-cancel", done ? "Close" : "Cancel");
    outcome(text, done ? "good" : "bad");
    if (done) byId("sure-cancel").focus();
    headrace.repaint(true);
  }

  function promote(version) {
    const { name } = model().chosen();
    const serving = (model().versions().rows.find((row) => row.in_service) || {}).version;
    const instead = serving ? ` in place of version ${serving}` : "";
    ask(`Promote ${name} version ${version}?`, `All running scorers will serve version ${version}${instead} from now on. It can be rolled back.`, `api/models/${encodeURIComponent(name)}/promote`, { version: Number(version) });
  }

  function rollback() {
    const { name } = model().chosen();
    const { back, rows: all } = model().versions();
    const serving = (all.find((row) => row.in_service) || {}).version;
    ask(`Roll back ${name} to version ${back}?`, `All running scorers will serve version ${back} in place of version ${serving} from now on.`, `api/models/${encodeURIComponent(name)}/rollback`);
  }

  headrace.versions = { table, promote, rollback, confirm };
})((window.headrace = window.headrace || {}));
