//! From leased work to assignments: everything that an agent needs to know, secrets unsealed.
//!
//! What cannot become an assignment does not stay leased: work whose record is gone is dropped, work whose secrets do
//! not open fails with that reason, and on an error of the catalog it goes back to the queue.

use api::agent_protocol::{
    Assignment, BackupSpec, CatalogBackupSpec, DeleteSnapshotSpec, RestoreSpec, UpkeepSpec,
    VaultSpec, WorkKind as Kind,
};
use api::error::ApiError;
use catalog::jobs::FinishJob;
use catalog::restores::FinishRestore;
use catalog::tasks::FinishTask;
use catalog::upkeep::Extent;
use catalog::vaults::VaultFilter;
use catalog::{
    CatalogError, PageRequest, Progress, Vault, Work, WorkKind, jobs, restores, tasks, upkeep,
    vaults, work,
};
use model::{JobId, JobStatus, RestoreId, RestoreOptions, TaskId, patterns};

use crate::catalog_backup::{KEEP_DAILY, KEEP_WEEKLY};
use crate::client_settings::Settings;
use crate::failure;
use crate::places::{Place, folder_of};
use crate::seal::{Record, UnsealError};
use crate::service::Service;

/// Why a work cannot be handed out.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    #[error("its record cannot be read: {0}")]
    Record(String),
    /// The server did it itself.
    #[error("nothing to do")]
    Done,
}

/// Turns freshly leased work into assignments.
pub(super) fn assign(service: &Service, leased: Vec<Work>) -> Result<Vec<Assignment>, ApiError> {
    let mut assignments = Vec::with_capacity(leased.len());
    for item in leased {
        match kind_of(service, &item) {
            Ok(kind) => assignments.push(Assignment {
                work_id: item.work_id.clone(),
                epoch: item.epoch.unsigned_abs(),
                kind,
            }),
            Err(Trouble::Done) => end_task(service, &item, JobStatus::Complete, None)?,
            Err(Trouble::Catalog(CatalogError::NotFound { .. })) => {
                tracing::info!(work_id = item.work_id, "the work's record is gone");
            }
            Err(Trouble::Catalog(error)) => {
                tracing::error!(work_id = item.work_id, %error, "a work cannot be handed out now");
                work::release(
                    &service.catalog,
                    &item.work_id,
                    item.epoch,
                    None,
                    service.now(),
                )
                .map_err(failure::of_catalog)?;
            }
            Err(trouble) => {
                tracing::error!(work_id = item.work_id, error = %trouble, "a work cannot be handed out");
                fail(service, &item, &trouble.to_string())?;
            }
        }
    }
    Ok(assignments)
}

fn kind_of(service: &Service, item: &Work) -> Result<Kind, Trouble> {
    let vault = vaults::get_for_work(&service.catalog, &item.account_id, &item.vault_id)?;
    Ok(match item.kind {
        WorkKind::Backup => Kind::Backup(backup(service, item, &vault)?),
        WorkKind::Restore => Kind::Restore(restore(service, item, &vault)?),
        WorkKind::CreateVault => {
            let mut spec = vault_spec(service, &vault)?;
            let recovery = service
                .master_key
                .recovery_secret()
                .vault_password(vault.vault_id.as_str());
            spec.recovery_password = Some(recovery);
            Kind::CreateVault(spec)
        }
        WorkKind::DeleteVault if is_own_place(service, &vault) => {
            Kind::DeleteVault(vault_spec(service, &vault)?)
        }
        // What an operator put elsewhere is the operator's to delete.
        WorkKind::DeleteVault => return Err(Trouble::Done),
        WorkKind::DeleteSnapshot => {
            let task_id = id(TaskId::parse(&item.work_id))?;
            let task = tasks::get(&service.catalog, &item.account_id, &task_id)?;
            let snapshot_hash = task
                .snapshot_hash
                .ok_or_else(|| Trouble::Record("no snapshot".to_owned()))?;
            Kind::DeleteSnapshot(DeleteSnapshotSpec {
                vault: vault_spec(service, &vault)?,
                snapshot_hash,
            })
        }
        WorkKind::CheckVault => Kind::CheckVault(upkeep_spec(service, item, &vault)?),
        WorkKind::PruneVault => Kind::PruneVault(upkeep_spec(service, item, &vault)?),
        WorkKind::BackupCatalog => Kind::BackupCatalog(CatalogBackupSpec {
            vault: vault_spec(service, &vault)?,
            account_id: item.account_id.to_string(),
            keep_daily: KEEP_DAILY,
            keep_weekly: KEEP_WEEKLY,
        }),
    })
}

fn upkeep_spec(service: &Service, item: &Work, vault: &Vault) -> Result<UpkeepSpec, Trouble> {
    let task = tasks::get(
        &service.catalog,
        &item.account_id,
        &id(TaskId::parse(&item.work_id))?,
    )?;
    let extent = Extent::of(task.spec.as_deref().unwrap_or_default())
        .ok_or_else(|| Trouble::Record("what it is to check is not said".to_owned()))?;
    let (expected, missing) = upkeep::expected(&service.catalog, &vault.vault_id)?;
    Ok(UpkeepSpec {
        vault: vault_spec(service, vault)?,
        part: extent.part,
        parts: extent.parts,
        keep_delete_seconds: service.prune_grace.map(|grace| grace.as_secs()),
        expected,
        missing,
    })
}

fn is_own_place(service: &Service, vault: &Vault) -> bool {
    vault.storage_url == Place::inside(&service.vaults_dir, &vault.vault_id).url()
}

fn vault_spec(service: &Service, vault: &Vault) -> Result<VaultSpec, Trouble> {
    let password = service.master_key.unseal(
        Record::Vault(vault.vault_id.as_str()),
        &vault.sealed_password,
    )?;
    Ok(VaultSpec {
        vault_id: vault.vault_id.to_string(),
        storage_url: vault.storage_url.clone(),
        password,
        recovery_password: None,
    })
}

fn backup(service: &Service, item: &Work, vault: &Vault) -> Result<BackupSpec, Trouble> {
    let job_id = id(JobId::parse(&item.work_id))?;
    let job = jobs::get(&service.catalog, &item.account_id, &job_id)?;
    Ok(BackupSpec {
        vault: vault_spec(service, vault)?,
        paths: job.paths,
        include: list(job.include.as_deref())?,
        exclude: list(job.exclude.as_deref())?,
        speed_limit: job.speed_limit,
        options: job.options,
        job_id: item.work_id.clone(),
        plan_id: job.plan_id.map(String::from).unwrap_or_default(),
        client_id: item
            .holder_client_id
            .clone()
            .map(String::from)
            .unwrap_or_default(),
        instance_id: job.instance_id.map(String::from).unwrap_or_default(),
        resumed: item.epoch > 1,
        carried_bytes: job.progress.actual_bytes.unsigned_abs(),
        vault_folders: other_vault_folders(service, vault)?,
        max_workers: max_workers(service, item)?,
    })
}

/// What the settings of the client that runs the work say.
fn max_workers(service: &Service, item: &Work) -> Result<u32, Trouble> {
    let Some(client_id) = &item.holder_client_id else {
        return Ok(0);
    };
    let settings = Settings::of(&service.catalog, &item.account_id, client_id.as_str())?;
    Ok(settings.max_workers())
}

/// Folders of the account's vaults but this one: they are no part of what a host protects.
fn other_vault_folders(service: &Service, vault: &Vault) -> Result<Vec<String>, Trouble> {
    let page = PageRequest::first(vaults::MAX_VAULTS);
    let all = vaults::list(
        &service.catalog,
        &vault.account_id,
        &VaultFilter::default(),
        page,
    )?;
    Ok(all
        .rows
        .iter()
        .filter(|other| other.vault_id != vault.vault_id)
        .map(|other| folder_of(&other.storage_url).to_string_lossy().into_owned())
        .collect())
}

fn restore(service: &Service, item: &Work, vault: &Vault) -> Result<RestoreSpec, Trouble> {
    let restore_id = id(RestoreId::parse(&item.work_id))?;
    let job = restores::get(&service.catalog, &item.account_id, &restore_id)?;
    let options = RestoreOptions::parse(job.options.as_deref().unwrap_or_default())
        .map_err(|error| Trouble::Record(error.to_string()))?;
    let mut includes = options.includes;
    includes.extend(list(job.include.as_deref())?);
    let mut excludes = options.excludes;
    excludes.extend(list(job.exclude.as_deref())?);
    Ok(RestoreSpec {
        vault: vault_spec(service, vault)?,
        snapshot_hash: job.snapshot_hash,
        target_path: job.target_path.unwrap_or_default(),
        includes,
        excludes,
        conflict_policy: options.conflict_policy.as_str().to_owned(),
        max_workers: max_workers(service, item)?,
    })
}

fn id<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<T, Trouble> {
    parsed.map_err(|error| Trouble::Record(error.to_string()))
}

fn list(text: Option<&str>) -> Result<Vec<String>, Trouble> {
    patterns::parse_unbounded(text.unwrap_or_default())
        .map_err(|error| Trouble::Record(error.to_string()))
}

fn fail(service: &Service, item: &Work, reason: &str) -> Result<(), ApiError> {
    let message = Some(format!("the server could not hand the work out: {reason}"));
    let (work_id, epoch, outcome) = (item.work_id.clone(), item.epoch, JobStatus::Failed);
    let progress = Progress::default();
    let now = service.now();
    match item.kind {
        WorkKind::Backup => {
            let report = FinishJob {
                work_id,
                epoch,
                outcome,
                message,
                progress,
                snapshot: None,
                error_epoch: None,
            };
            jobs::finish(&service.catalog, &report, now)
        }
        WorkKind::Restore => restores::finish(
            &service.catalog,
            &FinishRestore {
                work_id,
                epoch,
                outcome,
                message,
                progress,
            },
            now,
        ),
        _ => return end_task(service, item, outcome, message),
    }
    .map(drop)
    .map_err(failure::of_catalog)
}

fn end_task(
    service: &Service,
    item: &Work,
    outcome: JobStatus,
    message: Option<String>,
) -> Result<(), ApiError> {
    let report = FinishTask {
        work_id: item.work_id.clone(),
        epoch: item.epoch,
        outcome,
        message,
        upkeep: None,
    };
    tasks::finish(&service.catalog, &report, service.now())
        .map(drop)
        .map_err(failure::of_catalog)
}
