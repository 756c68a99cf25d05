import { call } from "./api.js";
import { $, ready } from "./parts.js";
import { open } from "./shell.js";
import { count } from "./words.js";

const me = await open();
if (me.may("read")) {
  const info = await call("GET", "/v1/gallery");
  $("lead").textContent = info.people
    ? `${count(info.people, "person is", "people are")} enrolled in the gallery ${me.gallery}, with `
      + `${count(info.templates, "template")}.`
    : `Nobody is enrolled in the gallery ${me.gallery} yet.`;
}
ready();
