-- Each index whose rows lie by user or by key costs every reservation a page of its own in the log: a
-- group of 32 wrote a hundred pages and now writes twenty. What is found by user is filed so when its
-- money is held no more; until then it lies with all that is held, by time, and these are few.
DROP INDEX jobs_by_user;
CREATE INDEX jobs_by_user ON jobs (user, created_at, holding) WHERE holding <> 'reserved';
CREATE INDEX jobs_held ON jobs (created_at, user) WHERE holding = 'reserved';

-- Whose answer is owed is asked of the last minutes, and of the few that ever were in doubt.
DROP INDEX jobs_owed;
CREATE INDEX jobs_owed ON jobs (created_at, key_id, body_digest) WHERE answer_owed = 1;
ALTER TABLE jobs ADD COLUMN doubted_at INTEGER;
UPDATE jobs SET doubted_at = (SELECT max(at) FROM entries WHERE job = jobs.id AND kind = 'doubt')
    WHERE id IN (SELECT job FROM entries WHERE kind = 'doubt');
UPDATE jobs SET doubted_at = coalesce(sent_at, created_at)
    WHERE state = 'in_doubt' AND doubted_at IS NULL;
CREATE INDEX jobs_doubted ON jobs (key_id, body_digest) WHERE doubted_at IS NOT NULL;
