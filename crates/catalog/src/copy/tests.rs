//! Copies come back whole, into either kind of database, and only where there is nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::convert::Infallible;

use model::{AccountId, JobQuery};

use super::{Piece, RestoreError, RowCounts, Target, dump, restore, schema_version};
use crate::conditions::change;
use crate::tests::places::{Place, VARIABLE};
use crate::tests::support::{Fixture, at, new_account};
use crate::{Catalog, CatalogError, CatalogOptions, ItemError, accounts, item_errors, jobs};

/// A copy as its pieces.
fn copied(catalog: &Catalog) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let counts = dump(catalog, &mut |segment| {
        pieces.push(Piece::Segment(segment));
        true
    });
    pieces.push(Piece::End(counts.unwrap().unwrap()));
    pieces
}

fn counts(pieces: &[Piece]) -> RowCounts {
    match pieces.last() {
        Some(Piece::End(counts)) => counts.clone(),
        _ => panic!("a copy has an end"),
    }
}

fn put(
    target: &Target,
    schema: i64,
    pieces: &[Piece],
) -> Result<RowCounts, RestoreError<Infallible>> {
    let mut pieces = pieces.iter();
    restore(target, schema, &mut || Ok(pieces.next().unwrap().clone()))
}

/// Empty places of each kind that there is, in a folder.
fn empty_places(folder: &std::path::Path) -> Vec<Place> {
    let mut places = vec![Place::in_folder(folder)];
    if std::env::var(VARIABLE).is_ok() {
        places.push(Place::empty());
    }
    places
}

fn target(place: &Place) -> Target {
    match place {
        Place::File(path) => Target::File(path.clone()),
        Place::Server(place, _) => Target::Server(place.clone()),
    }
}

/// A catalog with rows in most tables: jobs of two accounts, ended and open ones, errors, texts with everything in them.
fn filled() -> Fixture {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "päth \u{1}\u{0}\u{2}");
    for number in 0..300 {
        fixture.run_job(&client, &plan, &format!("hash {number}"), number * 10);
    }
    fixture.job(&plan, 4_000);
    let leased = fixture.lease(&client, "run", 4_001, 1);
    let error = ItemError {
        path: "/x".to_owned(),
        operation: "open".to_owned(),
        errno: Some(13),
        message: "no \u{0} way".to_owned(),
        time: at(1),
    };
    item_errors::append(&fixture.catalog, &leased[0].work_id, 1, 0, &[error]).unwrap();
    new_account(&fixture.catalog, 2);
    fixture
        .catalog
        .write("test", |tx| {
            let sql = "INSERT INTO policies VALUES (?, ?, 'p', '', 'STANDARD', '[]', 1, 1)";
            change(tx, "test", sql, ["po-1", fixture.account.as_str()])?;
            let sql =
                "INSERT INTO policy_bindings VALUES ('b', ?, ?, 'ECS_FILE', 'i', '{}', 0, 0, 1, 1)";
            change(tx, "test", sql, [fixture.account.as_str(), "po-1"])?;
            Ok(())
        })
        .unwrap();
    fixture
}

fn total(catalog: &Catalog, account: &AccountId) -> u64 {
    let query = JobQuery::default();
    jobs::query(catalog, account, &query).unwrap().total
}

#[test]
fn a_copy_comes_back_in_any_database() {
    let fixture = filled();
    let pieces = copied(&fixture.catalog);
    let rows = counts(&pieces);
    assert_eq!(
        (rows["jobs"], rows["accounts"], rows["policy_bindings"]),
        (301, 2, 1)
    );
    // What a restore settles, settled where it came from, so that the two can be compared.
    let settle = |tx: &crate::db::Tx<'_>| crate::catalog_backups::after_restore(tx);
    fixture.catalog.write("test", settle).unwrap();
    let settled = copied(&fixture.catalog);
    let folder = tempfile::tempdir().unwrap();
    for place in empty_places(folder.path()) {
        assert_eq!(
            put(&target(&place), schema_version(), &pieces).unwrap(),
            rows
        );
        let catalog = place.open(CatalogOptions::default());
        assert_eq!(
            copied(&catalog),
            settled,
            "the same bytes, whatever the database"
        );
        assert_eq!(total(&catalog, &fixture.account), 301);
        let newest = JobQuery {
            page_size: 100,
            ..JobQuery::default()
        };
        let rows = |catalog: &Catalog| {
            let page = jobs::query(catalog, &fixture.account, &newest).unwrap();
            page.rows
        };
        assert_eq!(rows(&catalog), rows(&fixture.catalog));
        // Numbers that the database gives go on.
        let account = accounts::list(&catalog).unwrap()[1].account_id.clone();
        let sql = "INSERT INTO job_parts (account_id, source_type, version, stamp, next_seq) VALUES (?, 'NAS', 0, 0, 0)";
        catalog
            .write("test", |tx| change(tx, "test", sql, [account.as_str()]))
            .unwrap();
    }
}

#[test]
fn a_catalog_that_is_there_is_never_touched() {
    let fixture = filled();
    let pieces = copied(&fixture.catalog);
    let result = put(&target(&fixture.place), schema_version(), &pieces);
    assert!(
        matches!(result, Err(RestoreError::NotEmpty { .. })),
        "{result:?}"
    );
    assert_eq!(copied(&fixture.catalog), pieces);
}

#[test]
fn what_is_not_whole_leaves_nothing() {
    let fixture = filled();
    let pieces = copied(&fixture.catalog);
    let folder = tempfile::tempdir().unwrap();
    for place in empty_places(folder.path()) {
        let mut short = pieces.clone();
        short.remove(short.len() - 2);
        let result = put(&target(&place), schema_version(), &short);
        assert!(
            matches!(result, Err(RestoreError::Damaged { .. })),
            "{result:?}"
        );
        let mut wrong = pieces.clone();
        wrong[1] = Piece::Segment(vec![1, 2, 3]);
        let result = put(&target(&place), schema_version(), &wrong);
        assert!(
            matches!(result, Err(RestoreError::Damaged { .. })),
            "{result:?}"
        );
        let broken = restore(&target(&place), schema_version(), &mut || {
            Err(std::io::Error::other("away"))
        });
        assert!(matches!(broken, Err(RestoreError::Source(_))), "{broken:?}");
        let newer = put(&target(&place), schema_version() + 1, &pieces);
        let is_too_new = matches!(
            newer,
            Err(RestoreError::Catalog(CatalogError::SchemaTooNew { .. }))
        );
        assert!(is_too_new, "{newer:?}");
        // And then the whole one.
        put(&target(&place), schema_version(), &pieces).unwrap();
    }
}

/// The copy is of one state, while jobs are being created.
#[test]
fn a_copy_sees_one_state_while_others_write() {
    let fixture = filled();
    let plan = fixture.plan(&fixture.vault(1), "other");
    let (mut created, mut pieces) = (0, Vec::new());
    let counts = dump(&fixture.catalog, &mut |segment| {
        created += 1;
        fixture.job(&plan, 10_000 + created);
        pieces.push(Piece::Segment(segment));
        true
    });
    pieces.push(Piece::End(counts.unwrap().unwrap()));
    assert!(created > 5 && total(&fixture.catalog, &fixture.account) > 301);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::in_folder(folder.path());
    put(&target(&place), schema_version(), &pieces).unwrap();
    let catalog = place.open(CatalogOptions::default());
    assert_eq!(total(&catalog, &fixture.account), 301);
}

#[test]
fn nobody_reads_to_the_end() {
    let fixture = filled();
    let mut left = 2;
    let stopped = dump(&fixture.catalog, &mut |_| {
        left -= 1;
        left > 0
    });
    assert_eq!(stopped.unwrap(), None);
    assert_eq!(left, 0);
    assert_eq!(
        counts(&copied(&fixture.catalog))["jobs"],
        301,
        "and the next one does"
    );
}

/// A copy of an older program gets the tables of that program, and then the migrations.
#[test]
fn a_copy_of_an_older_program_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    for place in empty_places(folder.path()) {
        let older = tempfile::tempdir().unwrap();
        let older = Target::File(older.path().join("catalog.db"));
        let schema = 4;
        let old = Catalog::open_at(&older, CatalogOptions::default(), schema).unwrap();
        old.write("test", |tx| {
            let sql = "INSERT INTO accounts (account_id, account_name, created_time, last_job_micros) VALUES (?, 'a', 1, 0)";
            change(tx, "test", sql, [AccountId::new(7).as_str()])
        })
        .unwrap();
        let pieces = copied(&old);
        assert!(!counts(&pieces).contains_key("users"));
        put(&target(&place), schema, &pieces).unwrap();
        let catalog = place.open(CatalogOptions::default());
        let found = accounts::list(&catalog).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(counts(&copied(&catalog))["users"], 0);
    }
}
