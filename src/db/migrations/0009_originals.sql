-- What the stripped original is that is served, so that its headers need no look at the bucket, and so that bytes
-- that are not it are not served for it. NULL for what came in before: found out when it is first asked for.

ALTER TABLE blobs ADD COLUMN original_bytes BIGINT;
-- In hexadecimal, as that of the uploaded file.
ALTER TABLE blobs ADD COLUMN original_sha256 TEXT;
