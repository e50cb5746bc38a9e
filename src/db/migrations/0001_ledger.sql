-- The ledger: who owns which image, what it is used for, who may see it.
-- Both databases take this file as it is: TEXT, BIGINT and BOOLEAN only; times in microseconds
-- since the Unix epoch; ids as text.

CREATE TABLE users (
    id               TEXT   NOT NULL PRIMARY KEY,
    display_name     TEXT   NOT NULL DEFAULT '',
    avatar_image_id  TEXT,
    created_at       BIGINT NOT NULL,
    erased_at        BIGINT
);
CREATE INDEX users_by_avatar ON users (avatar_image_id);

CREATE TABLE follows (
    follower_id  TEXT   NOT NULL REFERENCES users (id),
    followee_id  TEXT   NOT NULL REFERENCES users (id),
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (follower_id, followee_id)
);
CREATE INDEX follows_by_followee ON follows (followee_id);

-- The bytes behind images. Equal uploads of one owner share a blob; different owners never do, so that
-- an erasure can be verified and nobody learns what others have.
CREATE TABLE blobs (
    -- Names the objects in the bucket; random, and never used twice.
    key           TEXT    NOT NULL PRIMARY KEY,
    owner_id      TEXT    NOT NULL REFERENCES users (id),
    -- writing: the row is there, the objects may be. live: both are. dying: the objects are on their way out.
    state         TEXT    NOT NULL CHECK (state IN ('writing', 'live', 'dying')),
    -- When the sweeper looks at the blob again; NULL while an image uses it.
    deadline      BIGINT,
    sha256        TEXT    NOT NULL,
    content_type  TEXT    NOT NULL,
    bytes         BIGINT  NOT NULL,
    width         BIGINT  NOT NULL,
    height        BIGINT  NOT NULL,
    frames        BIGINT  NOT NULL,
    created_at    BIGINT  NOT NULL
);
CREATE UNIQUE INDEX blobs_live ON blobs (owner_id, sha256) WHERE state = 'live';
CREATE INDEX blobs_by_deadline ON blobs (deadline);

CREATE TABLE images (
    id            TEXT    NOT NULL PRIMARY KEY,
    owner_id      TEXT    NOT NULL REFERENCES users (id),
    state         TEXT    NOT NULL CHECK (state IN ('reserved', 'uploaded', 'ready', 'rejected', 'deleted')),
    -- Counts narrowings; links are bound to it.
    epoch         BIGINT  NOT NULL DEFAULT 1,
    held          BOOLEAN NOT NULL DEFAULT FALSE,
    -- The widest of the image's uses: 0 owner, 1 followers, 2 public. Kept in step with attachments,
    -- posts and avatars by one statement (db/images.rs, `settle`), so that a decision reads one row.
    audience      BIGINT  NOT NULL DEFAULT 0 CHECK (audience BETWEEN 0 AND 2),
    -- When the image is reclaimed; NULL while something uses it.
    deadline      BIGINT,
    -- NULL until the bytes are verified, and again once the image is deleted.
    blob_key      TEXT    REFERENCES blobs (key),
    filename      TEXT,
    created_at    BIGINT  NOT NULL
);
CREATE INDEX images_by_owner ON images (owner_id, id);
CREATE INDEX images_by_deadline ON images (deadline, state);
CREATE INDEX images_by_blob ON images (blob_key);

-- Uploads whose bytes go straight to the bucket, by a presigned request.
CREATE TABLE uploads (
    image_id      TEXT    NOT NULL PRIMARY KEY REFERENCES images (id),
    owner_id      TEXT    NOT NULL REFERENCES users (id),
    method        TEXT    NOT NULL CHECK (method IN ('post', 'put')),
    -- Where the bytes land before they are verified; random, for this upload alone.
    incoming_key  TEXT    NOT NULL UNIQUE,
    content_type  TEXT    NOT NULL,
    bytes         BIGINT  NOT NULL,
    sha256        TEXT,
    -- Until then the client can write under the incoming key, whatever became of the image; what lies
    -- there afterwards is removed, and the row with it.
    granted_until BIGINT  NOT NULL
);
CREATE INDEX uploads_by_grant ON uploads (granted_until);
CREATE INDEX uploads_by_owner ON uploads (owner_id);

CREATE TABLE posts (
    id          TEXT   NOT NULL PRIMARY KEY,
    author_id   TEXT   NOT NULL REFERENCES users (id),
    text        TEXT   NOT NULL,
    visibility  TEXT   NOT NULL CHECK (visibility IN ('public', 'followers', 'private')),
    created_at  BIGINT NOT NULL
);
CREATE INDEX posts_by_author ON posts (author_id, id);

CREATE TABLE attachments (
    post_id   TEXT   NOT NULL REFERENCES posts (id),
    image_id  TEXT   NOT NULL REFERENCES images (id),
    position  BIGINT NOT NULL,
    PRIMARY KEY (post_id, image_id)
);
CREATE INDEX attachments_by_image ON attachments (image_id);

-- Users who are being, or were, erased.
CREATE TABLE erasures (
    id             TEXT    NOT NULL PRIMARY KEY,
    user_id        TEXT    NOT NULL UNIQUE,
    state          TEXT    NOT NULL CHECK (state IN ('running', 'done')),
    -- What was there when the erasure began.
    originals      BIGINT  NOT NULL DEFAULT 0,
    variants       BIGINT  NOT NULL DEFAULT 0,
    open_uploads   BIGINT  NOT NULL DEFAULT 0,
    edge_purges    BIGINT  NOT NULL DEFAULT 0,
    -- How many objects were looked for in the bucket afterwards, and not found.
    verified_gone  BIGINT  NOT NULL DEFAULT 0,
    grants_until   BIGINT,
    requested_at   BIGINT  NOT NULL,
    done_at        BIGINT
);
CREATE INDEX erasures_by_state ON erasures (state);
