// Visits a page that export_openvino.py RUN --page wrote, as tests/test_page.py plans it, and tells what it found.
//
//     node tests/browser/page.mjs PLAN.json          prints JSON: {name of a visit: what it found, or {error}}
//
// PLAN: {python, root, page, spoilt, without_map, pictures, picture, text, huge, visits}: an interpreter for its http.server, the
// folder to serve, the folders in it of the page, of a copy with other settings and of one whose network makes no map, files to
// answer; which visits to make (default: all)

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { launch, overflow, violations } from "./chromium.mjs";

const PATIENCE = 60_000; // milliseconds: the processors may have other work
const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = await launch();
const server = await serve();

const visits = {
  answers, pasted, dropped, photographed, keyboard, spoilt, without_map: withoutMap, refused, languages, accessible, policy,
  noWebAssembly, file, update, offline,
};
const found = {};
for (const name of plan.visits ?? Object.keys(visits)) {
  try {
    found[name] = await (visits[name] ?? screenshots)();
  } catch (error) {
    found[name] = { error: error.stack };
  }
  await Promise.all(browser.contexts().map((context) => context.close()));
}
console.log(JSON.stringify(found));
await browser.close();
server.kill();

// The visits

/** All pictures: {answers, problems}. */
async function answers() {
  const { page, problems } = await open();
  return { answers: await give(page, plan.pictures), problems };
}

async function pasted() {
  const { page, problems, context } = await open();
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.evaluate(async (bytes) => {
    const blob = new Blob([new Uint8Array(bytes)], { type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
  }, [...readFileSync(plan.picture)]);
  await page.keyboard.press("Control+V");
  return { answers: await read(page, 1), problems };
}

async function dropped() {
  const { page, problems } = await open();
  const transfer = await page.evaluateHandle((bytes) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
    return transfer;
  }, [...readFileSync(plan.picture)]);
  for (const type of ["dragover", "drop"]) await page.dispatchEvent("body", type, { dataTransfer: transfer });
  return { answers: await read(page, 1), problems };
}

/** On a telephone. */
async function photographed() {
  const { page, problems } = await open(plan.page, { isMobile: true, hasTouch: true, viewport: { width: 360, height: 740 } });
  const chooser = page.waitForEvent("filechooser");
  await page.locator(".camera").click();
  await (await chooser).setFiles(plan.picture);
  return { answers: await read(page, 1), capture: await page.locator("#camera").getAttribute("capture"), problems };
}

async function keyboard() {
  const { page, problems } = await open();
  const tabTo = async (selector) => {
    for (let i = 0; i < 20 && !(await page.locator(selector).first().evaluate((place) => place === document.activeElement)); i++) {
      await page.keyboard.press("Tab");
    }
  };
  const chooser = page.waitForEvent("filechooser"); // from now on: just before the key, it may come too late
  await tabTo("#files");
  const outline = await page.locator(".button").first().evaluate((label) => getComputedStyle(label).outlineStyle);
  await page.keyboard.press("Enter");
  await (await chooser).setFiles(plan.picture);
  const answers = await read(page, 1);
  await tabTo("#maps input");
  await page.keyboard.press("Space");
  const map = await page.locator(".map").isVisible();
  await tabTo("summary");
  await page.keyboard.press("Enter");
  return { answers, outline, map, rest: await page.locator("details .bars").isVisible(), problems };
}

/** The copy whose classes are named in HTML, and which is never sure. */
async function spoilt() {
  const { page, problems } = await open(plan.spoilt);
  const answers = await give(page, [plan.picture]);
  return { answers, doubt: await page.locator(".doubt").textContent(), images: await page.locator("img").count(), problems };
}

async function withoutMap() {
  const { page, problems } = await open(plan.without_map);
  const answers = await give(page, [plan.picture]);
  return { answers, offers_map: await page.locator("#maps").isVisible(), problems };
}

async function refused() {
  const { page, problems } = await open();
  return { answers: await give(page, [plan.text, plan.huge, plan.picture]), problems };
}

/** In Chinese, then switched to English. */
async function languages() {
  const { page, problems } = await open(plan.page, { locale: "zh-CN" });
  await give(page, [plan.picture]);
  const words = () => page.evaluate(() => [document.documentElement.lang, document.title, document.body.innerText]);
  const chinese = await words();
  await page.locator("#language").click();
  return { chinese, english: await words(), problems };
}

/** {width and scheme: what axe-core finds}, with answers, a map and a refusal on the page. */
async function accessible() {
  const all = {};
  for (const width of [360, 1280]) for (const colorScheme of ["light", "dark"]) {
    const { page } = await open(plan.spoilt, { colorScheme, viewport: { width, height: 800 } });
    await give(page, [plan.picture, plan.text]);
    await page.locator("#maps input").check();
    await page.locator("summary").last().click();
    all[`${width} ${colorScheme}`] = { violations: await violations(page), overflow: await overflow(page) };
  }
  const { page } = await open();
  const live = await page.locator("#status").evaluate((status) => [status.getAttribute("role"), status.textContent]);
  return { all, live };
}

/** What the page's policy keeps it from. */
async function policy() {
  const { page } = await open();
  return page.evaluate(async () => {
    const kept = [];
    document.addEventListener("securitypolicyviolation", (event) => kept.push(event.effectiveDirective));
    await fetch("http://127.0.0.1:9/").catch(() => {});
    document.body.append(Object.assign(document.createElement("script"), { textContent: "globalThis.ran = true" }));
    await new Promise((resolve) => setTimeout(resolve));
    return { kept, ran: globalThis.ran ?? false };
  });
}

async function noWebAssembly() {
  const page = await (await browser.newContext()).newPage();
  await page.addInitScript(() => delete globalThis.WebAssembly);
  await page.goto(address(plan.page));
  return { status: await page.locator("#status:not(:empty)").textContent(), asks: await page.locator("#ask").isVisible() };
}

/** Opened without a server. */
async function file() {
  const page = await (await browser.newContext()).newPage();
  await page.goto(pathToFileURL(path.join(plan.root, plan.page, "index.html")).href);
  await page.locator("#stuck").waitFor({ state: "visible" });
  return { text: await page.locator("#stuck").innerText() };
}

/** The copy gets another version while a visitor keeps the old one. */
async function update() {
  const { page, problems } = await open(plan.spoilt);
  await installed(page);
  const place = (name) => path.join(plan.root, plan.spoilt, name);
  const change = (name, from, to) => writeFileSync(place(name), readFileSync(place(name), "utf8").replace(from, to));
  change("version.js", /VERSION = "/, 'VERSION = "newer');
  change("student.json", /"classes": \[/, '"classes": ["newer", ');
  await page.reload();
  await page.locator("#about", { hasText: "newer" }).waitFor();
  const kept = await page.evaluate(() => caches.keys());
  return { kept: kept.filter((name) => name.includes(encodeURI(plan.spoilt))), problems };
}

/** After a first visit, without the server. The last one. */
async function offline() {
  const { page, problems } = await open();
  await installed(page);
  server.kill();
  await once(server, "exit");
  await page.reload();
  return { answers: await give(page, [plan.picture]), problems };
}

/** Not among the tests': the page with answers and their maps, for tests/page_screenshots.py. */
async function screenshots() {
  for (const [look, output] of Object.entries(plan.outputs)) {
    const [locale, colorScheme] = look.split(" ");
    const { page } = await open(plan.page, { locale, colorScheme, viewport: { width: 900, height: 700 } });
    await give(page, plan.pictures);
    await page.locator("#maps input").check();
    await page.screenshot({ path: output });
  }
  return {};
}

// What they need

/** A page ready to take pictures; `problems` gets each error in its console, exception, and request to another place. */
async function open(where = plan.page, options = {}) {
  const context = await browser.newContext({ locale: "en", ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  context.on("request", (request) => /^(blob:)?http:\/\/127\.0\.0\.1:/.test(request.url()) || problems.push(request.url()));
  await page.goto(address(where));
  await page.locator("#ask").waitFor();
  return { page, problems, context };
}

async function give(page, files) {
  await page.locator("#ask").waitFor();
  await page.locator("#files").setInputFiles(files);
  return read(page, files.length);
}

/**
 * The answers on the page, oldest first, once there are `count`: {name, headline, probabilities: {class: number}, milliseconds: of
 * the network and in all, map: {width, height, pixels, place}}.
 */
async function read(page, count) {
  const answered = (count) => document.querySelectorAll("#results > li").length === count;
  await page.waitForFunction(answered, count, { timeout: PATIENCE + 2000 * count });
  const answers = await page.locator("#results > li").evaluateAll((items) => items.map((item) => {
    const text = (selector) => item.querySelector(selector).textContent;
    const bars = [...item.querySelectorAll(".bars li")];
    const probabilities = bars.map((bar) => [bar.querySelector(".class").textContent, bar.querySelector("meter").value]);
    const canvas = item.querySelector(".map");
    const { width, height, style } = canvas;
    const pixels = style.width ? [...canvas.getContext("2d").getImageData(0, 0, width, height).data] : [];
    const place = [style.left, style.top, style.width, style.height];
    return {
      name: text(".name"),
      headline: text("h2"),
      probabilities: Object.fromEntries(probabilities),
      milliseconds: (text(".time").match(/\d+/g) ?? []).map(Number),
      map: { width, height, pixels, place },
    };
  }));
  return answers.reverse();
}

/** Wait until everything is kept for times without a network. */
async function installed(page) {
  await page.evaluate(async () => {
    const { active } = await navigator.serviceWorker.ready;
    if (active.state !== "activated") await new Promise((resolve) => active.addEventListener("statechange", resolve));
  });
}

async function serve() {
  const options = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", plan.root];
  const server = spawn(plan.python, options, { stdio: ["ignore", "pipe", "ignore"] });
  process.on("exit", () => server.kill()); // also after an error
  const [line] = await once(server.stdout, "data");
  server.port = /port (\d+)/.exec(line)[1];
  return server;
}

function address(folder) {
  return `http://127.0.0.1:${server.port}/${encodeURI(folder)}/`;
}
