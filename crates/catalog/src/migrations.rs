//! The schema, as numbered files that are only ever added to, and one for all databases.
//!
//! They are written in the SQL that the databases share, in SQLite's words where there is no such; what another database
//! calls otherwise is put into its words when it is applied. Each database keeps the number of the last one that was
//! applied, in the transaction that applies it.

use crate::error::CatalogError;

/// Migration number `n` is at place `n - 1`. Released files never change.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_job_ledger.sql"),
    include_str!("../migrations/0003_control_plane.sql"),
    include_str!("../migrations/0004_upkeep.sql"),
    include_str!("../migrations/0005_identities.sql"),
    include_str!("../migrations/0006_audit.sql"),
    include_str!("../migrations/0007_job_events.sql"),
    include_str!("../migrations/0008_catalog_backups.sql"),
    include_str!("../migrations/0009_lent_work.sql"),
    include_str!("../migrations/0010_job_removals.sql"),
];

/// The migrations that a database of version `found` lacks, with their numbers. `SchemaTooNew` when it has more than
/// there are.
pub(crate) fn missing<'a>(
    found: i64,
    migrations: &[&'a str],
) -> Result<Vec<(i64, &'a str)>, CatalogError> {
    let supported = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > supported {
        return Err(CatalogError::SchemaTooNew { found, supported });
    }
    Ok((1..)
        .zip(migrations.iter().copied())
        .filter(|(number, _)| *number > found)
        .collect())
}
