-- A key that another one has taken the place of: jobs, balances and grants go on under the id of the
-- first one, so that a rotation gives out no budget twice.
ALTER TABLE keys ADD COLUMN origin TEXT;
