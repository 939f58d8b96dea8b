//! Which packs are read, and in which pieces.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use storage::{Record, Storage};

use crate::check::tests::{names, sample};
use crate::check::{CheckError, CheckOptions, ReadData, check};
use crate::pack::STEP_BYTES;
use crate::testing::{Watched, open};

fn read_all() -> CheckOptions {
    CheckOptions {
        read_data: ReadData::All,
        thread_count: 1,
    }
}

/// A pack that the listing lacks and that is there when it is asked for by name is read like the others.
#[test]
fn a_pack_that_a_listing_lacks_is_read_all_the_same() {
    let whole = sample();
    for pack in names(&whole).into_iter().filter(|n| n.starts_with("data/")) {
        let memory = whole.snapshot();
        let mut bytes = memory.get(&pack).unwrap();
        bytes[40] ^= 1;
        memory.overwrite(&pack, bytes);
        let mut watched = Watched::new(memory);
        watched.listed = Box::new(move |_, listed| listed.retain(|entry| entry.name != pack));
        let repository = open(Arc::new(watched)).unwrap();
        let report = check(&repository, &read_all(), &|_| {}).unwrap();
        assert_eq!(report.packs_read, report.pack_count as u64);
        assert!(report.data_error_count > 0, "{:?}", report.errors);
    }
}

/// What follows the blobs of a pack may be of any size, a hole of the file system for example.
#[test]
fn a_pack_that_grew_is_read_in_steps() {
    let memory = sample();
    let is_pack = |name: &String| name.starts_with("data/");
    let pack = names(&memory).into_iter().find(is_pack).unwrap();
    let mut bytes = memory.get(&pack).unwrap();
    bytes.resize(40 << 20, 0);
    memory.overwrite(&pack, bytes);
    let record = Arc::new(Record::new(Arc::new(memory)));
    let repository = open(Arc::clone(&record) as Arc<dyn Storage>).unwrap();
    let report = check(&repository, &read_all(), &|_| {}).unwrap();
    let has = |is: &dyn Fn(&CheckError) -> bool| report.errors.iter().any(is);
    assert!(has(&|error| matches!(error, CheckError::PackSize { .. })));
    assert!(has(&|error| matches!(error, CheckError::Pack { .. })));
    let calls = record.take();
    let longest = calls.iter().map(|call| call.transferred_bytes).max();
    assert!(longest <= Some(STEP_BYTES), "{longest:?}");
    let read: u64 = calls.iter().map(|call| call.transferred_bytes).sum();
    assert!(read > 80 << 20, "{read}");
}
