//! The vault from outside: against stock restic, against failing storages, against damage.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/golden.rs"]
mod golden;
#[path = "suite/histories.rs"]
mod histories;
#[path = "suite/interleavings.rs"]
mod interleavings;
#[path = "suite/marked.rs"]
mod marked;
#[path = "suite/prunes.rs"]
mod prunes;
#[path = "suite/sample.rs"]
mod sample;
#[path = "suite/upkeep.rs"]
mod upkeep;
#[path = "suite/world.rs"]
mod world;
