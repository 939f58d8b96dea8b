-- Calls that may change something, chained by hashes. Rows are only ever added.
CREATE TABLE audit (
    seq        BIGINT NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL,
    -- JSON; the hash covers exactly this text.
    entry      TEXT   NOT NULL,
    hash       TEXT   NOT NULL
);
CREATE INDEX audit_of_account ON audit (account_id, seq);
