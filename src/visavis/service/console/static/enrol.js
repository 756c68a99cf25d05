// The dialog that enrols somebody, and what it shares with adding photographs to them.

import { call, query, token } from "./api.js";
import { $, busy, say } from "./parts.js";
import { picker } from "./picker.js";
import { endOf } from "./words.js";

const FORCEABLE = new Set(["poor_quality", "duplicate_person", "person_mismatch"]);
const WHAT_IF = {
  poor_quality: "If you enrol it all the same, the person will be recognized less surely.",
  duplicate_person: "Enrol all the same only when they are two people: otherwise one person would "
    + "be two in this gallery.",
  person_mismatch: "Add it all the same only when you know that it is them: otherwise somebody else "
    + "would be taken for them.",
};

/**
 * Send photographs, with the choice to force them after a refusal that says why.
 *
 * parts: {path, fields(form), picker, told, go, force, done(answer)}.
 */
export function sending(parts) {
  const { told, go, force } = parts;
  let name = null;
  const send = (button, forced) => busy(button, told, async () => {
    force.hidden = true;
    const form = new FormData();
    await parts.fields(form);
    const pictures = parts.picker.pictures();
    if (!pictures.length) throw Object.assign(new Error("Add a photograph first."), { code: "" });
    for (const picture of pictures) form.append("images", picture.blob, "photograph");
    if (forced) form.append("force", "true");
    // The same name again while the network fails: nothing is enrolled twice.
    name ??= token();
    try {
      const answer = await call("POST", parts.path, { form, key: name });
      name = null;
      await parts.done(answer);
    } catch (error) {
      if (error.status) name = null;
      if (!FORCEABLE.has(error.code)) throw error;
      error.message += ` ${WHAT_IF[error.code]}`;
      force.hidden = false;
      throw error;
    }
  });
  return {
    send: () => send(go, false),
    force: () => send(force, true),
    changed: () => {
      name = null;
      force.hidden = true;
    },
  };
}

/** Make the dialog of the page People work; `done(answer)` when somebody was enrolled. */
export function enrolment(done) {
  const dialog = $("enrol");
  const form = $("enrol-form");
  const told = $("enrol-told");
  const pictures = picker($("enrol-pictures"), { many: true, changed: () => sender.changed() });
  const sender = sending({
    path: "/v1/people",
    picker: pictures,
    told,
    go: $("enrol-go"),
    force: $("enrol-force"),
    fields: (filled) => fields(filled),
    done: async (answer) => {
      dialog.close();
      await done(answer);
    },
  });
  $("enrol-open").addEventListener("click", () => {
    form.reset();
    pictures.clear();
    sender.changed();
    say(told, "");
    dialog.showModal();
    $("name").focus();
  });
  $("enrol-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    pictures.stop();
    pictures.clear();
  });
  form.addEventListener("input", () => sender.changed());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sender.send();
  });
  $("enrol-force").addEventListener("click", () => sender.force());
}

async function fields(form) {
  const name = $("name").value.trim();
  if (!name) {
    $("name").focus();
    throw Object.assign(new Error("Give a name first."), { code: "" });
  }
  const found = await call("GET", query("/v1/people", { search: name, limit: 100 }));
  if (found.people.some((person) => person.name === name)) {
    throw Object.assign(new Error(`${name} is enrolled already. Open their page to add photographs, `
      + "or tell the two apart by their names."), { code: "" });
  }
  form.append("name", name);
  if ($("keep").checked) form.append("keep_photographs", "true");
  const expires = endOf($("expires").value);
  if (expires) form.append("consent_expires", expires);
  if ($("reference").value) form.append("consent_reference", $("reference").value);
  if ($("purpose").value) form.append("consent_purpose", $("purpose").value);
}
