// The class activation map over a picture, in the colours of predict.py --explain.

import { fittedSize } from "./preprocessing.js";

/** Paint `map` ({values, width, height}) on `canvas` and lay that over the part of the picture that the network saw. */
export function layOver(canvas, map, picture, { image_size: size, resize: full, fit }) {
  Object.assign(canvas, { width: map.width, height: map.height });
  const pixels = new ImageData(map.width, map.height);
  map.values.forEach((value, i) => pixels.data.set([...heat(value), 255], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const fitted = fittedSize(picture, full, fit);
  for (const [side, start] of [["width", "left"], ["height", "top"]]) {
    const share = size / fitted[side]; // above 1 where grey beside the picture is seen too
    canvas.style[side] = `${100 * share}%`;
    canvas.style[start] = `${50 * (1 - share)}%`;
  }
}

/** 0..1 -> blue, cyan, yellow, red (OpenCV's COLORMAP_JET). */
const heat = (value) => [3, 2, 1].map((peak) => 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * value - peak))));
