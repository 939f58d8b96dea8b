//! A check of a vault, with its lock.

use vault::{CheckOptions, CheckProgress, CheckReport, Repository};

use crate::error::RunError;
use crate::restore::lock_to_read;

/// What to check.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The vault.
    pub repository: Repository,
    /// How much of it.
    pub options: CheckOptions,
}

/// Checks a vault under a shared lock: backups may go on beside it, and nothing can be removed meanwhile. Damage is in
/// the report; an error means that the vault could not be looked at.
pub fn check(
    request: &CheckRequest,
    progress: &(dyn Fn(CheckProgress) + Sync),
) -> Result<CheckReport, RunError> {
    let lock = lock_to_read(&request.repository)?;
    let report = vault::check(&request.repository, &request.options, progress)?;
    if let Some(lock) = lock {
        lock.ensure_held()?;
    }
    Ok(report)
}
