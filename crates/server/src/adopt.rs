//! `vault adopt`: a vault and a recovery file are enough to go on, even when nothing else is left; and a repository of restic
//! or rustic with its password becomes a vault.
//!
//! Works offline on a data directory, which it makes if it is not there. The vault's id is in the label of its recovery
//! key; the recovery secret gives that key's password. A repository that was no vault gets an id from its own. The vault then
//! gets a key of the new catalog and a recovery key of the new master key, and its snapshots, and the clients that made them,
//! become rows. Nothing of the vault is removed or rewritten. Done again after a crash it completes what is missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::agent_protocol::CATALOG_TAG;
use api::secret::SecretText;
use catalog::clients::AdoptedClient;
use catalog::vaults::NewVault;
use catalog::{Catalog, CatalogError, CatalogOptions, clients, snapshots, vaults};
use model::{AccountId, ClientId, Timestamp, VaultId};
use vault::{Id, KdfCost, KeyOptions, Repository, Snapshot};

use crate::bootstrap::{self, Identity};
use crate::clock::{Clock, SystemClock};
use crate::data_dir::DataDir;
use crate::error::ServerError;
use crate::found_snapshot::row_of;
use crate::options::check_region;
use crate::places::Place;
use crate::recovery::{RECOVERY_KEY_NAME, open_repository, open_vault, read_recovery_file, secret};
use crate::seal::Record;

/// User name in the label of a vault's own key.
const OWN_KEY_NAME: &str = "strongroom";

/// What to adopt, and where to.
#[derive(Debug, Clone)]
pub struct AdoptOptions {
    /// The data directory that gets the vault; made if it is not there. No server may run on it.
    pub data_dir: PathBuf,
    /// Region of the vault.
    pub region: String,
    /// What opens it.
    pub opened_by: AdoptKey,
    /// Where the vault is: an absolute path, or a URL that the storage crate opens.
    pub storage_url: String,
}

/// What opens a vault that is to be adopted.
#[derive(Debug, Clone)]
pub enum AdoptKey {
    /// The recovery file of the account that made the vault.
    RecoveryFile(PathBuf),
    /// A password of the repository.
    Password(SecretText),
}

/// What was adopted.
#[derive(Debug, Clone)]
pub struct AdoptReport {
    /// Owner from now on.
    pub account_id: AccountId,
    /// The vault, with the id that it always had.
    pub vault_id: VaultId,
    /// Snapshots in the vault.
    pub snapshot_count: usize,
    /// Those that the catalog did not know yet.
    pub new_snapshot_count: usize,
    /// Snapshot files that cannot be read, with the reason.
    pub damaged_snapshots: Vec<(String, String)>,
    /// The recovery file of the data directory, if it was made now: the old one does not open what is made from now on.
    pub new_recovery_path: Option<PathBuf>,
}

/// Adopts a vault.
///
/// # Errors
/// The data directory is in use, the recovery file is none or of another account, the password is wrong, the storage holds
/// no repository, or with a recovery file no vault of Strongroom.
pub fn adopt(options: &AdoptOptions) -> Result<AdoptReport, ServerError> {
    check_region(&options.region)?;
    let refuse = |why: String| ServerError::Adopt {
        storage: options.storage_url.clone(),
        why,
    };
    let place = Place::parse(&options.storage_url).map_err(refuse)?;
    let (vault_id, repository, old_password) = match &options.opened_by {
        AdoptKey::RecoveryFile(path) => open_vault(&place, &read_recovery_file(path)?)?,
        AdoptKey::Password(password) => open_repository(&place, password)?,
    };

    let dir = DataDir::open(&options.data_dir)?;
    let _lock = dir.lock()?;
    let now = SystemClock.now();
    dir.refuse_catalog_elsewhere()?;
    let catalog = Catalog::open(&dir.catalog(), CatalogOptions::default())?;
    let identity = bootstrap::run(&dir, &catalog, now)?;
    match vaults::get(&catalog, &identity.account_id, &vault_id) {
        Ok(known) if known.storage_url == place.url() => {}
        Ok(known) => {
            return Err(refuse(format!(
                "the catalog knows {vault_id} at {} already",
                known.storage_url
            )));
        }
        Err(CatalogError::NotFound { .. }) => {
            insert_vault(
                options,
                &identity,
                &catalog,
                &repository,
                (&vault_id, &place, &old_password),
                now,
            )?;
        }
        Err(error) => return Err(error.into()),
    }
    let (mut found, damaged) = repository.snapshots_and_damage()?;
    // Copies of a catalog are no snapshots of a host: `catalog restore` is for them.
    found.retain(|(_, snapshot)| !snapshot.tags.iter().any(|tag| tag == CATALOG_TAG));
    let new_snapshot_count =
        insert_snapshots(&catalog, &identity.account_id, &vault_id, &found, now)?;
    tracing::info!(%vault_id, snapshots = found.len(), "a vault was adopted");
    Ok(AdoptReport {
        account_id: identity.account_id,
        vault_id,
        snapshot_count: found.len(),
        new_snapshot_count,
        damaged_snapshots: damaged
            .into_iter()
            .map(|(id, error)| (id.to_string(), error.to_string()))
            .collect(),
        new_recovery_path: identity.new_recovery_file,
    })
}

/// The keys first, then the row that knows the password of one of them.
fn insert_vault(
    options: &AdoptOptions,
    identity: &Identity,
    catalog: &Catalog,
    repository: &Repository,
    (vault_id, place, old_password): (&VaultId, &Place, &SecretText),
    now: Timestamp,
) -> Result<(), ServerError> {
    let label = |username: &str, hostname: &str| KeyOptions {
        // The passwords are random and long: stretching them would only cost time.
        cost: KdfCost::Cheapest,
        username: username.to_owned(),
        hostname: hostname.to_owned(),
    };
    let password = crate::actions::vaults::new_password();
    repository.add_key(&secret(&password), &label(OWN_KEY_NAME, vault_id.as_str()))?;
    let new_recovery = identity
        .master_key
        .recovery_secret()
        .vault_password(vault_id.as_str());
    if new_recovery.expose() != old_password.expose() {
        repository.add_key(
            &secret(&new_recovery),
            &label(RECOVERY_KEY_NAME, vault_id.as_str()),
        )?;
    }
    let new = NewVault {
        vault_id: vault_id.clone(),
        vault_name: format!("adopted {}", vault_id.as_str()),
        description: String::new(),
        vault_region_id: options.region.clone(),
        vault_type: "STANDARD".to_owned(),
        vault_storage_class: "STANDARD".to_owned(),
        encrypt_type: "HBR_PRIVATE".to_owned(),
        kms_key_id: None,
        worm_enabled: false,
        storage_url: place.url().to_owned(),
        sealed_password: identity
            .master_key
            .seal(Record::Vault(vault_id.as_str()), password.expose()),
        kept_by: None,
    };
    vaults::adopt(catalog, &identity.account_id, &new, now)?;
    Ok(())
}

fn insert_snapshots(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    found: &[(Id, Snapshot)],
    now: Timestamp,
) -> Result<usize, ServerError> {
    let mut hosts: BTreeMap<ClientId, AdoptedClient> = BTreeMap::new();
    let mut rows = Vec::with_capacity(found.len());
    for (id, snapshot) in found {
        let row = row_of(catalog, account_id, vault_id, (id, snapshot), now);
        if let (Some(client_id), Some(instance_id)) = (&row.client_id, &row.instance_id) {
            let client = AdoptedClient {
                client_id: client_id.clone(),
                instance_id: instance_id.clone(),
                hostname: snapshot.hostname.clone(),
            };
            hosts.insert(client_id.clone(), client);
        }
        rows.push(row);
    }
    for client in hosts.values() {
        clients::adopt(catalog, account_id, client, now)?;
    }
    Ok(snapshots::adopt(catalog, account_id, &rows)?)
}
