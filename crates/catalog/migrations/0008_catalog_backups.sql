-- Backups of the catalog itself into a vault.

-- One row, once there was one.
CREATE TABLE catalog_backups (
    place         BIGINT NOT NULL PRIMARY KEY,
    -- When the last one began, whatever became of it, and where it goes to.
    begun         BIGINT,
    begun_vault   TEXT,
    -- When the last one that got through ended, and where it is.
    ended         BIGINT,
    vault_id      TEXT,
    snapshot_hash TEXT,
    -- Why the last one did not get through; cleared by one that did.
    trouble       TEXT
);
CREATE INDEX work_catalog_backup ON work (queue_order) WHERE kind = 'BACKUP_CATALOG' AND state <> 'DONE';
