//! Building the WHERE of a list: clauses that are ANDed, with their values.

use crate::db::Tx;
use crate::error::{CatalogError, SqlResult};
use crate::records::{Page, PageRequest};
use crate::sql::{Params, Row, Value};

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
        tx: &Tx<'_>,
        operation: &'static str,
        table: &str,
    ) -> Result<u64, CatalogError> {
        let sql = self.count_sql(table);
        let count: Option<i64> = first(tx, operation, &sql, &self.values[..], |row| row.get(0))?;
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// Rows `offset..offset + limit` of the rows that match, in `order`.
    pub(crate) fn rows<T>(
        &self,
        tx: &Tx<'_>,
        operation: &'static str,
        (table, order): (&str, &str),
        (limit, offset): (i64, i64),
        read: fn(&Row<'_>) -> crate::sql::Result<T>,
    ) -> Result<Vec<T>, CatalogError> {
        let sql = self.rows_sql(table, order);
        let mut values = self.values.clone();
        values.extend([Value::Integer(limit), Value::Integer(offset)]);
        all(tx, operation, &sql, &values[..], read)
    }

    /// A page and the exact count, of one state of the database as the transaction sees it.
    pub(crate) fn page<T>(
        &self,
        tx: &Tx<'_>,
        operation: &'static str,
        (table, order): (&str, &str),
        page: PageRequest,
        read: fn(&Row<'_>) -> crate::sql::Result<T>,
    ) -> Result<Page<T>, CatalogError> {
        let total = self.count(tx, operation, table)?;
        if page.offset().unsigned_abs() >= total {
            return Ok(Page {
                rows: Vec::new(),
                total,
            });
        }
        let rows = self.rows(
            tx,
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

/// The first row of a statement, if any.
pub(crate) fn first<T>(
    tx: &Tx<'_>,
    operation: &'static str,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> crate::sql::Result<T>,
) -> Result<Option<T>, CatalogError> {
    let (mut read, mut found) = (Some(read), None);
    while_each(tx, operation, sql, params, |row| {
        if let Some(read) = read.take() {
            found = Some(read(row)?);
        }
        Ok(false)
    })?;
    Ok(found)
}

/// All rows of a statement.
pub(crate) fn all<T>(
    tx: &Tx<'_>,
    operation: &'static str,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> crate::sql::Result<T>,
) -> Result<Vec<T>, CatalogError> {
    let mut rows = Vec::new();
    each(tx, operation, sql, params, |row| {
        rows.push(read(row)?);
        Ok(())
    })?;
    Ok(rows)
}

/// Hands all rows of a statement to `take`, one after the other.
pub(crate) fn each(
    tx: &Tx<'_>,
    operation: &'static str,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(&Row<'_>) -> crate::sql::Result<()>,
) -> Result<(), CatalogError> {
    while_each(tx, operation, sql, params, |row| take(row).map(|()| true)).map(drop)
}

/// Hands rows of a statement to `take` until it says `false`; whether it never did. `take` must not use the
/// transaction: its connection is busy with the rows.
pub(crate) fn while_each(
    tx: &Tx<'_>,
    operation: &'static str,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(&Row<'_>) -> crate::sql::Result<bool>,
) -> Result<bool, CatalogError> {
    tx.session()
        .while_each(sql, params, &mut take)
        .op(operation)
}

/// Runs a statement and says how many rows it changed.
pub(crate) fn change(
    tx: &Tx<'_>,
    operation: &'static str,
    sql: &str,
    params: impl Params,
) -> Result<usize, CatalogError> {
    tx.session().change(sql, params).op(operation)
}
