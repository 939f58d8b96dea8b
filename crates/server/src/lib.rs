//! The server: the control plane of Strongroom.
//!
//! Owns HTTP, the actions by resource, the agents' side, dispatch, the scheduler and the first start. Opens vaults only to
//! read (browsing, adopting) and never moves backup data; what must be done to a vault is a task for an agent.
//!
//! The way of a request: [`http`](crate::start) reads it whole, `auth` finds out who asks (signature, time, nonce), the
//! table in `actions` finds the function of the action (or `agents` the message), which makes one call to the catalog
//! and shapes the reply. Handlers are plain functions on the blocking pool; the few that take microseconds are tried on the
//! thread of the connection first (`in_place`). What happens by time is `ticker`.
//!
//! Modules in reading order: `options`, `error`, `clock`, `data_dir`, `tls`, `seal`, `sealed_copy`, `bootstrap`, `nonces`, `wire`, `stream`, `service`,
//! `failure`, `principal`, `sessions`, `rates`, `audited`, `auth`, `places`, `report_files`, `catalog_backup`, `actions`, `agents`, `ticker`,
//! `connections`, `in_place`, `http`, `handle`, `recovery`, `adopt`, `export`,
//! `catalog_restore`.

mod actions;
mod adopt;
mod agents;
mod audited;
mod auth;
mod bootstrap;
mod catalog_backup;
mod catalog_restore;
mod client_settings;
mod clock;
mod connections;
mod data_dir;
mod error;
mod export;
mod failure;
mod found_snapshot;
mod handle;
mod http;
mod in_place;
mod nonces;
mod options;
mod places;
mod principal;
mod rates;
mod recovery;
mod report_files;
mod seal;
mod sealed_copy;
mod self_wakes;
mod service;
mod serving;
mod sessions;
mod stream;
mod ticker;
mod tls;
mod wire;

pub use actions::backup_jobs::JOB_RENDERER;
pub use adopt::{AdoptKey, AdoptOptions, AdoptReport, adopt};
pub use catalog::PostgresPlace;
pub use catalog::copy::RowCounts;
pub use catalog_backup::CatalogBackupRule;
pub use catalog_restore::{
    CatalogRestoreOptions, CatalogRestoreReport, CopySource, Unlock, restore_catalog,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::ServerError;
pub use export::{ExportedVault, export_vaults};
pub use handle::{ServerHandle, start};
pub use options::{ServerOptions, Transport};
pub use rates::RateLimit;
pub use sealed_copy::CopyError;
pub use ticker::TickReport;
