// What verify and identify share in telling an answer.

import { badge, el, named } from "./parts.js";
import { oneIn, percent } from "./words.js";

/** What liveness said, apart from recognition; null when it was not asked for; `why` adds reasons. */
export function liveness(ruling, { why = true } = {}) {
  if (!ruling) return null;
  const judged = ruling.passive ?? ruling.active;
  const rows = [];
  if (judged?.score != null) {
    rows.push(["Score", `${judged.score.toFixed(3)} (live from ${judged.threshold.toFixed(3)})`]);
  }
  if (ruling.apcer != null) rows.push(["Attacks that pass (APCER)", percent(ruling.apcer)]);
  if (ruling.bpcer != null) rows.push(["Live people refused (BPCER)", percent(ruling.bpcer)]);
  if (judged?.model) rows.push(["Judged by", judged.model]);
  const list = el("dl", { class: "named" });
  named(list, rows);
  const mark = ruling.satisfied ? badge("yes", "live") : badge("no", "not live");
  return el("section", { class: "part" }, el("h3", {}, "Liveness ", mark), list,
    ...(why ? reasons(ruling.reasons) : []));
}

export function reasons(list) {
  return list.length ? [el("ul", { class: "reasons" }, ...list.map((r) => el("li", {}, r)))] : [];
}

/** The rates to choose from, the default chosen; ?rate=1e-5 in the address chooses another. */
export function rates(select, listed, preset, name) {
  const asked = Number(new URLSearchParams(location.search).get(name)) || preset;
  const all = new Set([...listed, preset, asked]);
  const falling = [...all].filter((rate) => rate > 0 && rate < 1).sort((a, b) => b - a);
  const near = (a, b) => Math.abs(Math.log(a / b)) < 0.01;
  const kept = falling.filter((rate, i) => i === 0 || !near(rate, falling[i - 1]));
  select.replaceChildren(...kept.map((rate) => el("option",
    { value: rate, selected: near(rate, asked) },
    `${oneIn(rate)} (${percent(rate)})${near(rate, preset) ? ", as usual" : ""}`)));
}

export const USUAL = { fmr: 1e-4, fpir: 1e-3,
  listed: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6] };

/** A heading that says the answer, which takes the focus. */
export function verdict(tone, words) {
  const sign = { yes: "\u2713", no: "\u2715", alarm: "!" }[tone];
  return el("h2", { class: `verdict ${tone}`, tabindex: "-1" },
    el("span", { "aria-hidden": "true", class: "sign" }, sign), words);
}
