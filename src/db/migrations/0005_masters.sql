-- Web-sized renditions of an image, stored beside its original, that variants are made from: their format
-- and their longer sides in pixels, such as 'jpeg 2048 1024 512'; empty where variants are made from the
-- original. An object of each may be in the bucket, and is made again when it is not.
ALTER TABLE blobs ADD COLUMN masters TEXT NOT NULL DEFAULT '';
