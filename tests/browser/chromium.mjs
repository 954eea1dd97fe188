// Headless Chromium by playwright-core, and axe-core to judge a page; both are devDependencies of deploy/page/package.json.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(new URL("../../deploy/page/package.json", import.meta.url));
const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** A browser; CHROMIUM names its program where it is none of the usual ones on the PATH. */
export async function launch() {
  const places = (process.env.PATH ?? "").split(path.delimiter);
  const program = process.env.CHROMIUM ?? NAMES.flatMap((name) => places.map((place) => path.join(place, name))).find(existsSync);
  if (!program) throw new Error(`no Chromium on the PATH (${NAMES.join(", ")}). On Debian: apt-get install chromium`);
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : []; // Chromium's does not work for root
  return require("playwright-core").chromium.launch({ executablePath: program, args: sandbox });
}

/** Serious and critical violations that axe-core finds on a page, a line of text each. */
export async function violations(page) {
  await page.evaluate(AXE); // not a <script> of the page, so a Content-Security-Policy does not forbid it
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
}

/** By how many pixels the page is wider than its window. */
export const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
