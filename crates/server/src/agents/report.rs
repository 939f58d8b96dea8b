//! ReportErrors and Finish: what an agent says about work that it holds. Both are idempotent.

use api::agent_protocol::{
    Accepted, AgentRequest, FinishRequest, MAX_ERROR_ROWS, Outcome, ReportErrorsRequest,
    SnapshotReport,
};
use api::error::ApiError;
use catalog::jobs::FinishJob;
use catalog::restores::FinishRestore;
use catalog::tasks::FinishTask;
use catalog::work::FinishAnswer;
use catalog::{ItemError, Work, WorkKind, item_errors, jobs, restores, tasks, work};
use model::{JobStatus, Timestamp};

use super::{Agent, check_agent, encode, parse, signed, sync, upkeep};
use crate::failure;
use crate::service::Service;
use crate::wire::Wire;

/// Longest message that is kept; paths are kept whole.
const MAX_MESSAGE_CHARS: usize = 2_000;

pub(super) fn report_errors(service: &Service, wire: &Wire) -> Result<Vec<u8>, ApiError> {
    let agent = check_agent(service, wire, ReportErrorsRequest::METHOD)?;
    let request: ReportErrorsRequest = parse(wire)?;
    if request.rows.len() > MAX_ERROR_ROWS {
        return Err(ApiError::invalid(
            "rows",
            format!("a report has at most {MAX_ERROR_ROWS} rows"),
        ));
    }
    if own_work(service, &agent, &request.work_id)?.is_none() {
        return encode(&Accepted { accepted: false });
    }
    let rows: Vec<ItemError> = request
        .rows
        .into_iter()
        .map(|row| ItemError {
            path: row.path,
            operation: shorten(row.operation),
            errno: (row.errno != 0).then_some(i64::from(row.errno)),
            message: shorten(row.message),
            time: Timestamp(row.time),
        })
        .collect();
    let accepted = item_errors::append(
        &service.catalog,
        &request.work_id,
        signed(request.epoch),
        signed(request.first_seq),
        &rows,
    )
    .map_err(failure::of_catalog)?;
    encode(&Accepted { accepted })
}

pub(super) fn finish(service: &Service, wire: &Wire) -> Result<Vec<u8>, ApiError> {
    let agent = check_agent(service, wire, FinishRequest::METHOD)?;
    let request: FinishRequest = parse(wire)?;
    let Some(item) = own_work(service, &agent, &request.work_id)? else {
        return encode(&Accepted { accepted: false });
    };
    let answer = end(service, &item, request)?;
    // The end of one work may let another one start.
    service.ring();
    encode(&Accepted {
        accepted: answer.is_accepted(),
    })
}

/// The work if the agent may report on it.
fn own_work(service: &Service, agent: &Agent, work_id: &str) -> Result<Option<Work>, ApiError> {
    let found = work::get(&service.catalog, work_id).map_err(failure::of_catalog)?;
    Ok(found.filter(|item| item.may_be_of(&agent.account, &agent.client)))
}

fn end(service: &Service, item: &Work, request: FinishRequest) -> Result<FinishAnswer, ApiError> {
    let catalog = &service.catalog;
    let now = service.now();
    let progress = sync::progress(&request.progress);
    let epoch = signed(request.epoch);
    let work_id = request.work_id;
    let message = Some(shorten(request.message)).filter(|text| !text.is_empty());
    let outcome = match request.outcome {
        Outcome::Released => {
            let answer = work::release(catalog, &work_id, epoch, Some(&progress), now);
            return answer.map_err(failure::of_catalog);
        }
        Outcome::Complete => JobStatus::Complete,
        Outcome::PartialComplete => JobStatus::PartialComplete,
        Outcome::Failed => JobStatus::Failed,
        Outcome::Canceled => JobStatus::Canceled,
    };
    let answer = match item.kind {
        WorkKind::Backup => {
            let snapshot = request.snapshot.map(snapshot).transpose()?;
            let error_epoch = request.error_epoch.map(signed);
            let report = FinishJob {
                work_id,
                epoch,
                outcome,
                message,
                progress,
                snapshot,
                error_epoch,
            };
            jobs::finish(catalog, &report, now)
        }
        WorkKind::Restore => restores::finish(
            catalog,
            &FinishRestore {
                work_id,
                epoch,
                outcome,
                message,
                progress,
            },
            now,
        ),
        kind => {
            let upkeep = request
                .upkeep
                .map(|report| upkeep::booked(catalog, item, report, now));
            if kind.is_upkeep() || kind == WorkKind::BackupCatalog {
                upkeep::tell(item, outcome, message.as_deref());
            }
            tasks::finish(
                catalog,
                &FinishTask {
                    work_id,
                    epoch,
                    outcome,
                    message,
                    upkeep: upkeep.transpose()?,
                },
                now,
            )
        }
    }
    .map_err(failure::of_catalog)?;
    tracing::info!(work_id = item.work_id, kind = %item.kind, %outcome, ?answer, "a work was reported");
    Ok(answer)
}

fn snapshot(report: SnapshotReport) -> Result<catalog::snapshots::SnapshotReport, ApiError> {
    let is_hash =
        |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash(&report.snapshot_hash)
        || report
            .parent_snapshot_hash
            .as_deref()
            .is_some_and(|hash| !is_hash(hash))
    {
        return Err(ApiError::invalid(
            "snapshot",
            "hashes must have 64 hex digits",
        ));
    }
    Ok(catalog::snapshots::SnapshotReport {
        snapshot_hash: report.snapshot_hash.to_ascii_lowercase(),
        parent_snapshot_hash: report
            .parent_snapshot_hash
            .map(|hash| hash.to_ascii_lowercase()),
        paths: None,
    })
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}
