// Talks to /v1 with the session's cookie; the only module that does.

export class Refused extends Error {
  /** What the service said no with: its code, its words, and seconds to wait, if it said so. */
  constructor(status, code, message, wait = 0) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }
}

let csrf = "";

/** Begin with the session there is, or go to the login page and never come back. */
export async function begin() {
  const session = await call("GET", "/v1/session");
  csrf = session.csrf;
  return session;
}

/** Exchange a key for a session. */
export async function logIn(key) {
  const session = await call("POST", "/v1/session", { json: { key }, stay: true });
  csrf = session.csrf;
}

export async function logOut() {
  await call("DELETE", "/v1/session");
  location.assign("/login");
}

/**
 * Ask the service.
 *
 * what.json: an object; what.form: a FormData; what.key: names a request that must not be done
 * twice; what.signal: to give up; what.stay: do not go to the login page when nobody is logged in.
 */
export async function call(method, path, what = {}) {
  const headers = { Accept: "application/json" };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  if (what.key) headers["Idempotency-Key"] = what.key;
  if (what.json) headers["Content-Type"] = "application/json";
  const body = what.json ? JSON.stringify(what.json) : what.form;
  let response;
  try {
    response = await fetch(path, {
      method, headers, body, signal: what.signal, credentials: "same-origin", cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "The service cannot be reached. Is it running, and is this"
      + " machine connected?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && !what.stay) await toLogin();
  throw refusal(response, answer.error ?? {});
}

function refusal(response, error) {
  const wait = Number(response.headers.get("Retry-After")) || 0;
  const message = error.message || `The service answered ${response.status}.`;
  const late = wait && !/ again /.test(message) ? ` Try again in ${wait} s.` : "";
  return new Refused(response.status, error.code || "error", sentence(message) + late, wait);
}

function toLogin() {
  const here = location.pathname + location.search;
  location.replace(`/login?next=${encodeURIComponent(here)}`);
  return new Promise(() => {});
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A name for a request, so that sending it again does not do it twice. */
export function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function query(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value != null);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}
