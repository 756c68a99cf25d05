// The door: frames to /v1/door, one at a time, and what it answers in large words.

import { begin } from "./api.js";

const $ = (id) => document.getElementById(id);

const SIDE = 640;
const QUALITY = 0.85;
const EVERY = 66; // ms between two frames, at least: 15 a second
const SILENCE = 10000; // ms without an answer, after which the line is made anew
const STEADY = 500; // ms that guidance stays, so that it can be read
const SHORTEST = 500;
const LONGEST = 10000;

const OFFLINE = "one moment: connecting again";
const CAMERA = {
  NotAllowedError: "the browser may not use the camera: allow it in its settings",
  NotFoundError: "there is no camera on this machine",
  NotReadableError: "another program uses the camera",
  InsecureError: "browsers lend the camera only to pages that come by HTTPS or from this machine",
};

const video = $("video");
const trouble = { camera: null }; // what keeps the camera from being seen, in words
const canvas = document.createElement("canvas");

// What is shown

let shown = { words: "", since: 0 };

/** Show a view of the door; anything that is not given is cleared. */
function show({ state, phrase, action = null, name = null, done = 0, of = 0 }) {
  const now = performance.now();
  const before = document.body.dataset.state;
  // Guidance that flickers cannot be read; a challenge or an answer waits for nothing.
  const guidance = state === "looking" && before === "looking";
  if (guidance && now - shown.since < STEADY) return;
  document.body.dataset.state = state;
  document.body.dataset.action = state === "challenge" && action ? action : "";
  tell($("name"), state === "open" && name ? name : "");
  tell($("steps"), state === "challenge" && of ? `${Math.min(done + 1, of)} of ${of}` : "");
  const words = phrase.charAt(0).toUpperCase() + phrase.slice(1);
  if (words !== shown.words) shown = { words, since: now };
  tell($("words"), words);
}

function tell(node, words) {
  if (node.textContent !== words) node.textContent = words; // said once, not fifteen times a second
}

// The camera

async function camera() {
  if (!navigator.mediaDevices) throw Object.assign(new Error(), { name: "InsecureError" });
  const size = { width: { ideal: 640 }, height: { ideal: 480 } };
  const wanted = { ...size, frameRate: { ideal: 15 }, facingMode: "user" };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  video.srcObject = stream;
  await video.play();
  return new Promise((ended) => {
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", ended, { once: true });
  });
}

/** Keep a camera: one that is unplugged, or taken away, is asked for again. */
async function keepCamera() {
  for (;;) {
    try {
      $("again").hidden = true;
      await camera();
    } catch (error) {
      trouble.camera = CAMERA[error.name] ?? "the camera could not be started";
      show({ state: "offline", phrase: trouble.camera });
      $("again").hidden = false;
      await Promise.race([clicked($("again")), wait(5000)]);
    }
    video.srcObject = null; // else its last picture would go on being sent
    trouble.camera = null;
  }
}

const ready = () => video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && video.videoWidth > 0;

/** The frame that is seen now, not mirrored: 8 bytes of seconds, then a JPEG. */
async function frame() {
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const seconds = performance.now() / 1000;
  const jpeg = await new Promise((made) => canvas.toBlob(made, "image/jpeg", QUALITY));
  if (!jpeg) return null;
  const head = new ArrayBuffer(8);
  new DataView(head).setFloat64(0, seconds, true);
  return new Blob([head, jpeg]);
}

// The line to the service

/** Talk until the line ends; gives its close code. `heard` is called with each answer. */
function talk(heard) {
  return new Promise((over) => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/door`);
    let watch = setTimeout(() => end(0), SILENCE);
    let told = 0;
    const end = (code) => {
      clearTimeout(watch);
      socket.onmessage = socket.onclose = socket.onopen = null;
      socket.close();
      over(code);
    };
    const next = async () => {
      while (!ready() || document.hidden) {
        await wait(100);
        if (socket.readyState !== WebSocket.OPEN) return;
      }
      const blob = await frame();
      if (socket.readyState !== WebSocket.OPEN) return;
      if (!blob) {
        setTimeout(next, EVERY);
        return;
      }
      told = performance.now();
      watch = setTimeout(() => end(0), SILENCE);
      socket.send(blob);
    };
    socket.onopen = () => {
      clearTimeout(watch);
      next();
    };
    socket.onclose = (event) => end(event.code);
    socket.onmessage = (event) => {
      clearTimeout(watch);
      let pause = heard(JSON.parse(event.data));
      pause = Math.max(pause, EVERY - (performance.now() - told));
      setTimeout(next, Math.max(0, pause));
    };
  });
}

/** Show an answer; gives how many ms to wait before the next frame. */
function answered(told) {
  if (told.error) {
    // The line goes on; what was wrong with one frame is nothing to the person before it.
    return told.error.code === "busy" || told.error.code === "too_many_requests" ? 500 : 100;
  }
  if (!trouble.camera) show(told);
  return 0;
}

async function keepLine() {
  let pause = SHORTEST;
  for (;;) {
    const code = await talk((told) => {
      pause = SHORTEST;
      return answered(told);
    });
    // Whatever was shown is no longer true.
    show({ state: "offline", phrase: trouble.camera ?? OFFLINE });
    if (code === 4403) {
      show({ state: "offline", phrase: "this key may not be used at a door: make one with the role"
        + " identify" });
      return;
    }
    if (code === 4401) await session(); // goes to the login page when there is none any more
    await wait(pause * (0.75 + 0.5 * Math.random()));
    while (document.hidden) await wait(500);
    pause = Math.min(LONGEST, 2 * pause);
  }
}

// The tablet

async function keepAwake() {
  const ask = async () => {
    if (document.hidden) return;
    try {
      await navigator.wakeLock?.request("screen");
    } catch {
      // The tablet's own settings decide then.
    }
  };
  document.addEventListener("visibilitychange", ask);
  await ask();
}

function fullScreen() {
  const button = $("full");
  if (!document.fullscreenEnabled) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    document.documentElement.requestFullscreen().catch(() => {});
  });
  document.addEventListener("fullscreenchange", () => {
    button.hidden = document.fullscreenElement !== null;
  });
}

const wait = (ms) => new Promise((go) => setTimeout(go, ms));

const clicked = (node) => new Promise((go) => node.addEventListener("click", go, { once: true }));

/** The session there is; without one, begin() goes to the login page. */
async function session() {
  for (let pause = SHORTEST; ; pause = Math.min(LONGEST, 2 * pause)) {
    try {
      return await begin();
    } catch {
      show({ state: "offline", phrase: OFFLINE });
      await wait(pause);
    }
  }
}

fullScreen();
keepAwake();
await session();
keepCamera();
keepLine();
