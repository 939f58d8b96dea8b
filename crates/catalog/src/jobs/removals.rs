//! The jobs of plans and vaults that are deleted: gone at once, however many they are, and their rows removed in short
//! transactions.
//!
//! A few are removed in the transaction that deletes their plan or vault. Many are hidden by it: a row of `job_removals`
//! says whose jobs they are and that their numbers are below a bound, the change log says the same to every index, and
//! from then on nobody sees them. [`remove_hidden`] takes their rows away, a few hundred at a time, so that nobody who
//! writes waits for long; what it has done is noted in the same transactions, so that it goes on after a crash.
//!
//! Hidden jobs have all ended: one that goes on is removed at once, and its agent learns of it.
//!
//! Whoever reads rows of jobs by the index never meets a hidden one. Whoever finds them otherwise asks [`hides`], or masks
//! them with [`Hidden`].

use model::{AccountId, Filter, FilterKey, JobStatus, PlanId, Predicate, Test, VaultId};

use super::{parts, store};
use crate::conditions::{all, change, first, while_each};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::item_errors;
use crate::row::RowReader;
use crate::sql::{Row, Value, params};

/// More jobs than this are hidden and removed in steps; also how many a step removes.
const MAX_JOBS: usize = if cfg!(test) { 2 } else { 500 };
/// Rows of error lists that a step removes.
const MAX_ERROR_ROWS: usize = if cfg!(test) { 3 } else { 20_000 };
/// Rows that a step looks at, without keeping anybody waiting.
const MAX_LOOKED_AT: i64 = if cfg!(test) { 5 } else { 50_000 };

/// Whose jobs are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    Plan(&'a PlanId),
    Vault(&'a VaultId),
}

impl Owner<'_> {
    fn filter(self) -> Filter {
        let (key, id) = match self {
            Self::Plan(plan_id) => (FilterKey::PlanId, plan_id.as_str()),
            Self::Vault(vault_id) => (FilterKey::VaultId, vault_id.as_str()),
        };
        Filter {
            key,
            predicate: Predicate::Text(Test::Equal(id.to_owned())),
        }
    }
}

/// Jobs of a part that are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    part_id: i64,
    version: i64,
    plan_id: Option<String>,
    vault_id: Option<String>,
    end_seq: i64,
    next_seq: i64,
}

const COLUMNS: &str = "part_id, version, plan_id, vault_id, end_seq, next_seq";

impl Removal {
    fn read(row: &Row<'_>) -> crate::sql::Result<Self> {
        Ok(Self {
            part_id: row.get(0)?,
            version: row.get(1)?,
            plan_id: row.get(2)?,
            vault_id: row.get(3)?,
            end_seq: row.get(4)?,
            next_seq: row.get(5)?,
        })
    }

    /// That of the change log's entry of this version; `None` when it is not known any more.
    pub(super) fn of_version(
        tx: &Tx<'_>,
        part_id: i64,
        version: i64,
    ) -> Result<Option<Self>, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM job_removals WHERE part_id = ? AND version = ?");
        let ids = [part_id, version];
        first(tx, "read a removal", &sql, ids, Self::read)
    }

    /// The field of the jobs that go, and its value.
    pub(super) fn text(&self) -> (FilterKey, &str) {
        match (&self.plan_id, &self.vault_id) {
            (Some(plan_id), _) => (FilterKey::PlanId, plan_id),
            (None, vault_id) => (FilterKey::VaultId, vault_id.as_deref().unwrap_or_default()),
        }
    }

    /// Whether a job with this number, plan and vault is one of them.
    fn has(&self, seq: u32, plan_id: Option<&str>, vault_id: Option<&str>) -> bool {
        let is_theirs = match self.text() {
            (FilterKey::PlanId, own) => plan_id == Some(own),
            (_, own) => vault_id == Some(own),
        };
        is_theirs && i64::from(seq) < self.end_seq
    }
}

/// What is hidden of a part.
#[derive(Debug)]
pub(super) struct Hidden(Vec<Removal>);

impl Hidden {
    pub(super) fn of_part(tx: &Tx<'_>, part_id: i64) -> Result<Self, CatalogError> {
        let sql =
            format!("SELECT {COLUMNS} FROM job_removals WHERE part_id = ? AND next_seq < end_seq");
        all(tx, "read removals", &sql, [part_id], Removal::read).map(Self)
    }

    /// Whether a job with this number, plan and vault is hidden.
    pub(super) fn has(&self, seq: u32, plan_id: Option<&str>, vault_id: Option<&str>) -> bool {
        let mut removals = self.0.iter();
        removals.any(|removal| removal.has(seq, plan_id, vault_id))
    }

    /// Adds to a condition on rows of the part that they are not hidden, with its values.
    pub(super) fn mask(&self, sql: &mut String, values: &mut Vec<Value>) {
        for removal in &self.0 {
            let (key, own) = removal.text();
            let column = match key {
                FilterKey::PlanId => "plan_id",
                _ => "vault_id",
            };
            sql.push_str(&format!(
                " AND (row_id >= ? OR {column} IS DISTINCT FROM ?)"
            ));
            let end = parts::row_id(removal.part_id, 0).saturating_add(removal.end_seq);
            values.extend([Value::Integer(end), Value::Text(own.to_owned())]);
        }
    }
}

/// Whether the row of a job only waits to be removed.
pub(crate) fn hides(
    tx: &Tx<'_>,
    account_id: &AccountId,
    job_id: &str,
) -> Result<bool, CatalogError> {
    let sql = "SELECT 1 FROM jobs JOIN job_removals ON job_removals.part_id = jobs.row_id >> 32 \
               AND job_removals.end_seq > jobs.row_id - (job_removals.part_id << 32) \
               AND (job_removals.plan_id = jobs.plan_id OR job_removals.vault_id = jobs.vault_id) \
               WHERE jobs.account_id = ? AND jobs.job_id = ? LIMIT 1";
    let ids = [account_id.as_str(), job_id];
    let found = first(tx, "look for a removal", sql, ids, |_| Ok(()))?;
    Ok(found.is_some())
}

/// Deletes the account's jobs of a plan or vault, with what hangs on them. To be called before anything else of the
/// transaction touches jobs.
pub(crate) fn delete_of(
    catalog: &Catalog,
    tx: &Tx<'_>,
    account_id: &AccountId,
    owner: Owner<'_>,
) -> Result<(), CatalogError> {
    let filter = owner.filter();
    let found = catalog
        .ledger
        .matching(tx, account_id, std::slice::from_ref(&filter))?;
    let count: usize = found.iter().map(|(_, seqs)| seqs.len()).sum();
    if count <= MAX_JOBS {
        return remove_now(tx, account_id, &filter, found);
    }
    let open = catalog
        .ledger
        .matching(tx, account_id, &[filter.clone(), has_not_ended()])?;
    remove_now(tx, account_id, &filter, open)?;
    for (part_id, _) in found.iter().filter(|(_, seqs)| !seqs.is_empty()) {
        hide(tx, account_id, *part_id, owner)?;
    }
    Ok(())
}

fn has_not_ended() -> Filter {
    let states = JobStatus::ALL.iter().filter(|status| !status.is_final());
    Filter {
        key: FilterKey::Status,
        predicate: Predicate::Text(Test::In(
            states.map(|status| status.as_str().to_owned()).collect(),
        )),
    }
}

fn remove_now(
    tx: &Tx<'_>,
    account_id: &AccountId,
    filter: &Filter,
    found: Vec<(i64, Vec<u32>)>,
) -> Result<(), CatalogError> {
    for (part_id, seqs) in found {
        let mut deleted = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let row_id = parts::row_id(part_id, seq);
            let sql = "SELECT * FROM jobs WHERE row_id = ?";
            // The database is the truth: what the index names and does not match is left alone.
            let job = first(tx, "delete jobs", sql, [row_id], store::read)?
                .filter(|job| filter.matches(&job.fields()));
            let Some(job) = job else {
                continue;
            };
            store::remove(tx, account_id, job.job_id.as_str(), row_id)?;
            deleted.push(seq);
        }
        parts::note_deleted(tx, account_id, part_id, &deleted)?;
    }
    Ok(())
}

fn hide(
    tx: &Tx<'_>,
    account_id: &AccountId,
    part_id: i64,
    owner: Owner<'_>,
) -> Result<(), CatalogError> {
    let (version, end_seq) = parts::note_hidden(tx, account_id, part_id)?;
    let (plan_id, vault_id) = match owner {
        Owner::Plan(plan_id) => (Some(plan_id.as_str()), None),
        Owner::Vault(vault_id) => (None, Some(vault_id.as_str())),
    };
    let sql = "INSERT INTO job_removals (part_id, version, plan_id, vault_id, end_seq, next_seq) \
               VALUES (?, ?, ?, ?, ?, 0)";
    let values = params![part_id, version, plan_id, vault_id, end_seq];
    change(tx, "hide jobs", sql, values)?;
    Ok(())
}

/// What one step of [`remove_hidden`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Jobs whose rows are removed.
    pub jobs: usize,
    /// Whether more is to go: call again.
    pub has_more: bool,
}

/// Removes rows of jobs that went with their plan or vault: as many as one short transaction may.
///
/// # Errors
/// Those of the database. Nobody sees the jobs, whether their rows are there or not.
pub fn remove_hidden(catalog: &Catalog) -> Result<Removed, CatalogError> {
    let operation = "remove deleted jobs";
    let Some((removal, stretch)) = catalog.read(operation, |tx| {
        let sql = format!(
            "SELECT {COLUMNS} FROM job_removals WHERE next_seq < end_seq ORDER BY part_id, version LIMIT 1"
        );
        let removal = first(tx, operation, &sql, [], Removal::read)?;
        removal
            .map(|removal| Ok((removal.clone(), Stretch::read(tx, &removal)?)))
            .transpose()
    })?
    else {
        return Ok(Removed::default());
    };
    // A loss of power may undo it: the jobs stay hidden, and their rows are removed again.
    catalog.write_relaxed(operation, |tx| stretch.remove(tx, &removal))
}

/// Rows of a removal that were looked at.
#[derive(Debug)]
struct Stretch {
    /// The rows that are to go, by their numbers.
    found: Vec<u32>,
    /// All numbers below were looked at.
    end_seq: i64,
}

impl Stretch {
    fn read(tx: &Tx<'_>, removal: &Removal) -> Result<Self, CatalogError> {
        let sql = "SELECT row_id, plan_id, vault_id FROM jobs WHERE row_id >= ? AND row_id < ? ORDER BY row_id LIMIT ?";
        let first_row = parts::row_id(removal.part_id, 0);
        let values = params![
            first_row + removal.next_seq,
            first_row + removal.end_seq,
            MAX_LOOKED_AT
        ];
        let (mut found, mut looked_at, mut end_seq) = (Vec::new(), 0, removal.next_seq);
        let is_whole = while_each(tx, "look for deleted jobs", sql, values, |row| {
            let (_, seq) = parts::split_row_id(row.get(0)?);
            (looked_at, end_seq) = (looked_at + 1, i64::from(seq) + 1);
            if removal.has(
                seq,
                row.text_opt(1)?.as_deref(),
                row.text_opt(2)?.as_deref(),
            ) {
                found.push(seq);
            }
            Ok(found.len() < MAX_JOBS)
        })?;
        if is_whole && looked_at < MAX_LOOKED_AT {
            end_seq = removal.end_seq;
        }
        Ok(Self { found, end_seq })
    }

    fn remove(&self, tx: &Tx<'_>, removal: &Removal) -> Result<Removed, CatalogError> {
        let operation = "remove deleted jobs";
        let mut removed = Removed {
            jobs: 0,
            has_more: true,
        };
        let present = Removal::of_version(tx, removal.part_id, removal.version)?;
        if present.as_ref() != Some(removal) {
            // Another server was faster.
            return Ok(removed);
        }
        let (mut end_seq, mut error_rows_left) = (self.end_seq, MAX_ERROR_ROWS);
        for seq in &self.found {
            let row_id = parts::row_id(removal.part_id, *seq);
            let sql = "SELECT account_id, job_id FROM jobs WHERE row_id = ?";
            let job = first(tx, operation, sql, [row_id], |row| {
                Ok((row.parsed("account_id")?, row.get::<_, String>(1)?))
            })?;
            // An import may have put it elsewhere meanwhile.
            let Some((account_id, job_id)) = job else {
                continue;
            };
            let limit = error_rows_left;
            let (rows, is_all) = item_errors::remove_some(tx, &account_id, &job_id, limit)?;
            error_rows_left = limit.saturating_sub(rows);
            if !is_all {
                end_seq = i64::from(*seq);
                break;
            }
            store::remove(tx, &account_id, &job_id, row_id)?;
            removed.jobs += 1;
        }
        let sql = "UPDATE job_removals SET next_seq = ? WHERE part_id = ? AND version = ?";
        change(
            tx,
            operation,
            sql,
            [end_seq, removal.part_id, removal.version],
        )?;
        Ok(removed)
    }
}
