//! The golden file of the API as data: which actions HBR has, what they take and what they answer.
//!
//! Used at the border (is this an action? are mandatory parameters there, do numbers and booleans parse?) and by tests
//! that compare what is served with it. The file is a copy of facts read off the official clients; it is never edited. What
//! the server takes beyond it is in `extensions`.

mod extensions;
mod structures;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::params::Params;

const GOLDEN: &str = include_str!("../contract/hbr-2017-09-08.json");

/// All actions of the API.
#[derive(Debug)]
pub struct Contract {
    actions: BTreeMap<String, Action>,
}

/// One action.
#[derive(Debug, Deserialize)]
pub struct Action {
    /// Parameters.
    #[serde(default)]
    pub request: Vec<Field>,
    /// Fields of the reply; empty for actions that no SDK describes.
    #[serde(default)]
    pub response: Vec<Field>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    method: Option<String>,
}

/// A parameter or a field of a reply.
#[derive(Debug, Clone, Deserialize)]
pub struct Field {
    /// Name on the wire.
    pub name: String,
    /// `string`, `int32`, `int64`, `integer`, `boolean`, `object`, `array<…>`, `map<string,any>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Must be sent, by the SDK.
    #[serde(default)]
    pub required: bool,
    /// Must be sent, by the CLI's metadata.
    #[serde(default)]
    pub required_meta: bool,
    /// Members of objects and of lists of objects.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// The contract, read once.
#[must_use]
pub fn contract() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        Contract::parse(GOLDEN).expect("the golden file is part of the program and a test reads it")
    })
}

/// Parameters that callers may send with any action: they say how it is called, not what is asked for.
const OF_ANY_CALL: [&str; 4] = ["Format", "RegionId", "SecureTransport", "SourceIp"];

/// Whether an action takes a parameter of this name, members of structures and lists not counted. Any other one is ignored.
#[must_use]
pub fn takes(action: &str, parameter: &str) -> bool {
    parameters(action).any(|name| name == parameter)
}

fn parameters(action: &str) -> impl Iterator<Item = &'static str> {
    let golden = contract().action(action).map(|action| &action.request);
    let golden = golden.into_iter().flatten();
    golden
        .map(|field| field.name.as_str())
        .chain(extensions::of(action).iter().copied())
}

/// A parameter that the action does not take, and the one that was most likely meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// As it was written, without members.
    pub name: &'a str,
    /// A parameter of the action that is written nearly so.
    pub nearest: Option<&'static str>,
}

/// The first of these parameters that the action does not take. The service ignores such a one, as HBR does: whoever writes
/// calls by hand is better told. `None` for actions that are not known: the service refuses them.
#[must_use]
pub fn first_unknown<'a>(
    action: &str,
    named: impl IntoIterator<Item = &'a str>,
) -> Option<Unknown<'a>> {
    if contract().action(action).is_none() && !extensions::has(action) {
        return None;
    }
    let name = named
        .into_iter()
        .map(|full| full.split_once('.').map_or(full, |(head, _)| head))
        .find(|name| !OF_ANY_CALL.contains(name) && !takes(action, name))?;
    Some(Unknown {
        name,
        nearest: model::nearest(name, parameters(action)),
    })
}

#[derive(Deserialize)]
struct Golden {
    actions: BTreeMap<String, Action>,
    extra_actions: BTreeMap<String, Value>,
}

impl Contract {
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let golden: Golden = serde_json::from_str(text)?;
        let mut actions = golden.actions;
        for (name, value) in golden.extra_actions {
            if value.is_object() {
                actions.insert(name, serde_json::from_value(value)?);
            }
        }
        structures::complete(&mut actions);
        Ok(Self { actions })
    }

    /// The action of that name, if HBR has it.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.get(name)
    }

    /// Names of all actions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }
}

impl Field {
    /// A text of that name.
    fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: "string".to_owned(),
            required: false,
            required_meta: false,
            fields: Vec::new(),
        }
    }
}

impl Action {
    /// True if the action is only served for POST.
    #[must_use]
    pub fn is_post_only(&self) -> bool {
        self.meta.method.as_deref() == Some("POST")
    }

    /// Checks what the contract says about the parameters: mandatory ones are there, scalars have their type, structures
    /// the members that they may have, of their types.
    ///
    /// # Errors
    /// `Missing<Name>` or `InvalidParameter.<Name>`.
    pub fn check_request(&self, params: &Params) -> Result<(), ApiError> {
        for field in &self.request {
            if (field.required || field.required_meta) && !params.has(&field.name) {
                return Err(ApiError::missing(&field.name));
            }
            match field.kind.as_str() {
                "boolean" => {
                    params.boolean(&field.name)?;
                }
                "int32" => {
                    params.int_in(&field.name, i64::from(i32::MIN)..=i64::from(i32::MAX))?;
                }
                "int64" | "integer" => {
                    params.int(&field.name)?;
                }
                _ => {}
            }
        }
        structures::check(&self.request, params)
    }

    /// Where a reply differs from the contract: fields it does not have, values of another type. Empty if it conforms.
    #[must_use]
    pub fn mismatches(&self, reply: &Value) -> Vec<String> {
        let mut found = Vec::new();
        compare_object("", &self.response, reply, &mut found);
        found
    }
}

fn compare_object(path: &str, fields: &[Field], value: &Value, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        found.push(format!("{path} is not an object"));
        return;
    };
    for (name, member) in object {
        let full = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match fields.iter().find(|field| field.name == *name) {
            None => found.push(format!("{full} is not in the contract")),
            Some(field) => compare(&full, &field.kind, &field.fields, member, found),
        }
    }
}

fn compare(path: &str, kind: &str, fields: &[Field], value: &Value, found: &mut Vec<String>) {
    if let Some(inner) = kind
        .strip_prefix("array<")
        .and_then(|rest| rest.strip_suffix('>'))
    {
        match value.as_array() {
            Some(list) => list
                .iter()
                .for_each(|member| compare(path, inner, fields, member, found)),
            None => found.push(format!("{path} is not a list")),
        }
        return;
    }
    let fits = match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "int32" => value
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        "int64" | "integer" => value.as_i64().is_some(),
        "object" => {
            compare_object(path, fields, value, found);
            true
        }
        _ => true,
    };
    if !fits {
        found.push(format!("{path} is not of type {kind}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::{contract, first_unknown, takes};
    use crate::params::Params;

    #[test]
    fn the_golden_file_has_all_actions() {
        let contract = contract();
        assert_eq!(contract.names().count(), 99);
        for name in [
            "DescribeBackupJobs2",
            "TagResources",
            "UntagResources",
            "OpenHbrService",
        ] {
            assert!(contract.action(name).is_some(), "{name}");
        }
        assert!(contract.action("_note").is_none());
        assert!(contract.action("CreateBackupPlan").unwrap().is_post_only());
        assert!(
            !contract
                .action("DescribeBackupJobs2")
                .unwrap()
                .is_post_only()
        );
    }

    #[test]
    fn parameters_that_an_action_does_not_take() {
        let check = |action: &str, names: &[&str]| {
            first_unknown(action, names.iter().copied())
                .map(|unknown| (unknown.name.to_owned(), unknown.nearest))
        };
        for (action, names) in [
            (
                "CreateBackupPlan",
                &["PlanName", "Path.1", "Rule.1.Retention"][..],
            ),
            ("CreateBackupPlan", &["RegionId", "Format"]),
            ("CreateVault", &["VaultName", "StorageUrl"]),
            ("CreateRestoreJob", &["ClientToken"]),
            ("TagResources", &["ResourceId.1", "Tag.1.Key"]),
            ("DescribeRegions", &[]),
            ("CheckVault", &["VaultId", "ReadData"]),
            ("NoSuchAction", &["Anything"]),
        ] {
            assert_eq!(check(action, names), None, "{action}");
        }
        for (action, names, unknown, nearest) in [
            (
                "CreateBackupPlan",
                &["PlanName", "Paths"][..],
                "Paths",
                Some("Path"),
            ),
            ("CreateBackupPlan", &["Paths.1"], "Paths", Some("Path")),
            ("CreateBackupPlan", &["path"], "path", Some("Path")),
            (
                "CreateBackupPlan",
                &["Retentoin"],
                "Retentoin",
                Some("Retention"),
            ),
            ("CreateBackupPlan", &["Colour"], "Colour", None),
            (
                "CreateVault",
                &["VaultNmae"],
                "VaultNmae",
                Some("VaultName"),
            ),
            (
                "CheckVault",
                &["VaultId", "ReadDate"],
                "ReadDate",
                Some("ReadData"),
            ),
            ("DescribeRegions", &["VaultId"], "VaultId", None),
        ] {
            assert_eq!(
                check(action, names),
                Some((unknown.to_owned(), nearest)),
                "{action}"
            );
        }
        assert!(takes("DescribeVaults", "VaultId") && !takes("DescribeBackupJobs2", "VaultId"));
    }

    #[test]
    fn requests_are_checked() {
        let check = |action: &str, pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            contract()
                .action(action)
                .unwrap()
                .check_request(&Params::new(pairs))
                .map_err(|error| error.code.into_owned())
        };
        assert_eq!(
            check("CreateVault", &[("VaultName", "a")]).unwrap_err(),
            "MissingVaultRegionId"
        );
        assert_eq!(
            check("CreateVault", &[("VaultName", "a"), ("VaultRegionId", "b")]),
            Ok(())
        );
        assert_eq!(
            check("DescribeVaults", &[("PageNumber", "x")]).unwrap_err(),
            "InvalidParameter.PageNumber"
        );
        assert_eq!(
            check("DescribeVaults", &[("PageNumber", "3000000000")]).unwrap_err(),
            "InvalidParameter.PageNumber"
        );
        assert_eq!(
            check("DescribeVaults", &[("Replication", "yes")]).unwrap_err(),
            "InvalidParameter.Replication"
        );
        assert_eq!(
            check("SearchHistoricalSnapshots", &[]).unwrap_err(),
            "MissingQuery"
        );
    }

    #[test]
    fn replies_are_compared() {
        let action = contract().action("DescribeBackupJobs2").unwrap();
        let good = json!({"RequestId": "A", "Success": true, "Code": "200", "TotalCount": 1,
            "BackupJobs": {"BackupJob": [{"Progress": 1, "Paths": {"Path": ["/a"]}}]}});
        assert_eq!(action.mismatches(&good), Vec::<String>::new());
        let bad = json!({"Code": 200, "Foo": 1, "BackupJobs": {"BackupJob": [{"Progress": "1", "Paths": ["/a"]}]}});
        assert_eq!(
            action.mismatches(&bad).len(),
            4,
            "{:?}",
            action.mismatches(&bad)
        );
    }
}
