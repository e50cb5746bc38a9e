// The controls of the inspector: one for each option of the data plane, and the option string that they make.

import { $, el } from './dom.js';

/** As in the table of src/guide/api.md, and in its order. What is left empty is left out of the URL. */
const OPTIONS = [
  { key: 'width', min: 1, max: 8192, unit: 'px' },
  { key: 'height', min: 1, max: 8192, unit: 'px' },
  { key: 'fit', values: ['scale-down', 'contain', 'cover', 'crop', 'pad', 'squeeze'] },
  { key: 'gravity', values: ['center', 'left', 'right', 'top', 'bottom', 'auto', '0.25x0.75'] },
  { key: 'quality', min: 1, max: 100 },
  { key: 'format', values: ['auto', 'jpeg', 'png', 'webp', 'avif', 'gif'] },
  { key: 'dpr', min: 0.1, max: 4, step: 0.1 },
  { key: 'background', hint: 'rrggbb' },
  { key: 'blur', min: 1, max: 250 },
  { key: 'sharpen', min: 0, max: 10, step: 0.5 },
  { key: 'rotate', values: ['90', '180', '270'] },
  { key: 'flip', values: ['h', 'v', 'hv'] },
  { key: 'trim', hint: 'border, or t;r;b;l' },
  { key: 'anim', values: ['true', 'false'] },
];

/** Some of what can be made, by name. */
const EXAMPLES = {
  Plain: { width: 640, format: 'auto' },
  Thumbnail: { width: 240, height: 240, fit: 'cover', gravity: 'auto', format: 'auto' },
  Padded: { width: 480, height: 480, fit: 'pad', background: '274c8f', format: 'webp' },
  Blurred: { width: 640, blur: 24, quality: 60, format: 'jpeg' },
  Turned: { width: 480, rotate: 90, flip: 'h', sharpen: 1, format: 'webp' },
  'Too large': { width: 9000 },
};

const WHOLE = { made: 'made to measure', original: 'original, without metadata', raw: 'raw, the owner’s alone' };

/** Ids of their own, so that labels need not wrap their controls. */
const idOf = (key) => `option-${key}`;

function control({ key, values, min, max, step = 1, unit, hint }) {
  const id = idOf(key);
  const input = values
    ? el('select', { id }, new Option('–', ''), ...values.map((value) => new Option(value)))
    : el('input', { id, autocomplete: 'off' });
  if (min !== undefined) {
    Object.assign(input, { type: 'number', min, max, step, inputMode: 'decimal', placeholder: `${min}–${max}` });
  } else if (hint) {
    Object.assign(input, { type: 'text', spellcheck: false, placeholder: hint });
  }
  return el('div', { class: 'option' }, el('label', { for: id }, unit ? `${key}, ${unit}` : key), input);
}

/** @param {() => void} onChange  Told whenever there is another option string. */
export function startOptions(onChange) {
  const whole = el('select', { id: idOf('whole') });
  whole.append(...Object.entries(WHOLE).map(([value, text]) => new Option(text, value)));
  const first = el('div', { class: 'option wide' }, el('label', { for: whole.id }, 'what'), whole);
  $('options').append(first, ...OPTIONS.map(control));
  $('options').addEventListener('input', () => {
    for (const { key } of OPTIONS) {
      $(idOf(key)).disabled = whole.value !== 'made';
    }
    onChange();
  });
  const use = (values) => {
    whole.value = 'made';
    for (const { key } of OPTIONS) {
      $(idOf(key)).value = values[key] ?? '';
    }
    $('options').dispatchEvent(new Event('input'));
  };
  for (const [name, values] of Object.entries(EXAMPLES)) {
    $('examples').append(el('button', { type: 'button', onclick: () => use(values) }, name));
  }
  for (const [key, value] of Object.entries(EXAMPLES.Plain)) {
    $(idOf(key)).value = value;
  }
}

/** Whether links of several widths can be made of it. */
export const isMade = () => $(idOf('whole')).value === 'made';

/** As it stands in the path `/i/{id}/{options}`. */
export function optionString() {
  if (!isMade()) {
    return $(idOf('whole')).value;
  }
  const given = OPTIONS.map(({ key }) => [key, $(idOf(key)).value.trim()]).filter(([, value]) => value !== '');
  // Without any option it is what the uploader sent, less its metadata.
  return given.map(([key, value]) => `${key}=${value}`).join(',') || 'original';
}
