//! One connection: its settings, its prepared statements, its statements.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, SimpleQueryMessage, Statement};

use super::PostgresPlace;
use super::schema::NUMBERED;
use super::statements::numbered;
use crate::sql::{Param, Result, Row, damage};

/// Prepared statements that a connection keeps; when there are more, all are dropped. Lists with `IN` make many.
const STATEMENT_CACHE: usize = 512;
/// A server that falls silent in the middle of a transaction keeps the others from writing for at most this time.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection. Cells, not locks: whoever has it took it from a pool.
pub(crate) struct Connection {
    client: RefCell<Client>,
    statements: RefCell<HashMap<String, Statement>>,
    /// A statement of the present transaction failed: PostgreSQL takes no more, and would turn COMMIT into ROLLBACK
    /// without a word.
    has_failed: Cell<bool>,
    /// Other servers are to be told when the present transaction is committed.
    wakes_others: Cell<bool>,
}

impl Connection {
    pub(super) fn open(
        place: &PostgresPlace,
        busy_timeout: Duration,
    ) -> std::result::Result<Self, postgres::Error> {
        let mut client = place.connect()?;
        client.batch_execute(&format!(
            "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; SET jit = off; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'",
            busy_timeout.as_millis().max(1),
            SILENCE.as_millis()
        ))?;
        Ok(Self {
            client: RefCell::new(client),
            statements: RefCell::default(),
            has_failed: Cell::new(false),
            wakes_others: Cell::new(false),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.borrow().is_closed()
    }

    pub(super) fn client(&mut self) -> &mut Client {
        self.client.get_mut()
    }

    /// Sends statements without values; gives the first column of the rows that came back.
    pub(super) fn send(&self, sql: &str) -> std::result::Result<Vec<String>, postgres::Error> {
        let messages = self.client.borrow_mut().simple_query(sql)?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect())
    }

    pub(super) fn begin(&self, sql: &str) -> std::result::Result<(), postgres::Error> {
        self.has_failed.set(false);
        self.wakes_others.set(false);
        self.send(sql).map(drop)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    pub(super) fn wakes_others(&self) -> bool {
        self.wakes_others.get()
    }

    pub(in crate::sql) fn wake_others(&self) {
        self.wakes_others.set(true);
    }

    /// Lets columns that number their rows go on after the largest number that there is.
    pub(in crate::sql) fn numbers_follow(&self) -> Result<()> {
        for statement in self.send(NUMBERED)? {
            self.send(&statement)?;
        }
        Ok(())
    }

    fn statement(&self, client: &mut Client, sql: &str) -> Result<Statement> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let statement = client.prepare(&numbered(sql))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENT_CACHE {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(in crate::sql) fn while_each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        take: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<bool> {
        let result = self.try_while_each(sql, params, take);
        self.has_failed
            .set(self.has_failed.get() || result.is_err());
        result
    }

    fn try_while_each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        take: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<bool> {
        let Ok(mut client) = self.client.try_borrow_mut() else {
            return Err(damage(format!("a statement within another one: {sql}")));
        };
        let statement = self.statement(&mut client, sql)?;
        let mut rows = client.query_raw(&statement, params.iter())?;
        while let Some(row) = rows.next()? {
            if !take(&Row::Postgres(&row))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(in crate::sql) fn change(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        let result = self.try_change(sql, params);
        self.has_failed
            .set(self.has_failed.get() || result.is_err());
        result
    }

    fn try_change(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        let Ok(mut client) = self.client.try_borrow_mut() else {
            return Err(damage(format!("a statement within another one: {sql}")));
        };
        let statement = self.statement(&mut client, sql)?;
        let mut rows = client.query_raw(&statement, params.iter())?;
        while rows.next()?.is_some() {}
        let changed = rows.rows_affected().unwrap_or_default();
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }
}
