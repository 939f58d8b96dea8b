//! What only a shared server can do to a catalog: go away and come back, lose an answer, be migrated twice at once.
//!
//! With `STRONGROOM_TEST_POSTGRES`, as `cargo xtask unit` sets it; a run of the tests on files has nothing to show here.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use model::JobQuery;

use super::places::{Place, server};
use super::proxy::{Cut, Proxy, end_sessions};
use super::support::{Fixture, at};
use crate::conditions::{change, first};
use crate::{Catalog, CatalogError, CatalogOptions, PostgresPlace, accounts, jobs};

fn on_server() -> Option<Fixture> {
    std::env::var(super::places::VARIABLE)
        .is_ok()
        .then(Fixture::new)
}

fn count(catalog: &Catalog, fixture: &Fixture) -> u64 {
    jobs::query(catalog, &fixture.account, &JobQuery::default())
        .unwrap()
        .total
}

fn cut_off(place: &Place) {
    end_sessions(place.database());
}

#[test]
fn connections_that_broke_are_made_anew() {
    let Some(fixture) = on_server() else { return };
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    for number in 0..4 {
        cut_off(&fixture.place);
        fixture.job(&plan, number);
        cut_off(&fixture.place);
        assert_eq!(count(&fixture.catalog, &fixture), number.unsigned_abs() + 1);
    }
    // In the middle of a transaction: it fails as a whole, and says why.
    let failed = fixture.catalog.write("test", |tx| {
        let sql = "INSERT INTO settings (name, value) VALUES ('half', '1')";
        change(tx, "test", sql, [])?;
        cut_off(&fixture.place);
        change(tx, "test", "UPDATE settings SET value = '2'", [])
    });
    assert!(
        matches!(failed, Err(CatalogError::Away { .. })),
        "{failed:?}"
    );
    let sql = "SELECT COUNT(*) FROM settings WHERE name = 'half'";
    let read = |tx: &crate::db::Tx<'_>| first(tx, "test", sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(fixture.catalog.read("test", read).unwrap(), Some(0));
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, format!("postgres://me:secret@127.0.0.1:{port}/x")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let place = PostgresPlace::read(&path).unwrap();
    let error = Catalog::connect(&place, CatalogOptions::default()).unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(
        said.contains(&format!("postgres://me@127.0.0.1:{port}/x")),
        "{said}"
    );
    assert!(
        said.contains("refused") && !said.contains("secret"),
        "{said}"
    );
}

#[test]
fn whoever_waits_too_long_for_another_writer_is_told() {
    let Some(fixture) = on_server() else { return };
    let hasty = fixture.place.open(CatalogOptions {
        busy_timeout: Duration::from_millis(200),
        ..CatalogOptions::default()
    });
    let result = fixture.catalog.write("test", |_| {
        // Readers do not wait.
        assert_eq!(accounts::list(&hasty).unwrap().len(), 1);
        Ok(hasty.write("test", |_| Ok(())))
    });
    assert!(matches!(result, Ok(Err(CatalogError::Busy))), "{result:?}");
    hasty.write("test", |_| Ok(())).unwrap();
}

/// PostgreSQL answers COMMIT with a silent ROLLBACK after an error: that must not pass for a commit.
#[test]
fn a_failed_statement_is_never_committed_over() {
    let Some(fixture) = on_server() else { return };
    let result = fixture.catalog.write("test", |tx| {
        let sql = "INSERT INTO settings (name, value) VALUES ('x', '1')";
        change(tx, "test", sql, [])?;
        assert!(change(tx, "test", sql, []).is_err());
        Ok(())
    });
    assert!(result.is_err());
    fixture.catalog.write("test", |_| Ok(())).unwrap();
}

#[test]
fn only_relaxed_transactions_are_not_synced() {
    let Some(fixture) = on_server() else { return };
    let level = |tx: &crate::db::Tx<'_>| {
        let sql = "SELECT current_setting('synchronous_commit')";
        first(tx, "test", sql, [], |row| row.get::<_, String>(0))
    };
    let relaxed = fixture.catalog.write_relaxed("test", level).unwrap();
    assert_eq!(relaxed.as_deref(), Some("off"));
    let durable = fixture.catalog.write("test", level).unwrap();
    assert_eq!(durable.as_deref(), Some("on"));
}

#[test]
fn servers_that_start_at_once_migrate_once_and_a_newer_schema_is_refused() {
    if on_server().is_none() {
        return;
    }
    let place = Place::empty();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| place.open(CatalogOptions::default()));
        }
    });
    let catalog = place.open(CatalogOptions::default());
    let newer = "UPDATE strongroom_schema SET version = version + 1";
    catalog
        .write("test", |tx| change(tx, "test", newer, []))
        .unwrap();
    let there = server().with_database(place.database());
    let again = Catalog::connect(&there, CatalogOptions::default());
    assert!(
        matches!(again, Err(CatalogError::SchemaTooNew { .. })),
        "{again:?}"
    );
}

/// A commit whose answer is lost counts when it happened, and only then: a job is never created twice for a caller that
/// is told of a failure and asks again.
#[test]
fn a_commit_without_an_answer_is_looked_up() {
    let Some(fixture) = on_server() else { return };
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let proxy = Proxy::before(&fixture.place);
    let catalog = proxy.open(CatalogOptions::default());
    let cuts = [
        None,
        Some(Cut::LoseAnswer),
        Some(Cut::LoseCommit),
        Some(Cut::EndSession),
    ];
    let mut made = 0;
    for cut in cuts.into_iter().cycle().take(16) {
        if let Some(cut) = cut {
            proxy.cut_after(0, cut);
        }
        let result = jobs::create(&catalog, &fixture.account, &plan.plan_id, at(1));
        assert!(proxy.has_cut(), "the proxy saw the commit");
        if matches!(cut, Some(Cut::LoseCommit | Cut::EndSession)) {
            assert!(
                matches!(result, Err(CatalogError::Away { .. })),
                "{result:?}"
            );
        } else {
            result.unwrap();
            made += 1;
        }
        assert_eq!(count(&fixture.catalog, &fixture), made);
    }
}

#[test]
fn another_server_is_told_that_there_is_work() {
    let Some(fixture) = on_server() else { return };
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let other = fixture.open_again();
    let mut wakes = other.wakes().unwrap();
    assert_eq!(
        wakes.wait(Duration::ZERO),
        Some(true),
        "it may have missed one"
    );
    assert_eq!(wakes.wait(Duration::from_millis(50)), Some(false));
    fixture.job(&plan, 1);
    assert_eq!(wakes.wait(Duration::from_secs(20)), Some(true));
    cut_off(&fixture.place);
    assert_eq!(wakes.wait(Duration::from_secs(20)), None);
    assert_eq!(wakes.wait(Duration::ZERO), Some(true));
}
