-- The first schema. Times are UNIX seconds, texts compare by bytes, JSON is kept as text.
-- Migrations are append-only: a released file never changes.

CREATE TABLE accounts (
    account_id      TEXT   NOT NULL PRIMARY KEY,
    account_name    TEXT   NOT NULL,
    order_id        TEXT,
    created_time    BIGINT NOT NULL,
    -- Microseconds that the latest job id was made of: job ids and CreatedTime never go backwards in an account.
    last_job_micros BIGINT NOT NULL
);

CREATE TABLE access_keys (
    access_key_id TEXT   NOT NULL PRIMARY KEY,
    account_id    TEXT   NOT NULL REFERENCES accounts (account_id),
    kind          TEXT   NOT NULL,
    client_id     TEXT,
    sealed_secret BLOB   NOT NULL,
    status        TEXT   NOT NULL,
    created_time  BIGINT NOT NULL
);
CREATE INDEX access_keys_account ON access_keys (account_id, created_time);
CREATE INDEX access_keys_client ON access_keys (client_id) WHERE client_id IS NOT NULL;

CREATE TABLE vaults (
    vault_id            TEXT   NOT NULL PRIMARY KEY,
    account_id          TEXT   NOT NULL REFERENCES accounts (account_id),
    vault_name          TEXT   NOT NULL,
    description         TEXT   NOT NULL,
    vault_region_id     TEXT   NOT NULL,
    vault_type          TEXT   NOT NULL,
    vault_storage_class TEXT   NOT NULL,
    encrypt_type        TEXT   NOT NULL,
    kms_key_id          TEXT,
    worm_enabled        BIGINT NOT NULL,
    resource_group_id   TEXT,
    status              TEXT   NOT NULL,
    status_message      TEXT,
    storage_url         TEXT   NOT NULL,
    sealed_password     BLOB   NOT NULL,
    -- Source bytes that jobs have read into the vault, and bytes they have added to its storage.
    bytes_done          BIGINT NOT NULL,
    storage_size        BIGINT NOT NULL,
    created_time        BIGINT NOT NULL,
    updated_time        BIGINT NOT NULL,
    -- Set when the vault was deleted: nobody sees it any more, a task still removes what it stored.
    deleted_time        BIGINT
);
CREATE INDEX vaults_account ON vaults (account_id, created_time, vault_id);

CREATE TABLE clients (
    client_id            TEXT   NOT NULL PRIMARY KEY,
    account_id           TEXT   NOT NULL REFERENCES accounts (account_id),
    instance_id          TEXT   NOT NULL,
    machine_id           TEXT   NOT NULL,
    client_type          TEXT   NOT NULL,
    hostname             TEXT   NOT NULL,
    os_type              TEXT   NOT NULL,
    arch_type            TEXT   NOT NULL,
    client_version       TEXT   NOT NULL,
    private_ipv4         TEXT,
    status               TEXT   NOT NULL,
    created_time         BIGINT NOT NULL,
    updated_time         BIGINT NOT NULL,
    last_heart_beat_time BIGINT NOT NULL,
    UNIQUE (account_id, machine_id),
    UNIQUE (account_id, instance_id)
);
CREATE INDEX clients_account ON clients (account_id, created_time, client_id);
CREATE INDEX clients_silent ON clients (last_heart_beat_time) WHERE status = 'ACTIVATED';

CREATE TABLE plans (
    plan_id               TEXT   NOT NULL PRIMARY KEY,
    account_id            TEXT   NOT NULL REFERENCES accounts (account_id),
    region_id             TEXT   NOT NULL,
    plan_name             TEXT   NOT NULL,
    source_type           TEXT   NOT NULL,
    backup_type           TEXT   NOT NULL,
    edition               TEXT   NOT NULL,
    vault_id              TEXT,
    client_id             TEXT,
    instance_id           TEXT,
    bucket                TEXT,
    file_system_id        TEXT,
    instance_name         TEXT,
    paths                 TEXT   NOT NULL,
    include               TEXT,
    exclude               TEXT,
    speed_limit           TEXT,
    options               TEXT,
    schedule              TEXT,
    retention             BIGINT,
    keep_latest_snapshots BIGINT,
    source_fields         TEXT   NOT NULL,
    rules                 TEXT,
    disabled              BIGINT NOT NULL,
    -- The next run of the schedule; absent while the plan is disabled or has no schedule.
    next_run_time         BIGINT,
    latest_execute_job_id TEXT,
    latest_finish_job_id  TEXT,
    created_time          BIGINT NOT NULL,
    updated_time          BIGINT NOT NULL
);
CREATE INDEX plans_account ON plans (account_id, created_time, plan_id);
CREATE INDEX plans_vault ON plans (vault_id);
CREATE INDEX plans_instance ON plans (account_id, instance_id);
CREATE INDEX plans_due ON plans (next_run_time) WHERE next_run_time IS NOT NULL;
-- Two plans of one source type in one vault never share a name; plans without a vault are apart.
CREATE UNIQUE INDEX plans_name ON plans (account_id, COALESCE(vault_id, ''), source_type, plan_name);

CREATE TABLE jobs (
    account_id      TEXT   NOT NULL REFERENCES accounts (account_id),
    job_id          TEXT   NOT NULL,
    job_name        TEXT   NOT NULL,
    region_id       TEXT   NOT NULL,
    source_type     TEXT   NOT NULL,
    backup_type     TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    vault_id        TEXT,
    plan_id         TEXT,
    client_id       TEXT,
    instance_id     TEXT,
    bucket          TEXT,
    file_system_id  TEXT,
    instance_name   TEXT,
    parent_id       TEXT,
    trigger_mode    TEXT,
    paths           TEXT   NOT NULL,
    include         TEXT,
    exclude         TEXT,
    speed_limit     TEXT,
    options         TEXT,
    retention       BIGINT,
    source_fields   TEXT   NOT NULL,
    created_time    BIGINT NOT NULL,
    start_time      BIGINT,
    complete_time   BIGINT,
    updated_time    BIGINT NOT NULL,
    progress        BIGINT NOT NULL,
    speed           BIGINT NOT NULL,
    bytes_total     BIGINT NOT NULL,
    bytes_done      BIGINT NOT NULL,
    actual_bytes    BIGINT NOT NULL,
    items_total     BIGINT NOT NULL,
    items_done      BIGINT NOT NULL,
    actual_items    BIGINT NOT NULL,
    files_total     BIGINT NOT NULL,
    files_done      BIGINT NOT NULL,
    actual_files    BIGINT NOT NULL,
    error_count     BIGINT NOT NULL,
    error_message   TEXT,
    -- Which lease's rows of item_errors tell of the result; absent until the job has ended.
    error_epoch     BIGINT,
    PRIMARY KEY (account_id, job_id)
);
CREATE INDEX jobs_created ON jobs (account_id, created_time, job_id);
CREATE INDEX jobs_source_type ON jobs (account_id, source_type, created_time, job_id);
CREATE INDEX jobs_status ON jobs (account_id, status, created_time, job_id);
CREATE INDEX jobs_vault ON jobs (account_id, vault_id, created_time, job_id);
CREATE INDEX jobs_plan ON jobs (account_id, plan_id, created_time, job_id);
CREATE INDEX jobs_instance ON jobs (account_id, instance_id, created_time, job_id) WHERE instance_id IS NOT NULL;
CREATE INDEX jobs_bucket ON jobs (account_id, bucket, created_time, job_id) WHERE bucket IS NOT NULL;
CREATE INDEX jobs_file_system ON jobs (account_id, file_system_id, created_time, job_id)
    WHERE file_system_id IS NOT NULL;
CREATE INDEX jobs_instance_name ON jobs (account_id, instance_name, created_time, job_id)
    WHERE instance_name IS NOT NULL;
CREATE INDEX jobs_parent ON jobs (account_id, parent_id, created_time, job_id) WHERE parent_id IS NOT NULL;
-- Jobs that have not ended: few, whatever the length of the history.
CREATE INDEX jobs_active ON jobs (account_id, plan_id, job_id)
    WHERE status IN ('CREATED', 'QUEUED', 'RUNNING', 'CANCELING');
CREATE INDEX jobs_complete ON jobs (account_id, complete_time) WHERE complete_time IS NOT NULL;

CREATE TABLE item_errors (
    work_id   TEXT   NOT NULL,
    epoch     BIGINT NOT NULL,
    seq       BIGINT NOT NULL,
    path      TEXT   NOT NULL,
    operation TEXT   NOT NULL,
    errno     BIGINT,
    message   TEXT   NOT NULL,
    time      BIGINT NOT NULL,
    PRIMARY KEY (work_id, epoch, seq)
);

CREATE TABLE snapshots (
    snapshot_id                 TEXT   NOT NULL PRIMARY KEY,
    account_id                  TEXT   NOT NULL REFERENCES accounts (account_id),
    vault_id                    TEXT   NOT NULL,
    source_type                 TEXT   NOT NULL,
    snapshot_hash               TEXT   NOT NULL,
    parent_snapshot_hash        TEXT,
    job_id                      TEXT,
    plan_id                     TEXT,
    client_id                   TEXT,
    instance_id                 TEXT,
    bucket                      TEXT,
    file_system_id              TEXT,
    instance_name               TEXT,
    table_name                  TEXT,
    prefix                      TEXT,
    create_time                 BIGINT,
    backup_type                 TEXT   NOT NULL,
    status                      TEXT   NOT NULL,
    paths                       TEXT   NOT NULL,
    include                     TEXT,
    exclude                     TEXT,
    retention                   BIGINT,
    expire_time                 BIGINT,
    created_time                BIGINT NOT NULL,
    start_time                  BIGINT,
    complete_time               BIGINT NOT NULL,
    updated_time                BIGINT NOT NULL,
    bytes_total                 BIGINT NOT NULL,
    bytes_done                  BIGINT NOT NULL,
    actual_bytes                BIGINT NOT NULL,
    items_total                 BIGINT NOT NULL,
    items_done                  BIGINT NOT NULL,
    actual_items                BIGINT NOT NULL,
    error_file                  TEXT,
    -- The task that deletes it; such a snapshot is not shown.
    delete_task_id              TEXT,
    UNIQUE (vault_id, snapshot_hash)
);
CREATE INDEX snapshots_vault ON snapshots (account_id, vault_id, created_time, snapshot_id);
CREATE INDEX snapshots_instance ON snapshots (account_id, vault_id, instance_id, created_time, snapshot_id);
CREATE INDEX snapshots_complete ON snapshots (account_id, vault_id, complete_time, snapshot_id);
CREATE INDEX snapshots_deleting ON snapshots (delete_task_id) WHERE delete_task_id IS NOT NULL;
CREATE UNIQUE INDEX snapshots_job ON snapshots (account_id, job_id) WHERE job_id IS NOT NULL;

CREATE TABLE restore_jobs (
    account_id         TEXT   NOT NULL REFERENCES accounts (account_id),
    restore_id         TEXT   NOT NULL,
    restore_type       TEXT   NOT NULL,
    source_type        TEXT   NOT NULL,
    region_id          TEXT   NOT NULL,
    status             TEXT   NOT NULL,
    vault_id           TEXT   NOT NULL,
    snapshot_id        TEXT   NOT NULL,
    snapshot_hash      TEXT   NOT NULL,
    plan_id            TEXT,
    job_id             TEXT,
    source_instance_id TEXT,
    target_client_id   TEXT,
    target_instance_id TEXT,
    target_path        TEXT,
    target_bucket      TEXT,
    target_file_system_id TEXT,
    include            TEXT,
    exclude            TEXT,
    options            TEXT,
    target_fields      TEXT   NOT NULL,
    client_token       TEXT,
    -- The text of the request that came with the token: the same token with another request is refused.
    request_content    TEXT,
    created_time       BIGINT NOT NULL,
    start_time         BIGINT,
    complete_time      BIGINT,
    updated_time       BIGINT NOT NULL,
    progress           BIGINT NOT NULL,
    speed              BIGINT NOT NULL,
    bytes_total        BIGINT NOT NULL,
    bytes_done         BIGINT NOT NULL,
    actual_bytes       BIGINT NOT NULL,
    items_total        BIGINT NOT NULL,
    items_done         BIGINT NOT NULL,
    actual_items       BIGINT NOT NULL,
    files_total        BIGINT NOT NULL,
    files_done         BIGINT NOT NULL,
    actual_files       BIGINT NOT NULL,
    error_count        BIGINT NOT NULL,
    error_message      TEXT,
    error_epoch        BIGINT,
    PRIMARY KEY (account_id, restore_id)
);
CREATE INDEX restore_jobs_created ON restore_jobs (account_id, created_time, restore_id);
CREATE INDEX restore_jobs_type ON restore_jobs (account_id, restore_type, created_time, restore_id);
CREATE INDEX restore_jobs_vault ON restore_jobs (account_id, vault_id, created_time, restore_id);
CREATE INDEX restore_jobs_status ON restore_jobs (account_id, status, created_time, restore_id);
CREATE INDEX restore_jobs_snapshot ON restore_jobs (account_id, snapshot_id);
CREATE UNIQUE INDEX restore_jobs_token ON restore_jobs (account_id, client_token) WHERE client_token IS NOT NULL;

CREATE TABLE tasks (
    task_id        TEXT   NOT NULL PRIMARY KEY,
    account_id     TEXT   NOT NULL REFERENCES accounts (account_id),
    kind           TEXT   NOT NULL,
    status         TEXT   NOT NULL,
    vault_id       TEXT   NOT NULL,
    snapshot_id    TEXT,
    snapshot_hash  TEXT,
    progress       BIGINT NOT NULL,
    message        TEXT,
    created_time   BIGINT NOT NULL,
    updated_time   BIGINT NOT NULL,
    completed_time BIGINT
);
CREATE INDEX tasks_account ON tasks (account_id, created_time, task_id);
CREATE INDEX tasks_vault ON tasks (vault_id);

-- One row for each job, restore job and task that is to be run, made in the same transaction as that row.
CREATE TABLE work (
    work_id          TEXT   NOT NULL PRIMARY KEY,
    kind             TEXT   NOT NULL,
    account_id       TEXT   NOT NULL REFERENCES accounts (account_id),
    -- The client that must run it; absent means any client of the account.
    client_id        TEXT,
    vault_id         TEXT   NOT NULL,
    -- Two works with the same key are never leased at the same time (the plan of a job).
    serial_key       TEXT,
    state            TEXT   NOT NULL,
    -- Counts the leases; a report under another epoch changes nothing.
    epoch            BIGINT NOT NULL,
    holder_client_id TEXT,
    run_id           TEXT,
    lease_until      BIGINT,
    cancel_requested BIGINT NOT NULL,
    not_before       BIGINT NOT NULL,
    queue_order      BIGINT NOT NULL
);
CREATE INDEX work_queued ON work (account_id, queue_order) WHERE state = 'QUEUED';
CREATE INDEX work_leased ON work (lease_until) WHERE state = 'LEASED';
CREATE INDEX work_held ON work (holder_client_id) WHERE state = 'LEASED';
CREATE INDEX work_serial ON work (serial_key) WHERE state = 'LEASED';
CREATE INDEX work_vault ON work (vault_id);
