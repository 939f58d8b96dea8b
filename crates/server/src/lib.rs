//! The server: the control plane of Strongroom.
//!
//! Owns HTTP, the actions by resource, the agents' side, dispatch, the scheduler and the first start. Opens vaults only to
//! read (browsing, adopting) and never moves backup data; what must be done to a vault is a task for an agent.
//!
//! The way of a request: [`http`](crate::start) reads it whole, `auth` finds out who asks (signature, time, nonce), the
//! table in `actions` finds the function of the action (or `agents` the message), which makes one call to the catalog
//! and shapes the reply. Handlers are plain functions on the blocking pool. What happens by time is `ticker`.
//!
//! Modules in reading order: `options`, `error`, `clock`, `data_dir`, `tls`, `seal`, `bootstrap`, `nonces`, `wire`, `service`,
//! `failure`, `principal`, `sessions`, `rates`, `audited`, `auth`, `places`, `actions`, `agents`, `ticker`, `connections`, `http`, `handle`, `adopt`, `export`.

mod actions;
mod adopt;
mod agents;
mod audited;
mod auth;
mod bootstrap;
mod client_settings;
mod clock;
mod connections;
mod data_dir;
mod error;
mod export;
mod failure;
mod handle;
mod http;
mod nonces;
mod options;
mod places;
mod principal;
mod rates;
mod seal;
mod service;
mod sessions;
mod ticker;
mod tls;
mod wire;

pub use actions::backup_jobs::JOB_RENDERER;
pub use adopt::{AdoptOptions, AdoptReport, adopt};
pub use catalog::PostgresPlace;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::ServerError;
pub use export::{ExportedVault, export_vaults};
pub use handle::{ServerHandle, start};
pub use options::{ServerOptions, Transport};
pub use rates::RateLimit;
pub use ticker::TickReport;
