//! Backups and restores as a whole: against the file system, against stock restic, and under every kind of failure.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "suite/support.rs"]
mod support;

#[path = "suite/conflicts.rs"]
mod conflicts;
#[path = "suite/damage.rs"]
mod damage;
#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/limits.rs"]
mod limits;
#[path = "suite/live.rs"]
mod live;
#[path = "suite/peers.rs"]
mod peers;
#[path = "suite/random.rs"]
mod random;
#[path = "suite/resumed.rs"]
mod resumed;
#[path = "suite/round_trip.rs"]
mod round_trip;
#[path = "suite/selection.rs"]
mod selection;
#[path = "suite/sparse.rs"]
mod sparse;
#[path = "suite/stops.rs"]
mod stops;
#[path = "suite/streams.rs"]
mod streams;
#[path = "suite/unchanged.rs"]
mod unchanged;
#[path = "suite/unsteady.rs"]
mod unsteady;
