// What the network sees of a picture, as data/preprocessing.py has it; both are tested against each other.

import { resize } from "./resize.js";

const PADDING = 128; // grey beside pictures that keep their proportions

/**
 * float32 values (3 x S x S, S = image_size) of a picture as resize.js takes it: squared to `resize` pixels on a side, the middle
 * cut out, (pixel / 255 - mean) / std.
 */
export function networkInput(picture, preprocessing) {
  const { image_size: size, resize: full, mean, std } = preprocessing;
  const square = squared(picture, preprocessing);
  const offset = Math.floor((full - size) / 2);
  const values = new Float32Array(3 * size * size);
  for (let c = 0, i = 0; c < 3; c++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++, i++) {
        values[i] = (square[3 * ((y + offset) * full + x + offset) + c] / 255 - mean[c]) / std[c];
      }
    }
  }
  return values;
}

/** RGB bytes (R x R x 3, R = resize) of the whole picture. */
export function squared(picture, { resize: full, fit }) {
  const { width, height } = fittedSize(picture, full, fit);
  const fitted = resize(picture, width, height, full < Math.max(picture.width, picture.height));
  if (width === full && height === full) return fitted;
  const square = new Uint8Array(3 * full * full).fill(PADDING);
  const left = Math.floor((full - width) / 2), top = Math.floor((full - height) / 2);
  for (let y = 0; y < height; y++) {
    square.set(fitted.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((y + top) * full + left));
  }
  return square;
}

/** How many pixels of the square, `full` on a side, the picture takes: all with the fit `stretch`, fewer with `pad`. */
export function fittedSize({ width, height }, full, fit) {
  if (fit === "stretch") return { width: full, height: full };
  const longer = Math.max(width, height);
  const fitted = (side) => Math.max(1, Math.floor((2 * side * full + longer) / (2 * longer)));
  return { width: fitted(width), height: fitted(height) };
}
