//! The audit log: rows that are only ever added, each chained to the one before ([`model::audit`]).
//!
//! An entry is not synced by itself: the entry that a call begins with is written before the change that it announces, so
//! the transaction that makes the change durable makes the entry durable with it. No change outlives a loss of power
//! without its entry. The log has no end of its own: nothing here removes rows.

use model::AccountId;
use model::audit::{AuditEntry, Head, chain};

use crate::conditions::{all, change, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::row::json;
use crate::sql::{Row, params};

/// An entry with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// From 1, without gaps.
    pub seq: i64,
    /// The entry as JSON, exactly as it was hashed.
    pub entry: String,
    /// See [`model::audit::chain`].
    pub hash: String,
}

fn read(row: &Row<'_>) -> crate::sql::Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get("seq")?,
        entry: row.get("entry")?,
        hash: row.get("hash")?,
    })
}

fn last(tx: &Tx<'_>) -> Result<Head, CatalogError> {
    let sql = "SELECT * FROM audit ORDER BY seq DESC LIMIT 1";
    let row = first(tx, "read the end of the audit log", sql, [], read)?;
    Ok(row.map_or_else(Head::start, |row| Head {
        seq: row.seq,
        hash: row.hash,
    }))
}

/// Adds an entry.
pub fn append(catalog: &Catalog, entry: &AuditEntry) -> Result<(), CatalogError> {
    let operation = "write the audit log";
    let text = json(entry);
    catalog.write_relaxed(operation, |tx| {
        let last = last(tx)?;
        let seq = last.seq + 1;
        let hash = chain(&last.hash, seq, &text);
        let sql = "INSERT INTO audit (seq, account_id, entry, hash) VALUES (?, ?, ?, ?)";
        change(
            tx,
            operation,
            sql,
            params![seq, entry.account_id, text, hash],
        )?;
        Ok(())
    })
}

/// The end of the log.
pub fn head(catalog: &Catalog) -> Result<Head, CatalogError> {
    catalog.read("read the end of the audit log", last)
}

/// At most `limit` entries after number `after`, oldest first: of one account, or of all.
pub fn list(
    catalog: &Catalog,
    account_id: Option<&AccountId>,
    after: i64,
    limit: i64,
) -> Result<Vec<AuditRow>, CatalogError> {
    let operation = "read the audit log";
    catalog.read(operation, |tx| match account_id {
        Some(account_id) => {
            let sql = "SELECT * FROM audit WHERE account_id = ? AND seq > ? ORDER BY seq LIMIT ?";
            all(
                tx,
                operation,
                sql,
                params![account_id.as_str(), after, limit],
                read,
            )
        }
        None => {
            let sql = "SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?";
            all(tx, operation, sql, params![after, limit], read)
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use model::AccountId;
    use model::audit::{AuditEntry, Head, Phase, Verifier};

    use super::{append, head, list};
    use crate::{Catalog, CatalogOptions};

    fn entry(account: u64, action: &str) -> AuditEntry {
        AuditEntry {
            time: 1,
            phase: Phase::Begin,
            request_id: "R".to_owned(),
            account_id: AccountId::new(account).to_string(),
            principal: "acs:ram::1:root".to_owned(),
            access_key_id: "K".to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            action: action.to_owned(),
            target: serde_json::Map::new(),
            code: None,
        }
    }

    fn verify(catalog: &Catalog) -> Head {
        let mut verifier = Verifier::from(Head::start());
        for row in list(catalog, None, 0, 100_000).unwrap() {
            verifier.follow(row.seq, &row.entry, &row.hash).unwrap();
            serde_json::from_str::<AuditEntry>(&row.entry).unwrap();
        }
        verifier.head().clone()
    }

    #[test]
    fn entries_are_chained_over_restarts_and_listed_by_account() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            || Catalog::open(&folder.path().join("c.sqlite"), CatalogOptions::default()).unwrap();
        let catalog = open();
        assert_eq!(head(&catalog).unwrap(), Head::start());
        for (account, action) in [(1, "a"), (2, "b"), (1, "c")] {
            append(&catalog, &entry(account, action)).unwrap();
        }
        drop(catalog);
        let catalog = open();
        append(&catalog, &entry(2, "\"d\" é\n")).unwrap();
        assert_eq!(verify(&catalog), head(&catalog).unwrap());
        let of = |account, after, limit| {
            let rows = list(&catalog, Some(&AccountId::new(account)), after, limit).unwrap();
            rows.into_iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 0, 10), [1, 3]);
        assert_eq!(of(1, 1, 10), [3]);
        assert_eq!(of(2, 0, 1), [2]);
        assert!(of(3, 0, 10).is_empty());
    }

    #[test]
    fn writers_at_the_same_time_make_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sqlite");
        let catalog = Arc::new(Catalog::open(&path, CatalogOptions::default()).unwrap());
        std::thread::scope(|scope| {
            for number in 0..4u64 {
                let catalog = catalog.clone();
                scope.spawn(move || {
                    for _ in 0..50 {
                        append(&catalog, &entry(number, "x")).unwrap();
                    }
                });
            }
        });
        assert_eq!(verify(&catalog).seq, 200);
    }
}
