/* Dark or light: as the system says until a reader chooses; and the colours of the theme for whatever draws by itself. */
"use strict";
(function (headrace) {
  const KEY = "headrace.theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  let read = null;

  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : system.matches;
  };

  function changed() {
    read = null;
    listeners.forEach((listener) => listener());
  }

  function toggle() {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      /* storage is off: the choice lasts as long as the page */
    }
    changed();
  }

  /** The colours that the style sheet gives to lines, texts and grids. */
  function colours() {
    if (read) return read;
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(`--${name}`).trim();
    read = {
      lines: ["blue", "orange", "green", "purple", "red", "sky", "yellow", "grey"].map((name) => value(name)),
      text: value("text"),
      muted: value("muted"),
      grid: value("grid"),
      surface: value("raised"),
      border: value("border"),
    };
    for (const name of ["blue", "orange", "green", "purple", "red", "sky", "yellow", "grey"]) read[name] = value(name);
    return read;
  }

  /** The colour with an opacity of 0 to 1. */
  const faded = (colour, opacity) => `${colour}${Math.round(opacity * 255).toString(16).padStart(2, "0")}`;

  system.addEventListener("change", changed);
  headrace.theme = { toggle, colours, faded, isDark, onChange: (listener) => listeners.push(listener) };
})((window.headrace = window.headrace || {}));
