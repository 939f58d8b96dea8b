//! What is protected, as entries to read and a target to write back.
//!
//! This crate owns the sources of a backup and the targets of a restore: how a folder is listed, which entries a
//! filter leaves out, how a file is read, and how a file is written back below a root that can never be left. It never
//! chunks, hashes or encrypts, never knows a vault, and never decides what a failure means for a job: it returns
//! errors that name the operation and the path, and `runner` books them.
//!
//! Today there is one source: `file`, the files of a Linux host.

mod error;
pub mod file;

pub use error::{Operation, SourceError};
