//! GetTempFileDownloadLink, and the download behind the link: the list of what a job could not back up, as CSV.
//!
//! A link holds a random token that is good for one file for an hour, or until the server stops: whoever has the link may
//! read that one list, without a key.

use std::collections::HashMap;

use api::error::{ApiError, Code};
use api::shapes::records::LinkReply;
use catalog::{Job, PageRequest, WorkKind, item_errors, jobs};
use model::{AccountId, JobId, Timestamp};
use parking_lot::Mutex;

use super::{Answer, Call};
use crate::failure;
use crate::service::Service;

/// Where downloads are.
pub(crate) const PREFIX: &str = "/temp/";
/// How long a link is good.
const LINK_SECONDS: i64 = 3_600;
/// Links at once; the oldest goes when there are more.
const MAX_LINKS: usize = 10_000;
/// Rows of a list; the rest is in the job's error count.
const MAX_ROWS: u32 = 1_000_000;

/// The links that are good now.
#[derive(Debug, Default)]
pub(crate) struct Links {
    // Held for a look-up or an insertion only.
    known: Mutex<HashMap<String, Link>>,
}

#[derive(Debug, Clone)]
struct Link {
    account: AccountId,
    job_id: JobId,
    until: Timestamp,
}

impl Links {
    fn insert(&self, token: String, link: Link, now: Timestamp) {
        let mut known = self.known.lock();
        known.retain(|_, link| link.until > now);
        if known.len() >= MAX_LINKS {
            let oldest = known
                .iter()
                .min_by_key(|(_, link)| link.until)
                .map(|(token, _)| token.clone());
            oldest.map(|token| known.remove(&token));
        }
        known.insert(token, link);
    }

    fn find(&self, token: &str, now: Timestamp) -> Option<Link> {
        self.known
            .lock()
            .get(token)
            .filter(|link| link.until > now)
            .cloned()
    }
}

/// The key of a job's list of failed items; none when there is nothing to list, or not yet.
pub(crate) fn failed_files_key(job: &Job) -> Option<String> {
    let has_list = job.status.is_final() && job.progress.error_count > 0;
    has_list.then(|| key_of(&job.account_id, &job.job_id))
}

fn key_of(account: &AccountId, job_id: &JobId) -> String {
    format!("temp/{account}/report/{job_id}/{job_id}-failed.csv")
}

/// A link to a file whose key `DescribeBackupJobs2` told.
pub(crate) fn get_temp_file_download_link(call: &Call<'_>) -> Answer {
    let key = call.params.required("TempFileKey")?;
    let gone = || ApiError::of(Code::TempFileNotExist);
    let job_id = key
        .rsplit('/')
        .nth(1)
        .and_then(|part| JobId::parse(part).ok())
        .ok_or_else(gone)?;
    if key_of(&call.account, &job_id) != key {
        return Err(gone());
    }
    let job = jobs::get(&call.service.catalog, &call.account, &job_id).map_err(|_| gone())?;
    failed_files_key(&job).ok_or_else(gone)?;
    let token = hex::encode(rand::random::<[u8; 32]>());
    let scheme = call.service.scheme;
    let url = format!(
        "{scheme}://{}{PREFIX}{token}/{job_id}-failed.csv",
        call.host
    );
    let link = Link {
        account: call.account.clone(),
        job_id,
        until: call.now.plus_seconds(LINK_SECONDS),
    };
    call.service.links.insert(token, link, call.now);
    call.reply(LinkReply { url: Some(url) })
}

/// The list behind a link.
pub(crate) fn download(service: &Service, path: &str) -> Answer {
    let gone = || ApiError::of(Code::TempFileNotExist);
    let token = path
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('/').next())
        .ok_or_else(gone)?;
    let link = service.links.find(token, service.now()).ok_or_else(gone)?;
    let page = PageRequest::first(MAX_ROWS);
    let errors = item_errors::list(
        &service.catalog,
        &link.account,
        WorkKind::Backup,
        link.job_id.as_str(),
        page,
    )
    .map_err(failure::of_catalog)?;
    let mut out = String::from("path,operation,errno,message,time\r\n");
    for row in errors.rows {
        let errno = row.errno.map(|errno| errno.to_string()).unwrap_or_default();
        let cells = [
            &row.path,
            &row.operation,
            &errno,
            &row.message,
            &row.time.to_string(),
        ];
        let line: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        out.push_str(&line.join(","));
        out.push_str("\r\n");
    }
    Ok(out.into_bytes())
}

/// A cell as RFC 4180 has it. A spreadsheet must not take a file's name for a formula, so such a name gets a quote in front.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Link, Links, MAX_LINKS, quoted};
    use model::{AccountId, JobId, Timestamp};

    #[test]
    fn cells() {
        for (cell, expected) in [
            ("/a b", "\"/a b\""),
            ("say \"x\", y", "\"say \"\"x\"\", y\""),
            ("=1+1", "\"'=1+1\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(cell), expected);
        }
    }

    #[test]
    fn links_end_and_are_bounded() {
        let links = Links::default();
        let link = |until: i64| Link {
            account: AccountId::new(1),
            job_id: JobId::parse("job-1").unwrap(),
            until: Timestamp(until),
        };
        links.insert("a".to_owned(), link(10), Timestamp(0));
        assert!(links.find("a", Timestamp(9)).is_some());
        assert!(links.find("a", Timestamp(10)).is_none());
        assert!(links.find("b", Timestamp(0)).is_none());
        for number in 0..MAX_LINKS + 5 {
            links.insert(
                format!("{number}"),
                link(100 + i64::try_from(number).unwrap()),
                Timestamp(0),
            );
        }
        assert_eq!(links.known.lock().len(), MAX_LINKS);
        assert!(links.find("a", Timestamp(0)).is_none(), "the oldest went");
    }
}
