-- Renditions that lie in the bucket, so that they need not be made again. A row is written before its object
-- and removed after it; a row without its object is no loss.
CREATE TABLE variants (
    blob_key      TEXT    NOT NULL REFERENCES blobs (key),
    -- A hash of how it is made.
    name          TEXT    NOT NULL,
    content_type  TEXT    NOT NULL,
    bytes         BIGINT  NOT NULL,
    -- Of its bytes, in hexadecimal: what does not have it is not served.
    sha256        TEXT    NOT NULL,
    -- Whether the object is there whole.
    landed        BOOLEAN NOT NULL,
    -- When the sweeper removes it. Until it has landed, this is when its writing is over, one way or the
    -- other, and so long the blob stays.
    deadline      BIGINT  NOT NULL,
    created_at    BIGINT  NOT NULL,
    PRIMARY KEY (blob_key, name)
);
CREATE INDEX variants_by_deadline ON variants (deadline);
