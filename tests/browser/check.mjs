// Takes screenshots of a page, and tells what a browser and axe-core have to say against it.
//
//     node tests/browser/check.mjs PAGE [--width 360,1280] [--scheme light,dark] [--language en,zh-CN]
//                                       [--height 800] [--full] [--output page.png]
//
// PAGE: an address (http://...) or an HTML file. Each width (CSS pixels), scheme and language named is tried with each other.
// --output: where to write a screenshot; with several of a kind the name gets -360, -dark or -zh-CN before its .png.
// --full: of the whole page, not of the window (--height) alone.
//
// Prints a line for each serious or critical violation of accessibility rules, error in the console, exception, request to
// another place that the page makes, and page wider than its window; ends with status 1 if there was one.
// Needs: npm ci in deploy/page, and Chromium (apt-get install chromium).

import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { launch, overflow, violations } from "./chromium.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: "string", default: "1280" },
    scheme: { type: "string", default: "light" },
    language: { type: "string", default: "en" },
    height: { type: "string", default: "800" },
    full: { type: "boolean", default: false },
    output: { type: "string" },
  },
});
if (positionals.length !== 1) throw new Error("names one page: an address or an HTML file");
const address = existsSync(positionals[0]) ? pathToFileURL(positionals[0]).href : positionals[0];
const [widths, schemes, languages] = [values.width, values.scheme, values.language].map((text) => text.split(","));

const browser = await launch();
let problems = 0;
for (const width of widths) for (const scheme of schemes) for (const language of languages) await check(width, scheme, language);
await browser.close();
process.exitCode = problems ? 1 : 0;

async function check(width, scheme, language) {
  const viewport = { width: Number(width), height: Number(values.height) };
  const context = await browser.newContext({ viewport, colorScheme: scheme, locale: language });
  const page = await context.newPage();
  const found = [];
  page.on("console", (message) => message.type() === "error" && found.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => found.push(`exception: ${error.message}`));
  page.on("request", (request) => isElsewhere(request.url()) && found.push(`request elsewhere: ${request.url()}`));
  await page.goto(address, { waitUntil: "networkidle" });
  if (values.output) await page.screenshot({ path: nameOf(values.output, width, scheme, language), fullPage: values.full });
  found.push(...(await violations(page)));
  const pixels = await overflow(page);
  if (pixels > 0) found.push(`wider than its window by ${pixels} pixels`);
  for (const line of found) console.log(`${width} px, ${scheme}, ${language}: ${line}`);
  problems += found.length;
  await context.close();
}

function isElsewhere(url) {
  const { protocol, origin } = new URL(url);
  return !["data:", "blob:", "file:"].includes(protocol) && origin !== new URL(address).origin;
}

function nameOf(output, width, scheme, language) {
  const parts = [widths[1] && width, schemes[1] && scheme, languages[1] && language].filter(Boolean);
  return output.replace(/(\.png)?$/, `${parts.map((part) => `-${part}`).join("")}.png`);
}
