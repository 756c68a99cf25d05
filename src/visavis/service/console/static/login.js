import { call, logIn } from "./api.js";
import { $, busy, ready, say } from "./parts.js";

const form = $("login");
const key = $("key");

$("show").addEventListener("change", () => {
  key.type = $("show").checked ? "text" : "password";
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const button = form.querySelector("button.main");
  const typed = key.value.trim();
  if (!typed) {
    say($("told"), "Paste your key first.");
    key.focus();
    return;
  }
  busy(button, $("told"), async () => {
    try {
      await logIn(typed);
    } catch (error) {
      key.setAttribute("aria-invalid", "true");
      key.focus();
      if (error.status === 401) error.message = unknown(typed);
      throw error;
    }
    location.replace(form.dataset.next);
  });
});

function unknown(typed) {
  if (!typed.startsWith("vv_")) return "That is no API key: one begins with vv_.";
  return "This key opens nothing: it is mistyped, revoked or expired.";
}

// Whoever has a session already, or needs none, goes on.
try {
  await call("GET", "/v1/session", { stay: true });
  location.replace(form.dataset.next);
} catch {
  key.focus();
  ready();
}
