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
    queue_id TEXT,
    user TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    holding TEXT NOT NULL,
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
    -- CASE, for a list of more than two values is built anew for every row it is compared with.
    CHECK (CASE state
        WHEN 'reserved' THEN holding = 'reserved'
        WHEN 'sending' THEN holding = 'reserved'
        WHEN 'processing' THEN holding = 'reserved' OR holding = 'settled'
        WHEN 'fetching' THEN holding = 'reserved' OR holding = 'settled'
        WHEN 'in_doubt' THEN holding = 'in_doubt'
        WHEN 'stored' THEN holding = 'settled'
        WHEN 'evicted' THEN holding = 'settled'
        WHEN 'purged' THEN holding = 'settled'
        WHEN 'failed_billed' THEN holding = 'settled'
        WHEN 'lost' THEN holding = 'settled'
        WHEN 'undeliverable' THEN holding = 'settled'
        WHEN 'stalled' THEN holding = 'settled'
        WHEN 'settled_in_doubt' THEN holding = 'settled'
        WHEN 'released' THEN holding = 'released'
        WHEN 'refused' THEN holding = 'released'
        WHEN 'failed_refunded' THEN holding = 'released'
        WHEN 'released_in_doubt' THEN holding = 'released'
        ELSE FALSE END),
    CHECK (CASE holding
        WHEN 'reserved' THEN in_doubt = 0 AND settled = 0
        WHEN 'in_doubt' THEN reserved = 0 AND settled = 0
        WHEN 'settled' THEN reserved = 0 AND in_doubt = 0
        ELSE reserved = 0 AND in_doubt = 0 AND settled = 0 END)
) STRICT;

-- Partial wherever they can be: each whole index costs every reservation a page.
CREATE UNIQUE INDEX jobs_by_queue_id ON jobs (queue_id) WHERE queue_id IS NOT NULL;
CREATE INDEX jobs_by_time ON jobs (created_at);
CREATE INDEX jobs_by_user ON jobs (user, created_at);
CREATE INDEX jobs_with_videos ON jobs (stored_at) WHERE state = 'stored';
CREATE INDEX jobs_with_copies ON jobs (ended_at) WHERE copy_gone = 0 AND ended_at IS NOT NULL;
CREATE INDEX jobs_owed ON jobs (key_id, body_digest) WHERE answer_owed = 1;
CREATE UNIQUE INDEX jobs_idempotent ON jobs (user, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- What metrics show of all jobs, kept as they move: counting them anew takes longer the more there
-- are.
CREATE TABLE tallies (
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    in_doubt INTEGER NOT NULL CHECK (in_doubt >= 0),
    settled INTEGER NOT NULL CHECK (settled >= 0),
    video_bytes INTEGER NOT NULL CHECK (video_bytes >= 0),
    PRIMARY KEY (team, model, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER jobs_come AFTER INSERT ON jobs
BEGIN
    INSERT INTO tallies VALUES (coalesce(NEW.team, ''), NEW.model, NEW.state, 1, NEW.reserved,
        NEW.in_doubt, NEW.settled, coalesce(NEW.video_bytes, 0))
    ON CONFLICT DO UPDATE SET jobs = jobs + 1, reserved = reserved + excluded.reserved,
        in_doubt = in_doubt + excluded.in_doubt, settled = settled + excluded.settled,
        video_bytes = video_bytes + excluded.video_bytes;
END;

CREATE TRIGGER jobs_move
AFTER UPDATE OF team, model, state, reserved, in_doubt, settled, video_bytes ON jobs
BEGIN
    UPDATE tallies SET jobs = jobs - 1, reserved = reserved - OLD.reserved,
        in_doubt = in_doubt - OLD.in_doubt, settled = settled - OLD.settled,
        video_bytes = video_bytes - coalesce(OLD.video_bytes, 0)
    WHERE team = coalesce(OLD.team, '') AND model = OLD.model AND state = OLD.state;
    INSERT INTO tallies VALUES (coalesce(NEW.team, ''), NEW.model, NEW.state, 1, NEW.reserved,
        NEW.in_doubt, NEW.settled, coalesce(NEW.video_bytes, 0))
    ON CONFLICT DO UPDATE SET jobs = jobs + 1, reserved = reserved + excluded.reserved,
        in_doubt = in_doubt + excluded.in_doubt, settled = settled + excluded.settled,
        video_bytes = video_bytes + excluded.video_bytes;
END;

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    -- Of a job that is there: a foreign key would look that up once more for every reservation,
    -- which writes both in one transaction, so `ledger verify` proves it instead.
    job TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    reason TEXT,
    actor TEXT,
    corrects INTEGER REFERENCES entries (id),
    CHECK (CASE kind
        WHEN 'reserve' THEN corrects IS NULL
        WHEN 'doubt' THEN corrects IS NULL
        WHEN 'identify' THEN corrects IS NULL
        WHEN 'settle' THEN corrects IS NULL
        WHEN 'release' THEN corrects IS NULL
        WHEN 'correct' THEN corrects IS NOT NULL
        ELSE FALSE END)
) STRICT;

-- A reservation begins once and ends once; doubts, identifications and corrections may repeat.
CREATE UNIQUE INDEX entries_by_job ON entries (job, CASE kind
    WHEN 'reserve' THEN 'begin' WHEN 'settle' THEN 'end' WHEN 'release' THEN 'end' ELSE id END);

CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;

-- The sums of entries of jobs created within [starts_at, ends_at), for one scope. A row comes to
-- be when a limit first needs it, and moves with every entry from then on.
CREATE TABLE balances (
    number INTEGER PRIMARY KEY,
    scope TEXT NOT NULL CHECK (scope IN ('key', 'user', 'team', 'organization')),
    id TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    models TEXT NOT NULL,
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    in_doubt INTEGER NOT NULL CHECK (in_doubt >= 0),
    settled INTEGER NOT NULL CHECK (settled >= 0),
    UNIQUE (scope, id, ends_at, starts_at, models)
) STRICT;

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

CREATE INDEX refusals_by_user ON refusals (user);
CREATE INDEX refusals_by_time ON refusals (at);

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
