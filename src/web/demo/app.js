// The page of `pinhole dev`: puts its parts together.
//
// wire.js sends every request, and log.js shows them; session.js and people.js know who looks; upload.js and ways.js
// bring pictures in; gallery.js, post.js and what is `shown` show them; inspector.js and link.js look at one.

import { $, attempt, complain } from './dom.js';
import { Gallery } from './gallery.js';
import { Inspector } from './inspector.js';
import { LinkPanel } from './link.js';
import { startLog } from './log.js';
import { startPeople } from './people.js';
import { session } from './session.js';
import { startUpload } from './upload.js';

startLog();
const inspector = new Inspector();
const link = new LinkPanel(inspector);
const gallery = new Gallery({
  onInspect: (image) => {
    $('inspector-title').scrollIntoView();
    $('inspector-title').focus({ preventScroll: true });
    attempt(() => inspector.open(image));
  },
  onChange: (image) => {
    link.changed(image);
    if (inspector.image === image) {
      attempt(() => inspector.refresh());
    }
  },
});
startPeople((author) => gallery.refresh(author));
startUpload(gallery);
window.addEventListener('unhandledrejection', (event) => complain(event.reason));

await attempt(() => session.signIn(session.remembered()));
await attempt(() => gallery.showMore());
const newest = gallery.newestImage();
if (newest) {
  await attempt(() => inspector.open(newest));
}
