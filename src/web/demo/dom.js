// Short words for the document: find, make, say.

export const $ = (id) => document.getElementById(id);

/**
 * An element with its properties, and what is in it. `on…` are listeners; names with a hyphen, `role` and `for`
 * are attributes.
 */
export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith('on')) {
      node.addEventListener(key.slice(2), value);
    } else if (key.includes('-') || key === 'role' || key === 'for') {
      node.setAttribute(key, value);
    } else if (key === 'class') {
      node.className = value;
    } else {
      node[key] = value;
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Says what has happened, in the line at the bottom, which screen readers read out. */
export function say(text) {
  put(text, false);
}

/** Says what went wrong, as a sentence. What was called off by the user himself needs no words. */
export function complain(error) {
  if (error.name !== 'AbortError') {
    put(error.message, true);
  }
}

function put(text, isBad) {
  const line = $('said');
  line.textContent = text;
  line.parentElement.classList.toggle('bad', isBad);
}

/** Runs what a control does; whatever goes wrong is said. */
export async function attempt(doing) {
  try {
    return await doing();
  } catch (error) {
    complain(error);
    return undefined;
  }
}

/** `123 B`, `12.3 kB`, `4.5 MB`. */
export function bytes(count) {
  if (count < 1000) {
    return `${count} B`;
  }
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** `0.4 ms`, `12 ms`, `3.4 s`. */
export function millis(ms) {
  if (ms >= 1000) {
    return `${(ms / 1000).toFixed(1)} s`;
  }
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** The name of a viewer; `null` is a stranger. */
export const nameOf = (viewer) => viewer ?? 'nobody';
