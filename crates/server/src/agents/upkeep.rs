//! What an agent found in a check, a prune or a backup of the catalog, as the catalog books it.

use api::agent_protocol::{MAX_OTHER_SNAPSHOTS, MAX_TOLD_SNAPSHOTS, OtherSnapshot, UpkeepReport};
use api::error::ApiError;
use catalog::snapshots::FoundSnapshot;
use catalog::upkeep::Found;
use catalog::{Catalog, Work};
use model::{JobStatus, Timestamp};
use vault::{Id, Snapshot};

use crate::found_snapshot;

/// The findings. What the lists say in words is kept as they are; snapshots must be ids.
pub(super) fn booked(
    catalog: &Catalog,
    item: &Work,
    report: UpkeepReport,
    now: Timestamp,
) -> Result<Found, ApiError> {
    let is_hash = |text: &String| {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if report.missing.len().max(report.present.len()) > MAX_TOLD_SNAPSHOTS
        || !report.missing.iter().chain(&report.present).all(is_hash)
    {
        return Err(ApiError::invalid(
            "upkeep",
            "snapshots must be ids of 64 hex digits",
        ));
    }
    if report
        .catalog
        .as_ref()
        .is_some_and(|found| !is_hash(&found.snapshot_hash))
    {
        return Err(ApiError::invalid(
            "upkeep",
            "the snapshot must be an id of 64 hex digits",
        ));
    }
    if !report.missing.is_empty() {
        tracing::warn!(
            vault_id = %item.vault_id,
            count = report.missing.len(),
            "another program removed snapshots from the vault"
        );
    }
    let findings = serde_json::json!({
        "Check": report.check,
        "Prune": report.prune,
        "Catalog": report.catalog,
        "MissingSnapshots": report.missing.len(),
        "ReappearedSnapshots": report.present.len(),
        "OtherSnapshots": report.others.len(),
    });
    let mut found = Found {
        result: findings.to_string(),
        missing: report.missing,
        present: report.present,
        others: rows_of(catalog, item, &report.others, now)?,
        ..Found::default()
    };
    if let Some(check) = &report.check {
        let first = check.errors.first().map_or("", String::as_str);
        let touched = match check.touched_paths.first() {
            Some(path) => format!(
                "; {} files or folders touched, the first: {path}",
                check.touched
            ),
            None => String::new(),
        };
        let said = |count: u64| (count > 0).then(|| format!("{count} findings: {first}{touched}"));
        found.structure_damage = said(check.structure_errors);
        found.data_damage = said(check.data_errors);
    }
    if let Some(catalog) = report.catalog {
        found.wants_prune = catalog.removed_snapshots > 0;
        found.snapshot_hash = Some(catalog.snapshot_hash);
    }
    if let Some(prune) = &report.prune {
        let left = prune.marked_packs + prune.deferred_packs + prune.unindexed_packs;
        found.wants_prune = left > 0 || !prune.failed.is_empty();
    }
    Ok(found)
}

fn rows_of(
    catalog: &Catalog,
    item: &Work,
    others: &[OtherSnapshot],
    now: Timestamp,
) -> Result<Vec<FoundSnapshot>, ApiError> {
    let invalid = || ApiError::invalid("upkeep", "a snapshot of others is none");
    if others.len() > MAX_OTHER_SNAPSHOTS {
        return Err(invalid());
    }
    let row_of = |other: &OtherSnapshot| {
        let id: Id = other.id.parse().map_err(|_| invalid())?;
        let snapshot = Snapshot::decode(&id, other.text.as_bytes()).map_err(|_| invalid())?;
        let found = (&id, &snapshot);
        let (account_id, vault_id) = (&item.account_id, &item.vault_id);
        Ok(FoundSnapshot {
            snapshot: found_snapshot::row_of(catalog, account_id, vault_id, found, now),
            original: snapshot.original.map(|id| id.to_hex()),
        })
    };
    others.iter().map(row_of).collect()
}

/// Says the end in the log: a check that found damage, or a prune that failed, must not pass unseen.
pub(super) fn tell(item: &Work, outcome: JobStatus, message: Option<&str>) {
    if outcome == JobStatus::Failed {
        tracing::error!(
            vault_id = %item.vault_id,
            task_id = item.work_id,
            kind = %item.kind,
            "{}; see: strongroom vault tasks {}",
            message.unwrap_or("it failed"),
            item.vault_id
        );
    }
}
