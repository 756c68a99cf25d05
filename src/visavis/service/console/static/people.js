import { call, query } from "./api.js";
import { enrolment } from "./enrol.js";
import { $, badge, complain, el, ready, row, say } from "./parts.js";
import { open } from "./shell.js";
import { count, moment, whole } from "./words.js";

const PAGE = 50;
const rows = $("people").querySelector("tbody");
let next = null;
let asked = new AbortController();

const me = await open();
await show();
ready();

$("find").addEventListener("submit", (event) => event.preventDefault());
let typing = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(show, 250);
});
$("more").addEventListener("click", () => page(next));

if (me.may("enroll")) {
  enrolment(async (done) => {
    await show();
    say($("told"), "");
    $("told").append(el("p", { class: "message yes" }, "Enrolled: ", link(done.person), ", ",
      `${count(done.added, "template")} added`,
      done.known ? `, ${count(done.known, "photograph")} known already.` : "."));
  });
}

/** Begin a list anew; what an earlier search still answers is dropped. */
async function show() {
  asked.abort();
  asked = new AbortController();
  await page(null);
}

async function page(after) {
  const search = $("search").value.trim();
  const { signal } = asked;
  try {
    const found = await call("GET", query("/v1/people", { search, after, limit: PAGE }), { signal });
    if (after === null) rows.replaceChildren();
    rows.append(...found.people.map(line));
    next = found.next;
    $("more").hidden = next === null;
    $("count").textContent = told(rows.children.length, found.total, search);
  } catch (error) {
    complain($("told"), error);
  }
}

function told(shown, total, search) {
  if (!total) return search ? "Nobody of that name." : "Nobody is enrolled yet.";
  const all = search ? `${count(total, "person", "people")} found`
    : count(total, "person", "people");
  return shown < total ? `${all}, ${whole(shown)} shown.` : `${all}.`;
}

function line(person) {
  const made = row(link(person), whole(person.templates), moment(person.created, { time: false }),
    consent(person.consent));
  made.children[2].className = "less";
  return made;
}

function consent({ reference, expires, expired }) {
  if (expired) return badge("no", "expired");
  if (expires) return moment(expires, { time: false });
  return reference ? "no end" : "none recorded";
}

function link(person) {
  return el("a", { href: `/people/${encodeURIComponent(person.id)}` }, person.name);
}
