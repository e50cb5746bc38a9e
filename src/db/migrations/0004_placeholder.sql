-- What a page shows of an image while that is on its way. NULL for what came in before.

-- A ThumbHash, in base64.
ALTER TABLE blobs ADD COLUMN thumbhash TEXT;
-- #rrggbb; NULL too when the picture is fully transparent.
ALTER TABLE blobs ADD COLUMN dominant_color TEXT;
