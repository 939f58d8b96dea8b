//! ListAuditEntries, an extension of this server: the audit log, page after page.
//!
//! The operator's root key sees the whole log, and can prove that it is whole; everybody else sees the entries of his own
//! account, whose hashes prove nothing without the entries between them.

use api::error::ApiError;
use catalog::audit;
use model::AccountId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Answer, Call};
use crate::failure;
use crate::principal::Kind;

/// Entries of one page: half a megabyte.
const MAX_ENTRIES: i64 = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// Whether these are the entries of all accounts.
    is_whole: bool,
    entries: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    seq: i64,
    hash: String,
    entry: Box<RawValue>,
}

/// Entries after `AfterSeq`, at most `MaxResults`; of `AccountId` alone if the operator names one.
pub(crate) fn list_audit_entries(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let after = params.int_in("AfterSeq", 0..=i64::MAX)?.unwrap_or(0);
    let limit = params
        .int_in("MaxResults", 1..=MAX_ENTRIES)?
        .unwrap_or(MAX_ENTRIES);
    let is_operator = call.account == call.service.operator && call.principal.kind == Kind::Root;
    let account = match (is_operator, params.text("AccountId")) {
        (true, None) => None,
        (true, Some(text)) => Some(
            AccountId::parse(text)
                .map_err(|_| ApiError::invalid("AccountId", "it must have 16 digits"))?,
        ),
        (false, _) => Some(call.account.clone()),
    };
    let rows = audit::list(&call.service.catalog, account.as_ref(), after, limit)
        .map_err(failure::of_catalog)?;
    let entries = rows
        .into_iter()
        .map(|row| {
            Ok(Row {
                seq: row.seq,
                hash: row.hash,
                entry: RawValue::from_string(row.entry)
                    .map_err(|error| failure::internal(&error))?,
            })
        })
        .collect::<Result<_, ApiError>>()?;
    call.reply(Page {
        is_whole: account.is_none(),
        entries,
    })
}
