// The theme makes a <nav> for the button of each block of code and gives none of them a name, so
// that a screen reader lists a row of unnamed landmarks.
new MutationObserver(() => {
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((nav) => {
    nav.setAttribute("aria-label", "Code " + (nav.closest("[id]")?.id ?? "").replace(/\D+/, ""));
  });
}).observe(document.documentElement, { childList: true, subtree: true });
