// Asks a server for links and prints what there is to show: node show.mjs ENDPOINT TOKEN WANTED
import { Links } from './module.mjs';

const [endpoint, token, wanted] = process.argv.slice(2);
const pictures = [];
const errors = [];
const images = JSON.parse(wanted);
const links = new Links({
  endpoint,
  headers: () => ({ Authorization: `Bearer ${token}` }),
  onError: ({ id, code, message }) => done(errors, [id ?? message, code]),
});
for (const image of images) {
  links.watch(image, (picture) => done(pictures, picture));
}

function done(list, one) {
  list.push(one);
  if (pictures.length + errors.length === images.length) {
    links.close();
    console.log(JSON.stringify({ pictures, errors }));
  }
}
