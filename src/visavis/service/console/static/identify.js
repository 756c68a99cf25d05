import { call } from "./api.js";
import { liveness, rates, USUAL, verdict } from "./answer.js";
import { $, badge, busy, el, ready, row, say } from "./parts.js";
import { picker } from "./picker.js";
import { drawn } from "./picture.js";
import { scale } from "./scale.js";
import { open } from "./shell.js";
import { count, distance, oneIn } from "./words.js";

const me = await open();
const form = $("ask");
const pictures = picker($("pictures"), {});
const points = me.may("read") ? await call("GET", "/v1/operating-points").catch(() => null) : null;
rates($("rate"), points?.identification.map((p) => p.fpir) ?? USUAL.listed,
  points?.defaults.fpir ?? USUAL.fpir, "fpir");
ready();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [picture] = pictures.pictures();
  if (!picture) {
    say($("told"), "Add a photograph first.");
    form.querySelector("input[type=file]").focus();
    return;
  }
  busy(form.querySelector("button.main"), $("told"), async () => {
    $("answer").replaceChildren();
    const sent = new FormData();
    sent.append("image", picture.blob, "photograph");
    sent.append("fpir", $("rate").value);
    sent.append("candidates", $("candidates").value);
    if ($("live").checked) sent.append("live", "passive");
    await tell(await call("POST", "/v1/identify", { form: sent }), picture);
  });
});

async function tell(answer, picture) {
  const boxes = answer.faces.map((face, i) => ({
    box: face.box, tone: face.person ? "yes" : "no", label: `${i + 1}`,
  }));
  const rate = `At this setting ${oneIn(answer.fpir)} strangers would be taken for one of the `
    + `${count(answer.gallery_size, "person", "people")} enrolled.`;
  $("answer").replaceChildren(summary(answer),
    await drawn(picture.blob, boxes, `The photograph, with ${count(answer.faces.length, "face")} framed.`),
    el("p", {}, answer.gallery_size ? rate : "Nobody is enrolled."),
    ...answer.faces.flatMap((face, i) => told(face, i + 1, answer.tau)));
  $("answer").querySelector("h2").focus();
}

function summary(answer) {
  const names = answer.faces.map((face) => face.person).filter(Boolean);
  if (!answer.faces.length) return verdict("no", "No face is found");
  if (names.length) return verdict("yes", `Recognized: ${names.join(", ")}`);
  const fake = answer.faces.some((face) => face.decision === "not live");
  return verdict("no", fake ? "Not accepted: not alive" : "Not recognized");
}

function told(face, number, tau) {
  const tone = face.person ? "yes" : "no";
  const who = {
    recognized: face.person,
    "not recognized": "Not recognized",
    "not live": `Looks like ${face.matched}`,
  }[face.decision];
  const parts = [el("h3", {}, `Face ${number}: ${who} `, badge(tone, face.decision))];
  if (face.distance !== null) parts.push(scale(face.distance, tau));
  if (face.candidates.length) parts.push(candidates(face.candidates, tau));
  if (face.quality.advice.length) {
    parts.push(el("p", { class: "fine" }, `For a surer answer: ${face.quality.advice.join("; ")}.`));
  }
  return [el("section", { class: "part" }, ...parts, liveness(face.liveness) ?? "")];
}

function candidates(list, tau) {
  const body = list.map((each) => row(each.person, distance(each.distance),
    each.distance <= tau ? badge("yes", "within tau") : badge("no", "beyond tau")));
  const table = el("table", {}, el("caption", {}, "Nearest people"),
    el("thead", {}, el("tr", {}, ...["Person", "d", ""].map((name) =>
      (name ? el("th", { scope: "col" }, name) : el("td"))))), el("tbody", {}, ...body));
  return el("div", { class: "scroll", role: "region", "aria-label": "Nearest people", tabindex: "0" },
    table);
}
