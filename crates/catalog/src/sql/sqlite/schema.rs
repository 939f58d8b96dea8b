//! Bringing a SQLite file up to date.
//!
//! The file's `user_version` is the number of the last migration that was applied; each one is one transaction together
//! with that number, so a crash leaves a database of some version, never of half a version.

use rusqlite::{Connection, TransactionBehavior};

use super::pragma;
use crate::error::{CatalogError, SqlResult};
use crate::migrations;
use crate::sql::{SqlError, damage};

pub(crate) fn version(connection: &Connection) -> Result<i64, CatalogError> {
    pragma(connection, "PRAGMA user_version")
        .and_then(|version| {
            let version = version.unwrap_or_default();
            version
                .parse()
                .map_err(|_| damage(format!("schema version {version}")))
        })
        .op("read the schema version")
}

/// The tables with the columns of their primary keys, in order.
pub(in crate::sql) const TABLES: &str = "/* whole */ SELECT m.name AS table_name, c.name AS column_name \
     FROM sqlite_schema m LEFT JOIN pragma_table_info(m.name) c ON c.pk > 0 \
     WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY m.name, c.pk";

/// Applies those of the migrations that the database does not have yet.
pub(super) fn apply(connection: &mut Connection, migrations: &[&str]) -> Result<(), CatalogError> {
    let operation = "migrate the catalog";
    for (number, sql) in migrations::missing(version(connection)?, migrations)? {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(SqlError::from)
            .op(operation)?;
        // Another process may have been faster while this one waited for the lock.
        if version(&transaction)? >= number {
            continue;
        }
        transaction
            .execute_batch(sql)
            .and_then(|()| transaction.execute_batch(&format!("PRAGMA user_version = {number}")))
            .and_then(|()| transaction.commit())
            .map_err(SqlError::from)
            .op(operation)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::db::{Catalog, CatalogOptions};
    use crate::migrations::MIGRATIONS;

    fn open(path: &std::path::Path) -> Result<Catalog, CatalogError> {
        Catalog::open(path, CatalogOptions::default())
    }

    #[test]
    fn an_empty_or_missing_file_gets_the_whole_schema() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["missing.db", "empty.db"] {
            let path = folder.path().join(name);
            if name == "empty.db" {
                std::fs::write(&path, b"").unwrap();
            }
            drop(open(&path).unwrap());
            let catalog = open(&path).unwrap();
            let found = catalog.read("test", |tx| version(tx.sqlite())).unwrap();
            assert_eq!(found, MIGRATIONS.len() as i64);
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        drop(open(&path).unwrap());
        let newer = MIGRATIONS.len() as i64 + 1;
        Connection::open(&path)
            .unwrap()
            .execute_batch(&format!("PRAGMA user_version = {newer}"))
            .unwrap();
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, CatalogError::SchemaTooNew { found, .. } if found == newer),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("use the newer program"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        let garbage = vec![0x5a; 8192];
        std::fs::write(&path, &garbage).unwrap();
        assert!(matches!(open(&path), Err(CatalogError::Damaged { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), garbage);
    }

    #[test]
    fn each_migration_is_applied_once_and_whole() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE a (x BIGINT);";
        let second = "INSERT INTO a VALUES (1); CREATE TABLE b (x BIGINT);";
        apply(&mut connection, &[first]).unwrap();
        // The last statement fails: the ones before it leave no trace, the version stays.
        let broken = "INSERT INTO a VALUES (9); CREATE TABLE a (x BIGINT);";
        assert!(apply(&mut connection, &[first, broken]).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        for _ in 0..2 {
            apply(&mut connection, &[first, second]).unwrap();
            let sum: i64 = connection
                .query_row("SELECT SUM(x) FROM a", [], |row| row.get(0))
                .unwrap();
            assert_eq!((sum, version(&connection).unwrap()), (1, 2));
        }
    }
}
