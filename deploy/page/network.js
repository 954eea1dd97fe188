// The student: student.onnx by ONNX Runtime (WebAssembly), and what student.json says of it.

import * as ort from "./ort.js";
import { networkInput } from "./preprocessing.js";

ort.env.wasm.numThreads = 1; // more would need headers (COOP, COEP) that a plain web server does not send
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

/** The student, loaded: {settings, answer(picture)}; `settings` is student.json. Raises where a file cannot be had. */
export async function loadStudent() {
  const [settings, model] = await Promise.all([
    load("student.json").then((response) => response.json()),
    load("student.onnx").then((response) => response.arrayBuffer()),
  ]);
  const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
  return { settings, answer: (picture) => answer(session, settings, picture) };
}

async function load(name) {
  const response = await fetch(new URL(name, import.meta.url), { cache: "no-cache" }); // an older copy may not fit the others
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

/**
 * What the student says of a picture as resize.js takes it: {probabilities (a number a class), best (its index), unknown,
 * map ({values in 0..1, width, height}, or null), milliseconds (of the network alone)}.
 */
async function answer(session, { preprocessing, reject_below: rejectBelow }, picture) {
  const size = preprocessing.image_size;
  const image = new ort.Tensor("float32", networkInput(picture, preprocessing), [1, 3, size, size]);
  const start = performance.now();
  const { logits, map } = await session.run({ image });
  const milliseconds = performance.now() - start;
  const probabilities = softmax(logits.data);
  const best = probabilities.indexOf(Math.max(...probabilities));
  return {
    probabilities,
    best,
    unknown: probabilities[best] < rejectBelow,
    map: map ? { values: map.data, width: map.dims[1], height: map.dims[0] } : null,
    milliseconds,
  };
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
