-- What edges are still to be told: written in the transaction that narrows or deletes an image, a row for each
-- edge, and removed once that edge was told twice.
CREATE TABLE purges (
    -- Which edge, as the settings call it.
    target        TEXT   NOT NULL,
    image_id      TEXT   NOT NULL,
    -- The image's since the change; every narrowing has its own.
    epoch         BIGINT NOT NULL,
    reason        TEXT   NOT NULL CHECK (reason IN ('narrowed', 'revoked', 'held', 'deleted', 'expired', 'erased')),
    -- first: it was not told yet. again: it was, and is told once more when no answer from before the change
    -- can be under way any longer. dead: given up.
    state         TEXT   NOT NULL CHECK (state IN ('first', 'again', 'dead')),
    -- When it is tried; NULL when it was given up.
    due_at        BIGINT,
    -- Until then somebody is at it.
    leased_until  BIGINT,
    -- How often it was tried in this state, since when, and what the last failure was.
    attempts      BIGINT NOT NULL DEFAULT 0,
    since         BIGINT NOT NULL,
    last_error    TEXT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (target, image_id, epoch)
);
CREATE INDEX purges_by_due ON purges (target, due_at);
CREATE INDEX purges_by_image ON purges (image_id);
