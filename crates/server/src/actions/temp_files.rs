//! GetTempFileDownloadLink: links to the files of a job's report, whose keys DescribeBackupJobs2 and DescribeRestoreJobs2
//! tell. What the files are is in [`crate::report_files`].

use api::error::{ApiError, Code};
use api::shapes::records::LinkReply;

use super::{Answer, Call};
use crate::report_files::{self, ReportFile};

/// A link to a file by its key. The key of another account answers like one of nothing.
pub(crate) fn get_temp_file_download_link(call: &Call<'_>) -> Answer {
    let key = call.params.required("TempFileKey")?;
    let file = ReportFile::of_key(&call.account, key)
        .ok_or_else(|| ApiError::of(Code::TempFileNotExist))?;
    let service = call.service;
    report_files::check(service, &call.account, &file)?;
    let origin = format!("{}://{}", service.scheme, call.host);
    let url = report_files::url(&service.master_key, &origin, &call.account, &file, call.now);
    call.reply(LinkReply { url: Some(url) })
}
