/* A link from another site comes without the cookie, as it is for this site alone. From this page, which is of this
   site, it goes along: who is signed in already is led on, without a word. */
"use strict";
(function () {
  const { base, next } = document.body.dataset;
  fetch(`${base}sign-in?next=${encodeURIComponent(next)}`, { redirect: "manual", cache: "no-store" })
    .then((answer) => answer.type === "opaqueredirect" && location.replace(next))
    .catch(() => {});
})();
