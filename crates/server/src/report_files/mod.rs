//! The files of a job's `Report`: which of its items failed, which succeeded, and both, as CSV.
//!
//! DescribeBackupJobs2 and DescribeRestoreJobs2 tell their keys, GetTempFileDownloadLink gives a signed link for a key, and
//! whoever has the link may read that one file. Nothing is kept for a file: what failed is read from the catalog's rows,
//! what succeeded from the snapshot itself, piece by piece as the reader takes it ([`download`]).
//!
//! What agents report decides what there is. They name each item that failed and nothing else. A backup's snapshot holds
//! all others, so its three lists are exact as long as the snapshot stands. What a restore wrote or passed over depended on
//! its target, which nobody has listed: its only list is that of what failed. `SkippedFiles` is never told.
//!
//! Modules in reading order: `csv`, `link`, `items`, `download`.

mod csv;
mod download;
mod items;
mod link;

pub(crate) use download::{MAX_DOWNLOADS, check, serve};
pub(crate) use link::{PREFIX, url};

use api::shapes::Report;
use catalog::{Job, Progress, RestoreJob, WorkKind};
use model::{AccountId, JobId, RestoreId};

/// Most failed items whose paths are held in memory while a list of what succeeded is made. A job with more has no such
/// list.
const MAX_TOLD_APART: i64 = 1_000_000;

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// What could not be backed up or restored, and why.
    Failed,
    /// What the snapshot holds and nothing failed of.
    Success,
    /// Both.
    Total,
}

impl List {
    const ALL: [Self; 3] = [Self::Failed, Self::Success, Self::Total];

    const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Success => "success",
            Self::Total => "total",
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportFile {
    /// Backup or restore.
    kind: WorkKind,
    /// The id of the job or restore job.
    id: String,
    list: List,
}

impl ReportFile {
    /// Reads what [`ReportFile::name`] gives.
    fn of_name(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".csv")?;
        let (id, word) = stem.rsplit_once('-')?;
        let list = List::ALL.into_iter().find(|list| list.word() == word)?;
        let kind = if JobId::parse(id).is_ok() {
            WorkKind::Backup
        } else {
            RestoreId::parse(id).ok().map(|_| WorkKind::Restore)?
        };
        let id = id.to_owned();
        Some(Self { kind, id, list })
    }

    /// Reads what [`ReportFile::key`] gives for the account.
    pub(crate) fn of_key(account: &AccountId, key: &str) -> Option<Self> {
        let file = Self::of_name(key.rsplit('/').next()?)?;
        (file.key(account) == key).then_some(file)
    }

    /// The job or restore job whose report it is of.
    pub(crate) fn work_id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> String {
        format!("{}-{}.csv", self.id, self.list.word())
    }

    /// What GetTempFileDownloadLink takes.
    fn key(&self, account: &AccountId) -> String {
        format!("temp/{account}/report/{}/{}", self.id, self.name())
    }
}

/// The lists that a job has; none before it has ended.
fn lists_of_job(job: &Job) -> Vec<List> {
    let mut lists = lists_of_failures(job.status, &job.progress);
    if job.status.has_result() && job.progress.error_count <= MAX_TOLD_APART {
        lists.extend([List::Success, List::Total]);
    }
    lists
}

fn lists_of_failures(status: model::JobStatus, progress: &Progress) -> Vec<List> {
    let has_failures = status.is_final() && progress.error_count > 0;
    if has_failures {
        vec![List::Failed]
    } else {
        Vec::new()
    }
}

fn lists_of_restore(job: &RestoreJob) -> Vec<List> {
    lists_of_failures(job.status, &job.progress)
}

/// `Report` of a job, if it has any list.
pub(crate) fn of_job(job: &Job) -> Option<Report> {
    report(
        &job.account_id,
        (WorkKind::Backup, job.job_id.as_str()),
        &lists_of_job(job),
    )
}

/// `Report` of a restore job, if it has any list.
pub(crate) fn of_restore(job: &RestoreJob) -> Option<Report> {
    report(
        &job.account_id,
        (WorkKind::Restore, job.restore_id.as_str()),
        &lists_of_restore(job),
    )
}

fn report(account: &AccountId, (kind, id): (WorkKind, &str), lists: &[List]) -> Option<Report> {
    let key = |list: List| {
        let id = id.to_owned();
        let file = ReportFile { kind, id, list };
        lists.contains(&list).then(|| file.key(account))
    };
    (!lists.is_empty()).then(|| Report {
        failed_files: key(List::Failed),
        success_files: key(List::Success),
        total_files: key(List::Total),
        report_task_status: Some("COMPLETE".to_owned()),
        skipped_files: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{List, ReportFile};
    use catalog::WorkKind;
    use model::AccountId;

    #[test]
    fn keys_name_one_file_of_one_account() {
        let (mine, other) = (AccountId::new(1), AccountId::new(2));
        for (kind, id) in [(WorkKind::Backup, "job-1a"), (WorkKind::Restore, "r-1a")] {
            for list in List::ALL {
                let id = id.to_owned();
                let file = ReportFile { kind, id, list };
                let key = file.key(&mine);
                assert_eq!(ReportFile::of_key(&mine, &key), Some(file));
                assert_eq!(ReportFile::of_key(&other, &key), None);
            }
        }
    }

    #[test]
    fn what_is_no_key() {
        let mine = AccountId::new(1);
        for key in [
            String::new(),
            "job-1a-failed.csv".to_owned(),
            format!("temp/{mine}/report/job-1a/job-1b-failed.csv"),
            format!("temp/{mine}/report/job-1a/job-1a-skipped.csv"),
            format!("temp/{mine}/report/job-1a/job-1a-failed.csv/"),
            format!("../temp/{mine}/report/job-1a/job-1a-failed.csv"),
            format!("temp/{mine}/report/v-1a/v-1a-failed.csv"),
        ] {
            assert_eq!(ReportFile::of_key(&mine, &key), None, "{key}");
        }
    }
}
