import { call } from "./api.js";
import { sending } from "./enrol.js";
import { $, badge, busy, complain, confirmed, el, named, ready, row, say } from "./parts.js";
import { picker } from "./picker.js";
import { proof, search } from "./proof.js";
import { open } from "./shell.js";
import { count, dayOf, endOf, moment } from "./words.js";

const wanted = location.pathname.split("/").pop();
const path = `/v1/people/${wanted}`;

const me = await open();
let person = null;
try {
  await show();
  ready();
} catch (error) {
  complain($("told"), error);
  const removed = error.code === "person_unknown" && /^[0-9a-f]{32}$/.test(wanted);
  if (removed && me.may("admin")) await search($("proof"), { id: wanted });
}

if (me.may("enroll")) {
  const pictures = picker($("add-pictures"), { many: true, changed: () => sender.changed() });
  const sender = sending({
    path: `${path}/templates`,
    picker: pictures,
    told: $("add-told"),
    go: $("add").querySelector("button.main"),
    force: $("add-force"),
    fields: () => {},
    done: async (answer) => {
      pictures.stop();
      pictures.clear();
      await changed(answer.known ? `${count(answer.added, "template")} added, `
        + `${count(answer.known, "photograph")} known already.`
        : `${count(answer.added, "template")} added.`);
    },
  });
  $("add").addEventListener("submit", (event) => {
    event.preventDefault();
    sender.send();
  });
  $("add-force").addEventListener("click", () => sender.force());
  change($("rename"), () => ({ name: $("new-name").value.trim() }), "Renamed.");
  change($("consent"), () => ({ consent: {
    reference: $("reference").value,
    purpose: $("purpose").value,
    expires: kept($("expires").value),
  } }), "The consent is saved.");
}

$("remove").addEventListener("click", async () => {
  const yes = await confirmed(`Remove ${person.name}?`, [
    `The name, ${count(person.templates, "template")} and any stored photographs are erased. `
    + "This person is not recognized any more.",
    "This cannot be undone."], "Remove");
  if (!yes) return;
  await busy($("remove"), $("told"), async () => {
    const gone = await call("DELETE", path);
    $("body").hidden = true;
    $("name").textContent = `${gone.removed.name} was removed`;
    document.title = "Removed - visavis";
    say($("done"), "");
    await proof($("proof"), gone);
    $("name").focus();
  });
});

async function show() {
  const found = await call("GET", path);
  person = found.person;
  $("name").textContent = person.name;
  document.title = `${person.name} - visavis`;
  const { reference, purpose, expires, expired } = person.consent;
  named($("facts"), [
    ["Id", el("code", {}, person.id)],
    ["Enrolled", moment(person.created)],
    ["Consent", reference || "none recorded"],
    ["Purpose", purpose || "none recorded"],
    ["Consent until", expired ? badge("no", `expired ${dayOf(expires)}`)
      : expires ? moment(expires, { time: false }) : "no end"],
  ]);
  $("templates").querySelector("tbody").replaceChildren(...found.templates.map((each) =>
    row(el("code", {}, each.id.slice(0, 8)), moment(each.created),
      each.photograph_kept ? "kept, sealed" : "not kept")));
  $("new-name").value = person.name;
  $("reference").value = reference;
  $("purpose").value = purpose;
  $("expires").value = dayOf(expires);
  $("body").hidden = false;
}

/** The end of consent: as it was to the second, unless another day was chosen. */
function kept(day) {
  const before = person.consent.expires;
  return before && dayOf(before) === day ? before : endOf(day);
}

function change(form, values, words) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button"), form.querySelector(".told"), async () => {
      await call("PATCH", path, { json: values() });
      await changed(words);
    });
  });
}

async function changed(words) {
  await show();
  say($("done"), words, "yes");
  $("done").scrollIntoView({ block: "nearest" });
}
