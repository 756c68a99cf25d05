// What every page does first: learn who is here, and show what they may do.

import { begin, logOut } from "./api.js";
import { $, complain, el } from "./parts.js";

/** Begin the page; gives {may(role), gallery}. */
export async function open() {
  menu();
  let session;
  try {
    session = await begin();
  } catch (error) {
    complain($("told"), error);
    throw error;
  }
  const roles = new Set(session.roles);
  for (const part of document.querySelectorAll("[data-role]")) {
    part.hidden = !roles.has(part.dataset.role);
  }
  $("gallery").replaceChildren(el("span", { class: "less" }, "Gallery "), session.gallery);
  $("leave").hidden = false;
  $("leave").addEventListener("click", () => logOut().catch((error) => complain($("told"), error)));
  return { may: (role) => roles.has(role), gallery: session.gallery };
}

function menu() {
  const button = $("menu");
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(shown));
    $("navigation").classList.toggle("shown", shown);
  });
}
