-- Everything the stand-in knows. Money is whole micro-dollars, times are Unix seconds.
CREATE TABLE IF NOT EXISTS calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    endpoint TEXT NOT NULL,
    key TEXT,
    model TEXT,
    queue_id TEXT,
    prompt_sha256 TEXT,
    status INTEGER,             -- none: no answer left, or none yet
    refused_by TEXT             -- 'key', 'rate' or 'block': the front desk answered
) STRICT;
CREATE INDEX IF NOT EXISTS calls_at ON calls (at);

CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    prompt_sha256 TEXT,
    accepted_at REAL NOT NULL,
    ready_at REAL NOT NULL,
    average_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    video_seconds TEXT NOT NULL,
    aspect_ratio TEXT,
    video_bytes_min INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    refunded INTEGER NOT NULL DEFAULT 0,
    refund_due_at REAL,         -- none: no refund, or it was written
    deleted INTEGER NOT NULL DEFAULT 0,
    retrieves INTEGER NOT NULL DEFAULT 0,
    bytes_served_complete INTEGER NOT NULL DEFAULT 0,
    link_sha256 TEXT UNIQUE,    -- of the secret in the link, never the secret
    link_downloads INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_refund_due_at ON jobs (refund_due_at)
    WHERE refund_due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS bill (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    amount INTEGER NOT NULL,    -- negative: charged
    currency TEXT NOT NULL,
    sku TEXT NOT NULL,
    notes TEXT NOT NULL,
    queue_id TEXT,
    request_id TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS bill_at ON bill (at, id);

CREATE TABLE IF NOT EXISTS blocks (
    key TEXT NOT NULL,
    at REAL NOT NULL,
    until REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule TEXT NOT NULL,
    matched INTEGER NOT NULL DEFAULT 0,
    fired INTEGER NOT NULL DEFAULT 0
) STRICT;
