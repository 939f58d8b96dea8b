//! Forget, copy, repair and keys on storages that fail at every call: nothing is lost, and a second try ends well.

use std::sync::Arc;

use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Storage};
use vault::forget::remove_snapshots;
use vault::{
    FileKind, Id, Repository, Run, Secret, VaultError, WriterOptions, copy, key_labels,
    repair_index, repair_packs, repair_snapshots, stats,
};

use crate::sample::{PASSWORD, key_options, open};
use crate::world::{Model, content_of, kill_everywhere, new_vault, unlock};

fn shared(memory: &Memory) -> Arc<dyn Storage> {
    Arc::new(memory.clone())
}

fn three_snapshots() -> (Memory, Model, Vec<Id>) {
    let memory = new_vault();
    let mut model = Model::default();
    let ids = vec![
        model.back_up(&memory, &(0..10).collect::<Vec<_>>()),
        model.back_up(&memory, &(5..14).collect::<Vec<_>>()),
        model.back_up(&memory, &[1, 20, 21]),
    ];
    (memory, model, ids)
}

fn small() -> WriterOptions {
    WriterOptions {
        pack_size_bytes: 2048,
        index_blob_count: 6,
        ..WriterOptions::default()
    }
}

/// T6 of the history of failures for forget: whatever is left, each snapshot is there whole or not at all.
#[test]
fn t06_a_kill_at_every_call_of_a_forget_leaves_whole_snapshots() {
    let (prepared, model, ids) = three_snapshots();
    let cases = kill_everywhere(
        &prepared,
        |storage| remove_snapshots(&open(storage)?, &ids[..2]).map(drop),
        |memory| {
            let left: Vec<Id> = open(shared(memory))
                .unwrap()
                .snapshots()
                .unwrap()
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            assert!(left.contains(&ids[2]));
            let mut expected = model.clone();
            expected.snapshots.retain(|id, _| left.contains(id));
            expected.verify(memory);
        },
    );
    assert!(cases >= 12, "{cases}");
}

fn copy_all(from: &Memory, to: Arc<dyn Storage>, ids: &[Id]) -> Result<(), VaultError> {
    copy(&open(shared(from))?, &open(to)?, ids, small(), &|_| {}).map(drop)
}

/// The snapshots of the copy have the content of some original each.
fn verify_copy(memory: &Memory, model: &Model) -> usize {
    let repository = open(shared(memory)).unwrap();
    let mut expected = Model::default();
    for (id, snapshot) in repository.snapshots().unwrap() {
        let content = model.snapshots[&snapshot.original.unwrap()].clone();
        expected.snapshots.insert(id, content);
    }
    expected.verify(memory);
    expected.snapshots.len()
}

/// T6 for copy: killed at every call, then once more to the end.
#[test]
fn t06_a_kill_at_every_call_of_a_copy_leaves_whole_snapshots() {
    let (from, model, ids) = three_snapshots();
    let cases = kill_everywhere(
        &new_vault(),
        |storage| copy_all(&from, storage, &ids),
        |memory| {
            verify_copy(memory, &model);
            copy_all(&from, shared(memory), &ids).unwrap();
            assert_eq!(verify_copy(memory, &model), 3);
        },
    );
    assert!(cases > 60, "{cases}");
    model.verify(&from);
}

/// T24, T26, T38: each call of a copy fails in every way, on the side that is read and on the side that is written.
#[test]
fn t24_t38_a_failing_storage_under_a_copy_loses_nothing() {
    let (from, model, ids) = three_snapshots();
    let mut cases = 0;
    for fault in [
        Fault::Fail(ErrorKind::Full),
        Fault::FailAfter(ErrorKind::Transient),
        Fault::Flip,
        Fault::TearSilently(30),
        Fault::Lie(0),
    ] {
        for is_source in [true, false] {
            for call in 0.. {
                let to = new_vault();
                let source = from.snapshot();
                let faulty = Arc::new(Faulty::new(if is_source {
                    shared(&source)
                } else {
                    shared(&to)
                }));
                faulty.at(call, fault.clone());
                let through = Arc::clone(&faulty) as Arc<dyn Storage>;
                let sides = if is_source {
                    (open(through), open(shared(&to)))
                } else {
                    (open(shared(&source)), open(through))
                };
                if let (Ok(source), Ok(target)) = sides {
                    drop(copy(&source, &target, &ids, small(), &|_| {}));
                }
                if faulty.call_count() <= call {
                    break;
                }
                if is_source {
                    verify_copy(&to, &model);
                } else {
                    remove_damaged(&to);
                }
                unlock(&to);
                unlock(&source);
                copy_all(&source, shared(&to), &ids).unwrap();
                cases += 1;
            }
        }
    }
    assert!(cases > 300, "{cases}");
}

/// What is lost of one snapshot keeps no other from being copied, and no copy is written that is not whole.
#[test]
fn damage_costs_a_copy_the_snapshots_that_it_hit() {
    let (from, model, ids) = three_snapshots();
    let mut partly_copied = 0;
    for listed in from.list("").unwrap() {
        if !["data/", "index/", "snapshots/"]
            .iter()
            .any(|folder| listed.name.starts_with(folder))
        {
            continue;
        }
        let (source, to) = (from.snapshot(), new_vault());
        source.delete(&listed.name).unwrap();
        let target = open(shared(&to)).unwrap();
        let report = copy(
            &open(shared(&source)).unwrap(),
            &target,
            &ids,
            small(),
            &|_| {},
        )
        .unwrap();
        let (copied, failed) = (report.copied.len(), report.failed.len());
        assert_eq!(
            (copied + failed, verify_copy(&to, &model)),
            (3, copied),
            "{}",
            listed.name
        );
        assert!(failed > 0, "{} is needed by nothing", listed.name);
        partly_copied += usize::from(copied > 0);
    }
    assert!(partly_copied > 3, "{partly_copied}");
}

/// What a lying storage kept under a wrong name goes, as a repair would move it.
fn remove_damaged(memory: &Memory) {
    for listed in memory.list("").unwrap() {
        let is_hashed = listed.name != "config" && !listed.name.starts_with(FileKind::Key.folder());
        let bytes = memory.get(&listed.name).unwrap();
        if is_hashed && !listed.name.ends_with(&Id::hash(&bytes).to_hex()) {
            memory.delete(&listed.name).unwrap();
        }
    }
}

#[test]
fn a_copy_is_idempotent_and_says_whether_chunks_are_shared() {
    let (from, model, ids) = three_snapshots();
    let to = new_vault();
    let (source, target) = (open(shared(&from)).unwrap(), open(shared(&to)).unwrap());
    let first = copy(&source, &target, &ids[..2], small(), &|_| {}).unwrap();
    assert_eq!((first.copied.len(), first.already_there.len()), (2, 0));
    assert!(!first.is_same_chunker && first.blob_count > 0);
    let second = copy(&source, &target, &ids, small(), &|_| {}).unwrap();
    assert_eq!(
        (second.copied.len(), second.already_there),
        (1, ids[..2].to_vec())
    );
    let third = copy(&source, &target, &ids, small(), &|_| {}).unwrap();
    assert_eq!((third.copied.len(), third.blob_count), (0, 0));
    assert_eq!(verify_copy(&to, &model), 3);
    for (old, new) in first.copied {
        assert_eq!(
            content_of(&source, &old).unwrap(),
            content_of(&target, &new).unwrap()
        );
        let (before, after) = (
            source.snapshot(&old).unwrap(),
            target.snapshot(&new).unwrap(),
        );
        assert_eq!(
            (before.time, before.paths, before.tree),
            (after.time, after.paths, after.tree)
        );
    }
    assert!(source.cuts_like(&open(shared(&from)).unwrap()));
}

/// A vault with a wrong byte in a pack, and one with an index file that is cut; the second number is how many files a
/// repair saves.
fn damaged_vaults() -> Vec<(Memory, usize)> {
    let (memory, _, _) = three_snapshots();
    let pack = memory.list("data").unwrap()[0].name.clone();
    let damaged = memory.snapshot();
    let mut bytes = damaged.get(&pack).unwrap();
    bytes[40] ^= 1;
    damaged.overwrite(&pack, bytes);
    let cut = memory.snapshot();
    let index = cut.list("index").unwrap()[0].name.clone();
    cut.overwrite(&index, Vec::new());
    let with_count = |prepared: Memory| {
        let whole = prepared.snapshot();
        repair_all(&open(shared(&whole)).unwrap()).unwrap();
        let count = files_that_read(&whole);
        assert!(count > 0);
        (prepared, count)
    };
    vec![with_count(damaged), with_count(cut)]
}

fn repair_all(repository: &Repository) -> Result<(), VaultError> {
    repair_index(repository, Run::Real)?;
    repair_packs(repository, &[], Run::Real, &|_, _| {})?;
    repair_snapshots(repository, Run::Real).map(drop)
}

/// Each file of before is at its place or in quarantine.
#[track_caller]
fn assert_nothing_destroyed(before: &Memory, after: &Memory) {
    for listed in before.list("").unwrap() {
        let bytes = before.get(&listed.name).unwrap();
        // A second copy has the beginning of its hash behind its name.
        let kept = format!("quarantine/{}", listed.name);
        let is_kept = after
            .list("")
            .unwrap()
            .iter()
            .filter(|found| found.name == listed.name || found.name.starts_with(&kept))
            .any(|found| after.get(&found.name).unwrap() == bytes);
        assert!(is_kept, "{}", listed.name);
    }
}

/// T23 and T6 for repair: killed at every call, what was damaged is never worse than before, and a second run ends well.
#[test]
fn t23_a_kill_at_every_call_of_a_repair_destroys_nothing() {
    let mut cases = 0;
    for (prepared, count) in damaged_vaults() {
        cases += kill_everywhere(
            &prepared,
            |storage| repair_all(&open(storage)?),
            |memory| {
                repair_all(&open(shared(memory)).unwrap()).unwrap();
                assert_eq!(files_that_read(memory), count);
                assert_nothing_destroyed(&prepared, memory);
            },
        );
    }
    assert!(cases > 150, "{cases}");
}

/// T23, T24 and T38 for repair: each call fails, is torn or lies. Nothing is destroyed, wrong bytes once condemn nothing, and
/// a second run ends well.
#[test]
fn t23_t38_a_failing_storage_under_a_repair_destroys_nothing() {
    let mut cases = 0;
    for (prepared, count) in damaged_vaults() {
        for fault in [
            Fault::Fail(ErrorKind::Full),
            Fault::FailAfter(ErrorKind::Transient),
            Fault::Flip,
            Fault::Tear(30),
            Fault::TearSilently(30),
            Fault::Lie(0),
        ] {
            for call in 0.. {
                let memory = prepared.snapshot();
                let faulty = Arc::new(Faulty::new(shared(&memory)));
                faulty.at(call, fault.clone());
                if let Ok(repository) = open(Arc::clone(&faulty) as Arc<dyn Storage>) {
                    drop(repair_all(&repository));
                }
                if faulty.call_count() <= call {
                    break;
                }
                unlock(&memory);
                // A lost delete of a key or the like aside, all of before is somewhere.
                assert_nothing_destroyed(&prepared, &memory);
                repair_all(&open(shared(&memory)).unwrap()).unwrap();
                assert_nothing_destroyed(&prepared, &memory);
                // A storage that lies while snapshots are written anew may cost them more files than the damage did; the
                // old snapshots are in quarantine then.
                let is_honest = matches!(fault, Fault::Fail(_) | Fault::FailAfter(_) | Fault::Flip);
                if is_honest {
                    assert_eq!(files_that_read(&memory), count, "{fault:?} at {call}");
                }
                cases += 1;
            }
        }
    }
    assert!(cases > 400, "{cases}");
}

/// How many files of all snapshots read back.
fn files_that_read(memory: &Memory) -> usize {
    let repository = open(shared(memory)).unwrap();
    let snapshots = repository.snapshots().unwrap();
    snapshots
        .iter()
        .map(|(id, _)| content_of(&repository, id).unwrap().len())
        .sum()
}

#[test]
fn keys_are_added_replaced_and_removed_but_never_the_current_one() {
    let (memory, model, _) = three_snapshots();
    let with = |password: &str| Repository::open(shared(&memory), &Secret::from(password));
    let first = with(PASSWORD).unwrap();
    let second = first
        .add_key(&Secret::from("second"), &key_options())
        .unwrap();
    assert_eq!(key_labels(&memory).unwrap().len(), 2);
    assert!(matches!(
        first.remove_key(&first.current_key()),
        Err(VaultError::Refused { .. })
    ));
    let rotated = first
        .rotate_key(&Secret::from("third"), &key_options())
        .unwrap();
    assert!(matches!(with(PASSWORD), Err(VaultError::WrongPassword)));
    assert_eq!(with("third").unwrap().current_key(), rotated.current_key());
    assert_eq!(rotated.find_key(&second.to_hex()[..6]).unwrap(), second);
    assert!(rotated.find_key("").is_err() && rotated.find_key("xyz").is_err());
    rotated.remove_key(&second).unwrap();
    assert!(matches!(with("second"), Err(VaultError::WrongPassword)));
    assert!(matches!(
        rotated.remove_key(&rotated.current_key()),
        Err(VaultError::Refused { .. })
    ));
    assert_eq!(rotated.config(), first.config());
    let _ = model;
}

/// Killed at every call of a rotation, the old password or the new one opens the vault, or both.
#[test]
fn a_kill_at_every_call_of_a_key_rotation_locks_nobody_out() {
    let (memory, _, _) = three_snapshots();
    let cases = kill_everywhere(
        &memory,
        |storage| {
            open(storage)?
                .rotate_key(&Secret::from("new"), &key_options())
                .map(drop)
        },
        |memory| {
            let opens = |password: &str| Repository::open(shared(memory), &Secret::from(password));
            let repository = opens(PASSWORD).or_else(|_| opens("new")).unwrap();
            assert_eq!(repository.snapshots().unwrap().len(), 3);
        },
    );
    assert!(cases >= 12, "{cases}");
    // A storage that keeps another key file than it was given: the old password stays.
    let faulty = Arc::new(Faulty::new(shared(&memory)));
    let repository = open(Arc::clone(&faulty) as Arc<dyn Storage>).unwrap();
    faulty.at_nth(Operation::Put, 0, Fault::Flip);
    assert!(
        repository
            .rotate_key(&Secret::from("new"), &key_options())
            .is_err()
    );
    assert!(open(shared(&memory)).is_ok());
}

#[test]
fn statistics_agree_with_a_naive_count() {
    let (memory, model, ids) = three_snapshots();
    let repository = open(shared(&memory)).unwrap();
    let before = stats(&repository).unwrap();
    assert_eq!(before.snapshots.len(), 3);
    for (id, _, stats) in &before.snapshots {
        let content = &model.snapshots[id];
        let bytes: usize = content
            .iter()
            .map(|number| crate::world::bytes_of(*number).len())
            .sum();
        assert_eq!(
            (stats.restore_bytes, stats.file_count),
            (bytes as u64, content.len() as u64)
        );
    }
    // What a snapshot alone needs is what is needed no more without it.
    for id in &ids {
        let memory = memory.snapshot();
        let repository = open(shared(&memory)).unwrap();
        repository.delete_snapshot(id).unwrap();
        let after = stats(&repository).unwrap();
        let unique = before
            .snapshots
            .iter()
            .find(|(found, _, _)| found == id)
            .unwrap()
            .2;
        assert_eq!(
            before.stored_bytes - after.stored_bytes,
            unique.unique_bytes
        );
        assert_eq!(
            before.blob_count - after.blob_count,
            unique.unique_blob_count
        );
        assert_eq!(
            after.unneeded_bytes,
            before.unneeded_bytes + unique.unique_bytes
        );
    }
}
