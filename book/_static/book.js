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

// A link to a theorem, an equation, a figure, a word of the glossary or a source shows what is
// there while the pointer rests on it or the keyboard is at it. Escape closes it; the pointer may
// move into it. Pages are fetched from this site alone, and only when they are asked for.
const PREVIEWED = "figure, .proof, .math, .citation, .glossary > dt";
const pages = new Map();

function pageAt(address) {
  if (address === location.href.split("#")[0]) return document;
  if (!pages.has(address)) {
    const parse = (text) => new DOMParser().parseFromString(text, "text/html");
    pages.set(address, fetch(address).then((reply) => reply.text()).then(parse));
  }
  return pages.get(address);
}

async function preview(link) {
  const [address, fragment] = link.href.split("#");
  const target = (await pageAt(address)).getElementById(decodeURIComponent(fragment));
  if (!target?.matches(PREVIEWED)) return;
  const parts = [target];
  while (parts.at(-1).matches("dt")) parts.push(parts.at(-1).nextElementSibling);
  const copy = document.createElement(parts.length > 1 ? "dl" : "div");
  copy.append(...parts.map((part) => document.importNode(part, true)));
  copy.firstElementChild.removeAttribute("role"); // an item of a list that is not here
  copy.querySelectorAll(".headerlink").forEach((one) => one.remove());
  for (const one of copy.querySelectorAll("*")) {
    for (const name of ["id", "tabindex"]) one.removeAttribute(name);
    for (const name of ["href", "src"]) {
      const value = one.getAttribute(name);
      if (value) one.setAttribute(name, new URL(value, address));
    }
  }
  return copy;
}

function place(box, link) {
  const [at, free] = [link.getClientRects()[0], document.documentElement.clientWidth];
  const below = at.bottom + box.offsetHeight < window.innerHeight;
  box.style.top = `${below ? at.bottom : Math.max(0, at.top - box.offsetHeight)}px`;
  box.style.left = `${Math.max(0, Math.min(at.left, free - box.offsetWidth))}px`;
}

function enablePreviews() {
  const article = document.querySelector("article");
  const box = Object.assign(document.createElement("div"), { className: "preview", tabIndex: 0 });
  if (!article || !("popover" in box)) return;
  box.popover = "manual";
  box.setAttribute("role", "note");
  box.setAttribute("aria-label", "Preview");
  article.append(box);
  let timer, wanted;
  const soon = (action) => {
    clearTimeout(timer);
    timer = setTimeout(action, 300);
  };
  const hide = () => {
    clearTimeout(timer);
    wanted = undefined;
    box.hidePopover();
  };
  const show = async (link) => {
    wanted = link;
    const copy = await preview(link).catch(() => undefined);
    if (wanted !== link || !copy) return;
    window.MathJax?.typesetClear?.([box]);
    box.replaceChildren(copy);
    if (!box.matches(":popover-open")) box.showPopover();
    await window.MathJax?.typesetPromise?.([box]);
    if (wanted === link) place(box, link);
  };
  for (const link of article.querySelectorAll("a.internal[href*='#']")) {
    link.removeAttribute("title"); // would lie on top
    link.addEventListener("pointerenter", (one) => one.pointerType === "mouse" && soon(() => show(link)));
    link.addEventListener("focus", () => link.matches(":focus-visible") && soon(() => show(link)));
    for (const left of ["pointerleave", "blur"]) link.addEventListener(left, () => soon(hide));
  }
  for (const kept of ["pointerenter", "focusin"]) box.addEventListener(kept, () => clearTimeout(timer));
  for (const left of ["pointerleave", "focusout"]) box.addEventListener(left, () => soon(hide));
  document.addEventListener("keydown", (one) => one.key === "Escape" && hide());
  window.addEventListener("scroll", () => wanted && place(box, wanted), { passive: true });
}

document.addEventListener("DOMContentLoaded", enablePreviews);

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
