//! The engine behind assignments: real folders, real vaults, no server.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::agent_protocol::{
    BackupSpec, CATALOG_FILE, CATALOG_TAG, CatalogBackupSpec, DeleteSnapshotSpec, Outcome,
    RestoreSpec, VaultSpec, WorkKind,
};

use crate::catalog_backup::CatalogSource;
use crate::execute::{Engine, Execute};
use crate::report::End;
use crate::work::{StopReason, Work};

/// An input that fails.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the reply broke off"))
    }
}

struct Desk {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Desk {
    /// A vault and a source with two files.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("source/own data")).unwrap();
        for name in ["one", "two", "own data/secret"] {
            std::fs::write(folder.path().join("source").join(name), name).unwrap();
        }
        let skip = vec![folder.path().join("source/own data")];
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        // The copy is as long as the lease's number says, and breaks off for lease 13.
        let catalog = CatalogSource::new(|request| {
            let length = usize::try_from(request.epoch).unwrap() * 1_000_000;
            let bytes: Vec<u8> = (0..length).map(|place| (place / 7) as u8).collect();
            let copy = std::io::Cursor::new(bytes);
            if request.epoch == 13 {
                return Ok(Box::new(copy.chain(Broken)));
            }
            Ok(Box::new(copy))
        });
        let desk = Self {
            folder,
            engine: Engine::new(skip, "thishost".into(), state, catalog),
        };
        assert_eq!(
            desk.run("t-1", 1, WorkKind::CreateVault(desk.vault()))
                .0
                .outcome,
            Some(Outcome::Complete)
        );
        desk
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn vault(&self) -> VaultSpec {
        VaultSpec {
            vault_id: "v-000000000000000000ab".into(),
            storage_url: self.path("vault"),
            password: "p".into(),
            recovery_password: Some("r".into()),
        }
    }

    fn backup(&self, paths: &[&str]) -> BackupSpec {
        BackupSpec {
            vault: VaultSpec {
                recovery_password: None,
                ..self.vault()
            },
            paths: paths.iter().map(|name| self.path(name)).collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            speed_limit: None,
            options: None,
            job_id: "job-1".into(),
            plan_id: "plan-1".into(),
            client_id: "c-1".into(),
            instance_id: "i-1".into(),
            resumed: false,
            carried_bytes: 0,
            vault_folders: Vec::new(),
            max_workers: 0,
        }
    }

    fn restore(&self, end: &End, target: &str) -> RestoreSpec {
        RestoreSpec {
            vault: self.vault(),
            snapshot_hash: end.snapshot.as_ref().unwrap().snapshot_hash.clone(),
            target_path: self.path(target),
            includes: Vec::new(),
            excludes: Vec::new(),
            conflict_policy: "OVERWRITE_EXISTING".into(),
            max_workers: 0,
        }
    }

    /// Runs to the end, while somebody takes the rows as the server would; counts them.
    fn run(&self, work_id: &str, epoch: u64, kind: WorkKind) -> (End, usize) {
        let work = Arc::new(Work::new(work_id.into(), epoch, &kind, None));
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut count = 0;
                while !is_done.load(Ordering::Acquire) {
                    while let Some((_, rows)) = work.page(500) {
                        count += rows.len();
                        work.page_sent(rows.len());
                    }
                    std::thread::yield_now();
                }
                count
            });
            let end = self.engine.run(kind, &work);
            is_done.store(true, Ordering::Release);
            (end, taker.join().unwrap())
        })
    }
}

#[test]
fn a_backup_and_its_restore() {
    let desk = Desk::new();
    let (end, rows) = desk.run("job-1", 1, WorkKind::Backup(desk.backup(&["source"])));
    assert_eq!(
        (end.outcome, rows, end.message.as_str()),
        (Some(Outcome::Complete), 0, "")
    );
    let snapshot = end.snapshot.clone().unwrap();
    assert_eq!(
        (
            snapshot.files_total,
            snapshot.bytes_total,
            snapshot.bytes_done
        ),
        (2, 6, 6)
    );
    assert!(
        snapshot.actual_bytes > 0
            && snapshot.start_time > 0
            && snapshot.complete_time >= snapshot.start_time
    );
    let (restored, _) = desk.run("r-1", 1, WorkKind::Restore(desk.restore(&end, "target")));
    assert_eq!(restored.outcome, Some(Outcome::Complete));
    assert_eq!(restored.progress.unwrap().bytes_changed, 6);
    let below = format!("{}{}", desk.path("target"), desk.path("source"));
    assert_eq!(
        std::fs::read_to_string(Path::new(&below).join("two")).unwrap(),
        "two"
    );
    assert!(
        !Path::new(&below).join("own data/secret").exists(),
        "what is skipped is not in the backup"
    );
}

#[test]
fn other_vaults_are_left_out_and_folders_of_the_same_path_are_not() {
    let desk = Desk::new();
    let other = VaultSpec {
        storage_url: desk.path("source/other vault"),
        ..desk.vault()
    };
    let (made, _) = desk.run("t-2", 1, WorkKind::CreateVault(other.clone()));
    assert_eq!(made.outcome, Some(Outcome::Complete), "{}", made.message);
    std::fs::create_dir(desk.path("source/plain")).unwrap();
    std::fs::write(desk.path("source/plain/config"), "mine").unwrap();
    let spec = BackupSpec {
        vault_folders: vec![
            other.storage_url,
            desk.path("source/plain"),
            desk.path("gone"),
        ],
        ..desk.backup(&["source"])
    };
    let (end, _) = desk.run("job-1", 1, WorkKind::Backup(spec));
    assert_eq!(end.outcome, Some(Outcome::Complete), "{}", end.message);
    // The two files of the source and the plain folder's; nothing of the other vault.
    assert_eq!(end.snapshot.unwrap().files_total, 3);
}

/// The settings of the client come with the job.
#[test]
fn workers_are_as_many_as_the_settings_allow() {
    let desk = Desk::new();
    let (end, _) = desk.run("job-1", 1, WorkKind::Backup(desk.backup(&["source"])));
    for (max_workers, expected) in [(0, None), (1, NonZeroUsize::new(1))] {
        let spec = BackupSpec {
            max_workers,
            ..desk.backup(&["source"])
        };
        let work = Work::new("job-2".into(), 1, &WorkKind::Backup(spec.clone()), None);
        let backup = crate::backup::request(&desk.engine, &spec, &work).unwrap();
        let spec = RestoreSpec {
            max_workers,
            ..desk.restore(&end, "target")
        };
        let restore = crate::restore::request(&desk.engine, &spec).unwrap();
        assert_eq!(
            (backup.worker_count, restore.worker_count),
            (expected, expected)
        );
    }
}

#[test]
fn a_resumed_job_reports_the_snapshot_that_it_made_before() {
    let desk = Desk::new();
    let (first, _) = desk.run(
        "job-1",
        1,
        WorkKind::Backup(desk.backup(&["source", "missing"])),
    );
    assert_eq!(first.outcome, Some(Outcome::PartialComplete));
    let added = first.progress.as_ref().unwrap().actual_bytes;
    let spec = BackupSpec {
        resumed: true,
        carried_bytes: added,
        ..desk.backup(&["source", "missing"])
    };
    let (again, rows) = desk.run("job-1", 2, WorkKind::Backup(spec));
    assert_eq!(
        (again.outcome, again.error_epoch, rows),
        (Some(Outcome::PartialComplete), Some(1), 0)
    );
    assert_eq!(again.progress.unwrap().actual_bytes, added);
    assert_eq!(
        again.snapshot.unwrap().snapshot_hash,
        first.snapshot.unwrap().snapshot_hash
    );
}

#[test]
fn items_that_cannot_be_read_are_rows_and_a_message() {
    let desk = Desk::new();
    let (end, rows) = desk.run(
        "job-1",
        1,
        WorkKind::Backup(desk.backup(&["source", "missing"])),
    );
    assert_eq!((end.outcome, rows), (Some(Outcome::PartialComplete), 1));
    assert!(
        end.message
            .starts_with("1 item could not be read; the first: "),
        "{}",
        end.message
    );
    assert!(end.message.contains("/missing"), "{}", end.message);
}

#[test]
fn failures_say_why() {
    let desk = Desk::new();
    let failed = |spec: BackupSpec| {
        let (end, _) = desk.run("job-1", 1, WorkKind::Backup(spec));
        assert_eq!(end.outcome, Some(Outcome::Failed));
        end.message
    };
    let own = failed(desk.backup(&["source/own data"]));
    assert!(own.contains("never protected"), "{own}");
    let nothing = failed(desk.backup(&["missing"]));
    assert!(nothing.contains("none of the paths"), "{nothing}");
    let limit = failed(BackupSpec {
        speed_limit: Some("fast".into()),
        ..desk.backup(&["source"])
    });
    assert!(limit.contains("fast"), "{limit}");
    std::fs::rename(desk.path("vault"), desk.path("away")).unwrap();
    let away = failed(desk.backup(&["source"]));
    assert!(
        away.contains("cannot be reached from this host (thishost)"),
        "{away}"
    );
}

#[test]
fn a_stop_is_no_failure() {
    let desk = Desk::new();
    let kind = WorkKind::Backup(desk.backup(&["source"]));
    let work = Arc::new(Work::new("job-1".into(), 1, &kind, None));
    work.stop(StopReason::Suspended);
    let end = desk.engine.run(kind, &work);
    assert_eq!((end.outcome, end.message.as_str()), (None, ""));
    assert_eq!(
        std::fs::read_dir(desk.path("vault/locks")).unwrap().count(),
        0
    );
}

#[test]
fn a_deleted_snapshot_is_gone_and_may_be_deleted_again() {
    let desk = Desk::new();
    let (end, _) = desk.run("job-1", 1, WorkKind::Backup(desk.backup(&["source"])));
    let spec = DeleteSnapshotSpec {
        vault: desk.vault(),
        snapshot_hash: end.snapshot.as_ref().unwrap().snapshot_hash.clone(),
    };
    for number in 0..2 {
        let (deleted, _) = desk.run("t-2", number, WorkKind::DeleteSnapshot(spec.clone()));
        assert_eq!(
            deleted.outcome,
            Some(Outcome::Complete),
            "{}",
            deleted.message
        );
    }
    let (restored, _) = desk.run("r-1", 1, WorkKind::Restore(desk.restore(&end, "target")));
    assert_eq!(restored.outcome, Some(Outcome::Failed));
    let (gone, _) = desk.run("t-3", 1, WorkKind::DeleteVault(desk.vault()));
    assert_eq!(gone.outcome, Some(Outcome::Complete));
    assert!(!Path::new(&desk.path("vault")).exists());
}

/// Somebody removes all locks while the agent waits for the server to take its error rows: no snapshot is written under
/// a lock that is gone, and the job is given back to go on under its id.
#[test]
fn a_lost_lock_gives_the_job_back() {
    let desk = Desk::new();
    let kind = WorkKind::Backup(desk.backup(&["source", "missing"]));
    let work = Arc::new(Work::new("job-1".into(), 1, &kind, None));
    let vault = desk.vault();
    let end = std::thread::scope(|scope| {
        scope.spawn(|| {
            let rows = loop {
                // Only what waits before the snapshot counts: the index is there by then.
                let has_index = std::fs::read_dir(desk.path("vault/index"))
                    .is_ok_and(|mut entries| entries.next().is_some());
                match work.page(500) {
                    Some((_, rows)) if has_index => break rows,
                    _ => std::thread::yield_now(),
                }
            };
            let removed = crate::vaults::open(&vault, "thishost")
                .unwrap()
                .unlock(vault::UnlockScope::All)
                .unwrap();
            assert_eq!(removed, 1);
            work.page_sent(rows.len());
        });
        desk.engine.run(kind, &work)
    });
    assert_eq!(end.outcome, Some(Outcome::Released), "{}", end.message);
    assert!(end.message.contains("lock"), "{}", end.message);
    let (end, _) = desk.run(
        "job-1",
        2,
        WorkKind::Backup(desk.backup(&["source", "missing"])),
    );
    assert_eq!(end.outcome, Some(Outcome::PartialComplete));
}

impl Desk {
    fn catalog_backup(&self) -> WorkKind {
        WorkKind::BackupCatalog(CatalogBackupSpec {
            vault: self.vault(),
            account_id: "1".into(),
            keep_daily: 1,
            keep_weekly: 1,
        })
    }

    fn repository(&self) -> vault::Repository {
        let storage = storage::open(&self.path("vault")).unwrap();
        vault::Repository::open(storage, &vault::Secret::from("p")).unwrap()
    }
}

#[test]
fn the_catalog_becomes_a_snapshot_and_older_ones_of_it_go() {
    let desk = Desk::new();
    // A snapshot of a host, and a copy of somebody else's catalog, are not touched.
    desk.run("job-1", 1, WorkKind::Backup(desk.backup(&["source"])));
    let other = WorkKind::BackupCatalog(CatalogBackupSpec {
        vault: desk.vault(),
        account_id: "2".into(),
        keep_daily: 1,
        keep_weekly: 1,
    });
    assert_eq!(desk.run("t-2", 1, other).0.outcome, Some(Outcome::Complete));
    let mut removed = 0;
    for epoch in 1..=4 {
        let end = desk.run("t-3", epoch, desk.catalog_backup()).0;
        assert_eq!(end.outcome, Some(Outcome::Complete), "{}", end.message);
        let found = end.upkeep.unwrap().catalog.unwrap();
        assert_eq!(found.bytes, epoch * 1_000_000);
        assert!(found.added_bytes > 0);
        removed += found.removed_snapshots;
    }
    assert!(
        removed >= 1,
        "one of the day is kept, and the oldest of the week"
    );
    let snapshots = desk.repository().snapshots().unwrap();
    assert_eq!(snapshots.len() as u64, 2 + 4 - removed);
    let newest = snapshots
        .iter()
        .filter(|(_, snapshot)| snapshot.tags.contains(&"AccountId=1".to_owned()))
        .max_by_key(|(_, snapshot)| snapshot.time)
        .unwrap();
    assert_eq!(newest.1.tags[0], CATALOG_TAG);
    assert_eq!(newest.1.paths, [format!("/{CATALOG_FILE}")]);
}

#[test]
fn a_copy_that_breaks_off_leaves_no_snapshot() {
    let desk = Desk::new();
    let end = desk.run("t-3", 13, desk.catalog_backup()).0;
    assert_eq!(end.outcome, Some(Outcome::Failed));
    assert!(
        end.message.contains("the reply broke off"),
        "{}",
        end.message
    );
    assert_eq!(desk.repository().snapshots().unwrap(), []);
    assert_eq!(desk.repository().storage().list("locks").unwrap(), []);
}
