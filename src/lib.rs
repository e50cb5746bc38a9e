//! pinhole: an access-controlled image origin.
//!
//! # The house
//!
//! Rooms from top to bottom; what stands higher uses what stands lower, never the other way.
//!
//! | room | owns |
//! |---|---|
//! | [`cli`] | the commands: parse, build everything once, run, stop |
//! | [`web`] | a request's way: route, who asks, one handler, headers |
//! | [`app`] | everything shared, built once and passed explicitly |
//! | [`error`] | what went wrong inside becomes what the outside is told |
//! | [`identity`], [`issuer`] | who asks: a user by token, a service by key, or nobody; and whose tokens count |
//! | [`import`] | an existing folder or bucket comes in: what lies there, whose it is, each file once |
//! | [`ingest`] | the one way in: sniff, strip, decode, make masters, hash, publish |
//! | [`work`] | background jobs whose state is the ledger: the sweeper, erasure, reconciling, purges |
//! | [`variants`] | renditions, each made once, from an original or a master of it, and kept in memory and bucket; large files streamed |
//! | [`rights`] | what decisions rest on, as the ledger says or said a moment ago |
//! | [`store`] | the private bucket, and the embedded one of `dev` |
//! | [`db`] | the ledger: who owns what, what it is used for, on SQLite or PostgreSQL |
//! | [`access`] | who may see an image: pure |
//! | [`link`] | signed links: pure |
//! | [`edge`] | verifiers for the caches of others in front: pure |
//! | [`render`] | options, geometry, pixels, metadata: pure |
//! | [`openapi`] | the description of all that can be asked for, as `GET /openapi.json` answers it: pure |
//! | [`purge`] | what edges are sent, and what their answers mean: pure |
//! | [`guide`] | guides for operators and apps: documentation alone, tried by the tests |
//! | `web/page/pinhole.js` | a module for pages: shows images by links, and renews them |
//! | [`server`], [`fetch`], [`gate`], [`budget`], [`config`], [`metrics`], [`log`], [`clock`], [`client`], [`rate`], [`wait`], [`id`] | tools that know nothing of images |
//!
//! Read in this order: [`access`], [`link`], [`web`] from the top, `web/deliver.rs`, [`ingest`],
//! `db/images.rs` (above all `settle`), [`render`].
//!
//! The pure rooms do no I/O and take the clock as an argument. They lie at the bottom, below the
//! ledger and the bucket that bring them what they judge, so that nothing they rely on can fail.
//!
//! # Invariants
//!
//! 1. No byte of an image leaves without an [`access::Permit`], which [`access`] alone makes and
//!    which alone tells where the bytes lie: forgetting to ask does not compile.
//! 2. Not-there and not-allowed are one answer, byte for byte, and no refusal is ever cacheable
//!    (`tests/it/access.rs`).
//! 3. Nothing is served that ingest did not decode and publish under an immutable key, and no client
//!    ever holds the right to write under a published key.
//! 4. Narrowing (less visible, deleted, held) steps the image's epoch and writes its purges in the same
//!    transaction, so that every link dies with it and every edge is told (`tests/it/access.rs`,
//!    `tests/it/purges.rs`).
//!    What is remembered of rights is kept under a number that steps with every change, and for a second at
//!    most: read before a change, it is never found after it (`rights`, `tests/it/two_nodes.rs`).
//! 5. Every object in the bucket has a row that was written before it and is removed after it, masters,
//!    variants and the pieces of resumable uploads included, or lies where a client may still write and is
//!    cleared when he cannot; one enum, [`store::Object`], owns every object's name
//!    (`tests/it/durability.rs`, `tests/it/ways_in.rs`, `tests/it/tus.rs`, `tests/it/masters.rs`,
//!    `tests/it/tiers.rs`).
//! 6. Every queue, body, cache, pixel buffer and loop is bounded by a named value with a unit; what is
//!    decoded and encoded at once shares one [`budget`] of bytes (`tests/it/memory.rs`).
//!    What is in memory never waits for what is not: it is answered on threads that do nothing else (`server`),
//!    by a handler that is polled once and does not wait ([`wait::Wait`]); pictures are made on threads of a
//!    lower priority, and a render takes its place in the queue, or is shed, before anything is read for it
//!    (`tests/it/hits.rs`).
//! 7. A panic or a hostile file costs one request, never a worker, a lock or the process.
//! 8. Purposes never mix: a link, a user's token and a service key can never stand in for each other.
//!
//! # Departures
//!
//! Where the code left the first design, and why:
//!
//! * An image's *audience* (owner, followers, public) stands on its row instead of being joined from
//!   posts at every view: a decision reads one row by its key. `settle` alone keeps it true.
//! * The pure rooms lie below ledger and bucket, which hand them typed facts, rather than above.
//! * The embedded bucket has a file store of its own behind s3s's trait, since s3s-fs overwrote objects
//!   on a wrong checksum; and originals are stripped by a walker of our own, since img-parts keeps
//!   whatever follows a JPEG's first scan.
//! * An `original` that is stored on its side keeps that it is, as an EXIF block (in AVIF a property) of nothing else:
//!   a JPEG cannot be turned without loss, and would else be seen lying down. Variants are turned, and say nothing.
//! * Resumable uploads are not S3's multipart uploads: each piece is an object of its own, with a row of
//!   its own. So pieces may be of any length, with no tail to rewrite until it is 5 MiB long; nothing
//!   lies in the bucket that no listing shows; a writer whom everybody has given up hurts nobody, since
//!   what he writes counts only if one transaction finds the offset where he began; and the bytes are
//!   read once and published under another key anyway.
//! * `/authz` tells an edge 400 and 401 in `Pinhole-Status`, too, where that is what the origin would answer; and with
//!   a 204 what to say of caching to this viewer, which the bytes, fetched with a service key, do not tell.
//! * nginx serves a link with a cookie from the copy that all share, since a link speaks for itself; with a bearer token it
//!   passes the request on, since a bad one is refused even then. Without a link pinhole's own cookie alone keeps a request
//!   from the cache, and no other site's (`nginx/pinhole.js`).
//! * nginx has no purge of its own: each purge gives the image a new generation, which is part of its copies' keys. So
//!   a fill that was under way is stored where nobody looks (`nginx/pinhole.js`).
//! * An edge is told twice of each change, and after a crash more often: purges are idempotent, so nothing is
//!   spent on exactly once. A pause after a failure belongs to the edge, and not to the purge (`work/purges.rs`).
//! * An app's own `rules` write no purges: what they take away is purged when the app revokes the image.
//! * Varnish in front keeps copies under the whole URL of a link instead of path and epoch: it has no HMAC that takes
//!   any key, so a hit must be the very link that the origin let through. Viewers of one window share that (`edge`).
//! * Every row's object exists, but for masters and variants: they can be made again, so an absent one is no
//!   loss. Which master a variant is made of is said by the ledger's row and the options, never by what lies
//!   in the bucket: else one URL would mean other bytes before and after.
//! * What `pinhole doctor` tries the bucket with has no row: it lies under `incoming/`, is removed by the doctor itself
//!   even when he is stopped, and after a crash by `pinhole sweep`, as what nobody knows (`cli/doctor/tools.rs`).
//! * A variant that is being written keeps its blob by its own row, and not by a lease on the blob as masters
//!   do: the row says when the write is done, so that a deletion right after a view waits for that moment and
//!   not for the longest that a write may take (`db/variants.rs`).
//! * What a variant's row does not know by its length and hash is never served from the bucket, but rendered and
//!   written anew. A variant's key says how it was made, with a version of the renderer,
//!   [`render::VERSION`]: **whoever changes what a plan comes out as steps it**, or restarts serve old bytes.
//! * Pictures become smaller in linear light; against a reference in linear light that is 20 points of
//!   SSIMULACRA2 on a photograph full of fine detail (`benches/README.md`).
//! * AVIF is written by rav1e, which is Rust and needs nothing but cargo, rather than by a C library that
//!   would be some ten times as fast. So `format=auto` never lets anybody wait for it: it is made
//!   behind a first answer in another format (`variants/background.rs`).
//! * A picture that caches may share does not say which request it answers, unless that came with a name: a cache would
//!   say it to others. So what is answered from memory pays for no header, and an edge, which names its requests, puts its
//!   own in place. hyper's own refusals, of what is no request, have no id (`web`, `log`).
//! * A line's request is found by its task rather than by a span, which every hit would pay for (`log/request.rs`).
//! * A server that stops closes no idle connection at once: a client that is just sending would lose a request. The
//!   next answer on each says `Connection: close`, for `server.linger_secs`, and the listening socket is closed and never
//!   shut down, since another process may be accepting on it (`server`, `tests/it/upgrade.rs`).
//! * A link lives for the asked time rounded up to its window, so a user's hour may be an hour and a
//!   quarter.
//! * What an original is, by length and hash, stands in the ledger, so that its headers, 304, 412 and 416 need no
//!   bucket, and its `ETag` is one, kept or streamed. One that came in before that was written down is read
//!   through when it is first asked for. A large one is streamed by a read of its own for every client; sent
//!   whole, it ends well only if it has its hash, which nobody can say of a part (`variants/stream.rs`,
//!   `tests/it/originals.rs`).

pub mod access;
pub mod app;
pub mod budget;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod db;
pub mod edge;
pub mod error;
pub mod fetch;
pub mod gate;
pub mod guide;
pub mod id;
pub mod identity;
pub mod import;
pub mod ingest;
pub mod issuer;
pub mod link;
pub mod log;
pub mod metrics;
pub mod openapi;
pub mod purge;
pub mod rate;
pub mod render;
pub mod rights;
pub mod server;
mod spelled;
pub mod store;
pub mod variants;
pub mod wait;
pub mod web;
pub mod work;
