// A display equation too wide for the page scrolls; the keyboard must reach it to scroll it.
function markScrollable() {
  for (const equation of document.querySelectorAll("mjx-container[display]")) {
    const box = [equation, equation.parentElement].find(
      (element) => element.scrollWidth > element.clientWidth + 1,
    );
    for (const element of [equation, equation.parentElement]) {
      if (element === box) {
        element.tabIndex = 0;
      } else {
        element.removeAttribute("tabindex");
      }
    }
  }
}

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  markScrollable();
  window.addEventListener("resize", markScrollable);
  // What is folded has no width until it opens; `toggle` does not bubble, so catch it going down.
  document.addEventListener("toggle", markScrollable, true);
});

// What the theme says in onclick attributes, which the pages' security policy does not let run.
document.addEventListener("click", (event) => {
  const name = event.target.closest("[data-click]")?.dataset.click;
  if (name) window[name]();
});

// Paper is white.
let theme;
window.addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = theme;
});
