// d against tau on a line, and the same in words.

import { el, svg } from "./parts.js";
import { distance as spelt } from "./words.js";

const LEFT = 4;
const WIDTH = 92;

/** A figure: what is accepted is left of tau; the mark is where d lies. */
export function scale(d, tau) {
  const end = Math.max(2.5, Math.ceil(2 * d) / 2);
  const at = (value) => `${LEFT + (WIDTH * value) / end}%`;
  const side = d <= tau ? "within tau: alike enough" : "beyond tau: not alike enough";
  const words = `Distance d is ${spelt(d)}, tau is ${spelt(tau)}; d is ${side}.`;
  const ticks = [];
  for (let value = 0; value <= end; value += 0.5) {
    ticks.push(svg("line", { x1: at(value), x2: at(value), y1: 52, y2: 58, class: "axis" }),
      svg("text", { x: at(value), y: 74, "text-anchor": "middle", class: "tick" },
        String(value)));
  }
  const anchor = (value) => (value < 0.15 * end ? "start" : value > 0.85 * end ? "end" : "middle");
  const drawing = svg("svg", { class: "scale", width: "100%", height: 104, role: "img",
    "aria-label": words },
  svg("rect", { x: at(0), y: 44, width: `${(WIDTH * tau) / end}%`, height: 8, class: "inside" }),
  svg("line", { x1: at(0), x2: at(end), y1: 52, y2: 52, class: "axis" }),
  ...ticks,
  svg("line", { x1: at(tau), x2: at(tau), y1: 30, y2: 84, class: "tau" }),
  svg("text", { x: at(tau), y: 98, "text-anchor": anchor(tau) }, `tau = ${spelt(tau)}`),
  svg("circle", { cx: at(d), cy: 48, r: 8, class: d <= tau ? "mark yes" : "mark no" }),
  svg("text", { x: at(d), y: 24, "text-anchor": anchor(d), class: "strong" }, `d = ${spelt(d)}`));
  return el("figure", { class: "scale-figure" }, drawing,
    el("figcaption", { class: "fine" }, `${words} 0 is the same picture; two different people `
      + "are mostly near 2."));
}
