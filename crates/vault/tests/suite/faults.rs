//! A small backup on a storage that fails at every call in turn, in every way: whatever is left, each snapshot that is
//! there reads back whole, and the failure is told.

use std::sync::Arc;
use std::time::Duration;

use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Storage};
use vault::{
    BlobKind, BlobScratch, CheckOptions, Id, ReadData, Reader, Repository, Tree, VaultError,
    Writer, WriterOptions, check,
};

use crate::sample::{create, open, snapshot_of};

/// The content of backup `number`: most of it new, some of it as before.
fn content(number: u64) -> Vec<Vec<u8>> {
    let mut blobs: Vec<Vec<u8>> = (0..4).map(|shared| vec![shared as u8; 300]).collect();
    for own in 0..12 {
        let mut bytes = Vec::new();
        for part in 0..20_u64 {
            bytes.extend_from_slice(
                Id::hash(format!("{number} {own} {part}").as_bytes()).as_bytes(),
            );
        }
        blobs.push(bytes);
    }
    blobs
}

fn options() -> WriterOptions {
    WriterOptions {
        pack_size_bytes: 2048,
        index_blob_count: 6,
        ..WriterOptions::default()
    }
}

/// Opens the repository and backs `content(number)` up, under a lock, as a job does.
fn back_up(storage: Arc<dyn Storage>, number: u64) -> Result<Id, VaultError> {
    let repository = open(storage)?;
    let lock = repository.lock(vault::LockKind::Shared)?;
    let base = repository.load_index_for_backup()?;
    let writer = Writer::open(repository.clone(), Arc::new(base.index), options())?;
    writer.adopt_unindexed_packs(&base.packs, &|| false)?;
    let tree = save(&writer, number)?;
    lock.ensure_held()?;
    writer.commit(&snapshot_of(tree, "/content"))
}

fn save(writer: &Writer, number: u64) -> Result<Id, VaultError> {
    let mut scratch = BlobScratch::new();
    let mut nodes = Vec::new();
    for (position, bytes) in content(number).iter().enumerate() {
        let saved = writer.save_blob(BlobKind::Data, bytes, &mut scratch)?;
        nodes.push(vault::Node {
            name: format!("{position:04}").into_bytes(),
            kind: vault::NodeKind::File,
            size: bytes.len() as u64,
            content: vec![saved.id],
            ..vault::Node::default()
        });
    }
    Ok(writer.save_tree(&Tree { nodes }, &mut scratch)?.id)
}

/// A vault with one good backup in it.
fn prepared() -> Memory {
    let memory = Memory::new();
    create(Arc::new(memory.clone())).unwrap();
    back_up(Arc::new(memory.clone()), 0).unwrap();
    memory
}

/// Every snapshot of the vault reads back whole; says how many there are.
fn all_snapshots_read_back(memory: &Memory) -> usize {
    let repository = open(Arc::new(memory.clone())).unwrap();
    let snapshots = repository.snapshots().unwrap();
    let reader = Reader::new(
        repository.clone(),
        Arc::new(repository.load_index().unwrap()),
    );
    for (_, snapshot) in &snapshots {
        let tree = reader.read_tree(&snapshot.tree).unwrap();
        assert!(!tree.nodes.is_empty());
        for node in &tree.nodes {
            let bytes = reader.read_blob(BlobKind::Data, &node.content[0]).unwrap();
            assert_eq!(bytes.len() as u64, node.size);
        }
    }
    snapshots.len()
}

/// Runs the second backup with `fault` at call `call`, counted from its start. Gives its result, what is left, and
/// whether the call was reached.
fn run_with(fault: &Fault, call: u64, is_lasting: bool) -> (Result<Id, VaultError>, Memory, bool) {
    let memory = prepared();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    if is_lasting {
        faulty.from(call, fault.clone());
    } else {
        faulty.at(call, fault.clone());
    }
    let result = back_up(Arc::clone(&faulty) as Arc<dyn Storage>, 1);
    let is_reached = faulty.call_count() > call;
    (result, memory, is_reached)
}

/// After whatever happened, a plain backup ends well and the whole vault checks.
fn heals(memory: &Memory) {
    let repository = open(Arc::new(memory.clone())).unwrap();
    repository.unlock(vault::UnlockScope::All).unwrap();
    back_up(Arc::new(memory.clone()), 1).unwrap();
    let report = check(&repository, &read_all(), &|_| {}).unwrap();
    assert!(report.is_ok(), "{:?}", report.errors);
}

fn read_all() -> CheckOptions {
    CheckOptions {
        read_data: ReadData::All,
        thread_count: 2,
    }
}

/// Walks `fault` over every call of a backup.
fn at_every_call(
    fault: &Fault,
    is_lasting: bool,
    mut verify: impl FnMut(&Result<Id, VaultError>, &Memory),
) -> u64 {
    let mut call = 0;
    loop {
        let (result, memory, is_reached) = run_with(fault, call, is_lasting);
        if !is_reached {
            assert!(result.is_ok());
            return call;
        }
        let expected = if result.is_ok() { 2..=2 } else { 1..=2 };
        let found = all_snapshots_read_back(&memory);
        assert!(expected.contains(&found), "{fault:?} at {call}: {found}");
        verify(&result, &memory);
        heals(&memory);
        call += 1;
    }
}

/// T24 of the history of failures: an I/O error at each call, once and lasting.
#[test]
fn t24_an_error_at_every_call_leaves_no_broken_snapshot() {
    for is_lasting in [false, true] {
        let calls = at_every_call(&Fault::Fail(ErrorKind::Other), is_lasting, |_, _| {});
        assert!(calls > 20, "{calls}");
    }
}

/// T26 of the history of failures: a full vault is told as that, whichever write it hits.
#[test]
fn t26_a_full_vault_is_never_anything_else() {
    at_every_call(&Fault::Fail(ErrorKind::Full), true, |result, memory| {
        // Only the removal of the lock may fail unseen: it comes after the snapshot, and a dead lock becomes stale.
        match result {
            Ok(_) => assert_eq!(all_snapshots_read_back(memory), 2),
            Err(error) => assert!(error.is_full(), "{error}"),
        }
    });
}

#[test]
fn a_write_of_unknown_outcome_leaves_no_broken_snapshot() {
    at_every_call(&Fault::FailAfter(ErrorKind::Transient), false, |_, _| {});
    at_every_call(&Fault::FailAfter(ErrorKind::Transient), true, |_, _| {});
}

/// T24 again: a store that keeps a part of a file and says so, or says nothing. What it keeps has a name that is not
/// its hash, so it can be found, and for packs it is found before anything refers to it.
#[test]
fn t24_torn_writes_leave_no_broken_snapshot() {
    for keep in [0, 1, 40, 200] {
        at_every_put(&Fault::Tear(keep), |result, memory, name| {
            assert!(result.is_err(), "{name}");
            remove_torn(memory, name);
        });
        at_every_put(&Fault::TearSilently(keep), |result, memory, name| {
            assert!(result.is_err(), "{name}");
            remove_torn(memory, name);
        });
    }
}

/// Walks `fault` over every put of a backup and tells which file it hit.
fn at_every_put(fault: &Fault, verify: impl Fn(&Result<Id, VaultError>, &Memory, &str)) {
    for nth in 0.. {
        let memory = prepared();
        let record = Arc::new(storage::Record::new(Arc::new(memory.clone())));
        let faulty = Arc::new(Faulty::new(Arc::clone(&record) as Arc<dyn Storage>));
        faulty.at_nth(Operation::Put, nth, fault.clone());
        let result = back_up(faulty, 1);
        let puts: Vec<_> = record
            .take()
            .into_iter()
            .filter(|call| call.operation == Operation::Put)
            .collect();
        if puts.len() as u64 <= nth {
            assert!(nth > 6, "{nth}");
            return;
        }
        let Some(hit) = torn_name(&memory, &puts) else {
            // The lock, which the end of the backup removed, or a file that is shorter than what was kept.
            continue;
        };
        verify(&result, &memory, &hit);
        all_snapshots_read_back(&memory);
        heals(&memory);
    }
}

/// The file whose content is not what its name says.
fn torn_name(memory: &Memory, puts: &[storage::Call]) -> Option<String> {
    puts.iter().map(|call| call.name.clone()).find(|name| {
        memory
            .get(name)
            .is_ok_and(|bytes| !name.ends_with(&Id::hash(&bytes).to_hex()))
    })
}

/// A torn file that is no pack hides nothing but itself; a person (or repair) removes it.
fn remove_torn(memory: &Memory, name: &str) {
    let repository = open(Arc::new(memory.clone())).unwrap();
    let is_seen = match name.split('/').next().unwrap() {
        "index" => repository.load_index().is_err(),
        "snapshots" => repository.snapshots().is_err(),
        _ => true,
    };
    assert!(is_seen, "{name}");
    memory.delete(name).unwrap();
    if name.starts_with("index/") {
        // Without its index a snapshot of this backup could not be read: there is none.
        all_snapshots_read_back(memory);
    }
}

/// T6 of the history of failures: a kill at every call, nothing reaches the storage afterwards, locks stay.
#[test]
fn t06_a_kill_at_every_call_leaves_no_broken_snapshot() {
    // From the moment of the kill all calls fail, the removal of the lock included: what is on the storage is what a
    // dead process leaves. A lost answer to the last call is the other half of the cases.
    for first in [
        Fault::Fail(ErrorKind::Other),
        Fault::FailAfter(ErrorKind::Other),
    ] {
        for call in 0.. {
            let memory = prepared();
            let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
            faulty.at(call, first.clone());
            faulty.from(call + 1, Fault::Fail(ErrorKind::Other));
            let result = back_up(Arc::clone(&faulty) as Arc<dyn Storage>, 1);
            if faulty.call_count() <= call {
                assert!(result.is_ok());
                break;
            }
            all_snapshots_read_back(&memory);
            heals(&memory);
        }
    }
}

/// T1 of the history of failures: a slow index put at the end of a backup. The snapshot waits for it.
#[test]
fn t01_the_snapshot_waits_for_every_index() {
    for nth in 0.. {
        let memory = prepared();
        let record = Arc::new(storage::Record::new(Arc::new(memory.clone())));
        let faulty = Arc::new(Faulty::new(Arc::clone(&record) as Arc<dyn Storage>));
        faulty.at_nth(Operation::Put, nth, Fault::Delay(Duration::from_millis(40)));
        back_up(Arc::clone(&faulty) as Arc<dyn Storage>, 1).unwrap();
        let puts: Vec<String> = record
            .take()
            .into_iter()
            .filter(|call| call.operation == Operation::Put && call.is_ok)
            .map(|call| call.name)
            .collect();
        assert!(puts.last().unwrap().starts_with("snapshots/"), "{puts:?}");
        assert_eq!(
            puts.iter()
                .filter(|name| name.starts_with("snapshots/"))
                .count(),
            1
        );
        if nth as usize > puts.len() {
            break;
        }
    }
}

/// T15 of the history of failures: an upload that failed, and one that the store only pretended, is in no index.
#[test]
fn t15_no_index_names_a_pack_that_was_not_stored() {
    for fault in [
        Fault::Fail(ErrorKind::Transient),
        Fault::Lie(0),
        Fault::TearSilently(100),
    ] {
        for nth in 0..12 {
            let memory = prepared();
            let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
            faulty.at_nth(Operation::Put, nth, fault.clone());
            let result = back_up(faulty, 1);
            let repository = open(Arc::new(memory.clone())).unwrap();
            let Ok(index) = repository.load_index() else {
                // The fault hit an index file itself, which reading it tells.
                continue;
            };
            for pack in index.packs() {
                let bytes = memory.get(&vault::FileKind::Pack.name(pack)).unwrap();
                assert_eq!(
                    Id::hash(&bytes),
                    *pack,
                    "{fault:?} at put {nth}: {result:?}"
                );
            }
        }
    }
}

/// What a killed backup left and a bad sector spoiled is needed by nobody, so it keeps nobody from a backup. A storage that
/// is away does.
#[test]
fn an_unreadable_leftover_fails_no_backup() {
    for (kind, is_passed_over) in [
        (ErrorKind::Other, true),
        (ErrorKind::Denied, true),
        (ErrorKind::Transient, false),
    ] {
        let memory = prepared();
        let repository = open(Arc::new(memory.clone())).unwrap();
        let writer = Writer::open(repository.clone(), Arc::default(), options()).unwrap();
        save(&writer, 1).unwrap();
        writer.flush().unwrap();
        drop(writer);
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        let repository = open(Arc::clone(&faulty) as Arc<dyn Storage>).unwrap();
        let mut packs = repository.load_index_for_backup().unwrap().packs;
        packs.truncate(1);
        let writer = Writer::open(repository, Arc::default(), options()).unwrap();
        faulty.from(faulty.call_count(), Fault::Fail(kind));
        let adopted = writer.adopt_unindexed_packs(&packs, &|| false);
        assert_eq!(adopted.is_ok(), is_passed_over, "{kind:?}");
        faulty.heal();
        assert!(save(&writer, 2).is_ok(), "{kind:?}");
    }
}

/// A writer that failed once gives the same answer for ever, from every method and every thread.
#[test]
fn a_failed_writer_stays_failed() {
    let memory = prepared();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    let repository = open(Arc::clone(&faulty) as Arc<dyn Storage>).unwrap();
    let base = repository.load_index_for_backup().unwrap();
    let writer = Writer::open(repository.clone(), Arc::new(base.index), options()).unwrap();
    faulty.from(faulty.call_count(), Fault::Fail(ErrorKind::Full));
    let failed_at = (1..)
        .find(|number| save(&writer, *number).is_err())
        .unwrap();
    assert!(failed_at < 20);
    faulty.heal();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut scratch = BlobScratch::new();
                let saved = writer.save_blob(BlobKind::Data, b"anything", &mut scratch);
                assert!(saved.unwrap_err().is_full());
            });
        }
    });
    assert!(
        writer
            .adopt_unindexed_packs(&base.packs, &|| false)
            .unwrap_err()
            .is_full()
    );
    assert!(writer.flush().unwrap_err().is_full());
    let tree = repository.snapshots().unwrap()[0].1.tree;
    assert!(
        writer
            .commit(&snapshot_of(tree, "/"))
            .unwrap_err()
            .is_full()
    );
    assert_eq!(all_snapshots_read_back(&memory), 1);
    heals(&memory);
}

/// T2 of the history of failures: a listing that is empty or cut never makes a backup refer to less than it needs. It
/// stores again what it does not see.
#[test]
fn t02_short_listings_cost_space_and_nothing_else() {
    for keep in [0, 1] {
        for nth in 0..6 {
            let memory = prepared();
            let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
            faulty.at_nth(Operation::List, nth, Fault::Lie(keep));
            let result = back_up(faulty, 1);
            let expected = if result.is_ok() { 2 } else { 1 };
            assert_eq!(all_snapshots_read_back(&memory), expected);
            heals(&memory);
        }
    }
}

/// The repository of a storage that is gone is not an empty one.
#[test]
fn a_missing_repository_is_told_apart_from_a_failing_storage() {
    let memory = Memory::new();
    assert!(matches!(
        open(Arc::new(memory.clone())),
        Err(VaultError::NotARepository { .. })
    ));
    create(Arc::new(memory.clone())).unwrap();
    assert!(matches!(
        create(Arc::new(memory.clone())),
        Err(VaultError::RepositoryExists { .. })
    ));
    let wrong = vault::Secret::from("wrong");
    assert!(matches!(
        Repository::open(Arc::new(memory.clone()), &wrong),
        Err(VaultError::WrongPassword)
    ));
    let faulty = Faulty::new(Arc::new(memory));
    faulty.from(0, Fault::Fail(ErrorKind::Denied));
    let error = open(Arc::new(faulty)).unwrap_err();
    assert_eq!(error.storage_kind(), Some(ErrorKind::Denied));
}

/// A storage that cannot be asked for a while, from any call on: the check says that, and never that something is damaged.
#[test]
fn a_storage_that_is_away_is_no_damage() {
    let memory = Memory::new();
    create(Arc::new(memory.clone())).unwrap();
    back_up(Arc::new(memory.clone()), 1).unwrap();
    let all = CheckOptions {
        read_data: ReadData::All,
        thread_count: 1,
    };
    let faulty = |script: &dyn Fn(&Faulty)| {
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        script(&faulty);
        let repository = open(Arc::clone(&faulty) as Arc<dyn Storage>).unwrap();
        let opened_at = faulty.call_count();
        let report = check(&repository, &all, &|_| {});
        (report, opened_at, faulty.call_count())
    };
    let (report, first, end) = faulty(&|_| {});
    assert!(report.unwrap().is_ok() && end - first > 12);
    for call in first..end {
        for kind in [ErrorKind::Transient, ErrorKind::Throttled] {
            let (report, ..) = faulty(&|storage| storage.from(call, Fault::Fail(kind)));
            assert_eq!(report.unwrap_err().storage_kind(), Some(kind), "{call}");
            // One failure may be got over by asking again.
            match faulty(&|storage| storage.at(call, Fault::Fail(kind))).0 {
                Ok(report) => assert!(report.is_ok(), "call {call}: {report:?}"),
                Err(error) => assert_eq!(error.storage_kind(), Some(kind), "{call}"),
            }
        }
    }
}

/// What somebody took away or put in: each is told, and nothing is guessed or written over.
#[test]
fn what_is_missing_or_strange_is_told() {
    let whole = Memory::new();
    create(Arc::new(whole.clone())).unwrap();
    let id = back_up(Arc::new(whole.clone()), 1).unwrap();
    let first = |memory: &Memory, folder: &str| memory.list(folder).unwrap()[0].name.clone();

    let memory = whole.snapshot();
    memory.delete("config").unwrap();
    assert!(matches!(
        create(Arc::new(memory)),
        Err(VaultError::Refused { .. })
    ));

    let memory = whole.snapshot();
    let pack = first(&memory, "data");
    memory.delete(&pack).unwrap();
    let repository = open(Arc::new(memory.clone())).unwrap();
    let missing = repository.load_index_for_backup().unwrap().missing_packs;
    assert_eq!(missing.len(), 1);
    assert!(pack.ends_with(&missing[0].to_hex()));

    let memory = whole.snapshot();
    memory.put("snapshots/strange", b"").unwrap();
    let repository = open(Arc::new(memory.clone())).unwrap();
    assert_eq!(repository.find_snapshot("latest").unwrap().0, id);
    let junk = Id::hash(b"junk").to_hex();
    memory.put(&format!("snapshots/{junk}"), b"junk").unwrap();
    assert!(repository.find_snapshot("latest").is_err());

    let memory = whole.snapshot();
    memory.put(&format!("keys/{junk}"), b"junk").unwrap();
    let report = check(
        &open(Arc::new(memory)).unwrap(),
        &CheckOptions::default(),
        &|_| {},
    );
    let errors = report.unwrap().errors;
    assert!(
        matches!(errors.as_slice(), [vault::CheckError::Key { .. }]),
        "{errors:?}"
    );
}
