//! The agent's own folder: `agent.json` (identity and key, 0600), `agent.lock`, and reports that wait for the server.
//!
//! Files are replaced whole: written beside, synced, renamed, folder synced. Only one agent uses a folder at a time; the
//! lock is held by the open file and goes with the process.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use api::secret::SecretText;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{AgentError, outbox, restore};

const IDENTITY_FILE: &str = "agent.json";
const LOCK_FILE: &str = "agent.lock";

/// Who this agent is for its server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) client_id: String,
    pub(crate) instance_id: String,
    pub(crate) account_id: String,
    pub(crate) agent_key_id: String,
    pub(crate) agent_key_secret: SecretText,
    pub(crate) machine_id: String,
}

/// The folder, locked.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    // Taken out when the agent has stopped, while a thread in a long poll may still hold the folder.
    lock: Mutex<Option<File>>,
}

impl StateFolder {
    /// Makes the folder if it is missing and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, AgentError> {
        let fail = |source| AgentError::State {
            operation: "open",
            path: path.to_owned(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(fail)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                lock: Mutex::new(Some(lock)),
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(AgentError::AlreadyRunning {
                path: path.to_owned(),
            }),
            Err(errno) => Err(fail(errno.into())),
        }
    }

    /// Removes what the agent keeps here, and the folder if that leaves it empty. Other files are somebody else's.
    pub(crate) fn clear(&self) -> Result<(), AgentError> {
        let fail = |operation, path: PathBuf| {
            move |source| AgentError::State {
                operation,
                path,
                source,
            }
        };
        let entries = std::fs::read_dir(&self.path).map_err(fail("list", self.path.clone()))?;
        for entry in entries {
            let name = entry.map_err(fail("list", self.path.clone()))?.file_name();
            if name.to_str().is_some_and(is_own) {
                self.remove(&name.to_string_lossy())?;
            }
        }
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
                Err(fail("remove", self.path.clone())(error))
            }
            _ => Ok(()),
        }
    }

    /// Lets another agent use the folder. Nothing may be written through this value from now on.
    pub(crate) fn unlock(&self) {
        self.lock.lock().take();
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of an earlier registration, if there is one.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, AgentError> {
        let file = self.path.join(IDENTITY_FILE);
        read_json(&file)
    }

    /// Keeps an identity.
    pub(crate) fn store_identity(&self, identity: &Identity) -> Result<(), AgentError> {
        self.store(IDENTITY_FILE, identity)
    }

    /// Replaces a file of the folder, durably, readable by its user only.
    pub(crate) fn store<T: Serialize>(&self, name: &str, value: &T) -> Result<(), AgentError> {
        let file = self.path.join(name);
        let write = || -> std::io::Result<()> {
            let text = serde_json::to_vec(value).map_err(std::io::Error::other)?;
            let beside = self.path.join(format!("{name}.new"));
            let mut out = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            out.write_all(&text)?;
            out.sync_all()?;
            std::fs::rename(&beside, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| AgentError::State {
            operation: "write",
            path: file.clone(),
            source,
        })
    }

    /// Removes a file of the folder; a missing one is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), AgentError> {
        let file = self.path.join(name);
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(AgentError::State {
                    operation: "remove",
                    path: file,
                    source,
                })
            }
            _ => Ok(()),
        }
    }
}

/// Whether the agent makes files of that name: its identity and lock, reports that wait, journals of restores, and what a
/// crash left of writing them.
fn is_own(name: &str) -> bool {
    let whole = name.strip_suffix(".new").unwrap_or(name);
    [IDENTITY_FILE, LOCK_FILE].contains(&whole)
        || outbox::is_report(whole)
        || restore::is_journal(whole)
}

/// The content of a JSON file, or none if there is no such file.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(
    file: &Path,
) -> Result<Option<T>, AgentError> {
    let fail = |source| AgentError::State {
        operation: "read",
        path: file.to_owned(),
        source,
    };
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| fail(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Identity, StateFolder};
    use crate::AgentError;
    use std::os::unix::fs::PermissionsExt;

    fn identity() -> Identity {
        Identity {
            client_id: "c-1".into(),
            instance_id: "i-1".into(),
            account_id: "1".into(),
            agent_key_id: "k".into(),
            agent_key_secret: "s".into(),
            machine_id: "m".into(),
        }
    }

    #[test]
    fn identity_survives_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let state = StateFolder::open(&path).unwrap();
        assert!(state.identity().unwrap().is_none());
        state.store_identity(&identity()).unwrap();
        drop(state);
        let state = StateFolder::open(&path).unwrap();
        assert_eq!(state.identity().unwrap().unwrap().client_id, "c-1");
        let mode = std::fs::metadata(path.join("agent.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!path.join("agent.json.new").exists());
    }

    #[test]
    fn a_second_agent_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::open(folder.path()).unwrap();
        assert!(matches!(
            StateFolder::open(folder.path()),
            Err(AgentError::AlreadyRunning { .. })
        ));
        drop(first);
        StateFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_an_error_not_a_new_agent() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("agent.json"), "{").unwrap();
        assert!(matches!(
            state.identity(),
            Err(AgentError::State {
                operation: "read",
                ..
            })
        ));
    }
}
