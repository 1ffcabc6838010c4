-- The first schema. Times are Unix milliseconds, amounts micro-dollars.
-- The constraints are the last defence: the code above them is expected never to meet one.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    team TEXT,
    policy TEXT,
    email TEXT,
    disabled_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name),
    digest TEXT NOT NULL UNIQUE,
    name TEXT,
    budget_window TEXT,
    budget_micros INTEGER CHECK (budget_micros >= 0),
    models TEXT NOT NULL DEFAULT '[]',
    tags TEXT NOT NULL DEFAULT '[]',
    delivery TEXT NOT NULL DEFAULT 'auto' CHECK (delivery IN ('auto', 'json', 'bytes')),
    is_service INTEGER NOT NULL DEFAULT 0 CHECK (is_service IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    CHECK ((budget_window IS NULL) = (budget_micros IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE admin_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'admin')),
    digest TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- A job and its reservation are one row: a job is reserved exactly once.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue_id TEXT UNIQUE,
    user TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'reserved', 'sending', 'released', 'refused', 'in_doubt', 'settled_in_doubt',
        'released_in_doubt', 'processing', 'fetching', 'stored', 'evicted', 'purged',
        'failed_refunded', 'failed_billed', 'undeliverable', 'stalled', 'lost')),
    holding TEXT NOT NULL CHECK (holding IN ('reserved', 'in_doubt', 'settled', 'released')),
    quote INTEGER NOT NULL CHECK (quote >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt >= 0),
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled >= 0),
    remaining INTEGER,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    accepted_at INTEGER,
    ready_at INTEGER,
    ended_at INTEGER,
    body_digest TEXT NOT NULL,
    idempotency_key TEXT,
    answer TEXT,
    answer_owed INTEGER NOT NULL DEFAULT 1 CHECK (answer_owed IN (0, 1)),
    download_url TEXT,
    is_private INTEGER NOT NULL DEFAULT 0 CHECK (is_private IN (0, 1)),
    tags TEXT NOT NULL DEFAULT '[]',
    policy TEXT NOT NULL,
    policy_version TEXT NOT NULL,
    seconds INTEGER,
    resolution TEXT,
    upstream_key TEXT,
    reason TEXT,
    average_ms INTEGER,
    looks INTEGER NOT NULL DEFAULT 0,
    bad_bodies INTEGER NOT NULL DEFAULT 0,
    not_found_first_at INTEGER,
    not_found_count INTEGER NOT NULL DEFAULT 0,
    failure_status INTEGER,
    failure_body TEXT,
    completed_at INTEGER,
    delete_wanted INTEGER NOT NULL DEFAULT 0 CHECK (delete_wanted IN (0, 1)),
    delivered_at INTEGER,
    is_suspicious INTEGER NOT NULL DEFAULT 0 CHECK (is_suspicious IN (0, 1)),
    copy_gone INTEGER NOT NULL DEFAULT 0 CHECK (copy_gone IN (0, 1)),
    video_sha256 TEXT,
    video_bytes INTEGER,
    stored_at INTEGER,
    CHECK (holding = 'reserved' OR reserved = 0),
    CHECK (holding = 'in_doubt' OR in_doubt = 0),
    CHECK (holding = 'settled' OR settled = 0),
    CHECK (state NOT IN ('reserved', 'sending') OR holding = 'reserved'),
    CHECK (state NOT IN ('released', 'refused', 'failed_refunded', 'released_in_doubt')
        OR holding = 'released'),
    CHECK (state <> 'in_doubt' OR holding = 'in_doubt'),
    CHECK (state NOT IN ('stored', 'evicted', 'purged', 'failed_billed', 'lost', 'undeliverable',
        'stalled', 'settled_in_doubt') OR holding = 'settled')
) STRICT;

CREATE INDEX jobs_by_time ON jobs (created_at);
CREATE INDEX jobs_by_user ON jobs (user, created_at);
CREATE INDEX jobs_unfinished ON jobs (state)
    WHERE state IN ('reserved', 'sending', 'in_doubt', 'processing', 'fetching');
CREATE INDEX jobs_with_videos ON jobs (stored_at) WHERE state = 'stored';
CREATE INDEX jobs_with_copies ON jobs (ended_at) WHERE copy_gone = 0 AND ended_at IS NOT NULL;
CREATE INDEX jobs_owed ON jobs (key_id, body_digest) WHERE answer_owed = 1;
CREATE UNIQUE INDEX jobs_idempotent ON jobs (user, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id),
    kind TEXT NOT NULL CHECK (kind IN
        ('reserve', 'doubt', 'identify', 'settle', 'release', 'correct')),
    at INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    reason TEXT,
    actor TEXT,
    corrects INTEGER REFERENCES entries (id),
    CHECK ((kind = 'correct') = (corrects IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX entries_begin_once ON entries (job) WHERE kind = 'reserve';
CREATE UNIQUE INDEX entries_end_once ON entries (job) WHERE kind IN ('settle', 'release');
CREATE INDEX entries_by_job ON entries (job);

CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;

-- The sums of entries of jobs created within [starts_at, ends_at), for one scope. A row comes to
-- be when a limit first needs it, and moves with every entry from then on.
CREATE TABLE balances (
    scope TEXT NOT NULL CHECK (scope IN ('key', 'user', 'team', 'organization')),
    id TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    models TEXT NOT NULL,
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    in_doubt INTEGER NOT NULL CHECK (in_doubt >= 0),
    settled INTEGER NOT NULL CHECK (settled >= 0),
    PRIMARY KEY (scope, id, ends_at, starts_at, models)
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL CHECK (scope IN ('key', 'user', 'team', 'organization')),
    scope_id TEXT NOT NULL,
    window TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    until INTEGER NOT NULL,
    why TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_by_scope ON grants (scope, scope_id);

CREATE TABLE gate_calls (
    number INTEGER PRIMARY KEY,
    class TEXT NOT NULL CHECK (class IN ('queue', 'retrieve', 'other')),
    user TEXT NOT NULL,
    at INTEGER NOT NULL,
    failed_at INTEGER
) STRICT;

CREATE INDEX gate_calls_by_time ON gate_calls (at);

CREATE TABLE refusals (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    user TEXT NOT NULL,
    key_id TEXT NOT NULL,
    code TEXT NOT NULL,
    rule TEXT NOT NULL,
    model TEXT NOT NULL,
    amount INTEGER
) STRICT;

CREATE INDEX refusals_by_user ON refusals (user, at);

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
