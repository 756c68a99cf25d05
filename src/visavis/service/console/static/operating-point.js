import { call, query } from "./api.js";
import { curve } from "./curve.js";
import { $, complain, el, named, ready, row } from "./parts.js";
import { open } from "./shell.js";
import { count, distance, expected, oneIn, percent } from "./words.js";

const SIZES = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

const me = await open();
let points = null;
try {
  points = await call("GET", "/v1/operating-points");
} catch (error) {
  complain($("told"), error);
  throw error;
}
const here = points.gallery_size;
const sizes = [...new Set([...SIZES, here])].sort((a, b) => a - b);
const move = curve($("curve"), points.curve, points.misses);
$("body").hidden = false;

stops($("fmr"), points.verification.map((p) => p.fmr), points.defaults.fmr, "fmr");
stops($("fpir"), points.identification.map((p) => p.fpir), points.defaults.fpir, "fpir");
$("size").max = sizes.length - 1;
$("size").value = sizes.indexOf(here);
$("source").textContent = `Encoder ${points.encoder_name}, measured on ${points.tuned_on}, `
  + `${count(points.pairs, "pair")} of different people${points.mated
    ? ` and ${count(points.mated, "pair")} of one person` : ""}. The rates are of people who do not try to `
  + "look like somebody else; relatives and twins are confused more often.";
table();
claim();
search();
ready();

$("fmr").addEventListener("input", claim);
$("fpir").addEventListener("input", search);
let moving = 0;
$("size").addEventListener("input", () => {
  clearTimeout(moving);
  $("size").setAttribute("aria-valuetext", count(sizes[$("size").value], "template"));
  moving = setTimeout(async () => {
    try {
      const size = sizes[$("size").value];
      points = await call("GET", query("/v1/operating-points", { gallery_size: size }));
      search();
    } catch (error) {
      complain($("told"), error);
    }
  }, 150);
});

/** A slider over the rates listed; from many strangers on the left to few on the right. */
function stops(slider, rates, preset, name) {
  const asked = Number(new URLSearchParams(location.search).get(name)) || preset;
  const near = rates.map((rate) => Math.abs(Math.log(rate / asked)));
  slider.max = rates.length - 1;
  slider.value = near.indexOf(Math.min(...near));
}

function claim() {
  const point = points.verification[$("fmr").value];
  $("fmr").setAttribute("aria-valuetext", oneIn(point.fmr));
  move("verify", point.tau, point.fmr);
  const list = el("dl", { class: "named" });
  const searched = -Math.expm1(here * Math.log1p(-point.fmr));
  named(list, [
    ["Strangers who pass", el("strong", {}, oneIn(point.fmr))],
    ["tau", `${distance(point.tau)}${beyond(point)}`],
    ["Of 1,000 strangers, expected in", expected(1000 * point.fmr)],
    ["At most (95 % bound)", `${expected(1000 * point.fmr_upper)} of 1,000`],
    ...turnedAway(point),
  ]);
  $("fmr-told").replaceChildren(list, el("p", { class: "fine" },
    `Used for a search among this gallery's ${count(here, "template")} instead of a claim, this tau `
    + `would take up to ${oneIn(searched)} strangers for somebody.`), use("verify", "fmr", point.fmr));
}

function search() {
  const size = points.gallery_size;
  $("fpir").max = points.identification.length - 1; // Fewer where a gallery is too large for some.
  const point = points.identification[$("fpir").value];
  $("fpir").setAttribute("aria-valuetext", oneIn(point.fpir));
  $("size").setAttribute("aria-valuetext", count(size, "template"));
  move("identify", point.tau, -Math.expm1(Math.log1p(-point.fpir) / size));
  const list = el("dl", { class: "named" });
  named(list, [
    ["Strangers taken for somebody", el("strong", {}, oneIn(point.fpir))],
    ["Gallery", `${count(size, "template")}${size === here ? ", as now" : ""}`],
    ["tau", `${distance(point.tau)}${beyond(point)}`],
    ["Of 1,000 strangers, expected in", expected(1000 * point.fpir)],
    ...turnedAway(point),
  ]);
  $("fpir-told").replaceChildren(list, el("p", { class: "fine" },
    "The larger the gallery, the smaller tau must be for the same rate, and the more often somebody "
    + "enrolled is not recognized."), use("identify", "fpir", point.fpir));
}

function turnedAway(point) {
  return point.fnmr === null ? []
    : [["Of 1,000 enrolled, turned away (FNMR)", expected(1000 * point.fnmr)]];
}

function beyond(point) {
  return point.extrapolated ? " (extrapolated beyond what was measured)" : "";
}

function use(page, name, rate) {
  if (!me.may("identify")) return "";
  return el("a", { href: query(`/${page}`, { [name]: rate }) },
    `${page === "verify" ? "Verify" : "Identify"} at this point`);
}

function turned(miss) {
  return miss ? [percent(miss.fnmr), `${percent(miss.lower)} to ${percent(miss.upper)}`]
    : ["not measured", ""];
}

function table() {
  const missed = new Map(points.misses.map((m) => [m.tau, m]));
  const head = ["FMR", "Its 95 % interval", "tau", "In words", "FNMR", "Its 95 % interval"];
  $("points").replaceChildren(
    el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...points.curve.map((p) => row(percent(p.fmr),
      `${percent(p.lower)} to ${percent(p.upper)}`, distance(p.tau), oneIn(p.fmr),
      ...turned(missed.get(p.tau))))));
}
