//! `vault adopt`: a vault and a recovery file are enough to go on, even when nothing else is left.
//!
//! Works offline on a data directory, which it makes if it is not there. The vault's id is in the label of its recovery
//! key; the recovery secret gives that key's password. The vault then gets a key of the new catalog and a recovery key
//! of the new master key, and its snapshots, and the clients that made them, become rows. Nothing of the vault is
//! removed or rewritten. Done again after a crash it completes what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use api::secret::SecretText;
use catalog::clients::AdoptedClient;
use catalog::vaults::NewVault;
use catalog::{
    Catalog, CatalogError, CatalogOptions, Snapshot as SnapshotRow, clients, snapshots, vaults,
};
use model::{
    AccountId, ClientId, InstanceId, JobId, PlanId, SnapshotStatus, SourceType, Timestamp, VaultId,
};
use storage::Storage;
use vault::{Id, KdfCost, KeyOptions, Repository, Secret, Snapshot, VaultError, key_labels};

use crate::bootstrap::{self, Identity};
use crate::clock::{Clock, SystemClock};
use crate::data_dir::{DataDir, read_file};
use crate::error::ServerError;
use crate::options::check_region;
use crate::places::Place;
use crate::seal::{Record, RecoverySecret};

/// User name in the label of a vault's recovery key; its host name is the vault's id.
const RECOVERY_KEY_NAME: &str = "strongroom-recovery";
/// User name in the label of a vault's own key.
const OWN_KEY_NAME: &str = "strongroom";

/// What to adopt, and where to.
#[derive(Debug, Clone)]
pub struct AdoptOptions {
    /// The data directory that gets the vault; made if it is not there. No server may run on it.
    pub data_dir: PathBuf,
    /// Region of the vault.
    pub region: String,
    /// The recovery file of the account that made the vault.
    pub recovery_file: PathBuf,
    /// Where the vault is: an absolute path, or a URL that the storage crate opens.
    pub storage_url: String,
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
/// The data directory is in use, the recovery file is none or of another account, the storage holds no vault of
/// Strongroom.
pub fn adopt(options: &AdoptOptions) -> Result<AdoptReport, ServerError> {
    check_region(&options.region)?;
    let refuse = |why: String| ServerError::Adopt {
        storage: options.storage_url.clone(),
        why,
    };
    let recovery = read_recovery_file(options)?;
    let place = Place::parse(&options.storage_url).map_err(refuse)?;
    let storage = storage::open(place.url())?;
    let (vault_id, repository, old_password) = open_vault(options, &storage, &recovery)?;

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
    let (found, damaged) = repository.snapshots_and_damage()?;
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

fn read_recovery_file(options: &AdoptOptions) -> Result<RecoverySecret, ServerError> {
    let path = &options.recovery_file;
    let invalid = |why| ServerError::RecoveryFile {
        path: path.clone(),
        why,
    };
    let bytes =
        zeroize::Zeroizing::new(read_file(path)?.ok_or_else(|| invalid("it does not exist"))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not a text"))?;
    RecoverySecret::parse(text).map_err(invalid)
}

/// The vault's id from the label of a recovery key, and the vault opened with it.
fn open_vault(
    options: &AdoptOptions,
    storage: &Arc<dyn Storage>,
    recovery: &RecoverySecret,
) -> Result<(VaultId, Repository, SecretText), ServerError> {
    let refuse = |why: String| ServerError::Adopt {
        storage: options.storage_url.clone(),
        why,
    };
    let labels = key_labels(&**storage)?;
    let ids: BTreeSet<VaultId> = labels
        .iter()
        .filter(|(_, label)| label.username == RECOVERY_KEY_NAME)
        .filter_map(|(_, label)| VaultId::parse(&label.hostname).ok())
        .collect();
    if ids.is_empty() {
        return Err(refuse(
            "no vault of Strongroom is there (no key of it names a vault)".to_owned(),
        ));
    }
    for vault_id in ids {
        let password = recovery.vault_password(vault_id.as_str());
        match Repository::open(storage.clone(), &secret(&password)) {
            Ok(repository) => return Ok((vault_id, repository, password)),
            Err(VaultError::WrongPassword) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(refuse(
        "the recovery file does not open it; it is of another account".to_owned(),
    ))
}

fn secret(text: &SecretText) -> Secret {
    Secret::new(text.expose().as_bytes())
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

/// What a snapshot says of itself, in its tags and its summary.
fn row_of(
    catalog: &Catalog,
    account_id: &AccountId,
    vault_id: &VaultId,
    (id, snapshot): (&Id, &Snapshot),
    now: Timestamp,
) -> SnapshotRow {
    let summary = snapshot.summary.as_ref();
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let items = summary.map_or(0, |summary| {
        let dirs = summary.dirs_new + summary.dirs_changed + summary.dirs_unmodified;
        signed(summary.total_files_processed.saturating_add(dirs))
    });
    let taken = Timestamp(snapshot.time.seconds);
    let ended = summary.map_or(taken, |summary| Timestamp(summary.backup_end.seconds));
    let excludes =
        (!snapshot.excludes.is_empty()).then(|| serde_json::json!(snapshot.excludes).to_string());
    SnapshotRow {
        snapshot_id: snapshots::new_id(catalog, now),
        account_id: account_id.clone(),
        vault_id: vault_id.clone(),
        source_type: SourceType::EcsFile,
        snapshot_hash: id.to_hex(),
        parent_snapshot_hash: snapshot.parent.map(|parent| parent.to_hex()),
        job_id: snapshot
            .tag_value("JobId")
            .and_then(|text| JobId::parse(text).ok()),
        plan_id: snapshot
            .tag_value("PlanId")
            .and_then(|text| PlanId::parse(text).ok()),
        client_id: snapshot
            .tag_value("ClientId")
            .and_then(|text| ClientId::parse(text).ok()),
        instance_id: snapshot
            .tag_value("InstanceId")
            .and_then(|text| InstanceId::parse(text).ok()),
        bucket: None,
        file_system_id: None,
        instance_name: None,
        table_name: None,
        prefix: None,
        create_time: None,
        backup_type: "COMPLETE".to_owned(),
        status: match snapshot.tag_value("Errors").map(str::parse::<u64>) {
            Some(Ok(0)) | None => SnapshotStatus::Complete,
            Some(_) => SnapshotStatus::PartialComplete,
        },
        paths: snapshot.paths.clone(),
        include: None,
        exclude: excludes,
        retention: None,
        expire_time: None,
        created_time: taken,
        start_time: Some(summary.map_or(taken, |summary| Timestamp(summary.backup_start.seconds))),
        complete_time: ended,
        updated_time: now,
        bytes_total: summary.map_or(0, |summary| signed(summary.total_bytes_processed)),
        bytes_done: summary.map_or(0, |summary| signed(summary.data_added)),
        actual_bytes: summary.map_or(0, |summary| signed(summary.data_added_packed)),
        items_total: items,
        items_done: items,
        actual_items: summary.map_or(0, |summary| {
            signed(
                summary.files_new + summary.files_changed + summary.dirs_new + summary.dirs_changed,
            )
        }),
        error_file: None,
    }
}
