// The camera with guidance: a frame is judged about twice a second, and the advice is words.

import { call } from "./api.js";
import { el, say } from "./parts.js";

const EVERY = 500;
const ASKED = { width: { ideal: 1280 }, height: { ideal: 960 }, facingMode: "user" };
const JUDGED = 640;

/** Show the camera in `host`; `taken(blob)` gets each photograph. Gives a function that stops it. */
export async function camera(host, taken, closed) {
  const video = el("video", { playsinline: true, muted: true, "aria-label": "What the camera sees" });
  video.muted = true;
  const box = el("canvas", { class: "over", "aria-hidden": "true" });
  const advice = el("p", { class: "advice", role: "status" }, "Starting the camera ...");
  const take = el("button", { type: "button", class: "main", disabled: true }, "Take the photograph");
  const stop = el("button", { type: "button" }, "Stop the camera");
  host.replaceChildren(el("div", { class: "camera" },
    el("div", { class: "stage" }, video, box), advice, el("div", { class: "row" }, take, stop)));
  const over = new AbortController();
  let stream = null;
  const end = () => {
    over.abort();
    stream?.getTracks().forEach((track) => track.stop());
    host.replaceChildren();
    closed();
  };
  stop.addEventListener("click", end);
  addEventListener("pagehide", end, { signal: over.signal });
  try {
    stream = await opened();
  } catch (error) {
    say(advice, why(error));
    return end;
  }
  if (over.signal.aborted) {
    stream.getTracks().forEach((track) => track.stop());
    return end;
  }
  video.srcObject = stream;
  await video.play();
  take.disabled = false;
  take.scrollIntoView({ block: "nearest" });
  take.addEventListener("click", async () => taken(await frame(video)));
  guide(video, box, advice, over.signal);
  return end;
}

function opened() {
  if (!navigator.mediaDevices) {
    throw Object.assign(new Error(), { name: "InsecureError" });
  }
  return navigator.mediaDevices.getUserMedia({ video: ASKED, audio: false });
}

function why(error) {
  const known = {
    NotAllowedError: "The browser may not use the camera: allow it in the address bar.",
    NotFoundError: "There is no camera on this machine.",
    NotReadableError: "Another program uses the camera.",
    InsecureError: "Browsers lend the camera only to pages that come by HTTPS or from this machine.",
  };
  return known[error.name] ?? "The camera could not be started.";
}

/** One frame as a JPEG; at most `widest` pixels wide. */
function frame(video, widest = Infinity) {
  const scale = Math.min(1, widest / video.videoWidth);
  const canvas = el("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

async function guide(video, box, advice, signal) {
  let pause = EVERY;
  while (!signal.aborted) {
    const begun = performance.now();
    try {
      const form = new FormData();
      form.append("image", await frame(video, JUDGED), "frame.jpg");
      const seen = await call("POST", "/v1/faces", { form, signal });
      pause = EVERY;
      tell(advice, ...advised(seen));
      outline(box, seen);
    } catch (error) {
      if (error.name === "AbortError") return;
      pause = Math.max(1000 * (error.wait ?? 0), 2 * EVERY);
      tell(advice, error.message, "alarm");
    }
    await new Promise((go) => setTimeout(go, Math.max(0, begun + pause - performance.now())));
  }
}

/** What to do now, in words, and whether it is good. */
export function advised(seen) {
  if (!seen.faces.length) return ["No face is seen: look into the camera.", "no"];
  if (seen.faces.length > 1) {
    return [`${seen.faces.length} faces are seen: one person alone before the camera.`, "no"];
  }
  const [first] = seen.faces[0].quality.advice;
  if (!first) return ["Good.", "yes"];
  return [`${first.charAt(0).toUpperCase()}${first.slice(1)}.`, "no"];
}

function tell(advice, words, tone) {
  if (advice.dataset.said === words) return; // Said once, not twice a second.
  advice.dataset.said = words;
  advice.className = `advice ${tone}`;
  advice.textContent = words;
}

function outline(box, seen) {
  box.width = seen.width;
  box.height = seen.height;
  const context = box.getContext("2d");
  context.lineWidth = Math.max(2, seen.width / 200);
  for (const face of seen.faces) {
    const good = !face.quality.advice.length && seen.faces.length === 1;
    context.strokeStyle = good ? "#4ade80" : "#fbbf24";
    context.setLineDash(good ? [] : [12, 8]);
    context.strokeRect(...face.box);
  }
}
