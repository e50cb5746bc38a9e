-- Requests that carry an idempotency key: who is at work on one, and what it came to.
-- Both databases take this file as it is: TEXT and BIGINT only; times in microseconds since the Unix
-- epoch.

CREATE TABLE idempotency (
    -- Whose key it is. The same key of two callers is two keys.
    scope        TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    -- Whom the answer is about, for his erasure; NULL when a service asked for itself.
    user_id      TEXT   REFERENCES users (id),
    -- SHA-256 of what was asked, in hexadecimal.
    fingerprint  TEXT   NOT NULL,
    -- Random; only who wrote it may keep an answer here or give the key back.
    claim        TEXT   NOT NULL,
    -- A claim may be taken over then, and an answer is forgotten.
    deadline     BIGINT NOT NULL,
    -- The answer: all three are NULL while somebody is at work on the request.
    status       BIGINT,
    headers      TEXT,
    body         TEXT,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_deadline ON idempotency (deadline);
CREATE INDEX idempotency_by_user ON idempotency (user_id);
