//! Behaviour of the catalog as its callers see it, by subject.

#![allow(clippy::unwrap_used, clippy::panic)]

mod accounts;
mod crashes;
mod events;
mod kills;
mod leases;
mod lent;
pub(crate) mod places;
mod policies;
pub(crate) mod proxy;
mod restores;
mod retention;
mod schedules;
mod servers;
mod snapshots;
pub(crate) mod support;
mod tls;
mod uninstalled;
mod upkeep;
mod vaults;
