-- What is kept of stored videos beside their jobs; a row comes to be when there is something to
-- keep, and goes some time after its video.
CREATE TABLE video_records (
    job TEXT PRIMARY KEY,
    used_at INTEGER,
    proved_at INTEGER,
    told_at INTEGER
) STRICT, WITHOUT ROWID;
