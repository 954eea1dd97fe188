// Picture files -> pixels as Python sees them (data/decode.py): upright as EXIF says, colours as they are stored, alpha over white.

export const MAX_PIXELS = 100e6; // 400 MB in the browser's memory; half of what Python takes
const STRIP = 2 ** 20; // pixels that are copied from the browser's memory at a time

const AS_STORED = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** A file that is no picture to this browser, or one of too many `pixels`. */
export class PictureError extends Error {
  constructor(pixels) {
    super();
    this.pixels = pixels;
  }
}

/** The picture in a file (a Blob): {bitmap, width, height, row(y)}, of animations the first frame. Raises PictureError. */
export async function decode(file) {
  const pixels = await size(file);
  if (pixels > MAX_PIXELS) throw new PictureError(pixels);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, AS_STORED);
  } catch {
    throw new PictureError();
  }
  return { bitmap, width: bitmap.width, height: bitmap.height, row: rows(bitmap) };
}

/** How many pixels a picture has, from its header: an <img> that is not shown is not decoded. */
async function size(file) {
  const url = URL.createObjectURL(file);
  try {
    const image = await new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new PictureError());
      image.src = url;
    });
    return image.naturalWidth * image.naturalHeight;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** y -> line y of the bitmap as RGBA bytes. Lines come in strips: a canvas of a whole photograph is more than some phones allow. */
function rows(bitmap) {
  const { width, height } = bitmap;
  const step = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  const context = newCanvas(width, step).getContext("2d", { alpha: false, willReadFrequently: true, colorSpace: "srgb" });
  let strip, from = -1;
  return (y) => {
    const top = y - (y % step);
    if (top !== from) {
      context.fillStyle = "white";
      context.fillRect(0, 0, width, step);
      context.drawImage(bitmap, 0, -top);
      [strip, from] = [context.getImageData(0, 0, width, step).data, top];
    }
    return strip.subarray(4 * width * (y - top), 4 * width * (y - top + 1));
  };
}

function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}
