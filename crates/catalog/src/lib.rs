//! The catalog: every record of the control side, in SQLite. The only SQL of the program.
//!
//! A [`Catalog`] is opened once and shared by all threads. Every public function of the modules below is one
//! transaction: it happens whole or not at all, and what it wrote is durable when it returns, except for progress
//! and heartbeats, which survive a crash of the program but may be lost with the power. Functions that concern an
//! account take its [`AccountId`](model::AccountId) and see nothing of the others. No function reads a clock: callers
//! pass `now`. The catalog never calls the network and never opens a secret: it keeps sealed bytes.
//!
//! Where it sits: handlers of the server call one function each; the scheduler calls [`plans::due`] and
//! [`jobs::create_scheduled`]; dispatch calls [`work`] and the `finish` of [`jobs`], [`restores`] and [`tasks`].
//!
//! The life of a job: [`jobs::create`] writes the job (CREATED) and its work (QUEUED) together: from then on it will
//! run, whatever crashes. [`work::lease_next`] gives it to an agent under a new epoch (RUNNING). Lost leases
//! ([`work::expire_leases`], [`work::release_run`]) turn it back to QUEUED. [`jobs::finish`] ends it, writes its snapshot
//! and closes the work in one transaction; any report under an older epoch changes nothing.
//!
//! Modules in reading order: [`records`] (rows as values), [`words`], `sql` (what differs from
//! one database to the other), [`error`], [`db`] (connections and transactions),
//! `migrations`, `row`, `conditions` (building blocks), [`accounts`], [`access_keys`], [`identities`], [`audit`], [`vaults`],
//! [`clients`], [`plans`], [`jobs`], [`item_errors`], [`job_events`], [`snapshots`], [`retention`],
//! [`restores`], [`tasks`], [`upkeep`], [`catalog_backups`], [`work`], [`pulses`], [`plan_rules`], [`policies`], [`policy_bindings`], [`protected`],
//! [`tags`], [`kept_records`], [`zone`], [`copy`].

pub mod access_keys;
pub mod accounts;
pub mod audit;
pub mod catalog_backups;
pub mod clients;
mod conditions;
pub mod copy;
pub mod db;
pub mod error;
pub mod identities;
pub mod item_errors;
pub mod job_events;
pub mod jobs;
pub mod kept_records;
pub mod ledger;
mod migrations;
pub mod plan_rules;
pub mod plans;
pub mod policies;
pub mod policy_bindings;
mod progress;
pub mod protected;
pub mod pulses;
pub mod records;
pub mod restores;
pub mod retention;
mod row;
pub mod snapshots;
mod sql;
pub mod tags;
mod takeable;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod upkeep;
pub mod vaults;
pub mod words;
pub mod work;
pub mod zone;

pub use db::{Catalog, CatalogOptions, Reading};
pub use error::{CatalogError, Entity};
pub use records::{
    AccessKey, Account, Client, ItemError, Job, JobEvent, Page, PageRequest, Plan, PlanSpec,
    Progress, RestoreJob, Role, Sealed, Snapshot, SourceFields, TargetFields, Task, User, Vault,
    VaultCounts, Work,
};
pub use sql::SqlError;
pub use sql::postgres::{PlaceError, PostgresPlace, Wakes};
pub use words::{
    AccessKeyKind, AccessKeyStatus, ClientType, IdentityStatus, TaskKind, TriggerMode, WorkKind,
    WorkState,
};
