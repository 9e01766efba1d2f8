/* Asking the dashboard something, or to do something, over HTTP. */
"use strict";
(function (headrace) {
  /** The answer of an endpoint as JSON. Throws an Error that says what was wrong. */
  async function ask(path, words = null, order = null) {
    if (headrace.connection?.frozen) throw new Error("this is a snapshot: it holds what was on the page, and asks nobody");
    const options = order ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order) } : {};
    let answer;
    try {
      answer = await fetch(headrace.links.address(path, words || {}), { cache: "no-store", ...options });
    } catch {
      throw new Error("the dashboard does not answer");
    }
    const text = await answer.text();
    let found = {};
    try {
      found = JSON.parse(text);
    } catch {
      if (answer.ok) throw new Error("the dashboard answered something that is not JSON");
    }
    if (!answer.ok) throw new Error(found.error || text.slice(0, 200) || `status ${answer.status}`);
    return found;
  }

  headrace.ask = ask;
})((window.headrace = window.headrace || {}));
