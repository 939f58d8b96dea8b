-- Vaults of further accounts in the service's own storage, and the tasks on them: the service's own agent does them.

-- The client of another account that does the tasks on the vault.
ALTER TABLE vaults ADD COLUMN kept_by TEXT;
-- The same for one work; `client_id` names a client of the account itself.
ALTER TABLE work ADD COLUMN lent_to TEXT;
CREATE INDEX work_lent ON work (lent_to, queue_order) WHERE state = 'QUEUED' AND lent_to IS NOT NULL;
