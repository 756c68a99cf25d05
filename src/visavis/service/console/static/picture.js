// A photograph on a canvas, with the faces that the service found drawn into it.

import { el } from "./parts.js";

const LARGEST = 960;

/** Decode a photograph upright; rejects when the browser cannot show its format. */
export function decoded(blob) {
  return createImageBitmap(blob, { imageOrientation: "from-image" });
}

/**
 * Draw a photograph.
 *
 * faces: [{box: [x, y, w, h] in pixels of the photograph, tone, label}]. A face that is accepted
 * has a solid frame, another one a dashed one, so that colour is not needed to tell them apart.
 */
export async function drawn(blob, faces, words) {
  let bitmap;
  try {
    bitmap = await decoded(blob);
  } catch {
    return el("p", { class: "fine" }, "This browser cannot show that kind of picture.");
  }
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = el("canvas", { role: "img", "aria-label": words, class: "picture" });
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  for (const face of faces) frame(context, face, scale);
  return canvas;
}

function frame(context, face, scale) {
  const [x, y, w, h] = face.box.map((value) => value * scale);
  const line = Math.max(2, Math.max(context.canvas.width, context.canvas.height) / 260);
  const dashes = face.tone === "yes" ? [] : [3 * line, 2 * line];
  for (const [width, colour] of [[2 * line, "#0009"], [line, COLOURS[face.tone] ?? "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.setLineDash(dashes);
    context.strokeRect(x, y, w, h);
  }
  if (face.label) tag(context, face.label, x, y, 7 * line);
}

function tag(context, label, x, y, size) {
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(label).width + size;
  const top = Math.max(0, y - 1.6 * size);
  context.fillStyle = "#000c";
  context.fillRect(x, top, width, 1.5 * size);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(label, x + size / 2, top + 0.78 * size);
}

const COLOURS = { yes: "#4ade80", no: "#fbbf24", alarm: "#ff8a7a" };
