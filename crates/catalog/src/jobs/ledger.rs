//! The index of the job ledger beside the database: kept up with the change log, never asked before it is up to date.
//!
//! Each account's index is behind one lock. A question compares, in one transaction, the version of each part in the
//! database with that of the index; when they are the same it answers, and the rows it reads in that transaction are of
//! the same state. Otherwise it brings the index up to the transaction's state first: so an answer is exact and never
//! stale, whoever else writes to the database. Writers do the same after their commit, so that questions rarely have to.
//!
//! Order of locks: the writer's connection, then an account's index, then a reading connection.

use std::collections::{BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use model::{AccountId, Filter, Test};
use parking_lot::{Mutex, RwLock};

use super::index_rows;
use super::kept_bodies::KeptBodies;
use super::parts::{self, Part, Version};
use super::query::add_test;
use crate::conditions::{Conditions, all, first};
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::ledger::{self, JobIds, PartIndex, StateCounts};
use crate::sql::Value;

/// A part's index and the version of the part that it shows.
#[derive(Debug)]
pub(super) struct IndexedPart {
    pub(super) part_id: i64,
    pub(super) version: Version,
    pub(super) index: PartIndex,
    /// The version that was last written as a snapshot.
    pub(super) saved_version: Version,
}

impl IndexedPart {
    /// Brings it to the state of its part that `tx` sees.
    fn sync(&mut self, ledger: &Ledger, tx: &Tx<'_>, part: &Part) -> Result<(), CatalogError> {
        if self.version != part.version
            && !index_rows::catch_up(tx, self, &ledger.bodies, part.version)?
        {
            ledger.bodies.forget(parts::all_rows(part.part_id));
            index_rows::rebuild(tx, self)?;
            self.version = part.version;
        }
        Ok(())
    }
}

/// How many parts are loaded at a time. Each takes a connection, and others want to read meanwhile.
fn loader_count() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get().min(3))
}

/// The index of one account.
#[derive(Debug, Default)]
pub(super) struct AccountIndex {
    /// In the order of their ids.
    pub(super) parts: Vec<IndexedPart>,
}

/// A part whose index was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The part.
    pub part_id: i64,
    /// What the index counted.
    pub in_index: StateCounts,
    /// What the database has.
    pub in_database: StateCounts,
}

type Shared = Arc<RwLock<AccountIndex>>;

/// The indexes of all accounts that were asked about since the start.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// A mutex: it is held only to find the account's own lock.
    accounts: Mutex<HashMap<AccountId, Shared>>,
    pub(super) dir: Option<PathBuf>,
    pub(super) bodies: KeptBodies,
}

impl Ledger {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self {
            accounts: Mutex::default(),
            dir,
            bodies: KeptBodies::default(),
        }
    }

    fn account(&self, account_id: &AccountId) -> Shared {
        let mut accounts = self.accounts.lock();
        match accounts.get(account_id) {
            Some(shared) => shared.clone(),
            None => accounts.entry(account_id.clone()).or_default().clone(),
        }
    }

    /// All accounts with an index.
    pub(super) fn all(&self) -> Vec<(AccountId, Shared)> {
        let accounts = self.accounts.lock();
        accounts
            .iter()
            .map(|(id, shared)| (id.clone(), shared.clone()))
            .collect()
    }

    /// Brings the accounts' indexes up to date after a commit. What fails is not lost: the next question does it.
    pub(crate) fn follow(&self, catalog: &Catalog, accounts: &BTreeSet<AccountId>) {
        for account_id in accounts {
            let known = self.accounts.lock().get(account_id).cloned();
            let Some(shared) = known else {
                continue;
            };
            let mut index = shared.write();
            let _ = catalog.read("follow the ledger", |tx| index.sync(self, tx, account_id));
        }
    }

    /// Answers from the account's index, as it is in the state of the database that `body`'s transaction sees.
    pub(super) fn read<T>(
        &self,
        catalog: &Catalog,
        operation: &'static str,
        account_id: &AccountId,
        body: impl Fn(&Tx<'_>, &AccountIndex) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let shared = self.account(account_id);
        {
            let index = shared.read();
            // The transaction begins under the lock: its state cannot be older than the index.
            let answer = catalog.read(operation, |tx| {
                if index.is_current(tx, account_id)? {
                    body(tx, &index).map(Some)
                } else {
                    Ok(None)
                }
            })?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        let mut index = shared.write();
        if index.parts.is_empty() {
            index.fill(self, catalog, account_id)?;
        }
        catalog.read(operation, |tx| {
            index.sync(self, tx, account_id)?;
            index.gather(tx)?;
            body(tx, &index)
        })
    }

    /// Answers from the account's index in a transaction that has begun; `None` when the index is of another state, be it
    /// older or newer, when it would have to be waited for, or when `body` gives up.
    pub(super) fn try_read<T>(
        &self,
        tx: &Tx<'_>,
        account_id: &AccountId,
        body: impl FnOnce(&Tx<'_>, &AccountIndex) -> Result<Option<T>, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        let shared = self.account(account_id);
        let Some(index) = shared.try_read() else {
            return Ok(None);
        };
        if index.is_current(tx, account_id)? {
            body(tx, &index)
        } else {
            Ok(None)
        }
    }

    /// The parts of an account whose index does not count what the database does. The database is read in one
    /// transaction, without holding up anybody. Each part that differs is built anew when it is next asked.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) fn compare(
        &self,
        catalog: &Catalog,
        account_id: &AccountId,
    ) -> Result<Vec<Difference>, CatalogError> {
        let shared = self.account(account_id);
        let index = shared.read();
        let differences = catalog.read("check the ledger", |tx| {
            if !index.is_current(tx, account_id)? {
                // It is about to be brought up to date; the next check sees it.
                return Ok(Vec::new());
            }
            let mut counts = Vec::new();
            for part in &index.parts {
                counts.push((part.part_id, part.index.counts()));
            }
            drop(index);
            let mut differences = Vec::new();
            for (part_id, in_index) in counts {
                let in_database = index_rows::counts(tx, part_id)?;
                if in_index != in_database {
                    differences.push(Difference {
                        part_id,
                        in_index,
                        in_database,
                    });
                }
            }
            Ok(differences)
        })?;
        if !differences.is_empty() {
            let mut index = shared.write();
            index.parts.retain(|part| {
                differences
                    .iter()
                    .all(|other| other.part_id != part.part_id)
            });
            for difference in &differences {
                self.forget(difference.part_id);
                self.bodies.forget(parts::all_rows(difference.part_id));
            }
        }
        Ok(differences)
    }

    /// At most `limit` jobs that ended before a time, by part, in a transaction that writes and has not changed any job
    /// yet.
    pub(super) fn ended_before(
        &self,
        tx: &Tx<'_>,
        account_id: &AccountId,
        before: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Vec<u32>)>, CatalogError> {
        let shared = self.account(account_id);
        let mut index = shared.write();
        index.sync(self, tx, account_id)?;
        let mut left = limit;
        let found = index.parts.iter().map(|part| {
            let mut seqs = ledger::ended_before(&part.index, before, left);
            seqs.sort_unstable();
            left -= seqs.len();
            (part.part_id, seqs)
        });
        Ok(found.collect())
    }

    /// The jobs that match, by part, in a transaction that writes and has not changed any job yet.
    pub(super) fn matching(
        &self,
        tx: &Tx<'_>,
        account_id: &AccountId,
        filters: &[Filter],
    ) -> Result<Vec<(i64, Vec<u32>)>, CatalogError> {
        let shared = self.account(account_id);
        let mut index = shared.write();
        index.sync(self, tx, account_id)?;
        index.with_parts(tx, account_id, |parts| {
            let found = parts
                .iter()
                .zip(&index.parts)
                .map(|((part, ids), indexed)| {
                    let mut seqs = ledger::matching(part, filters, *ids)?;
                    seqs.sort_unstable();
                    Ok((indexed.part_id, seqs))
                });
            found.collect()
        })
    }
}

impl AccountIndex {
    /// Whether the index shows the state that `tx` sees, and is in order.
    fn is_current(&self, tx: &Tx<'_>, account_id: &AccountId) -> Result<bool, CatalogError> {
        let present = tx.remembered("parts", account_id.as_str(), || {
            parts::of_account(tx, account_id)
        })?;
        let is_same = |(part, indexed): (&Part, &IndexedPart)| {
            part.part_id == indexed.part_id
                && part.version == indexed.version
                && !indexed.index.is_scattered()
        };
        Ok(present.len() == self.parts.len() && present.iter().zip(&self.parts).all(is_same))
    }

    /// Brings all parts to the state that `tx` sees.
    fn sync(
        &mut self,
        ledger: &Ledger,
        tx: &Tx<'_>,
        account_id: &AccountId,
    ) -> Result<(), CatalogError> {
        for part in parts::of_account(tx, account_id)? {
            let place = self
                .parts
                .partition_point(|indexed| indexed.part_id < part.part_id);
            if self
                .parts
                .get(place)
                .is_none_or(|indexed| indexed.part_id != part.part_id)
            {
                let indexed = ledger.load(part.part_id, part.source_type);
                self.parts.insert(place, indexed);
            }
            self.parts[place].sync(ledger, tx, &part)?;
        }
        Ok(())
    }

    /// Loads all parts, several at a time, each in a transaction of its own. A transaction that begins afterwards sees
    /// states that are not older.
    fn fill(
        &mut self,
        ledger: &Ledger,
        catalog: &Catalog,
        account_id: &AccountId,
    ) -> Result<(), CatalogError> {
        let operation = "load the ledger";
        // The largest first.
        let mut waiting = catalog.read(operation, |tx| parts::of_account(tx, account_id))?;
        waiting.sort_unstable_by_key(|part| part.end_seq);
        let waiting = Mutex::new(waiting);
        let load = || -> Result<Vec<IndexedPart>, CatalogError> {
            let mut loaded = Vec::new();
            loop {
                let Some(next) = waiting.lock().pop() else {
                    return Ok(loaded);
                };
                let mut indexed = ledger.load(next.part_id, next.source_type);
                catalog.read(operation, |tx| {
                    let now = parts::of_account(tx, account_id)?.into_iter();
                    let mut now = now.filter(|part| part.part_id == next.part_id);
                    now.try_for_each(|part| indexed.sync(ledger, tx, &part))
                })?;
                loaded.push(indexed);
            }
        };
        let loaded = thread::scope(|scope| -> Result<Vec<IndexedPart>, CatalogError> {
            let others: Vec<_> = (1..loader_count()).map(|_| scope.spawn(load)).collect();
            let mut loaded = load()?;
            for other in others {
                let result = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                loaded.extend(result?);
            }
            Ok(loaded)
        });
        self.parts = loaded?;
        self.parts.sort_unstable_by_key(|indexed| indexed.part_id);
        Ok(())
    }

    /// Builds the parts anew that imports have left in too many runs.
    fn gather(&mut self, tx: &Tx<'_>) -> Result<(), CatalogError> {
        for indexed in self
            .parts
            .iter_mut()
            .filter(|indexed| indexed.index.is_scattered())
        {
            index_rows::rebuild(tx, indexed)?;
        }
        Ok(())
    }

    /// The parts with what finds their ids.
    pub(super) fn with_parts<T>(
        &self,
        tx: &Tx<'_>,
        account_id: &AccountId,
        body: impl FnOnce(&[(&PartIndex, &dyn JobIds)]) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let ids: Vec<PartIds<'_, '_>> = self
            .parts
            .iter()
            .map(|indexed| PartIds {
                tx,
                account_id,
                part_id: indexed.part_id,
            })
            .collect();
        let parts: Vec<(&PartIndex, &dyn JobIds)> = self
            .parts
            .iter()
            .zip(&ids)
            .map(|(indexed, ids)| (&indexed.index, ids as &dyn JobIds))
            .collect();
        body(&parts)
    }
}

/// The ids of a part's jobs in the database.
struct PartIds<'a, 'c> {
    tx: &'a Tx<'c>,
    account_id: &'a AccountId,
    part_id: i64,
}

impl PartIds<'_, '_> {
    fn own(&self, row_id: i64) -> Option<u32> {
        let (part_id, seq) = parts::split_row_id(row_id);
        (part_id == self.part_id).then_some(seq)
    }
}

impl JobIds for PartIds<'_, '_> {
    fn job_id(&self, seq: u32) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT job_id FROM jobs WHERE row_id = ?";
        let row_id = parts::row_id(self.part_id, seq);
        first(self.tx, "read a job's id", sql, [row_id], |row| row.get(0))
    }

    fn seq(&self, job_id: &str) -> Result<Option<u32>, CatalogError> {
        let sql = "SELECT row_id FROM jobs WHERE account_id = ? AND job_id = ?";
        let found = first(
            self.tx,
            "find a job",
            sql,
            [self.account_id.as_str(), job_id],
            |row| row.get(0),
        )?;
        Ok(found.and_then(|row_id| self.own(row_id)))
    }

    fn seqs(&self, test: &Test<String>) -> Result<Vec<u32>, CatalogError> {
        let mut conditions = Conditions::equal("account_id", self.account_id.as_str());
        add_test(&mut conditions, "job_id", test, |text| {
            Value::Text(text.clone())
        });
        let (sql, values) = conditions.select("row_id", "jobs");
        let rows = all(self.tx, "find jobs", &sql, &values[..], |row| row.get(0))?;
        Ok(rows
            .into_iter()
            .filter_map(|row_id| self.own(row_id))
            .collect())
    }
}
