import { call } from "./api.js";
import { $, badge, busy, complain, confirmed, el, ready, row, say } from "./parts.js";
import { open } from "./shell.js";
import { dayOf, endOf, moment } from "./words.js";

await open();
await show().then(ready, (error) => complain($("told"), error));

$("make").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = $("make");
  const roles = [...form.querySelectorAll("input[name=role]:checked")].map((box) => box.value);
  const name = $("name").value.trim();
  if (!name) return missing("Say whose the key is.", $("name"));
  if (!roles.length) {
    return missing("Choose what it may be used for.", form.querySelector("input[name=role]"));
  }
  return busy(form.querySelector("button.main"), $("make-told"), async () => {
    const json = { name, roles, expires: endOf($("expires").value) };
    const made = await call("POST", "/v1/keys", { json });
    form.reset();
    reveal(made.secret);
    await show();
  });
});

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("secret-text").value);
    $("copied").textContent = "Copied.";
  } catch {
    $("secret-text").select();
    $("copied").textContent = "The browser does not let this page copy: it is selected, copy it "
      + "yourself.";
  }
});
$("secret-close").addEventListener("click", () => $("secret").close());
$("secret").addEventListener("close", () => {
  $("secret-text").value = "";
});

function missing(words, field) {
  say($("make-told"), words);
  field.focus();
}

function reveal(secret) {
  $("secret-text").value = secret;
  $("copied").textContent = "";
  $("secret").showModal();
  $("secret-text").select();
}

async function show() {
  const { keys } = await call("GET", "/v1/keys");
  $("keys").querySelector("tbody").replaceChildren(...keys.map(line));
}

function line(key) {
  const over = key.expires && new Date(key.expires) <= new Date();
  const good = !key.revoked && !over;
  return row(key.name, el("code", {}, key.id.slice(0, 8)), key.roles.join(", "),
    moment(key.created, { time: false }), key.last_used ? moment(key.last_used) : "never",
    state(key, over), good ? revoker(key) : "");
}

function state(key, over) {
  if (key.revoked) return badge("no", `revoked ${dayOf(key.revoked)}`);
  if (over) return badge("no", `expired ${dayOf(key.expires)}`);
  return badge("yes", key.expires ? `good until ${dayOf(key.expires)}` : "good");
}

function revoker(key) {
  const button = el("button", { type: "button", class: "plain" }, "Revoke",
    el("span", { class: "unseen" }, ` ${key.name}`));
  button.addEventListener("click", async () => {
    const yes = await confirmed(`Revoke the key of ${key.name}?`, [
      "Whoever uses it is refused from now on, and sessions begun with it end.",
      "This cannot be undone; make a new key instead."], "Revoke");
    if (!yes) return;
    await busy(button, $("told"), async () => {
      await call("DELETE", `/v1/keys/${encodeURIComponent(key.id)}`);
      await show();
      say($("done"), `The key of ${key.name} is revoked.`, "yes");
    });
  });
  return button;
}
