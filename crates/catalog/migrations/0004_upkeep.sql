-- Checks and prunes of vaults, what they found, and snapshots that somebody else removed.

-- What a task is to do (the part of the data that a check reads, n/t), and what came of it, as JSON.
ALTER TABLE tasks ADD COLUMN spec TEXT;
ALTER TABLE tasks ADD COLUMN result TEXT;
CREATE INDEX tasks_of_vault ON tasks (account_id, vault_id, created_time, task_id);

-- Set when the snapshot was not in its vault any more; such a snapshot is not shown.
ALTER TABLE snapshots ADD COLUMN missing_since BIGINT;
CREATE INDEX snapshots_missing ON snapshots (missing_since) WHERE missing_since IS NOT NULL;

-- When each vault was last looked after.
CREATE TABLE vault_upkeep (
    vault_id      TEXT   NOT NULL PRIMARY KEY,
    -- When the last check began, and the part of the data that it read (from 1; 0: none).
    checked       BIGINT,
    check_part    BIGINT NOT NULL,
    -- When the last check that got through ended.
    check_ended   BIGINT,
    pruned        BIGINT,
    prune_ended   BIGINT,
    -- Whether there is something to free.
    wants_prune   BIGINT NOT NULL,
    -- Why the last check, the last prune did not get through; cleared by one that did.
    check_trouble TEXT,
    prune_trouble TEXT
);

-- Damage that checks found. It stays until a check of the same extent finds none.
CREATE TABLE vault_damage (
    vault_id   TEXT   NOT NULL,
    -- What was looked at: 0 of 0 is the structure, n of t a part of the data.
    part       BIGINT NOT NULL,
    parts      BIGINT NOT NULL,
    task_id    TEXT   NOT NULL,
    found_time BIGINT NOT NULL,
    message    TEXT   NOT NULL,
    PRIMARY KEY (vault_id, part, parts)
);
