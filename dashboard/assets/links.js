/* Links between the pages, with what is to be shown there: followed without loading anything anew.

   An anchor with `data-go="PAGE"` (empty: the overview) leads to that page; `to` gives it choices for the address. */
"use strict";
(function (headrace) {
  function base() {
    const config = document.getElementById("_dash-config");
    return config ? JSON.parse(config.textContent).requests_pathname_prefix : "/";
  }

  /** Address of a page with choices; those that are empty are left out. */
  function address(page, choices = {}) {
    const known = Object.entries(choices).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const words = new URLSearchParams(known).toString();
    return `${base()}${page}${words ? `?${words}` : ""}`;
  }

  /** Lead an anchor to a page; an unchanged one costs nothing. */
  function to(anchor, page, choices) {
    const key = `${page}\u0000${JSON.stringify(choices || {})}`;
    if (!anchor || anchor.headraceTo === key) return;
    anchor.headraceTo = key;
    anchor.dataset.go = page;
    anchor.setAttribute("href", address(page, choices));
  }

  /** Show the page of an address: Dash listens for its own event. */
  function go(href) {
    history.pushState({}, "", href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  }

  /** Bring the link of the page that is up into view: on a phone the navigation is a strip that scrolls. */
  function reveal(link) {
    const strip = link.parentElement;
    const left = link.getBoundingClientRect().left - strip.getBoundingClientRect().left + strip.scrollLeft;
    strip.scrollTo({ left: left - (strip.clientWidth - link.offsetWidth) / 2, behavior: "instant" });
  }

  document.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a[data-go]");
    if (!anchor || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(anchor.headraceTo ? anchor.href : address(anchor.dataset.go));
  });

  headrace.links = { to, go, address, reveal };
})((window.headrace = window.headrace || {}));
