//! AddCrossAccount, DeleteCrossAccount, DescribeCrossAccounts: records that the service keeps.

use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::records::{CrossAccount, CrossAccounts, CrossAccountsReply};
use catalog::PageRequest;
use catalog::kept_records::{self, Kind, Record};
use serde::{Deserialize, Serialize};

use super::{Answer, Call, lists};
use crate::failure;

const MAX_ALIAS_CHARS: usize = 32;
const MAX_ROLE_CHARS: usize = 64;
/// Rows of a page when the caller names no page: Terraform looks for its record on the first one.
const DEFAULT_PAGE: u32 = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    user_id: i64,
    role_name: String,
    kind: String,
    alias: String,
}

fn key(params: &Params) -> Result<(i64, String, String), ApiError> {
    let user_id = params
        .int_in("CrossAccountUserId", 1..=i64::MAX)?
        .ok_or_else(|| ApiError::missing("CrossAccountUserId"))?;
    let kind = params.text("CrossAccountType").unwrap_or("CROSS_ACCOUNT");
    if !matches!(kind, "CROSS_ACCOUNT" | "CROSS_ACCOUNT_BY_RD") {
        let why = "valid values are CROSS_ACCOUNT, CROSS_ACCOUNT_BY_RD";
        return Err(ApiError::invalid("CrossAccountType", why));
    }
    let role_name = params.required("CrossAccountRoleName")?;
    if role_name.chars().count() > MAX_ROLE_CHARS {
        let why = format!("it may have at most {MAX_ROLE_CHARS} characters");
        return Err(ApiError::invalid("CrossAccountRoleName", why));
    }
    Ok((user_id, role_name.to_owned(), kind.to_owned()))
}

/// Keeps a new record.
pub(crate) fn add_cross_account(call: &Call<'_>) -> Answer {
    let (user_id, role_name, kind) = key(&call.params)?;
    let alias = call.params.given("Alias").unwrap_or_default();
    if alias.chars().count() > MAX_ALIAS_CHARS {
        let why = format!("it may have at most {MAX_ALIAS_CHARS} characters");
        return Err(ApiError::invalid("Alias", why));
    }
    let body = Body {
        user_id,
        role_name,
        kind,
        alias: alias.to_owned(),
    };
    let id = kept_records::new_id(&call.service.catalog, Kind::CrossAccount, call.now);
    let unique = format!("{}:{}", body.user_id, body.role_name);
    kept_records::insert(
        &call.service.catalog,
        &call.account,
        Kind::CrossAccount,
        (&id, &unique),
        &body,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Drops the record of a user and a role.
pub(crate) fn delete_cross_account(call: &Call<'_>) -> Answer {
    let (user_id, role_name, _) = key(&call.params)?;
    let is_it = |record: &Record<Body>| {
        record.body.user_id == user_id && record.body.role_name == role_name
    };
    let found = lists::kept_page(call, Kind::CrossAccount, None, PageRequest::first(1), is_it)?;
    let record = found
        .rows
        .first()
        .ok_or_else(|| ApiError::of(Code::ResourceNotExist))?;
    kept_records::delete(
        &call.service.catalog,
        &call.account,
        Kind::CrossAccount,
        &record.id,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Lists records, the oldest first.
pub(crate) fn describe_cross_accounts(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let mut page = lists::page(params)?;
    if !params.has("PageNumber") && !params.has("PageSize") {
        page.page_size = DEFAULT_PAGE;
    }
    let found = lists::kept_page(call, Kind::CrossAccount, None, page, |_: &Record<Body>| {
        true
    })?;
    let owner = call.account.as_number();
    let shapes = (1..).zip(found.rows).map(|(number, record)| CrossAccount {
        id: Some(i64::from(page.page_number - 1) * i64::from(page.page_size) + number),
        owner_id: Some(owner),
        alias: Some(record.body.alias),
        cross_account_user_id: Some(record.body.user_id),
        cross_account_role_name: Some(record.body.role_name),
        cross_account_type: Some(record.body.kind),
        created_time: Some(record.created_time.0),
        updated_time: Some(record.updated_time.0),
    });
    call.reply(CrossAccountsReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: lists::total_i64(found.total),
        cross_accounts: Some(CrossAccounts {
            cross_account: Some(shapes.collect()),
        }),
    })
}
