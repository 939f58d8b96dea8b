-- Users and roles of accounts, what they may do, and accounts that are switched off.

ALTER TABLE accounts ADD COLUMN status TEXT NOT NULL DEFAULT 'ACTIVE';

-- The user that the key belongs to, for a user's key.
ALTER TABLE access_keys ADD COLUMN user_name TEXT;
CREATE INDEX access_keys_user ON access_keys (account_id, user_name) WHERE user_name IS NOT NULL;

CREATE TABLE users (
    account_id   TEXT   NOT NULL REFERENCES accounts (account_id),
    user_name    TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    -- A policy document; without one the user may do nothing.
    policy       TEXT,
    created_time BIGINT NOT NULL,
    updated_time BIGINT NOT NULL,
    PRIMARY KEY (account_id, user_name)
);

CREATE TABLE roles (
    account_id          TEXT   NOT NULL REFERENCES accounts (account_id),
    role_name           TEXT   NOT NULL,
    role_id             TEXT   NOT NULL,
    -- Who may take the role on, and what the role may do: policy documents.
    trust               TEXT   NOT NULL,
    policy              TEXT,
    max_session_seconds BIGINT NOT NULL,
    created_time        BIGINT NOT NULL,
    updated_time        BIGINT NOT NULL,
    PRIMARY KEY (account_id, role_name)
);
