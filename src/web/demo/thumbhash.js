// Decodes a ThumbHash: some 25 bytes that stand for a picture until it has come.
//
// The format is Evan Wallace's, https://evanw.github.io/thumbhash/: a constant and a few cosines for each of the
// channels luminance, yellow-blue, red-green and, where there is one, alpha.

/** The cosines of a channel with `nx` by `ny` of them: those of the lower triangle, but for the constant. */
function* terms(nx, ny) {
  for (let cy = 0; cy < ny; cy++) {
    for (let cx = cy === 0 ? 1 : 0; cx * ny < nx * (ny - cy); cx++) {
      yield [cx, cy];
    }
  }
}

/** @param {string} base64 @returns {ImageData} At most 32 pixels wide and high. */
export function decode(base64) {
  const hash = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const head = hash[0] | (hash[1] << 8) | (hash[2] << 16);
  const tail = hash[3] | (hash[4] << 8);
  const hasAlpha = head >> 23 === 1;
  const isLandscape = tail >> 15 === 1;
  const long = hasAlpha ? 5 : 7;
  const [nx, ny] = isLandscape ? [long, tail & 7] : [tail & 7, long];

  // Four bits for each factor, the lower half of a byte first.
  let nibble = hasAlpha ? 12 : 10;
  const channel = (nx, ny, constant, scale) => {
    const factors = [];
    for (const [cx, cy] of terms(nx, ny)) {
      const bits = (hash[nibble >> 1] >> (4 * (nibble & 1))) & 15;
      nibble += 1;
      factors.push([cx, cy, (bits / 7.5 - 1) * scale * 2]);
    }
    return { constant, factors };
  };
  const l = channel(Math.max(3, nx), Math.max(3, ny), (head & 63) / 63, ((head >> 18) & 31) / 31);
  const p = channel(3, 3, ((head >> 6) & 63) / 31.5 - 1, (((tail >> 3) & 63) / 63) * 1.25);
  const q = channel(3, 3, ((head >> 12) & 63) / 31.5 - 1, (((tail >> 9) & 63) / 63) * 1.25);
  const a = hasAlpha ? channel(5, 5, (hash[5] & 15) / 15, (hash[5] >> 4) / 15) : { constant: 1, factors: [] };

  const ratio = nx / ny;
  const width = Math.round(ratio > 1 ? 32 : 32 * ratio);
  const height = Math.round(ratio > 1 ? 32 / ratio : 32);
  const pixels = new ImageData(width, height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const value = ({ constant, factors }) =>
        factors.reduce(
          (sum, [cx, cy, factor]) =>
            sum + factor * Math.cos((Math.PI / width) * (x + 0.5) * cx) * Math.cos((Math.PI / height) * (y + 0.5) * cy),
          constant,
        );
      const [light, yellow, red] = [value(l), value(p), value(q)];
      const blue = light - (2 / 3) * yellow;
      const r = (3 * light - blue + red) / 2;
      pixels.data.set([r * 255, (r - red) * 255, blue * 255, value(a) * 255], at);
    }
  }
  return pixels;
}

/** Paints a ThumbHash onto a canvas; without one the canvas stays empty. */
export function paint(canvas, base64) {
  if (base64) {
    const pixels = decode(base64);
    canvas.width = pixels.width;
    canvas.height = pixels.height;
    canvas.getContext('2d').putImageData(pixels, 0, 0);
  }
}
