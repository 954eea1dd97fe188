// The page: pictures come in, answers appear. Names of files and classes are anybody's text, so they are only set as textContent.

import { layOver } from "./map.js";
import { decode, MAX_PIXELS, PictureError } from "./pixels.js";
import { loadStudent } from "./network.js";
import { other, preferred } from "./words.js";

const SHOWN = 640; // pixels on the longer side of a picture on the page
const BARS = 5; // classes that are shown at once

const element = (id) => document.getElementById(id);
const [ask, status, maps, results] = ["ask", "status", "maps", "results"].map(element);
const entries = []; // what is on the page, to be said again in another language
let words = preferred();
let say = () => ""; // what the status line says, in the words of the moment
let student = null;
let queue = Promise.resolve(); // pictures are answered one after the other

element("stuck").hidden = true;
element("language").addEventListener("click", () => speak(other(words)));
speak(words);
start();

async function start() {
  if (typeof WebAssembly === "undefined") return tell(() => words.noWebAssembly);
  tell(() => words.loading);
  try {
    student = await loadStudent();
  } catch (error) {
    return tell(() => words.broken(error.message));
  }
  ask.hidden = false;
  tell(() => words.ready);
  speak(words);
  listen();
  keepForOffline();
}

function listen() {
  for (const input of [element("files"), element("camera")]) {
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dragging"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    take([...event.dataTransfer.files]);
  });
  maps.querySelector("input").addEventListener("change", ({ target }) => results.classList.toggle("maps", target.checked));
}

/** Works without a network from the second visit on. A new version shows at once, unless there are answers that it would wipe out. */
async function keepForOffline() {
  const workers = navigator.serviceWorker; // only pages from https or this computer have it
  if (!workers) return;
  const updates = workers.controller !== null;
  workers.addEventListener("controllerchange", () => updates && !entries.length && location.reload());
  await workers.register("service-worker.js", { updateViaCache: "none" }).catch(() => {});
}

function take(files) {
  if (!files.length) return tell(() => words.noPicture);
  for (const file of files) queue = queue.then(() => answer(file));
}

async function answer(file) {
  const entry = { file, item: element("result").content.firstElementChild.cloneNode(true) };
  const name = () => file.name || words.pasted;
  tell(() => words.working(name()));
  const begun = performance.now();
  let picture;
  try {
    picture = await decode(file);
    entry.answer = await student.answer(picture);
    entry.milliseconds = performance.now() - begun;
    show(entry, picture);
  } catch (error) {
    entry.problem = problem(error);
  } finally {
    picture?.bitmap.close();
  }
  describe(entry);
  entries.push(entry);
  results.prepend(entry.item);
  tell(() => `${name()}: ${headline(entry)}`);
}

/** The picture on its canvas, as the browser shrinks pictures, and the map over it. */
function show({ item, answer: { map } }, picture) {
  const [canvas, over] = item.querySelectorAll("canvas");
  const scale = Math.min(1, SHOWN / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  if (map) layOver(over, map, picture, student.settings.preprocessing);
}

/** All words of an entry. */
function describe(entry) {
  const { item, file, answer, milliseconds } = entry;
  const part = (selector) => item.querySelector(selector);
  const name = file.name || words.pasted;
  part(".name").textContent = name;
  part("canvas").setAttribute("aria-label", words.picture(name));
  part("h2").textContent = headline(entry);
  part("details").hidden = !answer || answer.probabilities.length <= BARS;
  if (!answer) return;
  const { best, probabilities, unknown } = answer;
  const least = student.settings.reject_below;
  const likeliest = student.settings.classes[best];
  part(".doubt").textContent = unknown ? words.doubt(likeliest, words.percent(probabilities[best]), words.percent(least)) : "";
  part(".time").textContent = words.time(Math.round(answer.milliseconds), Math.round(milliseconds));
  const order = probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  const [first, rest] = item.querySelectorAll(".bars");
  first.replaceChildren(...order.slice(0, BARS).map((i) => bar(i, probabilities[i])));
  rest.replaceChildren(...order.slice(BARS).map((i) => bar(i, probabilities[i])));
  part("summary").textContent = words.rest(order.length - BARS);
}

/** The answer in a line. */
function headline({ answer, problem }) {
  if (problem) return problem();
  if (answer.unknown) return words.unknown;
  return `${student.settings.classes[answer.best]} ${words.percent(answer.probabilities[answer.best])}`;
}

/** What to say of an error, in the words of the moment. */
function problem(error) {
  if (!(error instanceof PictureError)) return () => words.failed(error.message);
  const { pixels } = error;
  return pixels ? () => words.tooLarge(Math.round(pixels / 1e6), MAX_PIXELS / 1e6) : () => words.unreadable;
}

function bar(index, probability) {
  const item = element("bar").content.firstElementChild.cloneNode(true);
  item.querySelector(".class").textContent = student.settings.classes[index];
  item.querySelector("meter").value = probability;
  item.querySelector(".share").textContent = words.percent(probability);
  return item;
}

function tell(sentence) {
  say = sentence;
  status.textContent = say();
}

/** Everything in these words. */
function speak(chosen) {
  words = chosen;
  document.documentElement.lang = words.locale;
  document.title = words.title;
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = words[place.dataset.word];
  const button = element("language");
  [button.textContent, button.lang] = [words.other, other(words).locale];
  status.textContent = say();
  entries.forEach(describe);
  if (!student) return;
  const { classes, has_map: hasMap } = student.settings;
  element("about").textContent = words.about(classes);
  maps.hidden = !hasMap;
}
