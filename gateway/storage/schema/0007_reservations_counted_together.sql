-- Jobs that begin are counted by whoever inserts them, many of a group at once: a trigger for each
-- cost as much as its row. Their later moves are followed by jobs_move, as before, and `ledger verify`
-- compares both with the jobs themselves.
DROP TRIGGER jobs_come;
