-- Notices, whom they go to, and what came of each try. Times are Unix milliseconds.

CREATE TABLE notices (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- What happened: seen twice, it is told once.
    key TEXT NOT NULL UNIQUE,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    team TEXT,
    user TEXT,
    facts TEXT NOT NULL
) STRICT;

CREATE INDEX notices_by_time ON notices (at);

CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    notice INTEGER NOT NULL REFERENCES notices (number) ON DELETE CASCADE,
    receiver TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'given_up')),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    since INTEGER NOT NULL,
    next_at INTEGER,
    ended_at INTEGER,
    last_status INTEGER,
    last_why TEXT,
    UNIQUE (notice, receiver),
    CHECK ((state = 'waiting') = (next_at IS NOT NULL))
) STRICT;

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE attempts (
    number INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL REFERENCES deliveries (number) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    status INTEGER,
    why TEXT
) STRICT;

CREATE INDEX attempts_by_delivery ON attempts (delivery);

CREATE TABLE webhooks (
    user TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    nonce TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How whoever tells of jobs finds those that ended since; a job enters it once, at its end.
CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
