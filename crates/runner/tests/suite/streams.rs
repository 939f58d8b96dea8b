//! A stream as a snapshot.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use runner::{
    Observer, Progress, RunError, Silent, Stop, StopToken, StreamReport, StreamRequest,
    back_up_stream,
};
use vault::{BlobKind, Id, Reader, Repository, WriterOptions};

use crate::support::{Ear, memory_repository};

fn request(repository: &Repository) -> StreamRequest {
    StreamRequest {
        repository: repository.clone(),
        name: "stream".to_owned(),
        tags: vec!["a tag".to_owned()],
        hostname: "here".to_owned(),
        writer: WriterOptions::default(),
    }
}

fn store(repository: &Repository, input: &mut dyn Read) -> Result<StreamReport, RunError> {
    back_up_stream(&request(repository), input, &Silent, &StopToken::new())
}

/// Bytes that no chunk has twice.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

fn content(repository: &Repository, id: &Id) -> Vec<u8> {
    let index = Arc::new(repository.load_index().unwrap());
    let reader = Reader::new(repository.clone(), index);
    let snapshot = repository.snapshot(id).unwrap();
    assert_eq!(
        (snapshot.tags, snapshot.hostname),
        (vec!["a tag".to_owned()], "here".to_owned())
    );
    assert_eq!(snapshot.paths, ["/stream"]);
    let tree = reader.read_tree(&snapshot.tree).unwrap();
    let node = tree.find(b"stream").unwrap();
    let blobs = node.content.iter();
    let all: Vec<u8> = blobs
        .flat_map(|id| reader.read_blob(BlobKind::Data, id).unwrap())
        .collect();
    assert_eq!(node.size, all.len() as u64);
    all
}

/// Gives few bytes at a time.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(1_013);
        self.0.read(&mut bytes[..most])
    }
}

#[test]
fn streams_of_any_length_come_back() {
    for length in [0, 1, 300_000, 5_000_000] {
        let repository = memory_repository();
        let data = bytes(length, 7);
        let report = store(&repository, &mut Trickle(Cursor::new(data.clone()))).unwrap();
        assert_eq!(report.bytes, length as u64);
        assert!(content(&repository, &report.snapshot_id) == data);
        let check = vault::check(&repository, &vault::CheckOptions::default(), &|_| {}).unwrap();
        assert_eq!(check.error_count, 0);
    }
}

#[test]
fn what_is_there_already_is_not_stored_again() {
    let repository = memory_repository();
    let mut data = bytes(20_000_000, 7);
    let first = store(&repository, &mut data.as_slice()).unwrap();
    assert!(first.added_bytes >= 20_000_000);
    data.splice(10_000_000..10_000_000, bytes(1_000, 9));
    let second = store(&repository, &mut data.as_slice()).unwrap();
    assert!(second.added_bytes < 6_000_000, "{}", second.added_bytes);
    assert!(content(&repository, &second.snapshot_id) == data);
}

#[test]
fn a_stream_that_fails_or_is_refused_leaves_no_snapshot_and_no_lock() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("it broke off"))
        }
    }
    let repository = memory_repository();
    let data = bytes(3_000_000, 7);
    let broken = store(&repository, &mut data.as_slice().chain(Broken));
    assert!(matches!(broken, Err(RunError::Input(_))), "{broken:?}");
    let ear = Ear {
        refusal: Some("no".to_owned()),
        ..Ear::default()
    };
    let token = StopToken::new();
    let refused = back_up_stream(&request(&repository), &mut data.as_slice(), &ear, &token);
    assert!(
        matches!(refused, Err(RunError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(repository.snapshots().unwrap(), []);
    assert_eq!(repository.storage().list("locks").unwrap(), []);
}

#[test]
fn a_stop_ends_it() {
    struct StopWhenSeen(StopToken);
    impl Observer for StopWhenSeen {
        fn progress(&self, progress: &Progress) {
            if progress.bytes_done > 0 {
                self.0.stop(Stop::Cancel);
            }
        }
    }
    let repository = memory_repository();
    let token = StopToken::new();
    let mut endless = io::repeat(7);
    let observer = StopWhenSeen(token.clone());
    let stopped = back_up_stream(&request(&repository), &mut endless, &observer, &token);
    assert!(
        matches!(stopped, Err(RunError::Stopped(Stop::Cancel))),
        "{stopped:?}"
    );
    assert_eq!(repository.snapshots().unwrap(), []);
}
