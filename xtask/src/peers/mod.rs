//! Real peers for the black-box tests: stock restic in two versions, rustic, the official SDKs for Python and Node.
//!
//! Owns where they are installed (a cache folder of the user, never the checkout) and under which variables the
//! tests find them. Each is pinned by a file in `tests/peers`, built once per content of that file, and reused.

mod apt;
mod cache;
mod node;
pub(crate) mod postgres;
mod python;
mod restic;
mod rustic;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use cache::Cache;
use postgres::Postgres;

/// The installed peers.
pub(crate) struct Peers {
    pub(crate) sdk_python: PathBuf,
    tea_rpc_python: PathBuf,
    node: PathBuf,
    node_modules: PathBuf,
    restic: PathBuf,
    newer_restic: PathBuf,
    rustic: PathBuf,
    /// Lives as long as the run.
    postgres: Postgres,
}

impl Peers {
    /// Tells a test runner where the peers are.
    pub(crate) fn export(&self, command: &mut Command) {
        command
            .env("STRONGROOM_TEST_SDK_PYTHON", &self.sdk_python)
            .env("STRONGROOM_TEST_TEA_RPC_PYTHON", &self.tea_rpc_python)
            .env("STRONGROOM_TEST_NODE", &self.node)
            .env("STRONGROOM_TEST_NODE_MODULES", &self.node_modules)
            .env("STRONGROOM_TEST_RESTIC", &self.restic)
            .env("STRONGROOM_TEST_NEWER_RESTIC", &self.newer_restic)
            .env("STRONGROOM_TEST_RUSTIC", &self.rustic);
    }
}

impl Peers {
    /// Tells a test runner where PostgreSQL is: what can run on either database runs on it then.
    pub(crate) fn export_postgres(&self, command: &mut Command) {
        self.postgres.export(command);
    }
}

/// Installs what is missing and returns where everything is.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Peers> {
    let cache = Cache::open()?;
    let pins = workspace.root.join("tests/peers");
    apt::install(apt::TOOLS)?;
    let restic = restic::stock().context("stock restic")?;
    let newer_restic = restic::newer(&cache).context("a newer stock restic")?;
    let rustic = rustic::program(&cache, workspace).context("rustic")?;
    let sdk_python = python::environment(&cache, "sdk", &pins.join("requirements-sdk.txt"))?;
    let tea_rpc_python =
        python::environment(&cache, "tea-rpc", &pins.join("requirements-tea-rpc.txt"))?;
    let (node, node_modules) = node::modules(&cache, &pins.join("node"))?;
    let postgres = postgres::start(postgres::Syncing::Off).context("PostgreSQL")?;
    Ok(Peers {
        sdk_python,
        tea_rpc_python,
        node,
        node_modules,
        restic,
        newer_restic,
        rustic,
        postgres,
    })
}
