// Pictures to other sizes, byte for byte as OpenCV's cv2.resize does in training (data/preprocessing.py): a canvas would not
// average over all that an output pixel covers.
//
// A picture here is {width, height, row(y)}; row(y) gives its line y as RGBA bytes, and is asked for lines from top to bottom.

const fround = Math.fround; // OpenCV computes in float32

/** RGB bytes (toHeight x toWidth x 3): averaged over areas where `picture` shrinks (INTER_AREA), or else INTER_LINEAR. */
export function resize(picture, toWidth, toHeight, area) {
  const scaleX = 1 / (toWidth / picture.width); // so, not width / toWidth: OpenCV's rounding
  const scaleY = 1 / (toHeight / picture.height);
  if (!area || scaleX < 1 || scaleY < 1) {
    const taps = area ? areaTaps : linearTaps; // OpenCV averages no areas once one side grows, but blends by another rule
    return blend(picture, taps(picture.width, toWidth, scaleX), taps(picture.height, toHeight, scaleY));
  }
  if (isWhole(scaleX) && isWhole(scaleY)) return averageBlocks(picture, toWidth, toHeight, scaleX, scaleY);
  return average(picture, shares(picture.width, toWidth, scaleX), shares(picture.height, toHeight, scaleY), toWidth, toHeight);
}

const isWhole = (scale) => Math.abs(scale - Math.round(scale)) < Number.EPSILON;

/** To the nearest whole number, halves to the even one, as float32 becomes a byte in OpenCV. */
function toByte(value) {
  const whole = Math.floor(value);
  const rest = value - whole;
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
  return Math.min(255, Math.max(0, rounded));
}

// Shrinking

/** Blocks of scaleX x scaleY whole pixels. */
function averageBlocks(picture, toWidth, toHeight, scaleX, scaleY) {
  const [stepX, stepY] = [Math.round(scaleX), Math.round(scaleY)];
  const out = new Uint8Array(toWidth * toHeight * 3);
  const sums = new Uint32Array(toWidth * 3);
  const weight = fround(1 / fround(stepX * stepY));
  const mean = stepX === 2 && stepY === 2 ? (sum) => (sum + 2) >> 2 : (sum) => toByte(fround(sum * weight));
  for (let y = 0; y < toHeight; y++) {
    sums.fill(0);
    for (let i = 0; i < stepY; i++) {
      const line = picture.row(y * stepY + i);
      for (let x = 0; x < toWidth * stepX; x++) {
        const to = 3 * Math.floor(x / stepX);
        for (let c = 0; c < 3; c++) sums[to + c] += line[4 * x + c];
      }
    }
    for (let i = 0; i < sums.length; i++) out[y * sums.length + i] = mean(sums[i]);
  }
  return out;
}

/** Areas whose borders lie within pixels: sums over `columns` within each line, then over `lines`. */
function average(picture, columns, lines, toWidth, toHeight) {
  const out = new Uint8Array(toWidth * toHeight * 3);
  const across = new Float32Array(toWidth * 3);
  const sums = new Float32Array(toWidth * 3);
  for (let j = 0; j < lines.to.length; j++) {
    addColumns(picture.row(lines.from[j]), columns, across);
    const weight = lines.weight[j];
    for (let i = 0; i < sums.length; i++) sums[i] += fround(across[i] * weight);
    if (lines.to[j + 1] === lines.to[j]) continue;
    for (let i = 0; i < sums.length; i++) out[lines.to[j] * sums.length + i] = toByte(sums[i]);
    sums.fill(0);
  }
  return out;
}

function addColumns(line, { from, to, weight }, across) {
  for (let k = 0; k < to.length; ) {
    const target = to[k];
    let red = 0, green = 0, blue = 0;
    for (; to[k] === target; k++) {
      const pixel = 4 * from[k], share = weight[k];
      red = fround(red + fround(line[pixel] * share));
      green = fround(green + fround(line[pixel + 1] * share));
      blue = fround(blue + fround(line[pixel + 2] * share));
    }
    across[3 * target] = red;
    across[3 * target + 1] = green;
    across[3 * target + 2] = blue;
  }
}

/** Which share of each source pixel belongs to which target pixel, along one side: OpenCV's computeResizeAreaTab. */
function shares(fromSize, toSize, scale) {
  const from = [], to = [], weight = [];
  const add = (source, target, value) => (from.push(source), to.push(target), weight.push(value));
  for (let target = 0; target < toSize; target++) {
    const start = target * scale, end = start + scale;
    const width = Math.min(scale, fromSize - start);
    const last = Math.min(Math.floor(end), fromSize - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) add(first - 1, target, (first - start) / width);
    for (let source = first; source < last; source++) add(source, target, 1 / width);
    if (end - last > 1e-3) add(last, target, Math.min(end - last, 1, width) / width);
  }
  return { from: Int32Array.from(from), to: Int32Array.from(to), weight: Float32Array.from(weight) };
}

// Enlarging

const ONE = 2048; // OpenCV's weights of bytes are whole numbers of 1/2048

/** For each target pixel a source pixel, the next one, and the weights of both. */
function taps(fromSize, toSize, place) {
  const inside = (index) => Math.min(Math.max(index, 0), fromSize - 1);
  return Array.from({ length: toSize }, (_, target) => {
    const [source, rest] = place(target);
    const weights = [1 - rest, rest].map((share) => roundEven(fround(fround(share) * ONE)));
    return { source: inside(source), next: inside(source + 1), weights };
  });
}

function roundEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function linearTaps(fromSize, toSize, scale) {
  return taps(fromSize, toSize, (target) => {
    const centre = fround((target + 0.5) * scale - 0.5);
    const source = Math.floor(centre);
    return [source, fround(centre - source)];
  });
}

function areaTaps(fromSize, toSize, scale) {
  return taps(fromSize, toSize, (target) => {
    const source = Math.floor(target * scale);
    const rest = fround(target + 1 - (source + 1) * (toSize / fromSize));
    return [source, rest <= 0 ? 0 : fround(rest - Math.floor(rest))];
  });
}

/** Along lines, then between two of them, in whole numbers. */
function blend(picture, columns, lines) {
  const out = new Uint8Array(columns.length * lines.length * 3);
  const across = new Map(); // the line's number: its blend, of the last two lines
  const line = (y) => {
    if (!across.has(y)) across.set(y, blendColumns(picture.row(y), columns));
    return across.get(y);
  };
  lines.forEach(({ source, next, weights: [upper, lower] }, y) => {
    for (const old of across.keys()) if (old < source) across.delete(old);
    const [above, below] = [line(source), line(next)];
    for (let i = 0; i < above.length; i++) {
      out[y * above.length + i] = (((upper * (above[i] >> 4)) >> 16) + ((lower * (below[i] >> 4)) >> 16) + 2) >> 2;
    }
  });
  return out;
}

function blendColumns(line, columns) {
  const across = new Int32Array(columns.length * 3);
  columns.forEach(({ source, next, weights: [left, right] }, x) => {
    for (let c = 0; c < 3; c++) across[3 * x + c] = left * line[4 * source + c] + right * line[4 * next + c];
  });
  return across;
}
