//! Definitions of `catalog`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `strongroom catalog`
#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    pub(crate) command: CatalogCommand,
}

const BACKUP_HELP: &str = "\
The service does this by itself every day (serve --catalog-backup-every, --catalog-backup-vault). What goes into the vault is \
sealed: only the recovery file or the master key opens it, no password of the vault. Needs the root key of the first account.";

/// Verbs of `catalog`.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Back the catalog up into a vault now: accounts, keys, vaults, plans, policies, the history of jobs
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// Vault id (v-…) or name [default: that of the daily backups]
        #[arg(long, value_name = "VAULT")]
        vault: Option<String>,
        /// Do not wait for its end
        #[arg(long)]
        detach: bool,
        /// Print the task as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Bring a service back from a backup of its catalog
    Restore(CatalogRestoreArgs),
}

const RESTORE_HELP: &str = "\
Examples:
  strongroom catalog restore --recovery-file recovery-1234567890123456.txt --storage /mnt/disk/vault
  strongroom catalog restore --recovery-file FILE --storage DIR --catalog postgres://strongroom@db/strongroom
                               into an empty PostgreSQL database, wherever the catalog was before
  restic dump --tag strongroom-catalog latest catalog.strongroom > copy
  strongroom catalog restore --recovery-file FILE --copy copy

Needs nothing else than the vault and the recovery file, and a data directory without a catalog. The master key and the CA of \
`serve --tls auto` come back with it. What happened since the backup is not in it: snapshots that were made since stay in \
their vaults, whose next check lists them.";

/// `strongroom catalog restore`
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub(crate) struct CatalogRestoreArgs {
    /// The recovery file that the first start wrote
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "from_master_key",
        conflicts_with = "from_master_key"
    )]
    pub(crate) recovery_file: Option<PathBuf>,
    /// The master key instead of the recovery file
    #[arg(long, value_name = "FILE")]
    pub(crate) from_master_key: Option<PathBuf>,
    /// Folder with the vault's data
    #[arg(long, value_name = "PATH", required_unless_present = "copy")]
    pub(crate) storage: Option<String>,
    /// Id of a snapshot of the catalog, or the beginning of it [default: the newest]
    #[arg(long, value_name = "ID", requires = "storage")]
    pub(crate) snapshot: Option<String>,
    /// A file that `restic dump` wrote, instead of a vault
    #[arg(long, value_name = "FILE", conflicts_with = "storage")]
    pub(crate) copy: Option<PathBuf>,
    /// Put the catalog into this PostgreSQL database [default: a file in the data directory]
    #[arg(
        long,
        value_name = "postgres://USER@HOST/DB",
        conflicts_with = "catalog_file"
    )]
    pub(crate) catalog: Option<String>,
    /// As --catalog, with the URL (and its password) in a file that only you can read
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog_file: Option<PathBuf>,
    /// Where to put the master key [default: master.key in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) master_key_file: Option<PathBuf>,
}
