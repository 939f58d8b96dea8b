//! Restores that are killed or suspended and gone on with by another attempt of the same job.
//!
//! A kill is seen here by what it leaves on disk: a storage that stops answering freezes the first attempt in the middle
//! of a file, and the second one finds the target as a killed process would have left it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use model::ConflictPolicy;
use runner::{Outcome, RestoreJob, RestoreRequest, RunError, Stop, StopToken, restore};
use storage::{ErrorKind, Listed, Operation, Storage, StorageError};
use vault::Repository;

use crate::support::{
    Ear, assert_same, below, folder_repository, request, restore_request, run, run_restore, temp,
};

/// Bytes of packs that the first attempt gets.
const FIRST_BYTES: usize = 9 << 20;

/// What happens when the first attempt has got its share.
enum Then {
    /// It hears no more until the end of the test.
    Freeze {
        reached: Sender<()>,
        release: Receiver<()>,
    },
    /// It is asked to stop.
    Stop(StopToken, Stop),
}

/// A storage that lets so many bytes of packs through.
struct Gate {
    inner: Arc<dyn Storage>,
    // Locked while it is frozen: every reader waits.
    state: parking_lot::Mutex<(usize, Then)>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Gate")
    }
}

impl Gate {
    fn pass(&self, name: &str, length_bytes: usize) -> Result<(), StorageError> {
        // Trees are read by smaller requests, which are not what this is about.
        if !name.starts_with("data/") || length_bytes < 100_000 {
            return Ok(());
        }
        let mut state = self.state.lock();
        let (passed_bytes, then) = &mut *state;
        *passed_bytes += length_bytes;
        if *passed_bytes <= FIRST_BYTES {
            return Ok(());
        }
        match then {
            Then::Stop(token, how) => {
                token.stop(*how);
                Ok(())
            }
            Then::Freeze { reached, release } => {
                let _ = reached.send(());
                let _ = release.recv();
                Err(StorageError::new(
                    ErrorKind::Transient,
                    Operation::GetRange,
                    name,
                ))
            }
        }
    }
}

impl Storage for Gate {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.put(name, bytes)
    }
    fn get_at_most(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.get_at_most(name, limit_bytes)
    }
    fn get_range(
        &self,
        name: &str,
        offset: u64,
        length_bytes: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.pass(name, length_bytes)?;
        self.inner.get_range(name, offset, length_bytes)
    }
    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.inner.size(name)
    }
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StorageError> {
        self.inner.list(folder)
    }
    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.inner.delete(name)
    }
}

/// Some files have several chunks. Those go to packs at random, so that when half of the packs' bytes are there some file
/// has begun; but none of them may be whole then.
const LONG_BYTES: u64 = 3_000_000;
/// The others have one chunk: each is whole or not there.
const SHORT_BYTES: u64 = 300_000;
const FILE_COUNT: usize = 18;

/// A vault with a tree of long and short files, in folders with a mode and a time of their own.
struct Desk {
    temp: tempfile::TempDir,
    tree: PathBuf,
    target: PathBuf,
    repository: Repository,
}

impl Desk {
    fn new() -> Desk {
        let temp = temp();
        let tree = temp.path().join("tree");
        for number in 0..3 {
            let folder = tree.join(format!("folder-{number}"));
            std::fs::create_dir_all(&folder).unwrap();
            for seed in [2 * number, 2 * number + 1] {
                let path = folder.join(format!("file-{seed}"));
                testkit::content::write_random_file(&path, LONG_BYTES, seed).unwrap();
            }
            for seed in 0..4 {
                let path = folder.join(format!("file-short-{seed}"));
                let seed = 100 + 10 * number + seed;
                testkit::content::write_random_file(&path, SHORT_BYTES, seed).unwrap();
            }
            std::os::unix::fs::symlink("anywhere", folder.join("link")).unwrap();
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o751)).unwrap();
        }
        let repository = folder_repository(&temp.path().join("vault"));
        crate::support::back_up(&repository, &tree);
        Desk {
            target: temp.path().join("target"),
            tree,
            repository,
            temp,
        }
    }

    fn request(&self, repository: &Repository, policy: ConflictPolicy) -> RestoreRequest {
        let mut request = restore_request(repository, &self.target);
        request.conflict = policy;
        request.worker_count = std::num::NonZeroUsize::new(1);
        request.job = Some(RestoreJob {
            id: "r-1".to_owned(),
            journal: self.temp.path().join("journal"),
        });
        request
    }

    fn gated(&self, then: Then) -> Repository {
        let gate = Gate {
            inner: Arc::clone(self.repository.storage()),
            state: parking_lot::Mutex::new((0, then)),
        };
        self.repository.with_storage(Arc::new(gate))
    }

    /// All names below the target, as `find` gives them.
    fn names(&self) -> Vec<String> {
        fn walk(folder: &Path, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                if path.is_dir() && !path.is_symlink() {
                    walk(&path, names);
                }
            }
        }
        let mut names = Vec::new();
        walk(&self.target, &mut names);
        names
    }

    fn go_on(&self, policy: ConflictPolicy) {
        let (result, ear) = run_restore(&self.request(&self.repository, policy));
        assert_eq!(
            result.unwrap().outcome,
            Outcome::Complete,
            "{:?}",
            ear.errors()
        );
        assert_same(&self.tree, &below(&self.target, &self.tree));
        let leftovers: Vec<String> = self
            .names()
            .into_iter()
            .filter(|name| name.starts_with(".strongroom"))
            .collect();
        assert_eq!(leftovers, Vec::<String>::new());
        // The way to the tree was made by the first attempt, too.
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode();
        for way in self.tree.ancestors().filter(|way| way.parent().is_some()) {
            assert_eq!(mode(&below(&self.target, way)), mode(way), "{way:?}");
        }
    }
}

const POLICIES: [ConflictPolicy; 3] = [
    ConflictPolicy::SkipExisting,
    ConflictPolicy::OverwriteOlder,
    ConflictPolicy::OverwriteExisting,
];

#[test]
fn a_killed_restore_is_gone_on_with_whatever_the_policy() {
    for policy in POLICIES {
        let desk = Desk::new();
        let (reached, is_reached) = channel();
        let (releaser, release) = channel();
        let frozen = desk.gated(Then::Freeze { reached, release });
        let request = desk.request(&frozen, policy);
        std::thread::scope(|scope| {
            let first = scope.spawn(move || restore(&request, &Ear::default(), &StopToken::new()));
            is_reached.recv().unwrap();
            // The attempt is in the middle: something is there, and not all of it.
            let names = desk.names();
            let is_staged = names.iter().any(|name| name.starts_with(".strongroom"));
            assert_eq!(
                is_staged,
                policy != ConflictPolicy::OverwriteExisting,
                "{names:?}"
            );
            assert!(names.iter().any(|name| name.contains("file-")), "{names:?}");
            desk.go_on(policy);
            drop(releaser);
            assert!(first.join().unwrap().is_err());
        });
    }
}

#[test]
fn a_stopped_restore_leaves_no_half_written_file_and_is_gone_on_with() {
    let check = |policy: ConflictPolicy, how: Stop| {
        let desk = Desk::new();
        let token = StopToken::new();
        let stopping = desk.gated(Then::Stop(token.clone(), how));
        let ear = Ear::default();
        let result = restore(&desk.request(&stopping, policy), &ear, &token);
        assert!(
            matches!(result, Err(RunError::Stopped(stopped)) if stopped == how),
            "{result:?}"
        );
        // It was in the middle. What is there is whole, and not all is there.
        let last = ear.progress.lock().unwrap().last().cloned().unwrap();
        assert!((1..18_000_000).contains(&last.bytes_done), "{last:?}");
        let manifest = testkit::manifest::read(&desk.target).unwrap();
        let lengths: Vec<u64> = manifest
            .values()
            .filter(|entry| entry.kind == "file")
            .map(|entry| entry.length_bytes)
            .collect();
        assert!(
            lengths
                .iter()
                .all(|length| [LONG_BYTES, SHORT_BYTES].contains(length)),
            "{lengths:?}"
        );
        assert!((1..FILE_COUNT).contains(&lengths.len()), "{lengths:?}");
        assert_eq!(desk.repository.storage().list("locks").unwrap(), []);
        desk.go_on(policy);
    };
    for policy in POLICIES {
        check(policy, Stop::Suspend);
    }
    check(ConflictPolicy::OverwriteExisting, Stop::Cancel);
}

/// What was there before the restore is not its own, whatever the journal of another job says.
#[test]
fn folders_of_others_are_left_as_they_are() {
    let desk = Desk::new();
    let theirs = below(&desk.target, &desk.tree).join("folder-1");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o700)).unwrap();
    for _ in 0..2 {
        let request = desk.request(&desk.repository, ConflictPolicy::SkipExisting);
        let (result, _) = run_restore(&request);
        assert_eq!(result.unwrap().outcome, Outcome::Complete);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&theirs), 0o700);
        assert_eq!(mode(&theirs.with_file_name("folder-0")), 0o751);
    }
}

/// `/home` may be a link to `/var/home`: a restore to the original place goes the way that the backup went. What lies
/// below the path that was protected is never reached through a link.
#[test]
fn the_way_to_the_original_place_may_lead_through_a_link() {
    let temp = temp();
    let real = temp.path().join("real");
    std::fs::create_dir_all(real.join("user/inside")).unwrap();
    std::fs::write(real.join("user/f"), "content").unwrap();
    std::fs::write(real.join("user/inside/f"), "content").unwrap();
    let linked = temp.path().join("linked");
    std::os::unix::fs::symlink("real", &linked).unwrap();
    let repository = folder_repository(&temp.path().join("vault"));
    let (result, _) = run(&request(&repository, &linked.join("user")));
    assert_eq!(result.unwrap().outcome, Outcome::Complete);
    std::fs::remove_dir_all(real.join("user")).unwrap();
    let request = RestoreRequest::new(repository, "latest", runner::Target::Original);
    let (result, ear) = run_restore(&request);
    assert_eq!(
        result.unwrap().outcome,
        Outcome::Complete,
        "{:?}",
        ear.errors()
    );
    assert_eq!(
        std::fs::read(real.join("user/inside/f")).unwrap(),
        b"content"
    );
    assert!(linked.is_symlink());
    // A link below the protected path is refused as ever.
    let elsewhere = temp.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::remove_dir_all(real.join("user/inside")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, real.join("user/inside")).unwrap();
    let (result, ear) = run_restore(&request);
    assert_eq!(result.unwrap().outcome, Outcome::Partial);
    assert_eq!(ear.paths(), [linked.join("user/inside")]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}
