// The encoder's curve: how often strangers pass at each tau and how often people are turned away,
// on a logarithmic axis.

import { el, svg } from "./parts.js";
import { distance, percent } from "./words.js";

const LEFT = 13;
const RIGHT = 3;
const TOP = 22;
const HEIGHT = 280;

/** Draw it into `figure`; gives move(name, tau, rate) that puts a mark: verify, identify. */
export function curve(figure, points, misses = []) {
  const sorted = [...points].sort((a, b) => a.tau - b.tau);
  const [low, high] = [sorted[0].tau, sorted[sorted.length - 1].tau];
  const [from, to] = [Math.floor(10 * low) / 10, Math.ceil(10 * high) / 10];
  const bottom = Math.floor(Math.log10(sorted[0].fmr) + 1e-9);
  const top = Math.ceil(Math.log10(sorted[sorted.length - 1].fmr) - 1e-9);
  const inX = (tau) => (100 * (tau - from)) / (to - from);
  const inY = (rate) => (100 * (top - Math.log10(rate))) / (top - bottom);
  const x = (tau) => `${LEFT + ((100 - LEFT - RIGHT) * inX(tau)) / 100}%`;
  const y = (rate) => TOP + (HEIGHT * Math.min(100, Math.max(0, inY(rate)))) / 100;

  const grid = [];
  for (let power = bottom; power <= top; power += 1) {
    grid.push(svg("line", { x1: x(from), x2: x(to), y1: y(10 ** power), y2: y(10 ** power),
      class: "grid" }),
    svg("text", { x: `${LEFT - 1.5}%`, y: y(10 ** power) + 4, "text-anchor": "end",
      class: "tick" }, percent(10 ** power)));
  }
  const step = (to - from) / 0.1 > 7 ? 2 : 1;
  for (let tenth = Math.round(10 * from); tenth <= Math.round(10 * to); tenth += step) {
    grid.push(svg("line", { x1: x(tenth / 10), x2: x(tenth / 10), y1: TOP, y2: TOP + HEIGHT,
      class: "grid" }),
    svg("text", { x: x(tenth / 10), y: TOP + HEIGHT + 18, "text-anchor": "middle", class: "tick" },
      (tenth / 10).toFixed(1)));
  }
  const floor = 10 ** bottom;
  const at = (p, rate) => `${inX(p.tau).toFixed(3)},${Math.min(100, inY(Math.max(rate, floor)))
    .toFixed(3)}`;
  const area = (list) => [...list.map((p) => at(p, p.upper)),
    ...list.map((p) => at(p, p.lower)).reverse()].join(" ");
  const turned = [...misses].sort((a, b) => a.tau - b.tau)
    .filter((p) => p.tau >= from && p.tau <= to);
  const plot = svg("svg", { x: `${LEFT}%`, y: TOP, width: `${100 - LEFT - RIGHT}%`,
    height: HEIGHT, viewBox: "0 0 100 100", preserveAspectRatio: "none" },
  svg("polygon", { points: area(sorted), class: "band" }),
  svg("polyline", { points: sorted.map((p) => at(p, p.fmr)).join(" "), class: "line" }),
  ...(turned.length ? [svg("polygon", { points: area(turned), class: "band turned" }),
    svg("polyline", { points: turned.map((p) => at(p, p.fnmr)).join(" "), class: "line turned" })]
    : []));
  const marks = { verify: svg("g", { class: "here" }), identify: svg("g", { class: "here there" }) };
  figure.replaceChildren(
    el("figcaption", {}, turned.length
      ? "At each tau, with 95 % intervals: strangers that pass (FMR, the line) and people turned away "
        + "(FNMR, the dashes)"
      : "Share of strangers that pass (FMR) at each tau, with its 95 % interval"),
    svg("svg", { width: "100%", height: TOP + HEIGHT + 44, role: "img", "aria-label":
      `The false match rate falls from ${percent(sorted[sorted.length - 1].fmr)} at tau `
      + `${distance(high)} to ${percent(sorted[0].fmr)} at tau ${distance(low)}. `
      + (turned.length ? "The false non-match rate rises "
        + `from ${percent(turned[turned.length - 1].fnmr)} to ${percent(turned[0].fnmr)}. ` : "")
      + "The table below holds every point." },
    ...grid, plot, marks.verify, marks.identify,
    svg("text", { x: "50%", y: TOP + HEIGHT + 38, "text-anchor": "middle" }, "tau")));
  return (name, tau, rate) => {
    const inside = Math.min(to, Math.max(from, tau));
    const label = name === "verify" ? TOP - 5 : TOP + HEIGHT - 6;
    const left = inside < (from + to) / 2;
    marks[name].replaceChildren(
      svg("line", { x1: x(inside), x2: x(inside), y1: TOP, y2: TOP + HEIGHT }),
      svg("circle", { cx: x(inside), cy: y(rate), r: 7 }),
      svg("text", { x: x(inside), y: label, dx: name === "verify" ? 0 : left ? -6 : 6,
        "text-anchor": name === "verify" ? "middle" : left ? "end" : "start" }, name));
  };
}
