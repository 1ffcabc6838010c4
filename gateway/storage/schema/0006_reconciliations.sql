-- Each comparison with Venice's bill: what it covered, what it found, and what it put right.

CREATE TABLE reconciliations (
    number INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    is_complete INTEGER NOT NULL CHECK (is_complete IN (0, 1)),
    is_whole INTEGER NOT NULL CHECK (is_whole IN (0, 1)),
    rows INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    drift INTEGER NOT NULL,
    corrected INTEGER NOT NULL,
    counts TEXT NOT NULL,
    otherwise TEXT NOT NULL,
    findings TEXT NOT NULL
) STRICT;
