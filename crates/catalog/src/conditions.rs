//! Building the WHERE of a list: clauses that are ANDed, with their values.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row};

use crate::error::{CatalogError, SqlResult};
use crate::records::{Page, PageRequest};

/// Clauses that are ANDed, with the values of their `?` in order.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// `column = value`.
    pub(crate) fn equal(column: &str, value: &str) -> Self {
        Self {
            sql: format!("{column} = ?"),
            values: vec![Value::Text(value.to_owned())],
        }
    }

    /// Adds a clause with its values.
    pub(crate) fn and(&mut self, clause: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(clause);
        self.values.extend(values);
    }

    /// Adds `column = value` when there is a value.
    pub(crate) fn and_equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.and(&format!("{column} = ?"), [Value::Text(value.to_owned())]);
        }
    }

    /// Adds `column IN (…)` when there is a list; an empty list matches nothing.
    pub(crate) fn and_in(&mut self, column: &str, list: Option<&[String]>) {
        if let Some(list) = list {
            self.and_in_values(column, list.iter().cloned().map(Value::Text).collect());
        }
    }

    /// Adds `column IN (…)`; an empty list matches nothing.
    pub(crate) fn and_in_values(&mut self, column: &str, list: Vec<Value>) {
        if list.is_empty() {
            self.and("1 = 0", []);
        } else {
            self.and(&format!("{column} IN ({})", marks(list.len())), list);
        }
    }

    /// The statement that gives `columns` of the rows that match, and its values.
    pub(crate) fn select(self, columns: &str, table: &str) -> (String, Vec<Value>) {
        (
            format!("SELECT {columns} FROM {table} WHERE {}", self.sql),
            self.values,
        )
    }

    /// The statement of [`Conditions::count`].
    pub(crate) fn count_sql(&self, table: &str) -> String {
        format!("SELECT COUNT(*) FROM {table} WHERE {}", self.sql)
    }

    /// The statement of [`Conditions::rows`].
    pub(crate) fn rows_sql(&self, table: &str, order: &str) -> String {
        format!(
            "SELECT * FROM {table} WHERE {} ORDER BY {order} LIMIT ? OFFSET ?",
            self.sql
        )
    }

    /// How many rows of `table` match.
    pub(crate) fn count(
        &self,
        connection: &Connection,
        operation: &'static str,
        table: &str,
    ) -> Result<u64, CatalogError> {
        let sql = self.count_sql(table);
        let count: i64 = prepare(connection, &sql)
            .and_then(|mut statement| {
                statement.query_row(rusqlite::params_from_iter(&self.values), |row| row.get(0))
            })
            .op(operation)?;
        Ok(count.unsigned_abs())
    }

    /// Rows `offset..offset + limit` of the rows that match, in `order`.
    pub(crate) fn rows<T>(
        &self,
        connection: &Connection,
        operation: &'static str,
        (table, order): (&str, &str),
        (limit, offset): (i64, i64),
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, CatalogError> {
        let sql = self.rows_sql(table, order);
        let mut values = self.values.clone();
        values.extend([Value::Integer(limit), Value::Integer(offset)]);
        let mut statement = prepare(connection, &sql).op(operation)?;
        let rows = statement
            .query_map(rusqlite::params_from_iter(&values), read)
            .op(operation)?;
        rows.collect::<rusqlite::Result<Vec<T>>>().op(operation)
    }

    /// A page and the exact count, of one state of the database when `connection` is in a transaction.
    pub(crate) fn page<T>(
        &self,
        connection: &Connection,
        operation: &'static str,
        (table, order): (&str, &str),
        page: PageRequest,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Page<T>, CatalogError> {
        let total = self.count(connection, operation, table)?;
        if page.offset().unsigned_abs() >= total {
            return Ok(Page {
                rows: Vec::new(),
                total,
            });
        }
        let rows = self.rows(
            connection,
            operation,
            (table, order),
            (page.limit(), page.offset()),
            read,
        )?;
        Ok(Page { rows, total })
    }
}

/// `?, ?, ?`.
pub(crate) fn marks(count: usize) -> String {
    let mut text = "?, ".repeat(count);
    text.truncate(text.len().saturating_sub(2));
    text
}

/// Every statement of the catalog is prepared here. In tests, one that would read a whole growing table fails.
fn prepare<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    #[cfg(test)]
    crate::tests::support::check_query_plan(connection, sql);
    connection.prepare_cached(sql)
}

/// The first row of a statement, if any.
pub(crate) fn first<T>(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, CatalogError> {
    let mut statement = prepare(connection, sql).op(operation)?;
    let mut rows = statement.query(params).op(operation)?;
    match rows.next().op(operation)? {
        Some(row) => read(row).map(Some).op(operation),
        None => Ok(None),
    }
}

/// All rows of a statement.
pub(crate) fn all<T>(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, CatalogError> {
    let mut statement = prepare(connection, sql).op(operation)?;
    let rows = statement.query_map(params, read).op(operation)?;
    rows.collect::<rusqlite::Result<Vec<T>>>().op(operation)
}

/// Hands all rows of a statement to `take`, one after the other.
pub(crate) fn each(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), CatalogError> {
    while_each(connection, operation, sql, params, |row| {
        take(row).map(|()| true)
    })
    .map(drop)
}

/// Hands rows of a statement to `take` until it says `false`; whether it never did.
pub(crate) fn while_each(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> Result<bool, CatalogError> {
    let mut statement = prepare(connection, sql).op(operation)?;
    let mut rows = statement.query(params).op(operation)?;
    while let Some(row) = rows.next().op(operation)? {
        if !take(row).op(operation)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs a statement and says how many rows it changed.
pub(crate) fn change(
    connection: &Connection,
    operation: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<usize, CatalogError> {
    prepare(connection, sql)
        .and_then(|mut statement| statement.execute(params))
        .op(operation)
}
