import { call } from "./api.js";
import { $, badge, busy, el, named, ready } from "./parts.js";
import { open } from "./shell.js";
import { moment, whole } from "./words.js";

await open();
$("again").addEventListener("click", look);
await look();
ready();

function look() {
  return busy($("again"), $("told"), async () => {
    const states = [];
    for (const [path, title, words] of [
      ["/health", "Process", "answers"],
      ["/ready", "Galleries", "can be read"],
    ]) states.push(tile(title, words, await asked(path)));
    $("state").replaceChildren(...states);
    const info = await call("GET", "/v1/gallery");
    named($("gallery-info"), [
      ["People", whole(info.people)],
      ["Templates", whole(info.templates)],
      ["Photographs kept", whole(info.photographs)],
      ["Size", size(info.bytes)],
      ["Encoder", info.encoder_name ?? "none yet"],
      ["Encoder's id", el("code", {}, info.encoder ?? "none yet")],
      ["Made", moment(info.created)],
      ["Writable", info.writable ? "yes" : "no, it may only be read"],
      ["Gallery's id", el("code", {}, info.id)],
      ["Schema version", String(info.schema_version)],
    ]);
  });
}

async function asked(path) {
  try {
    const answer = await fetch(path, { cache: "no-store" });
    const said = await answer.json().catch(() => ({}));
    return { good: answer.ok, said: said.status ?? `answered ${answer.status}` };
  } catch {
    return { good: false, said: "cannot be reached" };
  }
}

function tile(title, words, { good, said }) {
  return el("div", { class: "card" }, el("strong", {}, title), " ",
    badge(good ? "yes" : "alarm", good ? words : said));
}

function size(bytes) {
  const steps = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const number = bytes / 1024 ** power;
  return `${number < 10 && power ? number.toFixed(1) : whole(Math.round(number))} ${steps[power]}`;
}
