-- Resumable uploads (tus): how much has come, and the objects in the bucket that it lies in.

-- SQLite changes neither a CHECK nor a NOT NULL of a table that is there, so `uploads` is made anew.
CREATE TABLE new_uploads (
    image_id      TEXT    NOT NULL PRIMARY KEY REFERENCES images (id),
    owner_id      TEXT    NOT NULL REFERENCES users (id),
    method        TEXT    NOT NULL CHECK (method IN ('post', 'put', 'tus')),
    -- Where presigned bytes land before they are verified; random, for this upload alone. NULL for tus,
    -- whose bytes lie in upload_chunks.
    incoming_key  TEXT    UNIQUE,
    -- What was promised of presigned bytes; NULL for tus, where the bytes decide.
    content_type  TEXT,
    bytes         BIGINT  NOT NULL,
    sha256        TEXT,
    -- Presigned: until then the client can write under the incoming key, whatever became of the image;
    -- what lies there afterwards is removed, and the row with it. Tus: nobody can write into the bucket,
    -- and until then it is remembered that the upload is complete.
    granted_until BIGINT  NOT NULL,
    -- How many bytes of a tus upload count: its chunks that have landed.
    received      BIGINT  NOT NULL DEFAULT 0 CHECK (received BETWEEN 0 AND bytes),
    -- The Upload-Metadata of a tus upload, as it was sent.
    metadata      TEXT,
    CHECK (method = 'tus' OR (incoming_key IS NOT NULL AND content_type IS NOT NULL))
);
INSERT INTO new_uploads
       (image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until)
SELECT image_id, owner_id, method, incoming_key, content_type, bytes, sha256, granted_until FROM uploads;
DROP TABLE uploads;
ALTER TABLE new_uploads RENAME TO uploads;
CREATE INDEX uploads_by_grant ON uploads (granted_until);
CREATE INDEX uploads_by_owner ON uploads (owner_id);

-- What lies in the bucket of uploads that come piece by piece. A row is written before its object and
-- removed after it.
CREATE TABLE upload_chunks (
    -- Names the object under incoming/; random, and never used twice.
    key          TEXT    NOT NULL PRIMARY KEY,
    image_id     TEXT    NOT NULL REFERENCES uploads (image_id),
    first_byte   BIGINT  NOT NULL,
    bytes        BIGINT  NOT NULL CHECK (bytes > 0),
    -- writing: the row is there, the object may be. landed: its bytes count. dying: on its way out.
    state        TEXT    NOT NULL CHECK (state IN ('writing', 'landed', 'dying')),
    -- When the sweeper looks at the chunk; NULL while its bytes count.
    deadline     BIGINT
);
CREATE INDEX upload_chunks_by_image ON upload_chunks (image_id, first_byte);
CREATE INDEX upload_chunks_by_deadline ON upload_chunks (deadline);
