//! The fields of a plan of files that CreateBackupPlan and UpdateBackupPlan have in common, checked.

use api::error::{ApiError, Code};
use api::params::Params;
use catalog::{Client, PlanSpec};
use model::names::LONGEST_PATH_BYTES;
use model::{BackupOptions, Schedule, SourceType, SpeedLimit, patterns};

/// More source paths than a plan sensibly has.
const MAX_PATHS: usize = 1_000;
/// Retention in days, as policies have it.
const MAX_RETENTION_DAYS: i64 = 364_635;

/// What came in; `None` is what was not named. An empty text takes a field away.
#[derive(Debug, Default)]
pub(crate) struct FileFields {
    paths: Option<Vec<String>>,
    include: Option<String>,
    exclude: Option<String>,
    options: Option<String>,
    use_vss: bool,
    speed_limit: Option<String>,
    schedule: Option<String>,
    retention: Option<i64>,
    keep_latest_snapshots: Option<i64>,
}

/// Only files of a host can be protected yet; says so at creation time, never later.
pub(crate) fn check_source(params: &Params) -> Result<(), ApiError> {
    let word = params.required("SourceType")?;
    let kind: SourceType = word
        .parse()
        .map_err(|error: model::UnknownWord| ApiError::invalid("SourceType", error))?;
    if kind != SourceType::EcsFile {
        return Err(not_supported(format!(
            "The source type {kind} is not supported by this server yet; it protects ECS_FILE."
        )));
    }
    check_edition(params)?;
    if params.text("Edition") == Some("BASIC") {
        return Err(not_supported(
            "Plans of the edition BASIC are not supported by this server.".to_owned(),
        ));
    }
    match params.text("CrossAccountType") {
        None | Some("SELF_ACCOUNT") => {}
        Some("CROSS_ACCOUNT") => {
            return Err(not_supported(
                "Backup across accounts is not supported by this server yet.".to_owned(),
            ));
        }
        Some(_) => {
            return Err(ApiError::invalid(
                "CrossAccountType",
                "valid values are SELF_ACCOUNT, CROSS_ACCOUNT",
            ));
        }
    }
    match params.text("BackupType") {
        None | Some("COMPLETE") => {}
        Some(_) => {
            return Err(ApiError::invalid(
                "BackupType",
                "the valid value is COMPLETE",
            ));
        }
    }
    refuse_rules(params)
}

/// `BASIC` or `STANDARD`.
pub(crate) fn check_edition(params: &Params) -> Result<(), ApiError> {
    match params.text("Edition") {
        None | Some("BASIC" | "STANDARD") => Ok(()),
        Some(_) => Err(ApiError::invalid(
            "Edition",
            "valid values are BASIC, STANDARD",
        )),
    }
}

/// A plan of files has one schedule.
pub(crate) fn refuse_rules(params: &Params) -> Result<(), ApiError> {
    if params.objects("Rule")?.is_empty() {
        return Ok(());
    }
    Err(not_supported(
        "Rules of plans are not supported by this server yet; send Schedule and Retention."
            .to_owned(),
    ))
}

fn not_supported(message: String) -> ApiError {
    ApiError::new(Code::OperationNotSupported, message)
}

impl FileFields {
    /// Reads and checks.
    pub(crate) fn read(params: &Params) -> Result<Self, ApiError> {
        let given = |name: &str| params.given(name).map(str::to_owned);
        let fields = Self {
            paths: paths(params)?,
            include: given("Include"),
            exclude: given("Exclude"),
            options: given("Options"),
            use_vss: options(params)?.use_vss,
            speed_limit: given("SpeedLimit"),
            schedule: given("Schedule"),
            retention: params.int_in("Retention", 1..=MAX_RETENTION_DAYS)?,
            keep_latest_snapshots: params.int_in("KeepLatestSnapshots", 0..=1)?,
        };
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
        Ok(fields)
    }

    /// Checks what depends on the host.
    pub(crate) fn check_for(&self, client: &Client) -> Result<(), ApiError> {
        if self.use_vss && !client.os_type.eq_ignore_ascii_case("windows") {
            return Err(ApiError::invalid(
                "Options",
                format!(
                    "UseVSS is for Windows; the host {} of this plan runs {}",
                    client.hostname, client.os_type
                ),
            ));
        }
        Ok(())
    }

    /// Writes what was named.
    pub(crate) fn apply(self, spec: &mut PlanSpec) {
        if let Some(paths) = self.paths {
            spec.paths = paths;
        }
        for (new, field) in [
            (self.include, &mut spec.include),
            (self.exclude, &mut spec.exclude),
            (self.options, &mut spec.options),
            (self.speed_limit, &mut spec.speed_limit),
            (self.schedule, &mut spec.schedule),
        ] {
            match new {
                None => {}
                Some(text) if text.trim().is_empty() => *field = None,
                Some(text) => *field = Some(text),
            }
        }
        spec.retention = self.retention.or(spec.retention);
        spec.keep_latest_snapshots = self.keep_latest_snapshots.or(spec.keep_latest_snapshots);
    }
}

fn options(params: &Params) -> Result<BackupOptions, ApiError> {
    let text = params.given("Options").unwrap_or_default();
    BackupOptions::parse(text).map_err(|why| ApiError::invalid("Options", failure_text(&why)))
}

/// A reason with the reason behind it.
pub(crate) fn failure_text(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Absolute paths without `.` and `..`, each once; `None` if no list was given.
fn paths(params: &Params) -> Result<Option<Vec<String>>, ApiError> {
    let list = params.list("Path")?;
    if list.is_empty() {
        return Ok(None);
    }
    if list.len() > MAX_PATHS {
        return Err(ApiError::invalid(
            "Path",
            format!("a plan has at most {MAX_PATHS} paths"),
        ));
    }
    let mut paths: Vec<String> = Vec::with_capacity(list.len());
    for (number, path) in (1..).zip(list) {
        check_path(&path).map_err(|why| ApiError::invalid(&format!("Path.{number}"), why))?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(Some(paths))
}

/// Checks an absolute path of a Linux host.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("it must be an absolute path");
    }
    if path.len() > LONGEST_PATH_BYTES {
        return Err("it must not have more than 4096 bytes");
    }
    if path.contains('\0') {
        return Err("it must not hold a NUL character");
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("it must not hold `.` or `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_path;

    #[test]
    fn paths() {
        let check = |path: &str, expected: bool| {
            assert_eq!(check_path(path).is_ok(), expected, "{path:.40}");
        };
        check("/", true);
        check("/a/b c", true);
        check("/a/...", true);
        check("", false);
        check("a", false);
        check("/a\0", false);
        check("/a/../b", false);
        check("/./a", false);
        check(&"/a".repeat(2048), true);
        check(&"/a".repeat(2049), false);
    }
}
