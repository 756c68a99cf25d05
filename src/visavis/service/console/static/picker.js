// Photographs by choosing files, by drag and drop, from the clipboard, or from the camera.

import { call } from "./api.js";
import { advised, camera } from "./camera.js";
import { el, say } from "./parts.js";

const MOST = 10;
let number = 0;

/**
 * Put a picker into `host`.
 *
 * many: several photographs, each judged at once; else the newest replaces the one before.
 * Gives {pictures(): [{blob, name}], clear(), stop()}; `changed()` is called after each change.
 */
export function picker(host, { many = false, changed = () => {} } = {}) {
  const id = `file-${(number += 1)}`;
  const held = [];
  const told = el("div", { class: "told", role: "alert" });
  const list = el("ul", { class: "thumbs", "aria-label": many ? "Photographs" : "Photograph" });
  const stage = el("div");
  const file = el("input", { id, type: "file", accept: "image/*", multiple: many, class: "unseen" });
  const shoot = el("button", { type: "button" }, "Use the camera");
  const what = many ? "photographs" : "a photograph";
  const drop = el("div", { class: "drop" }, file,
    el("label", { for: id, class: "button" }, `Choose ${what}`), shoot,
    el("span", { class: "fine" }, `or drop ${many ? "them" : "it"} here, or paste.`));
  host.replaceChildren(drop, stage, told, list);
  let stop = () => {};

  const add = (blob, name) => {
    say(told, "");
    if (!blob.type.startsWith("image/")) {
      say(told, `${name} is not a picture.`);
      return;
    }
    if (many && held.length === MOST) {
      say(told, `At most ${MOST} photographs at once.`);
      return;
    }
    if (!many) for (const old of held.splice(0)) old.drop();
    const picture = { blob, name };
    const item = thumbnail(picture, () => {
      held.splice(held.indexOf(picture), 1);
      picture.drop();
      file.focus();
      changed();
    });
    picture.drop = () => {
      URL.revokeObjectURL(item.url);
      item.node.remove();
    };
    held.push(picture);
    list.append(item.node);
    if (many) judge(blob, item.state);
    changed();
  };
  const addAll = (files) => [...files].forEach((blob) => add(blob, blob.name || "photograph"));

  file.addEventListener("change", () => {
    addAll(file.files);
    file.value = "";
  });
  shoot.addEventListener("click", async () => {
    shoot.hidden = true;
    let taken = 0;
    stop = await camera(stage, (blob) => {
      add(blob, `camera ${(taken += 1)}.jpg`);
      if (!many) stop();
    }, () => {
      shoot.hidden = false;
      shoot.focus();
    });
  });
  dropped(drop, addAll);
  host.closest("form").addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) addAll(event.clipboardData.files);
  });
  return {
    pictures: () => held,
    clear: () => held.splice(0).forEach((picture) => picture.drop()),
    stop: () => stop(),
  };
}

function thumbnail({ blob, name }, remove) {
  const url = URL.createObjectURL(blob);
  const state = el("span", { class: "fine", role: "status" });
  const node = el("li", {},
    el("img", { src: url, alt: `Photograph ${name}`, on: { error: hide } }),
    el("span", { class: "thumb-name" }, name), state,
    el("button", { type: "button", class: "plain", on: { click: remove } },
      "Leave out", el("span", { class: "unseen" }, ` ${name}`)));
  return { node, url, state };
}

/** Some formats are for the service to read though this browser cannot show them. */
function hide(event) {
  event.target.remove();
}

async function judge(blob, state) {
  state.textContent = "Looking at it ...";
  const form = new FormData();
  form.append("image", blob, "photograph");
  try {
    const seen = await call("POST", "/v1/faces", { form });
    const [words, tone] = advised(seen);
    state.textContent = words.replace(": look into the camera", "");
    state.className = `fine ${tone}`;
  } catch (error) {
    state.textContent = error.message;
    state.className = "fine alarm-text";
  }
}

function dropped(zone, take) {
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle("over", depth > 0);
  };
  zone.addEventListener("dragenter", () => mark(1));
  zone.addEventListener("dragleave", () => mark(-1));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    mark(0);
    take(event.dataTransfer.files);
  });
}
