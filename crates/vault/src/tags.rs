//! Other tags for snapshots: each is written anew with all its other fields, and then the former one is removed.
//!
//! Whoever is killed in between leaves both; the same change again finds the new one and removes the former.

use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::lock::LockKind;
use crate::repository::Repository;
use crate::snapshot_json::SnapshotFields;

/// How the tags of a snapshot change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagChange {
    /// These take the place of all.
    Set(Vec<String>),
    /// Some come, then some go.
    Edit {
        /// What comes, at the end.
        add: Vec<String>,
        /// What goes.
        remove: Vec<String>,
    },
}

impl TagChange {
    /// The tags after the change, each once.
    fn apply(&self, tags: Vec<String>) -> Vec<String> {
        let (all, remove): (Vec<&String>, &[String]) = match self {
            Self::Set(tags) => (tags.iter().collect(), &[]),
            Self::Edit { add, remove } => (tags.iter().chain(add).collect(), remove),
        };
        let mut changed: Vec<String> = Vec::new();
        for tag in all {
            if !remove.contains(tag) && !changed.contains(tag) {
                changed.push(tag.clone());
            }
        }
        changed
    }
}

/// Changes the tags of these snapshots under an exclusive lock, and gives those that changed with what took their place.
///
/// # Errors
/// A snapshot that cannot be read, or the storage; those before it are changed then.
pub fn change_tags(
    repository: &Repository,
    ids: &[Id],
    change: &TagChange,
) -> Result<Vec<(Id, Id)>, VaultError> {
    let lock = repository.lock(LockKind::Exclusive)?;
    repository.sync_what_is_there()?;
    let (snapshots, _) = repository.snapshots_and_damage()?;
    let mut replaced = Vec::new();
    for id in ids {
        let json = repository.load_json(FileKind::Snapshot, id)?;
        let mut fields = SnapshotFields::read(id, &json)?;
        let tags = fields.tags();
        let changed = change.apply(tags.clone());
        if changed == tags {
            continue;
        }
        fields.set_tags(&changed);
        fields.set_original(id);
        lock.ensure_held()?;
        let others = snapshots
            .iter()
            .filter(|(other, snapshot)| other != id && snapshot.original.is_some());
        let replacement = fields.put_once(repository, others.map(|(other, _)| other))?;
        lock.ensure_held()?;
        repository.delete_snapshot(id)?;
        replaced.push((*id, replacement));
    }
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{TagChange, change_tags};
    use crate::id::Id;
    use crate::layout::FileKind;
    use crate::lock::UnlockScope;
    use crate::repository::Repository;
    use crate::testing::{create, snapshot_of};
    use std::sync::Arc;
    use storage::{ErrorKind, Fault, Faulty, Memory, Operation, Record, Storage};

    fn texts(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    fn tagged(repository: &Repository, tags: &[&str]) -> Id {
        let mut snapshot = snapshot_of(Id::hash(b"tree"));
        snapshot.tags = texts(tags);
        let json = snapshot.encode().unwrap();
        repository.save_json(FileKind::Snapshot, &json).unwrap()
    }

    #[test]
    fn tags_come_and_go_and_the_rest_stays() {
        let repository = create(Arc::new(Memory::new()));
        let [one, two] = [
            tagged(&repository, &["a", "b"]),
            tagged(&repository, &["c"]),
        ];
        let before = repository.snapshot(&one).unwrap();
        let edit = TagChange::Edit {
            add: texts(&["c", "d", "c"]),
            remove: texts(&["a", "none"]),
        };
        let replaced = change_tags(&repository, &[one], &edit).unwrap();
        let [(old, new)] = replaced[..] else {
            panic!("{replaced:?}")
        };
        assert_eq!(old, one);
        let after = repository.snapshot(&new).unwrap();
        assert_eq!(after.tags, ["b", "c", "d"]);
        assert_eq!((after.original, after.time), (Some(one), before.time));
        assert!(repository.snapshot(&one).is_err());
        // Nothing to do is nothing done.
        assert!(
            change_tags(&repository, &[two], &TagChange::Set(texts(&["c", "c"])))
                .unwrap()
                .is_empty()
        );
        let none = TagChange::Set(Vec::new());
        let replaced = change_tags(&repository, &[new, two], &none).unwrap();
        let after = repository.snapshot(&replaced[0].1).unwrap();
        assert!(after.tags.is_empty() && after.original == Some(one));
        assert_eq!(repository.snapshot_ids().unwrap().len(), 2);
    }

    /// What a change before has written may not be durable yet when the former snapshot goes.
    #[test]
    fn what_is_relied_on_is_durable_before_anything_is_removed() {
        let repository = create(Arc::new(Memory::new()));
        let id = tagged(&repository, &["old"]);
        let record = Arc::new(Record::new(Arc::clone(repository.storage())));
        let change = TagChange::Set(texts(&["x"]));
        change_tags(&repository.with_storage(record.clone()), &[id], &change).unwrap();
        let calls = record.take();
        let place = |operation: Operation, name: &str| {
            let mut calls = calls.iter();
            calls.position(|call| call.operation == operation && call.name.starts_with(name))
        };
        let synced = place(Operation::Sync, "snapshots").unwrap();
        assert!(synced < place(Operation::Delete, "snapshots/").unwrap());
    }

    #[test]
    fn a_change_that_is_killed_at_any_call_loses_nothing_and_is_gone_on_with() {
        let change = TagChange::Set(texts(&["x"]));
        let mut was_done = false;
        for call in 0.. {
            let memory: Arc<dyn Storage> = Arc::new(Memory::new());
            let repository = create(Arc::clone(&memory));
            let id = tagged(&repository, &["old"]);
            let faulty = Arc::new(Faulty::new(memory));
            faulty.from(call, Fault::Fail(ErrorKind::Other));
            let broken = repository.with_storage(faulty);
            was_done |= change_tags(&broken, &[id], &change).is_ok();
            assert!(
                (1..=2).contains(&repository.snapshot_ids().unwrap().len()),
                "{call}"
            );
            repository.unlock(UnlockScope::All).unwrap();
            let ids = repository.snapshot_ids().unwrap();
            change_tags(&repository, &ids, &change).unwrap();
            let [(_, snapshot)] = &repository.snapshots().unwrap()[..] else {
                panic!("two after call {call}");
            };
            assert_eq!(
                (&snapshot.tags[..], snapshot.original),
                (&texts(&["x"])[..], Some(id))
            );
            if was_done {
                break;
            }
        }
        assert!(was_done);
    }
}
