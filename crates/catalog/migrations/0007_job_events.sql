-- What became of each backup job and restore job: one row for each change of its state, written with the change.
CREATE TABLE job_events (
    account_id TEXT   NOT NULL REFERENCES accounts (account_id),
    -- The id of the job or restore job.
    work_id    TEXT   NOT NULL,
    -- From 1, in the order of the changes.
    seq        BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    -- Which lease it was under, counted from 1; 0 before the first.
    attempt    BIGINT NOT NULL,
    -- The client that held the lease.
    client_id  TEXT,
    -- The epoch of the lease: what an agent reported under another one changed nothing.
    epoch      BIGINT NOT NULL,
    time       BIGINT NOT NULL,
    message    TEXT,
    PRIMARY KEY (account_id, work_id, seq)
);
