//! What the audit log gets: an entry before a call that may change something, and one with its result.
//!
//! A call whose first entry cannot be written is refused before it changes anything. The second entry may be lost with the
//! power; the first one says then that the call was under way. What is denied to a known caller gets the second one alone.
//! Secrets are in neither: only parameters and fields of replies whose names say that they are ids or names.

use api::error::ApiError;
use api::pairs::Pair;
use catalog::audit;
use model::AccountId;
use model::audit::{AuditEntry, Phase};
use serde_json::{Map, Value};

use crate::actions::Answer;
use crate::failure;
use crate::service::Service;
use crate::wire::Wire;

/// Longest text of one id or name; longer ones are cut.
const MAX_VALUE_CHARS: usize = 256;
/// Most ids and names of one entry.
const MAX_TARGETS: usize = 24;
/// Parameters that end like ids but say who signs, or where.
const NOT_TARGETS: [&str; 4] = ["AccessKeyId", "RegionId", "RequestId", "SecurityToken"];
/// Actions that only look begin so.
const LOOKS: [&str; 7] = [
    "Browse", "Describe", "Generate", "Get", "List", "Search", "Simulate",
];
/// And these.
const MORE_LOOKS: [&str; 2] = ["CheckRole", "ExportBackupJobs"];

/// Whether calls of an action are kept: all but those that only look. The key of a vault is given out by
/// `ExportVaultKey`, which is kept.
pub(crate) fn is_kept(action: &str) -> bool {
    !LOOKS.iter().any(|start| action.starts_with(start)) && !MORE_LOOKS.contains(&action)
}

/// Who does what.
#[derive(Debug)]
pub(crate) struct Subject {
    entry: AuditEntry,
}

impl Subject {
    /// `action` as policies name it, such as `hbr:DeleteVault`.
    pub(crate) fn new(
        service: &Service,
        wire: &Wire,
        (account, principal): (&AccountId, String),
        access_key_id: &str,
        action: String,
        target: Map<String, Value>,
    ) -> Self {
        Self {
            entry: AuditEntry {
                time: service.now().0,
                phase: Phase::Begin,
                request_id: wire.request_id.clone(),
                account_id: account.to_string(),
                principal,
                access_key_id: access_key_id.to_owned(),
                source_ip: wire.peer.to_canonical().to_string(),
                action,
                target,
                code: None,
            },
        }
    }

    /// Runs the call between its two entries.
    pub(crate) fn witness(self, service: &Service, call: impl FnOnce() -> Answer) -> Answer {
        audit::append(&service.catalog, &self.entry).map_err(failure::of_catalog)?;
        let answer = call();
        self.end(service, answer.as_deref());
        answer
    }

    /// The call was refused before it could change anything.
    pub(crate) fn refused(self, service: &Service, error: ApiError) -> ApiError {
        self.end(service, Err(&error));
        error
    }

    fn end(mut self, service: &Service, result: Result<&[u8], &ApiError>) {
        self.entry.phase = Phase::End;
        self.entry.time = service.now().0;
        match result {
            Ok(reply) => {
                self.entry.code = Some("200".to_owned());
                self.entry.target.extend(made(reply));
            }
            Err(error) => self.entry.code = Some(error.code.to_string()),
        }
        if let Err(error) = audit::append(&service.catalog, &self.entry) {
            tracing::error!(%error, request_id = self.entry.request_id, "the result of a call is not in the audit log");
        }
    }
}

/// Ids and names among the parameters.
pub(crate) fn named(pairs: &[Pair]) -> Map<String, Value> {
    pairs
        .iter()
        .filter(|(name, _)| is_target(name))
        .take(MAX_TARGETS)
        .map(|(name, value)| (cut(name), Value::String(cut(value))))
        .collect()
}

/// The ids that a reply tells.
fn made(reply: &[u8]) -> Map<String, Value> {
    let fields: Map<String, Value> = serde_json::from_slice(reply).unwrap_or_default();
    fields
        .into_iter()
        .filter(|(name, value)| name == "AccessKeyId" || (is_target(name) && value.is_string()))
        .filter_map(|(name, value)| Some((name, Value::String(cut(value.as_str()?)))))
        .take(MAX_TARGETS)
        .collect()
}

/// `VaultId`, `ClientIds`, `ResourceId.2`, `PlanName`, `RoleArn`.
fn is_target(name: &str) -> bool {
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    !NOT_TARGETS.contains(&stem)
        && ["Id", "Ids", "Name", "Arn"]
            .iter()
            .any(|end| stem.ends_with(end))
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_VALUE_CHARS).collect()
}
