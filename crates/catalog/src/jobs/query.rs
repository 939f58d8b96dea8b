//! Questions over the whole history of jobs: the index says which and how many, the database gives their rows.
//!
//! The meaning is that of [`JobQuery::matches`]; property tests compare the two.

use model::{AccountId, Filter, JobQuery, Predicate, Test};

use super::kept_bodies::Body;
use super::ledger::AccountIndex;
use super::{parts, store};
use crate::conditions::{Conditions, each, first};
use crate::db::{Catalog, Reading, Tx};
use crate::error::CatalogError;
use crate::ledger;
use crate::records::{Job, Page};
use crate::sql::Value;

const OPERATION: &str = "query jobs";
/// What a caller that must not be held up can ask for, see [`ledger::effort`].
const MAX_QUICK_EFFORT: u64 = 1_000;

/// The page and the exact count of the account's jobs that match, of one state of the catalog.
pub fn query(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &JobQuery,
) -> Result<Page<Job>, CatalogError> {
    rows(catalog, account_id, query, |tx, row_id| {
        let sql = "SELECT * FROM jobs WHERE row_id = ?";
        first(tx, OPERATION, sql, [row_id], store::read)
    })
}

/// The page of the account's jobs that match as JSON objects, and the exact count. A catalog without a
/// [`Renderer`](super::Renderer) has none.
pub fn bodies(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &JobQuery,
) -> Result<Page<Body>, CatalogError> {
    rows(catalog, account_id, query, |tx, row_id| {
        body(catalog, tx, row_id)
    })
}

/// As [`bodies`], of a state of the catalog that is at hand, for a caller that must not be held up: `None` when something
/// would have to be waited for, when the index is of another state, and for questions that may take more than about a
/// millisecond.
pub fn try_bodies(
    catalog: &Catalog,
    reading: &Reading<'_, '_>,
    account_id: &AccountId,
    query: &JobQuery,
) -> Result<Option<Page<Body>>, CatalogError> {
    let ledger = &catalog.ledger;
    let tried = ledger.try_read(reading.0, account_id, |tx, index| {
        let parts = index.parts.iter().map(|part| &part.index);
        if ledger::effort(parts, query) > MAX_QUICK_EFFORT {
            return Ok(None);
        }
        let read = |tx: &Tx<'_>, row_id| body(catalog, tx, row_id);
        answer(tx, account_id, index, query, read).map(Some)
    });
    match tried {
        // The state at hand has passed.
        Err(CatalogError::Busy) => Ok(None),
        tried => tried,
    }
}

/// The JSON of the job in a row that the index has found: that which is kept, or made of its columns.
fn body(catalog: &Catalog, tx: &Tx<'_>, row_id: i64) -> Result<Option<Body>, CatalogError> {
    let known = &catalog.ledger.bodies;
    if let Some(body) = known.get(row_id) {
        return Ok(Some(body));
    }
    stored_body(tx, row_id, |kept| known.insert(row_id, kept.clone()))
}

/// The same from the database; `note` gets a body that is kept there.
fn stored_body(
    tx: &Tx<'_>,
    row_id: i64,
    note: impl FnOnce(&Body),
) -> Result<Option<Body>, CatalogError> {
    if let Some(kept) = store::kept_body(tx, row_id)? {
        let body = Body::from(kept);
        note(&body);
        return Ok(Some(body));
    }
    Ok(store::make_body(tx, row_id)?.map(Body::from))
}

/// A job for another service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedJob {
    /// The region, which the JSON does not have.
    pub region_id: String,
    /// The JSON object, as [`bodies`] gives it.
    pub body: Body,
}

/// As [`bodies`], each with what its JSON leaves out.
pub fn export(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &JobQuery,
) -> Result<Page<ExportedJob>, CatalogError> {
    rows(catalog, account_id, query, |tx, row_id| {
        let sql = "SELECT region_id FROM jobs WHERE row_id = ?";
        let region_id = first(tx, "read a job's region", sql, [row_id], |row| row.get(0))?;
        // Past the bodies in memory: a whole history would push out what is looked at.
        let found = region_id.zip(stored_body(tx, row_id, |_| ())?);
        Ok(found.map(|(region_id, body)| ExportedJob { region_id, body }))
    })
}

/// How much the kept JSON of jobs takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyFigures {
    /// Jobs whose JSON is kept.
    pub count: u64,
    /// Its bytes, packed.
    pub bytes: u64,
}

/// How much the kept JSON of all accounts' jobs takes. Reads all of them: for figures, not for requests.
pub fn body_figures(catalog: &Catalog) -> Result<BodyFigures, CatalogError> {
    let mut figures = BodyFigures { count: 0, bytes: 0 };
    let sql = "SELECT COUNT(body), COALESCE(SUM(LENGTH(body)), 0) FROM jobs WHERE row_id >= 0";
    catalog.read("measure bodies", |tx| {
        each(tx, "measure bodies", sql, [], |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            figures = BodyFigures {
                count: number(0)?,
                bytes: number(1)?,
            };
            Ok(())
        })
    })?;
    Ok(figures)
}

/// As [`query`], with each row as `read` gives it.
fn rows<T>(
    catalog: &Catalog,
    account_id: &AccountId,
    query: &JobQuery,
    read: impl Fn(&Tx<'_>, i64) -> Result<Option<T>, CatalogError>,
) -> Result<Page<T>, CatalogError> {
    let ledger = &catalog.ledger;
    ledger.read(catalog, OPERATION, account_id, |tx, index| {
        answer(tx, account_id, index, query, &read)
    })
}

fn answer<T>(
    tx: &Tx<'_>,
    account_id: &AccountId,
    index: &AccountIndex,
    query: &JobQuery,
    read: impl Fn(&Tx<'_>, i64) -> Result<Option<T>, CatalogError>,
) -> Result<Page<T>, CatalogError> {
    let answer = index.with_parts(tx, account_id, |parts| ledger::query(parts, query))?;
    let rows = answer.rows.iter().map(|(part, seq)| {
        let row_id = parts::row_id(index.parts[*part].part_id, *seq);
        read(tx, row_id)?.ok_or_else(|| CatalogError::Damaged {
            operation: OPERATION,
            detail: format!("the index has a job that the database does not have (row {row_id})"),
        })
    });
    Ok(Page {
        rows: rows.collect::<Result<Vec<_>, _>>()?,
        total: answer.total,
    })
}

/// Adds a filter on a column; also for restore jobs.
pub(crate) fn add_filter(conditions: &mut Conditions, filter: &Filter, column: Option<&str>) {
    let Some(column) = column else {
        // No row has the field.
        conditions.and(
            if filter.predicate.matches_missing() {
                "1 = 1"
            } else {
                "1 = 0"
            },
            [],
        );
        return;
    };
    match &filter.predicate {
        Predicate::Text(test) => {
            add_test(conditions, column, test, |text| Value::Text(text.clone()))
        }
        Predicate::Time(test) => add_test(conditions, column, test, |time| Value::Integer(*time)),
    }
}

pub(crate) fn add_test<T>(
    conditions: &mut Conditions,
    column: &str,
    test: &Test<T>,
    bind: fn(&T) -> Value,
) {
    let mut compare = |operator: &str, bound: &T| {
        conditions.and(&format!("{column} {operator} ?"), [bind(bound)]);
    };
    match test {
        Test::Equal(bound) => compare("=", bound),
        Test::NotEqual(bound) => compare("IS DISTINCT FROM", bound),
        Test::Greater(bound) => compare(">", bound),
        Test::GreaterOrEqual(bound) => compare(">=", bound),
        Test::Less(bound) => compare("<", bound),
        Test::LessOrEqual(bound) => compare("<=", bound),
        Test::Between(low, high) => {
            conditions.and(
                &format!("{column} BETWEEN ? AND ?"),
                [bind(low), bind(high)],
            );
        }
        Test::In(bounds) => conditions.and_in_values(column, bounds.iter().map(bind).collect()),
    }
}
