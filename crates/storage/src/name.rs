//! Which names are legal: relative, slash-separated, and unable to leave the root.

use crate::error::{ErrorKind, Operation, StorageError};

/// Refuses names that are empty, absolute, or hold `.`, `..`, empty parts or NUL.
pub fn check_name(operation: Operation, name: &str) -> Result<(), StorageError> {
    let legal = !name.is_empty()
        && !name.contains('\0')
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    if legal {
        Ok(())
    } else {
        Err(StorageError::message(
            ErrorKind::Other,
            operation,
            name,
            "illegal name",
        ))
    }
}

/// As [`check_name`] for a folder to list, where the empty string means the root.
pub(crate) fn check_folder(folder: &str) -> Result<(), StorageError> {
    if folder.is_empty() {
        return Ok(());
    }
    check_name(Operation::List, folder)
}

#[cfg(test)]
mod tests {
    use super::{Operation, check_name};

    #[test]
    fn names() {
        for name in ["config", "data/ab/abcd", "a..b", ".a"] {
            assert!(check_name(Operation::Put, name).is_ok(), "{name}");
        }
        for name in ["", "/a", "a/", "a//b", "../a", "a/..", ".", "a\0b"] {
            assert!(check_name(Operation::Put, name).is_err(), "{name:?}");
        }
    }
}
