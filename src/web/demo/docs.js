// The description of the API, as /openapi.json says it, to be read. Nothing here knows what is described.

import { $, el } from './dom.js';

const METHODS = ['get', 'head', 'options', 'post', 'put', 'patch', 'delete'];

let api;

/** What a `$ref` leads to, under whatever stands beside it, with the last name on its way. */
function follow(value) {
  if (!value?.$ref) {
    return value;
  }
  const steps = value.$ref.slice(2).split('/');
  const target = follow(steps.reduce((place, step) => place[step.replaceAll('~1', '/').replaceAll('~0', '~')], api));
  const { $ref, ...beside } = value;
  const properties = { ...target.properties, ...beside.properties };
  return { name: steps.at(-1), ...target, ...beside, ...(Object.keys(properties).length && { properties }) };
}

/** Text with `code`, **strong** and paragraphs, as descriptions have it. */
function prose(text = '') {
  return text.split('\n\n').map((paragraph) => {
    const parts = paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
      if (part.startsWith('`')) {
        return el('code', {}, part.slice(1, -1));
      }
      return part.startsWith('**') ? el('strong', {}, part.slice(2, -2)) : part;
    });
    return el('p', {}, ...parts);
  });
}

const json = (value) => JSON.stringify(value, null, 2);
const sample = (value) => el('pre', { tabIndex: 0 }, typeof value === 'string' ? value : json(value));

/** A schema's type and bounds, in a few words. */
function words(schema) {
  const { type, format, enum: oneOf, const: only, items } = schema;
  const said = [];
  if (only !== undefined) {
    said.push(`always ${JSON.stringify(only)}`);
  } else if (oneOf) {
    said.push(oneOf.map((value) => JSON.stringify(value)).join(' | '));
  } else if (type) {
    said.push([type].flat().join(' or ') + (items ? ` of ${follow(items).title ?? follow(items).name ?? follow(items).type ?? 'these'}` : ''));
  }
  const bounds = [
    ['minimum', '≥'], ['maximum', '≤'], ['minLength', 'characters ≥'], ['maxLength', 'characters ≤'],
    ['minItems', 'items ≥'], ['maxItems', 'items ≤'],
  ];
  for (const [key, sign] of bounds.filter(([key]) => key in schema)) {
    said.push(`${sign} ${schema[key]}`);
  }
  if (schema.pattern) {
    said.push(`matches ${schema.pattern}`);
  } else if (format) {
    said.push(format);
  }
  if (schema.default !== undefined) {
    said.push(`default ${JSON.stringify(schema.default)}`);
  }
  return said.join(', ');
}

/** What lies under a schema: the members of an object, the items of a list, the alternatives. */
function inside(schema, depth = 0) {
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) =>
    entry(name, member, schema.required?.includes(name), depth));
  const alternatives = (schema.oneOf ?? schema.anyOf ?? []).filter((each) => !each.required || each.properties?.id)
    .map((each) => entry(follow(each).title ?? 'either', each, undefined, depth));
  const rest = typeof schema.additionalProperties === 'object' ? [entry('any name', schema.additionalProperties, undefined, depth)] : [];
  const lines = [...members, ...alternatives, ...rest];
  if (lines.length > 0) {
    return el('ul', { class: 'tree' }, ...lines);
  }
  return schema.items ? inside(follow(schema.items), depth) : null;
}

function entry(name, raw, required, depth) {
  const schema = follow(raw);
  const head = [el('code', {}, name), ' ', el('small', {}, words(schema), required ? ', required' : '')];
  const below = depth < 6 ? inside(schema, depth + 1) : null;
  return el('li', {}, ...head, ...prose(schema.description), below);
}

function parameters(list) {
  const lines = list.map(follow).map((parameter) => {
    const schema = follow(parameter.schema);
    const where = `${parameter.in}${parameter.required ? ', required' : ''}; ${words(schema)}`;
    const example = parameter.example === undefined ? null : el('small', {}, ' for example ', el('code', {}, written(parameter)));
    return el('li', {}, el('code', {}, parameter.name), ' ', el('small', {}, where), example,
      ...prose(parameter.description), schema.type === 'object' ? inside(schema) : null);
  });
  return lines.length > 0 ? [el('h4', {}, 'Parameters'), el('ul', { class: 'tree' }, ...lines)] : [];
}

/** A parameter's example as it is sent (style `simple`, exploded). */
function written({ example }) {
  return typeof example === 'object' ? Object.entries(example).map((pair) => pair.join('=')).join(',') : String(example);
}

function contents(content = {}) {
  return Object.entries(content).flatMap(([type, { schema, example }]) => {
    const read = schema && follow(schema);
    return [
      el('p', {}, el('code', {}, type), ' ', el('small', {}, read ? (read.name ?? words(read)) : '')),
      read && inside(read),
      example && sample(example),
    ];
  });
}

function responses(operation) {
  const lines = Object.entries(operation.responses).map(([status, raw]) => {
    const response = follow(raw);
    const headers = Object.entries(response.headers ?? {}).map(([name, header]) => {
      const read = follow(header);
      return el('li', {}, el('code', {}, name), ' ', el('small', {}, words(follow(read.schema))), ...prose(read.description));
    });
    const title = el('summary', {}, el('strong', {}, status), ' ', ...prose(response.description).flatMap((p) => [...p.childNodes]));
    return el('details', { class: 'inner' }, title,
      headers.length > 0 ? el('ul', { class: 'tree' }, ...headers) : null, ...contents(response.content));
  });
  return [el('h4', {}, 'Answers'), ...lines];
}

/** Who may ask: alternatives, each of one or several things to present. */
function security(operation) {
  const ways = operation.security ?? api.security;
  const said = ways.map((way) => Object.keys(way).join(' + ') || 'nobody in particular').join(', or ');
  return el('p', {}, el('small', {}, 'Who: ', said || 'anyone'));
}

/** The operation as curl sends it. */
function curl(path, method, operation, all) {
  const named = all.map(follow);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) =>
    written(named.find((parameter) => parameter.in === 'path' && parameter.name === name)));
  const [type, body] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const parts = ['curl', method === 'head' ? '-I' : method === 'get' ? '' : `-X ${method.toUpperCase()}`, `'${location.origin}${filled}'`];
  if (operation.security?.length !== 0) {
    parts.push('-H "Authorization: Bearer $TOKEN"');
  }
  for (const { name, example } of named.filter((each) => each.in === 'header' && each.required)) {
    parts.push(`-H '${name}: ${example}'`);
  }
  if (body?.example) {
    parts.push(`--json '${JSON.stringify(body.example)}'`);
  } else if (type === 'multipart/form-data') {
    parts.push('-F file=@photo.jpg');
  } else if (type) {
    parts.push(`-H 'Content-Type: ${type}' --data-binary @photo.jpg`);
  }
  return parts.filter(Boolean).join(' ');
}

function show(path, method, item) {
  const operation = item[method];
  const all = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
  const title = el('h3', {}, el('span', { class: 'method' }, method.toUpperCase()), el('span', { class: 'path' }, path), ' ', el('span', { class: 'soft' }, operation.summary));
  const body = operation.requestBody ? [el('h4', {}, 'Body'), ...contents(operation.requestBody.content)] : [];
  const lines = [...prose(operation.description), security(operation), sample(curl(path, method, operation, all)),
    ...parameters(all), ...body, ...responses(operation)];
  return el('details', { class: 'operation', id: operation.operationId }, el('summary', {}, title),
    el('div', {}, ...lines.filter(Boolean)));
}

/** All operations under their tags, and the list of them. */
function render() {
  document.title = `${api.info.title} ${api.info.version}`;
  $('version').textContent = api.info.version;
  $('said').before(...prose(api.info.description));
  for (const tag of api.tags) {
    const operations = Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]?.tags.includes(tag.name))
      .map((method) => [path, method, item]));
    $('main').append(el('section', { 'aria-label': tag.name }, el('h2', {}, tag.name), ...prose(tag.description), ...operations.map((each) => show(...each))));
    const links = operations.map(([path, method, item]) =>
      el('a', { href: `#${item[method].operationId}` }, el('span', { class: 'method' }, method.toUpperCase()), path));
    $('index').append(el('section', {}, el('h2', {}, tag.name), ...links));
  }
}

/** What the address names is open. */
function open() {
  const named = document.getElementById(location.hash.slice(1));
  if (named?.matches('details')) {
    named.open = true;
    named.querySelector('summary').focus();
    named.scrollIntoView();
  }
}

function find() {
  const wanted = $('find').value.trim().toLowerCase();
  let count = 0;
  for (const operation of document.querySelectorAll('.operation')) {
    operation.hidden = !operation.textContent.toLowerCase().includes(wanted);
    document.querySelector(`nav a[href="#${operation.id}"]`).hidden = operation.hidden;
    count += operation.hidden ? 0 : 1;
  }
  for (const section of document.querySelectorAll('section')) {
    section.hidden = !section.querySelector('.operation:not([hidden]), a:not([hidden])');
  }
  $('said').textContent = wanted ? `${count} operations` : '';
}

const answer = await fetch('/openapi.json');
if (answer.ok) {
  api = await answer.json();
  render();
  open();
  addEventListener('hashchange', open);
  $('find').addEventListener('input', find);
} else {
  $('said').textContent = `/openapi.json was answered with ${answer.status}.`;
}
