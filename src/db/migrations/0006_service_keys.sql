-- Keys that services authenticate with, beside those of the settings.
CREATE TABLE service_keys (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    -- SHA-256 of the key in hexadecimal; the key itself is shown once and kept nowhere.
    hash        TEXT   NOT NULL UNIQUE,
    -- As in "read,write,sign".
    scopes      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    retired_at  BIGINT
);
