import { call, query } from "./api.js";
import { $, badge, busy, complain, el, named, ready, row } from "./parts.js";
import { open } from "./shell.js";
import { count, moment, whole } from "./words.js";

const rows = $("entries").querySelector("tbody");
let asked = {}; // whose entries are shown, and how many at a time
let next = null; // what the older ones come before

await open();
$("person").value = new URLSearchParams(location.search).get("person") ?? "";
await show().then(ready, (error) => complain($("told"), error));

$("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("filter").querySelector("button"), $("told"), show);
});

$("older").addEventListener("click", () => busy($("older"), $("told"), async () => {
  const before = rows.children.length;
  await page(next);
  // The button stands below what is new, and may be gone: one goes on at the first new entry.
  rows.children[before]?.querySelector("th").focus();
}));

$("verify").addEventListener("click", () => busy($("verify"), $("told"), async () => {
  const report = await call("GET", "/v1/audit/verify");
  const list = el("dl", { class: "named" });
  named(list, [
    ["Entries", whole(report.entries)],
    ["Signed", report.signed === null ? "not looked at: the keys are not at hand"
      : whole(report.signed)],
    ["Anchor", el("code", {}, report.anchor || "none")],
  ]);
  const mark = report.intact ? badge("yes", "intact") : badge("alarm", "not intact");
  $("verdict").replaceChildren(el("section", { class: "card" },
    el("h2", {}, "The log is ", mark), list,
    ...report.faults.map((fault) => el("p", { class: "message alarm" }, fault.message)),
    el("p", { class: "fine" }, "Keep the anchor elsewhere: only with it is it seen later that the "
      + "newest entries were cut off.")));
}));

/** Begin a list anew. */
async function show() {
  asked = { person: await id($("person").value.trim()), newest: $("newest").value };
  await page(null);
}

/** Show the newest entries, or add those before one. */
async function page(before) {
  const mine = asked;
  const found = await call("GET", query("/v1/audit", { ...mine, before }));
  if (mine !== asked) return; // something else was asked for meanwhile
  if (before === null) rows.replaceChildren();
  rows.append(...found.entries.reverse().map(line));
  next = found.next;
  $("older").hidden = next === null;
  const shown = rows.children.length;
  const all = next === null && shown ? "; there are no older ones" : "";
  $("count").textContent = shown
    ? `${count(shown, "entry", "entries")}, the newest first${all}.` : "No entries.";
}

/** The log knows ids alone; a name is looked up while it is there. */
async function id(named) {
  if (!named || /^[0-9a-f]{32}$/.test(named)) return named;
  return (await call("GET", `/v1/people/${encodeURIComponent(named)}`)).person.id;
}

function line(entry) {
  const to = entry.subject
    ? el("a", { href: `/people/${encodeURIComponent(entry.subject)}`, title: entry.subject },
      entry.subject.slice(0, 8)) : "-";
  const made = row(whole(entry.seq), moment(entry.at), entry.actor, entry.action, to,
    el("span", { class: "details" }, details(entry.details)));
  made.querySelector("th").tabIndex = -1;
  return made;
}

function details(values) {
  return Object.entries(values).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (/^[0-9a-f]{32}$/.test(text)) return `${name}: ${text.slice(0, 8)}`;
    return `${name}: ${text.length > 40 ? `${text.slice(0, 37)}...` : text}`;
  }).join(", ");
}
