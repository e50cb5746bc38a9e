-- Which file of which folder or bucket became which image by `pinhole import`, so that a rerun goes on where the
-- last one ended, and nothing comes in twice. A row is written in the transaction that makes the image ready.

CREATE TABLE imports (
    -- SHA-256 of source, owner and path, in hexadecimal.
    entry       TEXT   NOT NULL PRIMARY KEY,
    owner_id    TEXT   NOT NULL REFERENCES users (id),
    -- The folder's path, or the bucket's s3:// URL; and the file's path below it. These and image_id are NULL
    -- once the image has ended: the row then says no more than that the same file is not to come back by itself.
    source      TEXT,
    path        TEXT,
    -- What tells whether the file is still the same: SHA-256, in hexadecimal, of its size and its ETag or the time
    -- when it was last written.
    version     TEXT   NOT NULL,
    image_id    TEXT   REFERENCES images (id),
    -- How the image ended: deleted, or expired, since nothing used it in time.
    ended       TEXT   CHECK (ended IN ('deleted', 'expired')),
    created_at  BIGINT NOT NULL
);
CREATE INDEX imports_by_image ON imports (image_id);
CREATE INDEX imports_by_owner ON imports (owner_id);
