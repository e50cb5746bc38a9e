// src/web/page/pinhole.js as browsers take it, as a module: Node.js goes by a file's name, and would need a package.json.
import { readFile } from 'node:fs/promises';

const text = await readFile(new URL('../../src/web/page/pinhole.js', import.meta.url));
export const { Links, srcset } = await import(`data:text/javascript;base64,${text.toString('base64')}`);
