// What one of the viewers is shown of a picture, by his own token, beside what the others are.

import { nameOf } from './dom.js';
import { Shown } from './shown.js';
import { ask } from './wire.js';

/** As browsers ask for pictures. */
export const ACCEPT = 'image/avif,image/webp,image/*;q=0.8,*/*;q=0.5';

/**
 * An image element of bytes that were fetched. The blob's URL is let go as soon as they are decoded.
 * @param {Blob} blob
 * @param {Partial<HTMLImageElement>} properties
 */
export async function imageOf(blob, properties) {
  const url = URL.createObjectURL(blob);
  try {
    const image = Object.assign(new Image(), properties, { src: url });
    await image.decode();
    return image;
  } finally {
    URL.revokeObjectURL(url);
  }
}

export class Tile extends Shown {
  constructor(viewer, image) {
    super(nameOf(viewer));
    this.viewer = viewer;
    this.path = `/i/${image}/width=320,format=auto`;
    this.element.dataset.viewer = nameOf(viewer);
  }

  async load(signal) {
    const asked = { as: this.viewer, path: this.path, headers: { Accept: ACCEPT }, signal, kind: 'view' };
    const { blob } = await ask(asked);
    return [await imageOf(blob, { alt: `shown to ${nameOf(this.viewer)}`, width: 320, height: 240 })];
  }
}
