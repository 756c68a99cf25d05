import { call, query } from "./api.js";
import { liveness, rates, reasons, USUAL, verdict } from "./answer.js";
import { $, busy, el, ready, say } from "./parts.js";
import { picker } from "./picker.js";
import { drawn } from "./picture.js";
import { scale } from "./scale.js";
import { open } from "./shell.js";
import { distance, oneIn } from "./words.js";

const me = await open();
const form = $("ask");
const pictures = picker($("pictures"), {});
const points = me.may("read") ? await call("GET", "/v1/operating-points").catch(() => null) : null;
rates($("rate"), points?.verification.map((p) => p.fmr) ?? USUAL.listed,
  points?.defaults.fmr ?? USUAL.fmr, "fmr");

if (me.may("read")) {
  let typing = 0;
  $("person").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(suggest, 200);
  });
  await suggest();
}
ready();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [picture] = pictures.pictures();
  const person = $("person").value.trim();
  if (!person) return missing("Say who they claim to be.", $("person"));
  if (!picture) return missing("Add a photograph first.", form.querySelector("input[type=file]"));
  return busy(form.querySelector("button.main"), $("told"), async () => {
    $("answer").replaceChildren();
    const sent = new FormData();
    sent.append("image", picture.blob, "photograph");
    sent.append("person", person);
    sent.append("fmr", $("rate").value);
    if ($("live").checked) sent.append("live", "passive");
    await tell(await call("POST", "/v1/verify", { form: sent }), picture);
  });
});

function missing(words, field) {
  say($("told"), words);
  field.focus();
}

async function suggest() {
  const search = $("person").value.trim();
  const found = await call("GET", query("/v1/people", { search, limit: 20 }))
    .catch(() => ({ people: [] }));
  $("known").replaceChildren(...found.people.map((person) => el("option", { value: person.name })));
}

async function tell(answer, picture) {
  const words = {
    same: `Yes, it is ${answer.person}`,
    different: `No, it is not ${answer.person}`,
    "not live": `Not accepted: it looks like ${answer.person}, but not alive`,
  }[answer.decision];
  const tone = answer.accepted ? "yes" : "no";
  const at = `d = ${distance(answer.distance)}`;
  const boxes = answer.faces.map((face) => ({ box: face.box, tone, label: at }));
  const rate = `At this setting ${oneIn(answer.fmr)} strangers who claim to be ${answer.person} would `
    + `be accepted; at most ${oneIn(answer.fmr_upper)}, as far as was measured (95 % upper bound).`;
  $("answer").replaceChildren(verdict(tone, words),
    await drawn(picture.blob, boxes, `The photograph, with the face framed; ${at}.`),
    scale(answer.distance, answer.tau),
    el("p", {}, rate), ...reasons(answer.reasons), liveness(answer.liveness, { why: false }) ?? "");
  $("answer").querySelector("h2").focus();
}
