// What deploy/page/preprocessing.js makes of raw pictures: node tests/browser/square.mjs PLAN.json
//
// PLAN: [{file (RGBA bytes), width, height, preprocessing}]; file.square gets the bytes of the square, file.input the network's input.

import { readFileSync, writeFileSync } from "node:fs";
import { networkInput, squared } from "../../deploy/page/preprocessing.js";

for (const { file, width, height, preprocessing } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const pixels = readFileSync(file);
  const picture = { width, height, row: (y) => pixels.subarray(4 * width * y, 4 * width * (y + 1)) };
  writeFileSync(`${file}.square`, squared(picture, preprocessing));
  writeFileSync(`${file}.input`, new Uint8Array(networkInput(picture, preprocessing).buffer));
}
