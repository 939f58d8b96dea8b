//! AddDataSource, UpdateDataSource, RemoveDataSource, DescribeDataSources: records that the service keeps.

use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::records::{DataSource, DataSourceReply, DataSourcesReply};
use catalog::kept_records::{self, Kind, Record};
use model::{Schedule, SpeedLimit, patterns};
use serde::{Deserialize, Serialize};

use super::{Answer, Call, lists};
use crate::failure;

const MAX_NAME_CHARS: usize = 128;
const MAX_PATHS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    name: String,
    kind: String,
    cluster_id: Option<String>,
    connection_info: Option<String>,
    include: Option<String>,
    exclude: Option<String>,
    index_level: Option<String>,
    options: Option<String>,
    paths: Vec<String>,
    schedule: Option<String>,
    speed_limit: Option<String>,
}

/// Keeps a new record.
pub(crate) fn add_data_source(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let kind = params.required("DataSourceType")?;
    if !kind
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    {
        return Err(ApiError::invalid(
            "DataSourceType",
            "it is a word such as COMMON_NAS",
        ));
    }
    let mut body = Body {
        name: params.required("DataSourceName")?.to_owned(),
        kind: kind.chars().take(64).collect(),
        index_level: Some("OFF".to_owned()),
        ..Body::default()
    };
    read(params, &mut body)?;
    let id = kept_records::new_id(&call.service.catalog, Kind::DataSource, call.now);
    kept_records::insert(
        &call.service.catalog,
        &call.account,
        Kind::DataSource,
        (&id, &id),
        &body,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.reply(DataSourceReply {
        data_source_id: Some(id),
    })
}

/// Takes over what is named, checked.
fn read(params: &Params, body: &mut Body) -> Result<(), ApiError> {
    if let Some(name) = params.text("DataSourceName") {
        if name.chars().count() > MAX_NAME_CHARS {
            let why = format!("it may have at most {MAX_NAME_CHARS} characters");
            return Err(ApiError::invalid("DataSourceName", why));
        }
        name.clone_into(&mut body.name);
    }
    if params.has("Credential") {
        return Err(ApiError::new(
            Code::OperationNotSupported,
            "Credentials of data sources are not kept by this server yet.",
        ));
    }
    for name in ["ConnectionInfo", "Options"] {
        if params.json(name)?.is_some_and(|value| !value.is_object()) {
            return Err(ApiError::invalid(name, "it must be a JSON object"));
        }
    }
    for name in ["Include", "Exclude"] {
        patterns::parse(params.given(name).unwrap_or_default())
            .map_err(|why| ApiError::invalid(name, why))?;
    }
    if let Some(text) = params.text("SpeedLimit") {
        SpeedLimit::parse(text).map_err(|why| ApiError::invalid("SpeedLimit", why))?;
    }
    if let Some(text) = params.text("Schedule") {
        Schedule::parse(text).map_err(|why| ApiError::invalid("Schedule", why))?;
    }
    match params.text("IndexLevel") {
        None | Some("OFF") => {}
        Some("META" | "ALL") => {
            return Err(ApiError::new(
                Code::OperationNotSupported,
                "Indexes of data sources are not supported by this server; send OFF.",
            ));
        }
        Some(_) => {
            return Err(ApiError::invalid(
                "IndexLevel",
                "valid values are OFF, META, ALL",
            ));
        }
    }
    let paths = params.list("Path")?;
    if paths.len() > MAX_PATHS {
        return Err(ApiError::invalid(
            "Path",
            format!("it may have at most {MAX_PATHS} paths"),
        ));
    }
    if !paths.is_empty() {
        body.paths = paths;
    }
    for (name, field) in [
        ("ClusterId", &mut body.cluster_id),
        ("ConnectionInfo", &mut body.connection_info),
        ("Include", &mut body.include),
        ("Exclude", &mut body.exclude),
        ("Options", &mut body.options),
        ("Schedule", &mut body.schedule),
        ("SpeedLimit", &mut body.speed_limit),
    ] {
        if let Some(text) = params.given(name) {
            *field = Some(text.to_owned()).filter(|text| !text.is_empty());
        }
    }
    Ok(())
}

/// Changes what is named.
pub(crate) fn update_data_source(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let id = params.required("DataSourceId")?;
    read(params, &mut Body::default())?;
    kept_records::update(
        &call.service.catalog,
        &call.account,
        Kind::DataSource,
        id,
        // What is wrong with it was found before.
        |body: &mut Body| drop(read(params, body)),
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Drops a record.
pub(crate) fn remove_data_source(call: &Call<'_>) -> Answer {
    let id = call.params.required("DataSourceId")?;
    kept_records::delete(&call.service.catalog, &call.account, Kind::DataSource, id)
        .map_err(failure::of_catalog)?;
    call.done()
}

/// Lists records, the oldest first.
pub(crate) fn describe_data_sources(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let page = lists::page(params)?;
    let kept = |record: &Record<Body>| {
        let equal =
            |name: &str, own: Option<&str>| params.text(name).is_none_or(|text| own == Some(text));
        equal("DataSourceName", Some(&record.body.name))
            && equal("DataSourceType", Some(&record.body.kind))
            && equal("ClusterId", record.body.cluster_id.as_deref())
    };
    let found = lists::kept_page(
        call,
        Kind::DataSource,
        params.text("DataSourceId"),
        page,
        kept,
    )?;
    call.reply(DataSourcesReply {
        page_number: lists::number_i32(page.page_number),
        page_size: lists::number_i32(page.page_size),
        total_count: lists::total_i64(found.total),
        data_sources: Some(found.rows.into_iter().map(shape).collect()),
    })
}

fn shape(record: Record<Body>) -> DataSource {
    let body = record.body;
    DataSource {
        data_source_id: Some(record.id),
        data_source_name: Some(body.name),
        data_source_type: Some(body.kind),
        cluster_id: body.cluster_id,
        connection_info: body.connection_info,
        include: body.include,
        exclude: body.exclude,
        index_level: body.index_level,
        index_available: Some(false),
        indexing: Some(false),
        options: body.options,
        paths: Some(body.paths),
        schedule: body.schedule,
        speed_limit: body.speed_limit,
        created_time: Some(record.created_time.0),
        updated_time: Some(record.updated_time.0),
        ..DataSource::default()
    }
}
