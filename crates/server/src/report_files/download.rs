//! Sending a file: made in pieces, each when the reader has taken the one before.
//!
//! A piece is made on the blocking pool like any request, so no thread waits for a slow reader, and memory is that of two
//! pieces, of the walk ([`super::items`]) and, for the lists of what succeeded, of a hash for each item that failed. The
//! first piece is made before anything is sent: what can be refused is refused as any call. What fails later, or is removed
//! meanwhile, breaks the transfer off, so a list that arrived whole is whole.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use api::error::{ApiError, Code};
use axum::body::{Body, Bytes, HttpBody};
use catalog::{item_errors, jobs, restores, snapshots, vaults};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use model::{AccountId, JobId, RestoreId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::csv::push_row;
use super::items::Items;
use super::{List, ReportFile, link};
use crate::actions::browse;
use crate::failure;
use crate::http::Border;
use crate::service::Service;
use crate::wire::Wire;

/// Downloads at once: each may hold a vault's index of trees.
pub(crate) const MAX_DOWNLOADS: usize = 8;
/// Rows of the error list that are read at once.
const PAGE_ROWS: u32 = 1_000;
/// A piece is sent when it has reached this size.
const PIECE_BYTES: usize = 64 * 1024;
/// A reader that takes nothing for this long has gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);

/// Answers a request below [`link::PREFIX`].
pub(crate) async fn serve(border: &Border, wire: Wire) -> Result<Response<Body>, ApiError> {
    let request_id = wire.request_id.clone();
    let place = border.service.downloads.clone().try_acquire_owned();
    let Ok(place) = place else {
        return Err(ApiError::of(Code::ServiceUnavailable).retry_after(1_000));
    };
    let first = border.blocking(&request_id, move |service| {
        let mut download = Download::open(service, &wire.path)?;
        let piece = download.next(service)?;
        Ok((download, piece))
    });
    let (download, piece) = first.await?;
    let (name, told_id) = (download.file.name(), request_id.clone());
    // One piece waits while the next is made.
    let (sender, receiver) = mpsc::channel(1);
    let border = border.clone();
    tokio::spawn(async move {
        send(&border, &request_id, download, piece, &sender).await;
        drop(place);
    });
    let mut response = Response::new(Body::new(Pieces(receiver)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    if let Ok(value) = HeaderValue::from_str(&told_id) {
        headers.insert("x-acs-request-id", value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Sends the pieces until the end, a failure, or a reader that is gone.
async fn send(
    border: &Border,
    request_id: &str,
    mut download: Download,
    mut piece: Option<String>,
    sender: &mpsc::Sender<Result<Bytes, Broken>>,
) {
    while let Some(text) = piece {
        match timeout(SEND_TIMEOUT, sender.send(Ok(Bytes::from(text)))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        let next = border.blocking(request_id, move |service| {
            let piece = download.next(service)?;
            Ok((download, piece))
        });
        (download, piece) = match next.await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(request_id, code = %error.code, message = %error.message, "a download broke off");
                let _ = timeout(SEND_TIMEOUT, sender.send(Err(Broken))).await;
                return;
            }
        };
    }
}

/// The rest of a file cannot be had.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the rest of the file cannot be read")]
struct Broken;

/// The pieces as the body of a reply.
struct Pieces(mpsc::Receiver<Result<Bytes, Broken>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let next = self.0.poll_recv(context);
        next.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Whether the file is there for its account.
pub(crate) fn check(
    service: &Service,
    account: &AccountId,
    file: &ReportFile,
) -> Result<(), ApiError> {
    let gone = || ApiError::of(Code::TempFileNotExist);
    let catalog = &service.catalog;
    let lists = match (JobId::parse(&file.id), RestoreId::parse(&file.id)) {
        (Ok(job_id), _) => {
            jobs::get(catalog, account, &job_id).map(|job| super::lists_of_job(&job))
        }
        (_, Ok(restore_id)) => {
            restores::get(catalog, account, &restore_id).map(|job| super::lists_of_restore(&job))
        }
        (Err(_), Err(_)) => return Err(gone()),
    };
    let lists = lists.map_err(|_| gone())?;
    if !lists.contains(&file.list) {
        return Err(gone());
    }
    if file.list != List::Failed {
        snapshot(service, account, file)?;
    }
    Ok(())
}

fn snapshot(
    service: &Service,
    account: &AccountId,
    file: &ReportFile,
) -> Result<catalog::Snapshot, ApiError> {
    let job_id = JobId::parse(&file.id).map_err(|_| ApiError::of(Code::TempFileNotExist))?;
    snapshots::left_by(&service.catalog, account, &job_id).map_err(|_| {
        ApiError::new(
            Code::TempFileNotExist,
            "The snapshot of the job is gone, and with it the list of what it holds.",
        )
    })
}

/// A file on its way.
struct Download {
    account: AccountId,
    file: ReportFile,
    stage: Stage,
    /// Rows of the error list that are still to come.
    failures_left: u64,
    /// The failed items, for the lists that tell them from the others.
    failed: Failed,
}

enum Stage {
    Head,
    /// The error list, after the row of this number.
    Failures(i64),
    Items(Box<Items>),
    End,
}

/// Paths of failed items, as hashes under a key of this download: one that is taken for another is as unlikely as a defect
/// of the memory.
#[derive(Default)]
struct Failed {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl Failed {
    fn insert(&mut self, path: &str) {
        self.hashes.insert(self.state.hash_one(path));
    }

    fn contains(&self, path: &str) -> bool {
        !self.hashes.is_empty() && self.hashes.contains(&self.state.hash_one(path))
    }
}

impl Download {
    /// The file of a link's path, before its first piece.
    fn open(service: &Service, path: &str) -> Result<Self, ApiError> {
        let (account, file) = link::open(&service.master_key, path, service.now())
            .ok_or_else(|| ApiError::of(Code::TempFileNotExist))?;
        check(service, &account, &file)?;
        let failures_left = item_errors::count(&service.catalog, &account, file.kind, &file.id)
            .map_err(failure::of_catalog)?;
        Ok(Self {
            account,
            file,
            stage: Stage::Head,
            failures_left,
            failed: Failed::default(),
        })
    }

    /// The next piece; none after the last.
    fn next(&mut self, service: &Service) -> Result<Option<String>, ApiError> {
        let mut out = String::new();
        while out.len() < PIECE_BYTES {
            match &mut self.stage {
                Stage::Head => {
                    push_row(&mut out, self.columns());
                    self.stage = Stage::Failures(-1);
                }
                Stage::Failures(after) => {
                    let after = *after;
                    self.push_failures(service, after, &mut out)?;
                }
                Stage::Items(items) => {
                    match items.next().map_err(|error| browse::of_vault(&error))? {
                        Some(item) if self.failed.contains(&item.path) => {}
                        Some(item) => {
                            let size = item.size.map(|size| size.to_string()).unwrap_or_default();
                            let (kind, mtime) = (item.kind.as_str(), item.mtime.to_string());
                            let (path, size, mtime) = (&item.path, &size, &mtime);
                            match self.file.list {
                                List::Total => push_row(
                                    &mut out,
                                    &[path, "SUCCESS", kind, size, mtime, "", "", "", ""],
                                ),
                                _ => push_row(&mut out, &[path, kind, size, mtime]),
                            }
                        }
                        None => self.stage = Stage::End,
                    }
                }
                Stage::End => break,
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    const fn columns(&self) -> &'static [&'static str] {
        match self.file.list {
            List::Failed => &["path", "operation", "errno", "message", "time"],
            List::Success => &["path", "type", "size", "mtime"],
            List::Total => &[
                "path",
                "status",
                "type",
                "size",
                "mtime",
                "operation",
                "errno",
                "message",
                "time",
            ],
        }
    }

    /// The next rows of the error list: into the file, and noted where the items that succeeded are to follow.
    fn push_failures(
        &mut self,
        service: &Service,
        after: i64,
        out: &mut String,
    ) -> Result<(), ApiError> {
        let (file, list) = (&self.file, self.file.list);
        let rows = item_errors::next(
            &service.catalog,
            &self.account,
            file.kind,
            &file.id,
            after,
            PAGE_ROWS,
        )
        .map_err(failure::of_catalog)?;
        let Some((last, _)) = rows.last() else {
            if self.failures_left > 0 {
                // Somebody removed the job meanwhile.
                return Err(ApiError::of(Code::TempFileNotExist));
            }
            self.stage = match list {
                List::Failed => Stage::End,
                List::Success | List::Total => Stage::Items(Box::new(self.items(service)?)),
            };
            return Ok(());
        };
        self.stage = Stage::Failures(*last);
        self.failures_left = self.failures_left.saturating_sub(rows.len() as u64);
        for (_, row) in &rows {
            let errno = row.errno.map(|errno| errno.to_string()).unwrap_or_default();
            let time = row.time.to_string();
            let (path, operation, message) = (&row.path, &row.operation, &row.message);
            match list {
                List::Failed => push_row(out, &[path, operation, &errno, message, &time]),
                List::Total => push_row(
                    out,
                    &[
                        path, "FAILED", "", "", "", operation, &errno, message, &time,
                    ],
                ),
                List::Success => {}
            }
            if list != List::Failed {
                self.failed.insert(path);
            }
        }
        Ok(())
    }

    fn items(&self, service: &Service) -> Result<Items, ApiError> {
        let snapshot = snapshot(service, &self.account, &self.file)?;
        let vault = vaults::get(&service.catalog, &self.account, &snapshot.vault_id)
            .map_err(failure::of_catalog)?;
        let open = browse::open(service, &vault)?;
        Items::new(open, &snapshot.snapshot_hash).map_err(|error| browse::of_vault(&error))
    }
}
