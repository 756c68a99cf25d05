import { call, query } from "./api.js";
import { $, badge, busy, complain, el, named, ready, row } from "./parts.js";
import { open } from "./shell.js";
import { count, moment, whole } from "./words.js";

await open();
$("person").value = new URLSearchParams(location.search).get("person") ?? "";
await show().then(ready, (error) => complain($("told"), error));

$("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("filter").querySelector("button"), $("told"), show);
});

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

async function show() {
  const person = await id($("person").value.trim());
  const newest = $("newest").value;
  const { entries } = await call("GET", query("/v1/audit", { person, newest }));
  $("entries").querySelector("tbody").replaceChildren(...entries.reverse().map(line));
  $("count").textContent = entries.length
    ? `${count(entries.length, "entry", "entries")}, the newest first.` : "No entries.";
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
  return row(whole(entry.seq), moment(entry.at), entry.actor, entry.action, to,
    el("span", { class: "details" }, details(entry.details)));
}

function details(values) {
  return Object.entries(values).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (/^[0-9a-f]{32}$/.test(text)) return `${name}: ${text.slice(0, 8)}`;
    return `${name}: ${text.length > 40 ? `${text.slice(0, 37)}...` : text}`;
  }).join(", ");
}
