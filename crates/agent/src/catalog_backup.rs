//! A backup of the server's catalog: its sealed copy, as the server gives it, becomes a snapshot of a vault; then older ones
//! are thinned. What is in the copy this agent cannot read.

use std::io::{self, Read};
use std::sync::Arc;

use api::agent_protocol::{
    CATALOG_FILE, CATALOG_TAG, CatalogBackupSpec, CatalogFindings, CopyCatalogRequest, Outcome,
    UpkeepReport, catalog_account_tag,
};
use runner::{StreamRequest, back_up_stream};
use vault::forget::{self, GroupBy, Keep, RetentionPolicy, SnapshotFilter};
use vault::{Id, LockKind, Repository, Time, VaultError};

use crate::backup::failed;
use crate::execute::Engine;
use crate::link::Link;
use crate::report::{End, Listener, chain, wire};
use crate::upkeep::{open, stopped_or_failed};
use crate::work::Work;

/// Runs it to the end.
pub(crate) fn run(engine: &Engine, spec: &CatalogBackupSpec, work: &Arc<Work>) -> End {
    let repository = match open(engine, &spec.vault, work) {
        Ok(repository) => repository,
        Err(error) => return stopped_or_failed(work, &error),
    };
    let tags = vec![
        CATALOG_TAG.to_owned(),
        catalog_account_tag(&spec.account_id),
    ];
    let request = StreamRequest {
        repository: repository.clone(),
        name: CATALOG_FILE.to_owned(),
        tags: tags.clone(),
        hostname: engine.hostname.clone(),
        writer: vault::WriterOptions::default(),
    };
    let listener = Listener {
        work: Arc::clone(work),
        wire,
        carried_bytes: 0,
    };
    let mut copy = Copy {
        source: &engine.catalog,
        request: CopyCatalogRequest {
            work_id: work.work_id.clone(),
            epoch: work.epoch,
        },
        stream: None,
    };
    let report = match back_up_stream(&request, &mut copy, &listener, &work.stop_token) {
        Ok(report) => report,
        Err(_) if work.stop_token.requested().is_some() => return End::stopped(),
        Err(error) => return failed(work, &error),
    };
    let mut findings = CatalogFindings {
        snapshot_hash: report.snapshot_id.to_hex(),
        bytes: report.bytes,
        added_bytes: report.added_bytes,
        removed_snapshots: 0,
    };
    let mut end = End::done(Outcome::Complete);
    match thin(&repository, spec, tags) {
        Ok(removed) => findings.removed_snapshots = removed,
        // The backup is there all the same.
        Err(error) => {
            end.message = format!("older backups were not removed: {}", chain(&error));
        }
    }
    End {
        upkeep: Some(UpkeepReport {
            catalog: Some(findings),
            ..UpkeepReport::default()
        }),
        ..end
    }
}

/// Begins a copy of the catalog.
type Open = dyn Fn(&CopyCatalogRequest) -> io::Result<Box<dyn Read>> + Send + Sync;

/// What gives the copy of the catalog, under the lease of the work that stores it.
pub(crate) struct CatalogSource(Box<Open>);

impl std::fmt::Debug for CatalogSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CatalogSource")
    }
}

impl CatalogSource {
    pub(crate) fn new(
        open: impl Fn(&CopyCatalogRequest) -> io::Result<Box<dyn Read>> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(open))
    }

    /// The server.
    pub(crate) fn behind(link: Arc<Link>) -> Self {
        Self::new(move |request| {
            let stream = link.stream(request);
            let stream = stream.map_err(|error| io::Error::other(chain(&error)))?;
            Ok(Box::new(stream))
        })
    }
}

/// The copy; asked for when the vault is ready to take it.
struct Copy<'a> {
    source: &'a CatalogSource,
    request: CopyCatalogRequest,
    stream: Option<Box<dyn Read>>,
}

impl Read for Copy<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => (self.source.0)(&self.request)?,
        };
        self.stream.insert(stream).read(bytes)
    }
}

/// Removes the backups of this catalog that neither a day nor a week needs; says how many.
fn thin(
    repository: &Repository,
    spec: &CatalogBackupSpec,
    tags: Vec<String>,
) -> Result<u64, VaultError> {
    let filter = SnapshotFilter {
        tags: vec![tags],
        ..SnapshotFilter::default()
    };
    let policy = RetentionPolicy {
        daily: Keep::Newest(spec.keep_daily),
        weekly: Keep::Newest(spec.keep_weekly),
        ..RetentionPolicy::default()
    };
    if policy.is_empty() {
        return Ok(0);
    }
    let (mut snapshots, _) = repository.snapshots_and_damage()?;
    snapshots.retain(|(_, snapshot)| filter.matches(snapshot));
    let all: GroupBy = GroupBy {
        host: false,
        paths: false,
        tags: false,
    };
    let gone: Vec<Id> = forget::plan(&snapshots, &policy, all, Time::now())
        .iter()
        .flat_map(|group| &group.remove)
        .map(|&index| snapshots[index].0)
        .collect();
    if gone.is_empty() {
        return Ok(0);
    }
    // A shared lock is enough: no blob goes.
    let lock = repository.lock(LockKind::Shared)?;
    let report = forget::remove_snapshots(repository, &gone);
    drop(lock);
    let report = report?;
    match report.failed.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(report.removed.len() as u64),
    }
}
