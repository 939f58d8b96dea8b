//! Prune: what it removes, what it never removes, and what a kill or a failing storage at any call leaves.

use std::sync::Arc;

use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Record, Storage};
use vault::{Deletion, FileKind, Limit, LockKind, PruneOptions, Run, VaultError, Writer, check};

use crate::sample::{open, snapshot_of};
use crate::world::{
    Model, back_up, count, kill_everywhere, new_vault, prune_at, read_all, save, small_packs,
    unlock,
};

fn shared(memory: &Memory) -> Arc<dyn Storage> {
    Arc::new(memory.clone())
}

/// Everything that is not needed goes, and what is partly needed is written anew.
fn thorough() -> PruneOptions {
    PruneOptions {
        max_unused: Limit::Bytes(0),
        ..PruneOptions::default()
    }
}

fn instant() -> PruneOptions {
    PruneOptions {
        deletion: Deletion::Instant,
        ..thorough()
    }
}

/// Two snapshots that stay and two that are forgotten: packs that are needed, partly needed, and not needed.
fn worn_vault() -> (Memory, Model) {
    let memory = new_vault();
    let mut model = Model::default();
    let numbers = |range: std::ops::Range<u64>| range.collect::<Vec<_>>();
    let first = model.back_up(&memory, &numbers(0..12));
    model.back_up(&memory, &numbers(4..16));
    let third = model.back_up(&memory, &numbers(20..30));
    model.back_up(&memory, &[1, 5, 40, 41]);
    model.forget(&memory, &first);
    model.forget(&memory, &third);
    (memory, model)
}

/// Prunes until nothing is left to do, a day apart; the vault is right after each.
fn prune_days(memory: &Memory, model: &Model, from_hour: i64) {
    for day in 0..4 {
        prune_at(shared(memory), &thorough(), from_hour + day * 24).unwrap();
        model.verify(memory);
    }
}

/// Exactly what is needed is left: no unneeded blob, no file that nothing names.
#[track_caller]
fn nothing_is_left_over(memory: &Memory) {
    let report = prune_at(shared(memory), &thorough(), 10_000).unwrap();
    assert_eq!(report.unused_left_bytes, 0);
    for total in [
        report.repacked,
        report.marked,
        report.waiting,
        report.put_back,
        report.deleted,
        report.deferred,
        report.unindexed,
    ] {
        assert_eq!(total.count, 0, "{report:?}");
    }
}

#[test]
fn packs_go_in_two_phases() {
    let (memory, model) = worn_vault();
    let packs_before = count(&memory, "data");
    let report = prune_at(shared(&memory), &thorough(), 0).unwrap();
    assert!(
        report.repacked.count > 0 && report.marked.count > 0,
        "{report:?}"
    );
    assert_eq!(report.deleted.count, 0);
    model.verify(&memory);
    assert!(
        count(&memory, "data") > packs_before,
        "nothing is removed yet"
    );
    // Too early: nothing is touched at all.
    let record = Arc::new(Record::new(shared(&memory)));
    let report = prune_at(Arc::clone(&record) as Arc<dyn Storage>, &thorough(), 22).unwrap();
    assert!(report.waiting.count > 0 && report.deleted.count == 0);
    let changed = |call: &storage::Call| {
        matches!(call.operation, Operation::Put | Operation::Delete)
            && !call.name.starts_with("locks/")
    };
    let calls = record.take();
    assert!(!calls.iter().any(changed), "{calls:?}");
    let report = prune_at(shared(&memory), &thorough(), 23).unwrap();
    assert!(
        report.deleted.count > 0 && report.waiting.count == 0,
        "{report:?}"
    );
    assert!(count(&memory, "data") < packs_before);
    model.verify(&memory);
    nothing_is_left_over(&memory);
    assert_eq!(count(&memory, "locks"), 0);
}

#[test]
fn instant_prunes_leave_only_what_is_needed() {
    let (memory, model) = worn_vault();
    let report = prune_at(shared(&memory), &instant(), 0).unwrap();
    assert!(
        report.deleted.count > 0 && report.marked.count == 0,
        "{report:?}"
    );
    model.verify(&memory);
    nothing_is_left_over(&memory);
    // Others at work: refused.
    let repository = open(shared(&memory)).unwrap();
    let held = repository.lock(LockKind::Shared).unwrap();
    assert!(matches!(
        prune_at(shared(&memory), &instant(), 0),
        Err(VaultError::Locked { .. })
    ));
    drop(held);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_a_real_one_does() {
    let (memory, model) = worn_vault();
    let record = Arc::new(Record::new(shared(&memory)));
    let dry = PruneOptions {
        run: Run::Dry,
        ..thorough()
    };
    let planned = prune_at(Arc::clone(&record) as Arc<dyn Storage>, &dry, 0).unwrap();
    for call in record.take() {
        let is_write = matches!(call.operation, Operation::Put | Operation::Delete);
        assert!(!is_write || call.name.starts_with("locks/"), "{call:?}");
    }
    let done = prune_at(shared(&memory), &thorough(), 0).unwrap();
    assert_eq!(planned.repacked, done.repacked);
    // What is repacked is marked as well in the end.
    assert_eq!(
        planned.marked.count + planned.repacked.count,
        done.marked.count
    );
    model.verify(&memory);
}

#[test]
fn an_unneeded_rest_is_tolerated_up_to_the_limit() {
    let (memory, model) = worn_vault();
    let lazy = PruneOptions {
        max_unused: Limit::Unlimited,
        ..PruneOptions::default()
    };
    let report = prune_at(shared(&memory), &lazy, 0).unwrap();
    assert_eq!(report.repacked.count, 0);
    assert!(report.unused_left_bytes > 0 && report.marked.count > 0);
    model.verify(&memory);
}

/// T31 and T18 of the history of failures: a backup that runs beside a prune refers to a pack that nobody else needs. In
/// whichever order the two go, the snapshot is whole and stays so.
#[test]
fn t31_a_backup_beside_a_prune_never_loses_what_it_refers_to() {
    // The backup has read its index at step `begin` of the list of prunes and commits at step `end`.
    let mut cases = 0;
    for begin in 0..4 {
        for end in begin..5 {
            let (memory, mut model) = worn_vault();
            let mut running = None;
            for step in 0..6 {
                if step == begin {
                    let repository = open(shared(&memory)).unwrap();
                    let lock = repository.lock(LockKind::Shared).unwrap();
                    let index = Arc::new(repository.load_index().unwrap());
                    let writer = Writer::open(repository, index, small_packs()).unwrap();
                    // All of it was in forgotten snapshots: nothing is stored anew if the index has it.
                    let tree = save(&writer, &[0, 2, 20, 21, 22]).unwrap();
                    running = Some((lock, writer, tree));
                }
                prune_at(shared(&memory), &thorough(), i64::from(step) * 24).unwrap();
                if step == end {
                    let (lock, writer, tree) = running.take().unwrap();
                    let id = writer.commit(&snapshot_of(tree, "/")).unwrap();
                    drop(lock);
                    model.snapshots.insert(id, vec![0, 2, 20, 21, 22]);
                    // The next prune may have to put something back; a reader that comes before it is not promised
                    // anything only when the prune had given up waiting.
                    prune_at(shared(&memory), &thorough(), i64::from(step) * 24 + 1).unwrap();
                }
                if running.is_none() {
                    model.verify(&memory);
                }
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 14);
}

/// While others hold locks, what nobody needs stays in the index, so that a snapshot they write is whole for every program
/// at once; after a grace it is marked all the same.
#[test]
fn locks_of_others_defer_marks_for_one_grace() {
    let (memory, mut model) = worn_vault();
    let repository = open(shared(&memory)).unwrap();
    let lock = repository.lock(LockKind::Shared).unwrap();
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, small_packs()).unwrap();
    let tree = save(&writer, &[20, 21]).unwrap();
    let report = prune_at(shared(&memory), &thorough(), 0).unwrap();
    assert!(
        report.deferred.count > 0 && report.marked.count == 0,
        "{report:?}"
    );
    assert_eq!(report.foreign_lock_count, 1);
    let id = writer.commit(&snapshot_of(tree, "/")).unwrap();
    model.snapshots.insert(id, vec![20, 21]);
    model.verify(&memory);
    // The lock stays. A grace later the marks are made, and nothing that they name is removed while it stays.
    let report = prune_at(shared(&memory), &thorough(), 23).unwrap();
    assert!(
        report.marked.count > 0 && report.deferred.count == 0,
        "{report:?}"
    );
    let report = prune_at(shared(&memory), &thorough(), 99).unwrap();
    assert!(
        report.waiting.count > 0 && report.deleted.count == 0,
        "{report:?}"
    );
    drop(lock);
    let report = prune_at(shared(&memory), &thorough(), 99).unwrap();
    assert!(report.deleted.count > 0, "{report:?}");
    model.verify(&memory);
}

/// T19 of the history of failures: a prune on a host whose clock ran a year ahead. What it noted of who held locks then does
/// not stand for who holds them later.
#[test]
fn t19_a_clock_ahead_takes_nothing_from_those_who_come_later() {
    let (memory, mut model) = worn_vault();
    prune_at(shared(&memory), &thorough(), 9000).unwrap();
    prune_at(shared(&memory), &thorough(), 0).unwrap();
    let numbers: Vec<u64> = (100..110).collect();
    let forgotten = model.back_up(&memory, &numbers);
    let repository = open(shared(&memory)).unwrap();
    let lock = repository.lock(LockKind::Shared).unwrap();
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository.clone(), index, small_packs()).unwrap();
    model.forget(&memory, &forgotten);
    let report = prune_at(shared(&memory), &thorough(), 1).unwrap();
    assert!(report.deferred.count > 0, "{report:?}");
    let report = prune_at(shared(&memory), &thorough(), 24).unwrap();
    assert!(report.marked.count > 0, "{report:?}");
    let report = prune_at(shared(&memory), &thorough(), 48).unwrap();
    assert!(report.waiting.count > 0, "{report:?}");
    let tree = save(&writer, &numbers).unwrap();
    let id = writer.commit(&snapshot_of(tree, "/")).unwrap();
    drop(lock);
    model.snapshots.insert(id, numbers);
    prune_days(&memory, &model, 72);
}

/// T18 of the history of failures: two prunes at once. The second is refused, whoever it says it is.
#[test]
fn t18_there_is_one_prune_at_a_time() {
    let (memory, model) = worn_vault();
    let repository = open(shared(&memory)).unwrap();
    let first = repository.lock(LockKind::Maintenance).unwrap();
    for options in [thorough(), instant()] {
        let second = prune_at(shared(&memory), &options, 0);
        assert!(matches!(second, Err(VaultError::Locked { .. })));
    }
    // Backups are not held up.
    back_up(shared(&memory), &[1]).unwrap();
    drop(first);
    let _ = model;
    prune_at(shared(&memory), &thorough(), 0).unwrap();
}

/// Packs that no index names age from when a prune saw them, whatever the storage says about their time, and a backup may
/// take them over until they are marked.
#[test]
fn t19_unindexed_packs_are_kept_for_two_graces() {
    let (memory, mut model) = worn_vault();
    prune_days(&memory, &model, -1000);
    let (packs_before, indexes_before) = (count(&memory, "data"), count(&memory, "index"));
    // A backup that is killed before its index is written, as late as that can be: how many packs come before it depends
    // on its threads.
    let memory = (0..8)
        .rev()
        .map(|nth| {
            let memory = memory.snapshot();
            let faulty = Arc::new(Faulty::new(shared(&memory)));
            faulty.at_nth(Operation::Put, nth, Fault::Fail(ErrorKind::Other));
            let result = back_up(faulty, &(100..140).collect::<Vec<_>>());
            (memory, result)
        })
        .find(|(memory, _)| count(memory, "index") == indexes_before)
        .map(|(memory, result)| {
            result.unwrap_err();
            memory
        })
        .unwrap();
    unlock(&memory);
    let report = prune_at(shared(&memory), &thorough(), 0).unwrap();
    let left = report.unindexed.count;
    assert!(
        left > 0 && count(&memory, "data") > packs_before,
        "{report:?}"
    );
    let report = prune_at(shared(&memory), &thorough(), 22).unwrap();
    assert_eq!(report.unindexed.count, left);
    // Until now the next backup uses them.
    let adopted = memory.snapshot();
    model.back_up(&adopted, &(100..110).collect::<Vec<_>>());
    model.verify(&adopted);
    assert_eq!(
        prune_at(shared(&adopted), &thorough(), 23)
            .unwrap()
            .unindexed
            .count,
        0
    );
    model.verify(&adopted);
    let report = prune_at(shared(&memory), &thorough(), 23).unwrap();
    assert_eq!((report.unindexed.count, report.marked.count), (0, left));
    let report = prune_at(shared(&memory), &thorough(), 46).unwrap();
    assert_eq!(report.deleted.count, left);
    nothing_is_left_over(&memory);
}

/// T2 of the history of failures: listings that are empty or cut, at any listing of a prune. Either it refuses, or what it
/// does is right.
#[test]
fn t02_short_listings_remove_nothing_that_is_needed() {
    let mut cases = 0;
    for keep in [0, 1] {
        for nth in 0..32 {
            let (memory, model) = worn_vault();
            for day in 0..3 {
                let faulty = Arc::new(Faulty::new(shared(&memory)));
                faulty.at_nth(Operation::List, nth, Fault::Lie(keep));
                // A refusal is right; so is a run that nothing hit.
                drop(prune_at(faulty, &thorough(), day * 24));
                unlock(&memory);
            }
            prune_days(&memory, &model, 100);
            cases += 1;
        }
    }
    assert_eq!(cases, 64);
}

/// T2 again: every listing of snapshots is cut, from the first mark on and for days. The mark is wrong then; the removal is
/// refused, because the snapshots of the time before are asked for by name.
#[test]
fn t02_a_storage_that_hides_snapshots_for_days_is_refused() {
    #[derive(Debug)]
    struct Hiding(Memory);
    impl Storage for Hiding {
        fn location(&self) -> String {
            self.0.location()
        }
        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), storage::StorageError> {
            self.0.put(name, bytes)
        }
        fn get_at_most(
            &self,
            name: &str,
            limit_bytes: u64,
        ) -> Result<Vec<u8>, storage::StorageError> {
            self.0.get_at_most(name, limit_bytes)
        }
        fn get_range(
            &self,
            name: &str,
            offset: u64,
            length_bytes: usize,
        ) -> Result<Vec<u8>, storage::StorageError> {
            self.0.get_range(name, offset, length_bytes)
        }
        fn size(&self, name: &str) -> Result<u64, storage::StorageError> {
            self.0.size(name)
        }
        fn list(&self, folder: &str) -> Result<Vec<storage::Listed>, storage::StorageError> {
            let mut listed = self.0.list(folder)?;
            if folder == "snapshots" {
                listed.truncate(1);
            }
            Ok(listed)
        }
        fn delete(&self, name: &str) -> Result<(), storage::StorageError> {
            self.0.delete(name)
        }
    }
    let (memory, model) = worn_vault();
    // The truth once: a mark with the list of snapshots.
    prune_at(shared(&memory), &thorough(), 0).unwrap();
    let packs = count(&memory, "data");
    for day in 1..5 {
        let refused = prune_at(Arc::new(Hiding(memory.clone())), &thorough(), day * 24);
        assert!(
            matches!(refused, Err(VaultError::Refused { .. })),
            "{refused:?}"
        );
        assert_eq!(count(&memory, "data"), packs);
    }
    prune_days(&memory, &model, 200);
}

/// T16 of the history of failures: a pack that is missing or has another size than the index says. While a snapshot needs
/// it the prune refuses and removes nothing.
#[test]
fn t16_a_damaged_pack_stops_a_prune() {
    let (memory, _) = worn_vault();
    let names: Vec<String> = memory
        .list("data")
        .unwrap()
        .into_iter()
        .map(|listed| listed.name)
        .collect();
    let mut refused = 0;
    for name in &names {
        for cut in [true, false] {
            let memory = memory.snapshot();
            let bytes = memory.get(name).unwrap();
            if cut {
                memory.overwrite(name, bytes[..bytes.len() - 1].to_vec());
            } else {
                memory.delete(name).unwrap();
            }
            let files = count(&memory, "");
            match prune_at(shared(&memory), &thorough(), 0) {
                Err(
                    VaultError::Refused { .. }
                    | VaultError::Storage(_)
                    | VaultError::DamagedBlob { .. },
                ) => {
                    refused += 1;
                    assert_eq!(count(&memory, ""), files);
                }
                Err(error) => panic!("{error}"),
                Ok(_) => {
                    let report = check(&open(shared(&memory)).unwrap(), &read_all(), &|_| {});
                    // Nobody needed it: the entry is gone, or the rest of the file is marked.
                    assert!(report.unwrap().is_ok());
                }
            }
        }
    }
    assert!(refused >= 6, "{refused}");
}

/// T14 of the history of failures: blobs that are there twice, within one pack and in several, and packs that index files
/// name twice or in parts (T5).
#[test]
fn t14_t05_copies_and_split_entries_lose_nothing() {
    for seed in 0..6_u64 {
        let (memory, mut model) = worn_vault();
        let repository = open(shared(&memory)).unwrap();
        // Everything once more, by a writer that knows nothing of what is there.
        let writer = Writer::open(repository.clone(), Arc::default(), small_packs()).unwrap();
        let content: Vec<u64> = (seed..seed + 12).collect();
        let tree = save(&writer, &content).unwrap();
        let id = writer.commit(&snapshot_of(tree, "/")).unwrap();
        model.snapshots.insert(id, content);
        // Every index file once more under another name.
        if seed % 2 == 0 {
            vault_test_copies(&memory);
        }
        model.verify(&memory);
        prune_days(&memory, &model, 0);
        nothing_is_left_over(&memory);
    }
}

/// Doubles what index files say: a prune that is killed between putting new ones and removing old ones leaves that.
fn vault_test_copies(memory: &Memory) {
    let faulty = Arc::new(Faulty::new(shared(memory)));
    for nth in 0..40 {
        faulty.at_nth(Operation::Delete, nth, Fault::Fail(ErrorKind::Other));
    }
    let marking = PruneOptions {
        max_unused: Limit::Unlimited,
        ..PruneOptions::default()
    };
    drop(prune_at(faulty, &marking, -500));
    unlock(memory);
}

/// T6, T34 and T24 of the history of failures: a kill at every call of a prune, in each of its phases. What is left is
/// whole, and the next prunes go on and leave nothing over.
#[test]
fn t34_a_kill_at_every_call_of_a_prune_loses_nothing() {
    let mut cases = 0;
    let (worn, model) = worn_vault();
    let marked = worn.snapshot();
    prune_at(shared(&marked), &thorough(), 0).unwrap();
    for (prepared, options, hour) in [
        (&worn, thorough(), 0),
        (&marked, thorough(), 24),
        (&worn, instant(), 0),
    ] {
        cases += kill_everywhere(
            prepared,
            |storage| prune_at(storage, &options, hour).map(drop),
            |memory| {
                model.verify(memory);
                prune_days(memory, &model, hour + 1);
                nothing_is_left_over(memory);
            },
        );
    }
    // A snapshot that came back: the mark is undone.
    let (memory, mut model) = (worn.snapshot(), model.clone());
    let repository = open(shared(&memory)).unwrap();
    let index = Arc::new(repository.load_index().unwrap());
    let writer = Writer::open(repository, index, small_packs()).unwrap();
    let tree = save(&writer, &[20, 21, 22, 23]).unwrap();
    prune_at(shared(&memory), &thorough(), 0).unwrap();
    let id = writer.commit(&snapshot_of(tree, "/")).unwrap();
    model.snapshots.insert(id, vec![20, 21, 22, 23]);
    cases += kill_everywhere(
        &memory,
        |storage| {
            let report = prune_at(storage, &thorough(), 24)?;
            assert!(report.put_back.count > 0);
            Ok(())
        },
        |memory| {
            prune_days(memory, &model, 25);
            nothing_is_left_over(memory);
        },
    );
    assert!(cases > 300, "{cases}");
}

/// T24, T26 and T33 of the history of failures: each call of a prune fails, once or from then on, is refused or finds no
/// space; each put is torn; each delete is lost.
#[test]
fn t24_t33_a_failing_storage_under_a_prune_loses_nothing() {
    let (worn, model) = worn_vault();
    let marked = worn.snapshot();
    prune_at(shared(&marked), &thorough(), 0).unwrap();
    let mut cases = 0;
    let faults = [
        (Fault::Fail(ErrorKind::Denied), false),
        (Fault::Fail(ErrorKind::Full), true),
        (Fault::FailAfter(ErrorKind::Transient), false),
        (Fault::Tear(40), false),
        (Fault::TearSilently(40), false),
        (Fault::Flip, false),
        (Fault::Lie(0), false),
    ];
    for (prepared, hour) in [(&worn, 0), (&marked, 24)] {
        for (fault, is_lasting) in &faults {
            for call in 0.. {
                let memory = prepared.snapshot();
                let faulty = Arc::new(Faulty::new(shared(&memory)));
                if *is_lasting {
                    faulty.from(call, fault.clone());
                } else {
                    faulty.at(call, fault.clone());
                }
                let result = prune_at(Arc::clone(&faulty) as Arc<dyn Storage>, &thorough(), hour);
                if faulty.call_count() <= call {
                    result.unwrap();
                    break;
                }
                drop(result);
                remove_torn_files(&memory);
                unlock(&memory);
                model.verify(&memory);
                cases += 1;
            }
        }
    }
    assert!(cases > 500, "{cases}");
}

/// A torn file has another hash than its name says: it must not be needed by anything, so that it may go.
fn remove_torn_files(memory: &Memory) {
    for listed in memory.list("").unwrap() {
        let bytes = memory.get(&listed.name).unwrap();
        let is_torn =
            listed.name != "config" && !listed.name.ends_with(&vault::Id::hash(&bytes).to_hex());
        if is_torn && !listed.name.starts_with(FileKind::Key.folder()) {
            memory.delete(&listed.name).unwrap();
        }
    }
}
