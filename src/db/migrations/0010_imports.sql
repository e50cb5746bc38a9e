-- Which file of which folder or bucket became which image by `pinhole import`, so that a rerun goes on where the
-- last one ended, and nothing comes in twice. A row is written in the transaction that makes the image ready.

CREATE TABLE imports (
    -- SHA-256 of source, owner and path, in hexadecimal.
    entry       TEXT   NOT NULL PRIMARY KEY,
    owner_id    TEXT   NOT NULL REFERENCES users (id),
    -- The folder's path, or the bucket's s3:// URL; and the file's path below it. These and the next two are NULL
    -- once the image is deleted: the row then says no more than that this file is not to come back by itself.
    source      TEXT,
    path        TEXT,
    -- What tells whether the file is still the same: its size, and its ETag or the time when it was last written.
    version     TEXT,
    image_id    TEXT   REFERENCES images (id),
    created_at  BIGINT NOT NULL
);
CREATE INDEX imports_by_image ON imports (image_id);
CREATE INDEX imports_by_owner ON imports (owner_id);
