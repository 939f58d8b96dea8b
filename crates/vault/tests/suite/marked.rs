//! A snapshot whose blobs are only in packs that are marked for deletion, since it was committed after the mark: it is whole
//! for every reader, and no repair, in whatever order, takes anything from it.

use std::sync::Arc;

use storage::{Memory, Storage};
use vault::{
    BlobKind, CheckHint, Id, LockKind, PruneOptions, ReadData, Reader, Run, Writer, check, copy,
    repair_index, repair_packs, repair_snapshots,
};

use crate::sample::{open, snapshot_of};
use crate::world::{
    Model, back_up, bytes_of, content_of, kill_everywhere, new_vault, prune_at, read_all, save,
    small_packs,
};

/// The blobs of the snapshot that came late.
const LATE: [u64; 6] = [20, 21, 22, 23, 24, 25];

fn shared(memory: &Memory) -> Arc<dyn Storage> {
    Arc::new(memory.clone())
}

fn options() -> PruneOptions {
    PruneOptions::default()
}

/// One snapshot of blobs that stay, and one that a backup wrote which had read its index before a prune marked what it
/// refers to: the pack was unneeded for a grace by then, so no lock kept it.
fn late_vault() -> (Memory, Model, Id) {
    let memory = new_vault();
    let mut model = Model::default();
    model.back_up(&memory, &[1, 2, 3, 4]);
    let forgotten = model.back_up(&memory, &(20..30).collect::<Vec<_>>());
    model.forget(&memory, &forgotten);
    let repository = open(shared(&memory)).unwrap();
    let other = repository.lock(LockKind::Shared).unwrap();
    let report = prune_at(shared(&memory), &options(), 0).unwrap();
    assert!(report.deferred.count > 0, "{report:?}");
    // It begins minutes before the mark.
    let lock = repository.lock(LockKind::Shared).unwrap();
    drop(other);
    let index = Arc::new(repository.load_index_for_backup().unwrap().index);
    let writer = Writer::open(repository.clone(), index, small_packs()).unwrap();
    let tree = save(&writer, &LATE).unwrap();
    let report = prune_at(shared(&memory), &options(), 23).unwrap();
    assert!(report.marked.count > 0, "{report:?}");
    let late = writer.commit(&snapshot_of(tree, "/content")).unwrap();
    drop(lock);
    model.snapshots.insert(late, LATE.to_vec());
    (memory, model, late)
}

/// How many needed packs a check finds marked; it finds no damage.
#[track_caller]
fn needed_marked(memory: &Memory) -> usize {
    let report = check(&open(shared(memory)).unwrap(), &read_all(), &|_| {}).unwrap();
    assert!(report.is_ok(), "{:?}", report.errors);
    assert_eq!(report.touched_count, 0);
    let is_it = |hint: &&CheckHint| matches!(hint, CheckHint::NeededPackMarked { .. });
    report.hints.iter().filter(is_it).count()
}

/// Two prunes with a day between, and everything is there.
#[track_caller]
fn prunes_keep_all(memory: &Memory, model: &Model) {
    for day in 2..5 {
        prune_at(shared(memory), &options(), day * 24).unwrap();
        model.verify(memory);
    }
    assert_eq!(needed_marked(memory), 0);
}

#[test]
fn readers_find_what_only_marked_packs_have() {
    let (memory, model, late) = late_vault();
    assert!(needed_marked(&memory) > 0);
    model.verify(&memory);
    let repository = open(shared(&memory)).unwrap();
    let root = repository.snapshot(&late).unwrap().tree;
    let (index, damaged) = repository.load_index_to_restore().unwrap();
    assert!(damaged.is_empty());
    let reader = Reader::new(repository.clone(), Arc::new(index));
    for number in LATE {
        let bytes = bytes_of(number);
        let id = Id::hash(&bytes);
        assert_eq!(reader.read_blob(BlobKind::Data, &id).unwrap(), bytes);
        assert!(reader.place(BlobKind::Data, &id).unwrap().is_some());
    }
    let trees = Arc::new(repository.load_tree_index().unwrap());
    let trees = Reader::new(repository.clone(), trees);
    assert_eq!(trees.read_tree(&root).unwrap().nodes.len(), 2);
    let elsewhere = new_vault();
    let to = open(shared(&elsewhere)).unwrap();
    let report = copy(&repository, &to, &[late], small_packs(), &|_| {}).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(content_of(&to, &report.copied[0].1).unwrap(), LATE);
}

/// For a backup they do not count as stored: it stores them anew, and its snapshot needs no marked pack.
#[test]
fn a_backup_stores_anew_what_only_marked_packs_have() {
    let (memory, mut model, late) = late_vault();
    let repository = open(shared(&memory)).unwrap();
    let index = repository.load_index_for_backup().unwrap().index;
    for number in LATE {
        assert!(!index.contains(BlobKind::Data, &Id::hash(&bytes_of(number))));
    }
    model.back_up(&memory, &LATE);
    model.forget(&memory, &late);
    assert_eq!(needed_marked(&memory), 0);
    prunes_keep_all(&memory, &model);
}

/// Damage of a marked pack that is needed is damage like any other.
#[test]
fn damage_of_a_needed_marked_pack_is_told() {
    let (memory, _, _) = late_vault();
    let repository = open(shared(&memory)).unwrap();
    let marked = repository.load_index().unwrap().marked_packs().to_vec();
    let (mut missing, mut damaged) = (0, 0);
    for pack in marked {
        let name = format!("data/{}/{pack}", &pack.to_hex()[..2]);
        let told = |memory: &Memory| {
            let report = check(&open(shared(memory)).unwrap(), &read_all(), &|_| {}).unwrap();
            let is_needed = report.hints.contains(&CheckHint::NeededPackMarked { pack });
            assert_eq!(!report.is_ok(), is_needed, "{:?}", report.errors);
            assert_eq!(report.touched_count > 0, is_needed);
            usize::from(is_needed)
        };
        let gone = memory.snapshot();
        gone.delete(&name).unwrap();
        missing += told(&gone);
        let flipped = memory.snapshot();
        let mut bytes = flipped.get(&name).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        flipped.overwrite(&name, bytes);
        damaged += told(&flipped);
    }
    assert!(missing > 0 && damaged > 0, "{missing} {damaged}");
}

/// T23 of the history of failures: every order of up to three repairs and others. No repair finds anything lost, the
/// snapshot stays what it is, and prunes keep it.
#[test]
fn t23_no_order_of_repairs_takes_from_a_late_snapshot() {
    type Act = fn(&Memory);
    let acts: [Act; 5] = [
        |memory| {
            let found = repair_snapshots(&open(shared(memory)).unwrap(), Run::Real).unwrap();
            assert!(found.repaired.is_empty(), "{:?}", found.repaired);
        },
        |memory| {
            repair_index(&open(shared(memory)).unwrap(), Run::Real).unwrap();
            assert_eq!(needed_marked(memory), 0);
            let again = repair_index(&open(shared(memory)).unwrap(), Run::Real).unwrap();
            assert!(again.is_clean(), "{again:?}");
        },
        |memory| {
            let found = repair_packs(&open(shared(memory)).unwrap(), &[], Run::Real, &|_, _| {});
            assert!(found.unwrap().damaged.is_empty());
        },
        |memory| {
            let id = back_up(shared(memory), &[1, 20, 40]).unwrap();
            let repository = open(shared(memory)).unwrap();
            repository.delete_snapshot(&id).unwrap();
        },
        |memory| drop(prune_at(shared(memory), &options(), 24).unwrap()),
    ];
    let mut cases = 0;
    let (late, model, _) = late_vault();
    for first in 0..acts.len() {
        for second in 0..acts.len() {
            for third in 0..acts.len() {
                let memory = late.snapshot();
                for act in [first, second, third] {
                    acts[act](&memory);
                    model.verify(&memory);
                }
                prunes_keep_all(&memory, &model);
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 125);
}

/// What a dry run of a repair of the index says is what a real one does, and one that is killed at any call, and made
/// again, too.
#[test]
fn t23_a_repair_of_the_index_puts_back_what_is_needed() {
    let (late, model, _) = late_vault();
    let planned = repair_index(&open(shared(&late)).unwrap(), Run::Dry).unwrap();
    let needed = needed_marked(&late);
    assert!(needed > 0 && planned.packs_put_back.len() == needed);
    assert!(!planned.is_clean());
    // Marks of packs that are live mean nothing.
    let marked = |memory: &Memory| {
        let index = open(shared(memory)).unwrap().load_index().unwrap();
        let is_marked = |pack: &&Id| !index.packs().contains(pack);
        index.marked_packs().iter().filter(is_marked).count()
    };
    let marked_before = marked(&late);
    let cases = kill_everywhere(
        &late,
        |storage| {
            let done = repair_index(&open(storage)?, Run::Real)?;
            assert_eq!(done.packs_put_back, planned.packs_put_back);
            Ok(())
        },
        |memory| {
            model.verify(memory);
            let again = memory.snapshot();
            repair_index(&open(shared(&again)).unwrap(), Run::Real).unwrap();
            assert_eq!(needed_marked(&again), 0);
            assert_eq!(marked(&again), marked_before - needed, "the others stay");
            prunes_keep_all(&again, &model);
            prunes_keep_all(memory, &model);
        },
    );
    assert!(cases > 20, "{cases}");
}

/// A missing pack of which a marked one has copies.
#[test]
fn what_a_missing_pack_had_is_read_from_marked_ones() {
    let (memory, mut model, _) = late_vault();
    let before: Vec<Id> = packs(&memory);
    model.back_up(&memory, &LATE);
    for pack in packs(&memory) {
        if !before.contains(&pack) {
            let name = format!("data/{}/{pack}", &pack.to_hex()[..2]);
            memory.delete(&name).unwrap();
        }
    }
    let repository = open(shared(&memory)).unwrap();
    let structure = vault::CheckOptions {
        read_data: ReadData::None,
        thread_count: 1,
    };
    let report = check(&repository, &structure, &|_| {}).unwrap();
    assert!(!report.is_ok(), "packs are missing");
    assert_eq!(report.touched_count, 0, "but nothing that they had");
    for (id, content) in &model.snapshots {
        assert_eq!(content_of(&repository, id).unwrap(), *content);
    }
    let repaired = repair_index(&repository, Run::Real).unwrap();
    assert!(!repaired.packs_missing.is_empty() && !repaired.packs_put_back.is_empty());
    prunes_keep_all(&memory, &model);
}

fn packs(memory: &Memory) -> Vec<Id> {
    let repository = open(shared(memory)).unwrap();
    repository.load_index().unwrap().packs().to_vec()
}
