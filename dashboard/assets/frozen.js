/* The connection of a snapshot: none. What was sent once is in the file; everything else is drawn as ever. */
"use strict";
(function (headrace) {
  class Frozen {
    constructor(store, onNews, { message, view }) {
      Object.assign(this, { store, open: true, since: 0, wanted: message.at, travelling: false, frozen: true, show: [], clock: null });
      for (const [name, value] of Object.entries(view)) headrace.view.chosen.set(name, String(value));
      store.take(message);
      this.draw().then(() => onNews({ past: true }));
    }

    /** Charts stand where Dash would have put them; each is made once, then drawn like any other. */
    async draw() {
      for (const chart of document.querySelectorAll("[data-figure]")) {
        const { data, layout, config } = JSON.parse(chart.dataset.figure);
        await window.Plotly.newPlot(chart.firstElementChild, data, layout, config);
      }
    }

    now() {
      return this.store.at / 1000;
    }

    present() {
      return this.now();
    }

    showing(sections) {
      this.show = sections;
    }

    pause() {}

    travel() {}
  }

  headrace.Frozen = Frozen;
})((window.headrace = window.headrace || {}));
