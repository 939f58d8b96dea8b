//! What the list actions share: pages, `{Key, Values}` filters, ids.

use std::str::FromStr;

use api::error::ApiError;
use api::params::Params;
use catalog::PageRequest;
use model::job_query::{MAX_FILTERS, MAX_VALUES};
use model::{QueryError, RawFilter, VaultId};

/// An error of the model about one parameter.
pub(crate) fn of_query(error: QueryError) -> ApiError {
    if error.is_missing() && !error.parameter.contains('.') {
        return ApiError::missing(&error.parameter);
    }
    ApiError::invalid(&error.parameter, error.reason)
}

/// `PageNumber` and `PageSize`.
pub(crate) fn page(params: &Params) -> Result<PageRequest, ApiError> {
    let (page_number, page_size) =
        model::job_query::parse_page(params.int("PageNumber")?, params.int("PageSize")?)
            .map_err(of_query)?;
    Ok(PageRequest {
        page_number,
        page_size,
    })
}

/// `MaxResults` of the lists that go on from a token: 10 by default, at most 100.
pub(crate) fn max_results(params: &Params) -> Result<u32, ApiError> {
    let asked = params.int_in("MaxResults", 1..=i64::from(i32::MAX))?;
    Ok(u32::try_from(asked.unwrap_or(10).min(100)).unwrap_or(10))
}

/// `Filters` as they came in.
pub(crate) fn raw_filters(params: &Params) -> Result<Vec<RawFilter>, ApiError> {
    params
        .objects("Filters")?
        .iter()
        .map(|filter| {
            Ok(RawFilter {
                number: filter.index(),
                key: filter.text("Key").map(str::to_owned),
                operator: filter.text("Operator").map(str::to_owned),
                values: filter.list("Values")?,
            })
        })
        .collect()
}

/// Filters that have a key and values and no operator but equality, each checked by `take`, which says whether it knows the key
/// (given in lower case).
pub(crate) fn simple_filters(
    params: &Params,
    valid: &str,
    mut take: impl FnMut(&str, Vec<String>) -> bool,
) -> Result<(), ApiError> {
    let filters = raw_filters(params)?;
    if filters.len() > MAX_FILTERS {
        return Err(ApiError::invalid(
            "Filters",
            format!("there may be at most {MAX_FILTERS} filters"),
        ));
    }
    let mut value_count = 0;
    for filter in filters {
        let name = |part: &str| format!("Filters.{}.{part}", filter.number);
        if let Some(operator) = filter.operator
            && !matches!(operator.as_str(), "EQUAL" | "IN")
        {
            let why = "here a filter can only ask for equality: EQUAL, IN";
            return Err(ApiError::invalid(&name("Operator"), why));
        }
        let Some(key) = filter.key else {
            return Err(ApiError::invalid(
                &name("Key"),
                "this parameter is mandatory",
            ));
        };
        if filter.values.is_empty() {
            return Err(ApiError::invalid(
                &name("Values"),
                "this parameter is mandatory",
            ));
        }
        let values: Vec<String> = match filter.values.as_slice() {
            [only] if only.trim_start().starts_with('[') => {
                serde_json::from_str(only).map_err(|_| {
                    ApiError::invalid(&name("Values"), "it is not a JSON array of texts")
                })?
            }
            _ => filter.values,
        };
        value_count += values.len();
        if value_count > MAX_VALUES {
            return Err(ApiError::invalid(
                &name("Values"),
                format!("all filters together may have at most {MAX_VALUES} values"),
            ));
        }
        if !take(&key.to_ascii_lowercase(), values) {
            let shown: String = key.chars().take(64).collect();
            return Err(ApiError::invalid(
                &name("Key"),
                format!("{shown:?} is not a filter key; valid keys are {valid}"),
            ));
        }
    }
    Ok(())
}

/// ANDs a condition with those before it on the same field: what both name.
pub(crate) fn narrow(slot: &mut Option<Vec<String>>, values: Vec<String>) {
    *slot = Some(match slot.take() {
        None => values,
        Some(before) => before
            .into_iter()
            .filter(|value| values.contains(value))
            .collect(),
    });
}

/// The tags of a resource as the API shows them.
pub(crate) fn tags_of(
    call: &super::Call<'_>,
    resource_type: &str,
    id: &str,
) -> Result<Vec<api::shapes::Tag>, ApiError> {
    let tags = catalog::tags::of(&call.service.catalog, &call.account, resource_type, id)
        .map_err(crate::failure::of_catalog)?;
    Ok(tags
        .into_iter()
        .map(|tag| api::shapes::Tag {
            key: Some(tag.key),
            value: Some(tag.value),
        })
        .collect())
}

/// A page of the kept records of a kind that `wanted` takes. Records of one kind are few: all are looked at.
pub(crate) fn kept_page<T: serde::de::DeserializeOwned>(
    call: &super::Call<'_>,
    kind: catalog::kept_records::Kind,
    id: Option<&str>,
    page: PageRequest,
    wanted: impl Fn(&catalog::kept_records::Record<T>) -> bool,
) -> Result<catalog::Page<catalog::kept_records::Record<T>>, ApiError> {
    let all = PageRequest::first(u32::MAX);
    let found = catalog::kept_records::list(&call.service.catalog, &call.account, kind, id, all)
        .map_err(crate::failure::of_catalog)?;
    let matching: Vec<_> = found.rows.into_iter().filter(wanted).collect();
    let total = matching.len() as u64;
    let skipped = (page.page_number as usize - 1).saturating_mul(page.page_size as usize);
    let rows = matching
        .into_iter()
        .skip(skipped)
        .take(page.page_size as usize)
        .collect();
    Ok(catalog::Page { rows, total })
}

/// An id that names one record which must exist. A text that is no id of that kind names nothing.
pub(crate) fn id<T: FromStr>(
    params: &Params,
    name: &str,
    missing: api::error::Code,
) -> Result<T, ApiError> {
    let text = params.required(name)?;
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        ApiError::new(missing, format!("{} ({shown})", missing.message()))
    })
}

/// The vault that `VaultId` names, which must be the account's; `None` without it.
pub(crate) fn vault_if_named(call: &super::Call<'_>) -> Result<Option<VaultId>, ApiError> {
    if call.params.text("VaultId").is_none() {
        return Ok(None);
    }
    let vault_id: VaultId = id(&call.params, "VaultId", api::error::Code::VaultNotExist)?;
    catalog::vaults::get(&call.service.catalog, &call.account, &vault_id)
        .map_err(crate::failure::of_catalog)?;
    Ok(Some(vault_id))
}

/// Counts as the API's numbers.
pub(crate) fn total_i32(total: u64) -> Option<i32> {
    Some(i32::try_from(total).unwrap_or(i32::MAX))
}

/// Counts as the API's numbers.
pub(crate) fn total_i64(total: u64) -> Option<i64> {
    Some(i64::try_from(total).unwrap_or(i64::MAX))
}

/// Small numbers as the API's numbers.
pub(crate) fn number_i32(number: u32) -> Option<i32> {
    Some(i32::try_from(number).unwrap_or(i32::MAX))
}
