// Elements, messages, questions. Data become text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element: attributes (true for none but there, false and null for absent), then children. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, react] of Object.entries(value)) node.addEventListener(event, react);
    } else if (value !== false && value != null) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** Say something in a region that is read aloud; tone: "yes", "no", "alarm" or "". */
export function say(region, words, tone = "alarm") {
  region.replaceChildren();
  if (words) region.append(el("p", { class: `message ${tone}` }, words));
}

/** Say why something was refused; what was given up by ourselves is not worth a word. */
export function complain(region, error) {
  if (error.name === "AbortError") return;
  ready();
  if (!("code" in error)) console.error(error);
  say(region, error.message, "alarm");
  region.scrollIntoView({ block: "nearest" });
}

/** Say to those who cannot see it that the page has what it shows at first. */
export function ready() {
  $("main").removeAttribute("aria-busy");
}

/** Do something once at a time: the button says so, and errors are told in the region. */
export async function busy(button, region, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  button.classList.add("busy");
  say(region, "");
  try {
    await work();
  } catch (error) {
    complain(region, error);
  } finally {
    button.removeAttribute("aria-disabled");
    button.classList.remove("busy");
  }
}

/** Ask before something that cannot be undone; true when the answer is yes. */
export function confirmed(title, words, yes) {
  return new Promise((answer) => {
    const dialog = el("dialog", { "aria-labelledby": "question" },
      el("h2", { id: "question" }, title),
      ...words.map((line) => el("p", {}, line)),
      el("div", { class: "row" },
        el("button", { class: "danger", on: { click: () => dialog.close("yes") } }, yes),
        el("button", { autofocus: true, on: { click: () => dialog.close("") } }, "Cancel")));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A list of names and what they stand for. */
export function named(list, rows) {
  list.replaceChildren(...rows.flatMap(([name, value]) => [
    el("dt", {}, name), el("dd", {}, value),
  ]));
}

/** A row of a table; the first cell is its head. */
export function row(first, ...cells) {
  return el("tr", {}, el("th", { scope: "row" }, first), ...cells.map((c) => el("td", {}, c)));
}

/** A mark that says in words what its colour says: ["yes", "good"]. */
export function badge(tone, words) {
  return el("span", { class: `badge ${tone}` }, words);
}
