//! One behaviour for every storage, and what the wrappers add.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[path = "suite/behaviour.rs"]
mod behaviour;
#[path = "suite/histories.rs"]
mod histories;
#[path = "suite/wrappers.rs"]
mod wrappers;
