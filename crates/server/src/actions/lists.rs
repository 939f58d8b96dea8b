//! What the list actions share: pages, `{Key, Values}` filters, ids.

use std::str::FromStr;

use api::error::ApiError;
use api::params::Params;
use catalog::PageRequest;
use model::job_query::{MAX_FILTERS, MAX_VALUES};
use model::{QueryError, RawFilter};

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

/// Filters that have a key and values and no operator, each checked by `take`, which says whether it knows the key
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
