-- The job ledger: jobs are numbered within their part (account and source type), and the index in memory answers what the
-- secondary indexes on jobs answered before.

CREATE TABLE job_parts (
    part_id     INTEGER NOT NULL PRIMARY KEY,
    account_id  TEXT    NOT NULL REFERENCES accounts (account_id),
    source_type TEXT    NOT NULL,
    -- Raised by every change of a field that can be filtered by; each value has its rows in job_changes.
    version     BIGINT  NOT NULL,
    -- Random, set anew with each version: tells histories apart that share their numbers.
    stamp       BIGINT  NOT NULL,
    -- The number of the next job; numbers are never used again.
    next_seq    BIGINT  NOT NULL,
    UNIQUE (account_id, source_type)
);

-- What became of the jobs first_seq..last_seq of a part: ADDED, CHANGED, DELETED. Old versions are cut off.
CREATE TABLE job_changes (
    part_id   BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    stamp     BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq  BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    PRIMARY KEY (part_id, version, first_seq)
);

INSERT INTO job_parts (account_id, source_type, version, stamp, next_seq)
    SELECT account_id, source_type, 0, 0, COUNT(*) FROM jobs GROUP BY account_id, source_type;

CREATE TABLE jobs_numbered (
    -- The part's id times 2^32, plus the job's number in its part.
    row_id          INTEGER NOT NULL PRIMARY KEY,
    account_id      TEXT   NOT NULL REFERENCES accounts (account_id),
    job_id          TEXT   NOT NULL,
    created_time    BIGINT NOT NULL,
    status          TEXT   NOT NULL,
    complete_time   BIGINT,
    region_id       TEXT   NOT NULL,
    plan_id         TEXT,
    vault_id        TEXT,
    instance_id     TEXT,
    bucket          TEXT,
    file_system_id  TEXT,
    instance_name   TEXT,
    backup_type     TEXT   NOT NULL,
    parent_id       TEXT,
    source_type     TEXT   NOT NULL,
    job_name        TEXT   NOT NULL,
    client_id       TEXT,
    trigger_mode    TEXT,
    paths           TEXT   NOT NULL,
    include         TEXT,
    exclude         TEXT,
    speed_limit     TEXT,
    options         TEXT,
    retention       BIGINT,
    source_fields   TEXT   NOT NULL,
    start_time      BIGINT,
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
    -- The job as the API shows it, packed, once it has ended and nothing of it changes any more.
    body            BLOB,
    UNIQUE (account_id, job_id)
);

INSERT INTO jobs_numbered
    SELECT p.part_id * 4294967296
             + ROW_NUMBER() OVER (PARTITION BY j.account_id, j.source_type ORDER BY j.created_time, j.job_id) - 1,
           j.account_id, j.job_id, j.created_time, j.status, j.complete_time, j.region_id, j.plan_id, j.vault_id,
           j.instance_id, j.bucket, j.file_system_id, j.instance_name, j.backup_type, j.parent_id, j.source_type,
           j.job_name, j.client_id, j.trigger_mode, j.paths, j.include, j.exclude, j.speed_limit, j.options,
           j.retention, j.source_fields, j.start_time, j.updated_time, j.progress, j.speed, j.bytes_total,
           j.bytes_done, j.actual_bytes, j.items_total, j.items_done, j.actual_items, j.files_total, j.files_done,
           j.actual_files, j.error_count, j.error_message, j.error_epoch, NULL
      FROM jobs j JOIN job_parts p ON p.account_id = j.account_id AND p.source_type = j.source_type;

DROP TABLE jobs;
ALTER TABLE jobs_numbered RENAME TO jobs;

-- Works that have not ended, by their plan: tells whether a plan's job goes on.
CREATE INDEX work_open ON work (account_id, serial_key, work_id) WHERE state <> 'DONE';
