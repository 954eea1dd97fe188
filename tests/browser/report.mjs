// Uses a report as a person would, and prints what came of it as JSON: {sorted, opened, rows, scripts, problems}.
//
//     node tests/browser/report.mjs report.html corrections.csv
//
// corrections.csv: where to keep the table that the page saves, of all labels that are surely wrong and of the first one left,
// whose class is chosen to be `drop`. Needs: npm ci in deploy/page, and Chromium.

import { pathToFileURL } from "node:url";
import { launch, overflow, violations } from "./chromium.mjs";

const [report, table] = process.argv.slice(2);
const browser = await launch();
const problems = [];

async function open(scheme, width) {
  const page = await browser.newPage({ colorScheme: scheme, viewport: { width, height: 900 } });
  page.on("console", (message) => message.type() === "error" && problems.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`exception: ${error.message}`));
  page.on("request", (request) => /^(file|data|blob):/.test(request.url()) || problems.push(`request: ${request.url()}`));
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(pathToFileURL(report).href);
  return page;
}

for (const scheme of ["light", "dark"]) {
  for (const width of [360, 1280]) {
    const page = await open(scheme, width);
    for (const violation of await violations(page)) problems.push(`${scheme} ${width}: ${violation}`);
    const over = await overflow(page);
    if (over > 0) problems.push(`${scheme} ${width}: ${over} pixels wider than the window`);
    await page.close();
  }
}

const page = await open("light", 1280);

// A table, sorted by keyboard: its numbers fall, then rise.
const recall = page.locator("#classes table.sorts thead button").nth(2);
const column = () => page.locator("#classes table.sorts tbody tr td:nth-child(3)").allTextContents();
await recall.focus();
await page.keyboard.press("Enter");
const rising = await column();
await page.keyboard.press("Enter");
const sorted = { rising, falling: await column() };

// A cell of the confusion matrix opens its pictures; Escape closes them again.
const cell = page.locator("button[data-cell]").first();
await cell.click();
const opened = { count: Number(await cell.textContent()), pictures: await page.locator("dialog[open] li img").count() };
if ((await violations(page)).length) problems.push("the dialog is not accessible");
await page.keyboard.press("Escape");
if (await page.locator("dialog[open]").count()) problems.push("Escape does not close the pictures");

await page.locator("#surest").click();
const left = page.locator("#suspects tr:has(input[data-path]:not(:checked)) select");
if (await left.count()) await left.first().selectOption("drop");
const rows = await page.locator("#count").textContent();
const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#save").click()]);
await download.saveAs(table);

const scripts = await page.locator("script").count();
console.log(JSON.stringify({ sorted, opened, rows, scripts, problems }));
await browser.close();
