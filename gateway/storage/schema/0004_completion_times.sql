-- How long videos of a kind take, as learned: a histogram as JSON text, see core/completion.py.
-- An empty resolution or no seconds stand for what an order did not say.

CREATE TABLE completion_times (
    model TEXT NOT NULL,
    resolution TEXT NOT NULL,
    seconds INTEGER NOT NULL CHECK (seconds >= 0),
    weights TEXT NOT NULL,
    average_ms INTEGER CHECK (average_ms > 0),
    at INTEGER NOT NULL,
    PRIMARY KEY (model, resolution, seconds)
) STRICT, WITHOUT ROWID;
