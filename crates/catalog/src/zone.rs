//! What depends on the time zone that the server was started with: the next runs of schedules, which are rows.

use model::{Schedule, Timestamp};

use crate::conditions::{all, change, first};
use crate::db::Catalog;
use crate::error::CatalogError;
use crate::plans;
use crate::row::seconds;
use crate::sql::params;

/// Reads the calendar of every schedule anew when the zone is another one than last time; says how many runs moved. Runs
/// that are due already stay: they are decided as before.
pub fn follow(catalog: &Catalog, now: Timestamp) -> Result<usize, CatalogError> {
    let operation = "read schedules in a new time zone";
    let name = catalog.zone().name();
    catalog.write(operation, |tx| {
        let sql = "SELECT value FROM settings WHERE name = 'zone'";
        let known = first(tx, operation, sql, [], |row| row.get::<_, String>("value"))?;
        if known.as_deref() == Some(name) {
            return Ok(0);
        }
        let sql = "INSERT INTO settings (name, value) VALUES ('zone', ?) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        change(tx, operation, sql, [name])?;
        let mut moved = 0;
        let sql = "SELECT * FROM plans WHERE next_run_time IS NOT NULL AND next_run_time > ?";
        for plan in all(tx, operation, sql, [now.0], plans::read)? {
            let schedule = plan
                .spec
                .schedule
                .as_deref()
                .map(Schedule::parse)
                .transpose()?;
            let next = plans::first_run(&plan.spec, schedule.as_ref(), now, catalog.zone());
            if next != plan.next_run_time {
                let sql = "UPDATE plans SET next_run_time = ? WHERE plan_id = ?";
                change(
                    tx,
                    operation,
                    sql,
                    params![seconds(next), plan.plan_id.as_str()],
                )?;
                moved += 1;
            }
        }
        Ok(moved)
    })
}
