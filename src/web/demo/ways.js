// The three ways in. Each brings a file to pinhole and ends with a post; what differs is who carries the bytes.

import { ask, askJson, authorization, upload } from './wire.js';

/**
 * @typedef {object} Draft  What is to be posted.
 * @property {string} author
 * @property {Blob} file
 * @property {string} name  The file's.
 * @property {string} text
 * @property {string} visibility
 * @property {string} key  Makes a repetition harmless: what is done already is answered again and not done twice.
 */

/**
 * @typedef {object} Watch  Who wants to know, and may call it off.
 * @property {AbortSignal} signal
 * @property {(sent: number, total: number, host: string) => void} onProgress
 * @property {(step: string) => void} onStep  What is being done.
 */

/** One call: the post's form has the file inside. All of it happens or nothing. */
async function inOneCall(draft, watch) {
  const form = new FormData();
  form.append('text', draft.text);
  form.append('visibility', draft.visibility);
  form.append('images', draft.file, draft.name);
  watch.onStep('sending the post with the picture inside');
  return JSON.parse(await send(draft, '/v1/posts', form, watch));
}

/** Two calls: upload the picture, then write a post that names it. */
async function inTwoCalls(draft, watch) {
  const form = new FormData();
  form.append('file', draft.file, draft.name);
  watch.onStep('sending the picture');
  const image = JSON.parse(await send(draft, '/v1/images', form, watch));
  return post(draft, image.id, watch);
}

/** Presigned: pinhole grants one upload, the bytes go straight to the bucket, and pinhole verifies what landed. */
const presigned = (method) => async (draft, watch) => {
  const { author: as, file } = draft;
  watch.onStep('asking for a grant');
  const wanted = { content_type: file.type, size: file.size, filename: draft.name, method };
  const grant = await askJson({ as, method: 'POST', path: '/v1/uploads', json: wanted, signal: watch.signal });
  try {
    watch.onStep('sending the picture straight to the bucket');
    await upload({ as, method: method.toUpperCase(), url: grant.url, ...asGranted(grant, file), ...watch });
    watch.onStep('having it verified');
    const path = `/v1/uploads/${grant.image_id}/complete`;
    const image = await askJson({ as, method: 'POST', path, signal: watch.signal });
    return await post(draft, image.id, watch);
  } catch (error) {
    if (watch.signal.aborted) {
      // What has been granted is given up, so that nothing is left lying about.
      await ask({ as, method: 'DELETE', path: `/v1/uploads/${grant.image_id}` }).catch(() => {});
    }
    throw error;
  }
};

/** The form or the headers that a grant asks for. */
function asGranted(grant, file) {
  if (grant.method === 'put') {
    return { headers: grant.headers, body: file };
  }
  const body = new FormData();
  for (const [name, value] of Object.entries(grant.fields)) {
    body.append(name, value);
  }
  // It comes last: S3 ignores what follows it.
  body.append('file', file);
  return { headers: {}, body };
}

async function send({ author: as, key }, url, body, watch) {
  const headers = { ...(await authorization(as)), 'Idempotency-Key': key };
  return upload({ as, method: 'POST', url, headers, body, ...watch });
}

function post({ author: as, text, visibility, key }, image, { signal, onStep }) {
  onStep('writing the post');
  const headers = { 'Idempotency-Key': `${key}-post` };
  const json = { text, visibility, images: [image] };
  return askJson({ as, method: 'POST', path: '/v1/posts', headers, json, signal });
}

/** @type {Record<string, (draft: Draft, watch: Watch) => Promise<object>>} Each answers the post. */
export const WAYS = {
  one: inOneCall,
  two: inTwoCalls,
  post: presigned('post'),
  put: presigned('put'),
};
