-- Policies and their bindings, rules of plans, tags, what snapshots were promised, and records that the service keeps
-- for its callers.

-- A plan that runs one rule of a policy binding or of another plan. It is not shown; its owner is.
ALTER TABLE plans ADD COLUMN owner_id TEXT;
ALTER TABLE plans ADD COLUMN rule_id TEXT;
-- JSON of the promise (days, the newest kept, advanced rules) to the snapshots of an owned plan.
ALTER TABLE plans ADD COLUMN retention_rule TEXT;
CREATE INDEX plans_owner ON plans (owner_id) WHERE owner_id IS NOT NULL;

-- The promise to a snapshot, as it was when the snapshot was made.
ALTER TABLE snapshots ADD COLUMN retention_rule TEXT;
-- Why somebody holds it; while it is set the snapshot is not deleted.
ALTER TABLE snapshots ADD COLUMN hold_reason TEXT;
CREATE INDEX snapshots_plan ON snapshots (account_id, vault_id, plan_id, created_time)
    WHERE delete_task_id IS NULL;
CREATE INDEX snapshots_of_instance ON snapshots (account_id, instance_id, complete_time, snapshot_id)
    WHERE delete_task_id IS NULL;
CREATE INDEX snapshots_expiring ON snapshots (expire_time)
    WHERE expire_time IS NOT NULL AND delete_task_id IS NULL;

CREATE TABLE policies (
    policy_id          TEXT   NOT NULL PRIMARY KEY,
    account_id         TEXT   NOT NULL REFERENCES accounts (account_id),
    policy_name        TEXT   NOT NULL,
    policy_description TEXT   NOT NULL,
    policy_type        TEXT   NOT NULL,
    -- JSON list, each rule as it came in with its id.
    rules              TEXT   NOT NULL,
    created_time       BIGINT NOT NULL,
    updated_time       BIGINT NOT NULL
);
CREATE INDEX policies_account ON policies (account_id, created_time, policy_id);

CREATE TABLE policy_bindings (
    binding_id     TEXT   NOT NULL PRIMARY KEY,
    account_id     TEXT   NOT NULL REFERENCES accounts (account_id),
    policy_id      TEXT   NOT NULL REFERENCES policies (policy_id),
    source_type    TEXT   NOT NULL,
    data_source_id TEXT   NOT NULL,
    -- JSON of what was asked for.
    spec           TEXT   NOT NULL,
    disabled       BIGINT NOT NULL,
    created_by_tag BIGINT NOT NULL,
    created_time   BIGINT NOT NULL,
    updated_time   BIGINT NOT NULL,
    UNIQUE (policy_id, source_type, data_source_id)
);
CREATE INDEX policy_bindings_account ON policy_bindings (account_id, created_time, binding_id);
CREATE INDEX policy_bindings_source ON policy_bindings (account_id, source_type, data_source_id);

CREATE TABLE tags (
    account_id    TEXT NOT NULL REFERENCES accounts (account_id),
    resource_type TEXT NOT NULL,
    resource_id   TEXT NOT NULL,
    tag_key       TEXT NOT NULL,
    tag_value     TEXT NOT NULL,
    PRIMARY KEY (account_id, resource_type, resource_id, tag_key)
);

-- Records that the service keeps for its callers and never acts on: data sources, cross accounts, container clusters,
-- settings and resource groups of clients, tasks that had nothing to do.
CREATE TABLE kept_records (
    account_id   TEXT   NOT NULL REFERENCES accounts (account_id),
    kind         TEXT   NOT NULL,
    record_id    TEXT   NOT NULL,
    -- What no two records of a kind share.
    unique_key   TEXT   NOT NULL,
    -- JSON.
    body         TEXT   NOT NULL,
    created_time BIGINT NOT NULL,
    updated_time BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind, record_id),
    UNIQUE (account_id, kind, unique_key)
);
CREATE INDEX kept_records_created ON kept_records (account_id, kind, created_time, record_id);

-- What the server was started with last, where the rows depend on it.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
