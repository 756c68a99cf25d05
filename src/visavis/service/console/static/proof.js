// What a removal erased, and what a search for the erased finds afterwards.

import { call, query } from "./api.js";
import { badge, complain, el, named } from "./parts.js";
import { count } from "./words.js";

/** Tell it in `region`; `gone` is what the removal answered. */
export async function proof(region, gone) {
  const erased = el("dl", { class: "named" });
  named(erased, [
    ["Erased", `the name, ${count(gone.templates, "template")}, any stored photographs`],
    ["Id", el("code", {}, gone.removed.id)],
    ["Database", gone.erased ? badge("yes", "rewritten")
      : badge("no", "not rewritten yet")],
  ]);
  await search(region, gone.removed, erased, ...list("What remains", gone.remains));
}

/** Look once more for somebody who was removed before, by id; tell it in `region`. */
export async function search(region, { id, name }, ...above) {
  const told = el("div", { role: "alert" });
  const looked = el("div", { role: "status" }, el("p", {}, "Looking for what is left ..."));
  region.replaceChildren(el("h2", { id: "proof-title" }, "Proof of erasure"), ...above, told, looked);
  region.hidden = false;
  try {
    const path = query(`/v1/people/${encodeURIComponent(id)}/erasure`, { name });
    looked.replaceChildren(...found(await patiently(() => call("GET", path))));
  } catch (error) {
    looked.replaceChildren();
    complain(told, error);
  }
}

/** Ask again while somebody else's search is under way: there is one at a time. */
async function patiently(ask) {
  for (let left = 10; ; left -= 1) {
    try {
      return await ask();
    } catch (error) {
      if (error.code !== "busy" || !left) throw error;
      await new Promise((go) => setTimeout(go, 1000 * Math.max(1, error.wait)));
    }
  }
}

function found(report) {
  const mark = report.clean ? badge("yes", "nothing is left") : badge("no", "something is left");
  const left = (report.leftovers ?? []).map((each) =>
    `${each.where}: ${each.what}, ${count(each.count, "time")}`);
  return [
    el("p", {}, "Every table, the bytes of the database and its journals were searched for "
      + "what was erased: ", mark),
    ...list("Left", left),
    ...list("Not looked for", report.not_looked ?? []),
    el("p", { class: "fine" }, "The change log and the audit log keep the id, so that other machines "
      + "follow and the log stays whole; they hold neither name nor template. Backups made before are "
      + "not within this service's reach."),
  ];
}

function list(title, lines) {
  if (!lines.length) return [];
  return [el("h3", {}, title), el("ul", {}, ...lines.map((line) => el("li", {}, line)))];
}
