//! Structures inside parameters, compared with the contract: members have the names and types that it says.
//!
//! A parameter that the contract does not have is ignored, as the service does (clients send several); a member of a
//! structure that it does not have is refused, because it is a misspelt rule or filter, which ignored would keep or match
//! something else than was meant. Both encodings are looked at, flat (`Rule.1.Retention=7`) and JSON in one parameter, and
//! in both a scalar may be a text, a number or a boolean, as long as it reads as what it should be.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Action, Field};
use crate::error::ApiError;
use crate::params::{Params, is_index};

/// Structures that are the same whichever action takes or gives them, though the golden file lists some members in one place
/// only: what is read back is sent again.
const SHARED: [&str; 4] = ["Rules", "Rule", "AdvancedOptions", "Filters"];
/// Members that Terraform sends and that are newer than the golden file: structure and name, both texts.
const NEWER: [(&str, &str); 1] = [("UdmDetail", "DestinationKmsKeyId")];

/// Checks all structures of a request.
pub(super) fn check(fields: &[Field], params: &Params) -> Result<(), ApiError> {
    for (name, text) in params.iter() {
        let (head, rest) = match name.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (name, None),
        };
        let Some(field) = fields.iter().find(|field| field.name == head) else {
            continue;
        };
        let place = Place {
            name,
            end: head.len(),
        };
        match rest {
            Some(rest) if is_structure(&field.kind) => {
                check_flat(&place, rest, text, &field.kind, &field.fields)?;
            }
            None if is_structure(&field.kind) => {
                check_text(name, text, &field.kind, &field.fields)?;
            }
            None if field.kind.starts_with("map<") => check_map(name, text)?,
            _ => {}
        }
    }
    Ok(())
}

/// Gives the structures of requests the members that they have elsewhere.
pub(super) fn complete(actions: &mut BTreeMap<String, Action>) {
    for name in SHARED {
        let mut whole: Option<Field> = None;
        for action in actions.values_mut() {
            each(&mut action.request, name, &mut |field| match &mut whole {
                None => whole = Some(field.clone()),
                Some(whole) => add(&mut whole.fields, &field.fields),
            });
        }
        let Some(mut whole) = whole else { continue };
        for action in actions.values_mut() {
            each(&mut action.response, name, &mut |field| {
                // Replies have wrappers of the same name.
                if field.kind == whole.kind {
                    add(&mut whole.fields, &field.fields);
                }
            });
        }
        for action in actions.values_mut() {
            each(&mut action.request, name, &mut |field| {
                add(&mut field.fields, &whole.fields)
            });
        }
    }
    for (name, member) in NEWER {
        for action in actions.values_mut() {
            each(&mut action.request, name, &mut |field| {
                add(&mut field.fields, &[Field::text(member)])
            });
        }
    }
}

/// All structures of that name, at any depth.
fn each(fields: &mut [Field], name: &str, found: &mut impl FnMut(&mut Field)) {
    for field in fields {
        if field.name == name && !field.fields.is_empty() {
            found(field);
        }
        each(&mut field.fields, name, found);
    }
}

fn add(members: &mut Vec<Field>, more: &[Field]) {
    for field in more {
        match members.iter_mut().find(|member| member.name == field.name) {
            Some(member) => add(&mut member.fields, &field.fields),
            None => members.push(field.clone()),
        }
    }
}

/// The part of a parameter's name that has been read.
struct Place<'a> {
    name: &'a str,
    end: usize,
}

impl Place<'_> {
    fn path(&self) -> &str {
        &self.name[..self.end]
    }

    fn below(&self, part: &str) -> Self {
        Self {
            name: self.name,
            end: self.end + 1 + part.len(),
        }
    }
}

fn is_structure(kind: &str) -> bool {
    kind == "object" || item_of(kind).is_some()
}

fn item_of(kind: &str) -> Option<&str> {
    kind.strip_prefix("array<")?.strip_suffix('>')
}

fn check_flat(
    place: &Place<'_>,
    rest: &str,
    text: &str,
    kind: &str,
    fields: &[Field],
) -> Result<(), ApiError> {
    let (part, rest) = match rest.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (rest, None),
    };
    let inner = place.below(part);
    let is_item = item_of(kind).is_some();
    let (kind, fields) = match item_of(kind) {
        Some(item) if is_index(part) => (item, fields),
        Some(_) => {
            let shown: String = part.chars().take(32).collect();
            let why = format!("{shown:?} is not an index of a list");
            return Err(ApiError::invalid(place.path(), why));
        }
        None => {
            let field = member(place.path(), part, fields)?;
            (field.kind.as_str(), field.fields.as_slice())
        }
    };
    match rest {
        Some(rest) if is_structure(kind) => check_flat(&inner, rest, text, kind, fields),
        Some(_) if is_free(kind) => Ok(()),
        Some(_) => Err(ApiError::invalid(inner.path(), "it has no members")),
        None if kind == "object" && is_item && !text.is_empty() => Err(ApiError::invalid(
            inner.path(),
            "it must be an object, not a text",
        )),
        None if is_structure(kind) => check_text(inner.path(), text, kind, fields),
        None => check_scalar(inner.path(), text, kind),
    }
}

/// A structure in one text: JSON.
fn check_text(path: &str, text: &str, kind: &str, fields: &[Field]) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let value = serde_json::from_str(text)
        .map_err(|why| ApiError::invalid(path, format!("it must be JSON: {why}")))?;
    check_json(&mut path.to_owned(), &value, kind, fields)
}

/// What the contract knows no members of: an object, or a list of ids.
fn check_map(path: &str, text: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Ok(());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(_) | Value::Array(_) | Value::Null) => Ok(()),
        Ok(_) => Err(ApiError::invalid(path, "it must be a JSON object or array")),
        Err(why) => Err(ApiError::invalid(path, format!("it must be JSON: {why}"))),
    }
}

/// Types without members of their own that the contract knows.
fn is_free(kind: &str) -> bool {
    !is_structure(kind) && !matches!(kind, "string" | "boolean" | "int32" | "int64" | "integer")
}

fn member<'f>(path: &str, name: &str, fields: &'f [Field]) -> Result<&'f Field, ApiError> {
    if let Some(field) = fields.iter().find(|field| field.name == name) {
        return Ok(field);
    }
    let shown: String = name.chars().take(64).collect();
    let near = model::nearest(name, fields.iter().map(|field| field.name.as_str()));
    let why = match near {
        Some(nearest) => format!("there is no such member; did you mean {nearest}?"),
        None => {
            let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            format!("there is no such member; there are {}", known.join(", "))
        }
    };
    Err(ApiError::invalid(&format!("{path}.{shown}"), why))
}

/// `path` names the value, and is the same again afterwards.
fn check_json(
    path: &mut String,
    value: &Value,
    kind: &str,
    fields: &[Field],
) -> Result<(), ApiError> {
    let length = path.len();
    match (value, item_of(kind)) {
        (Value::Null, _) => {}
        (Value::Array(list), Some(item)) => {
            for (number, value) in (1_usize..).zip(list) {
                path.push_str(&format!(".{number}"));
                check_json(path, value, item, fields)?;
                path.truncate(length);
            }
        }
        // JSON in a text in JSON, as some SDKs make it.
        (Value::String(text), _)
            if is_structure(kind) && text.trim_start().starts_with(['[', '{']) =>
        {
            check_text(path, text, kind, fields)?;
        }
        (_, Some(_)) => return Err(ApiError::invalid(path, "it must be a JSON array")),
        (Value::Object(members), None) if kind == "object" => {
            for (name, value) in members {
                let field = member(path, name, fields)?;
                path.push_str(&format!(".{name}"));
                check_json(path, value, &field.kind, &field.fields)?;
                path.truncate(length);
            }
        }
        (_, None) if kind == "object" => {
            return Err(ApiError::invalid(path, "it must be a JSON object"));
        }
        (_, None) if is_free(kind) => {}
        (Value::String(text), None) => check_scalar(path, text, kind)?,
        (Value::Bool(_) | Value::Number(_), None) => check_scalar(path, &value.to_string(), kind)?,
        (Value::Array(_) | Value::Object(_), None) => {
            return Err(ApiError::invalid(
                path,
                "it must be a text, a number or a boolean",
            ));
        }
    }
    Ok(())
}

/// An empty text is an absent one.
fn check_scalar(path: &str, text: &str, kind: &str) -> Result<(), ApiError> {
    let text = text.trim();
    let is_boolean =
        |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    let (fits, why) = match kind {
        "int32" => (
            text.parse::<i32>().is_ok(),
            "it must be an integer of 32 bits",
        ),
        "int64" | "integer" => (text.parse::<i64>().is_ok(), "it must be a decimal integer"),
        "boolean" => (is_boolean(text), "it must be true or false"),
        _ => (true, ""),
    };
    match fits || text.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(path, why)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use crate::contract::contract;
    use crate::params::Params;

    /// The message of the refusal; empty if there is none.
    fn check(action: &str, pairs: &[(&str, &str)]) -> String {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let params = Params::new(pairs.collect());
        match super::check(&contract().action(action).unwrap().request, &params) {
            Ok(()) => String::new(),
            Err(error) => {
                assert_eq!(error.http_status, 400);
                assert!(error.code.starts_with("InvalidParameter."), "{error}");
                error.message
            }
        }
    }

    fn accepted(action: &str, name: &str, text: &str) {
        assert_eq!(check(action, &[(name, text)]), "", "{name}={text}");
    }

    fn refused(action: &str, name: &str, text: &str, place: &str) {
        let message = check(action, &[(name, text)]);
        let named = format!("parameter {place} is not valid");
        assert!(
            message.contains(&named),
            "{name}={text}: {message:?} does not name {place}"
        );
    }

    #[test]
    fn flat_members() {
        for (name, text) in [
            ("Rule.1.Retention", "7"),
            ("Rule.2.Retention", ""),
            ("Rule.1.Disabled", "True"),
            ("Rule.1.RuleName", "7"),
            ("Rule.1.RuleId", "rule-1"),
            ("Path.1", "/a"),
            ("PlanNames.1", "not in the contract"),
            ("OtsDetail.TableNames.1", "t"),
            ("OtsDetail.TableNames", "[\"t\"]"),
            ("Detail", "{\"anything\":[1]}"),
            ("Detail", ""),
        ] {
            accepted("CreateBackupPlan", name, text);
        }
        for (name, text, place) in [
            ("Rule.1.Retention", "seven", "Rule.1.Retention"),
            ("Rule.1.Retention", "7.5", "Rule.1.Retention"),
            ("Rule.1.Disabled", "yes", "Rule.1.Disabled"),
            ("Rule.1.Retentoin", "7", "Rule.1.Retentoin"),
            ("Rule.1.retention", "7", "Rule.1.retention"),
            ("Rule.1.Retention.1", "7", "Rule.1.Retention"),
            ("Rule.x.Retention", "7", "Rule"),
            ("Rule.1", "text", "Rule.1"),
            ("Path.1.x", "/a", "Path.1"),
            ("Detail", "text", "Detail"),
            ("Detail", "7", "Detail"),
            ("OtsDetail.Tables", "t", "OtsDetail.Tables"),
            ("OtsDetail.TableNames", "t", "OtsDetail.TableNames"),
            ("OtsDetail.TableNames", "[[1]]", "OtsDetail.TableNames.1"),
        ] {
            refused("CreateBackupPlan", name, text, place);
        }
    }

    #[test]
    fn members_in_json() {
        let rule = |members: &str| format!("[{{\"RuleType\":\"BACKUP\"}},{{{members}}}]");
        for members in [
            "",
            "\"Retention\":7",
            "\"Retention\":\"7\"",
            "\"Retention\":null,\"RetentionRules\":[]",
            "\"Retention\":\"\"",
            "\"Immutable\":\"TRUE\"",
            "\"RetentionRules\":\"[{\\\"Retention\\\":1}]\"",
            "\"RuleId\":\"rule-1\",\"ColdArchiveDays\":0",
            "\"DataSourceFilters\":[{\"Accounts\":[{\"CrossAccountUserId\":1}]}]",
        ] {
            accepted("CreatePolicyV2", "Rules", &rule(members));
        }
        for (members, place) in [
            ("\"Retention\":7.5", "Rules.2.Retention"),
            ("\"Retention\":true", "Rules.2.Retention"),
            ("\"Retention\":[7]", "Rules.2.Retention"),
            ("\"Retention\":99999999999999999999", "Rules.2.Retention"),
            ("\"Immutable\":1", "Rules.2.Immutable"),
            ("\"KeepLatestSnapshot\":1", "Rules.2.KeepLatestSnapshot"),
            ("\"RetentionRules\":{}", "Rules.2.RetentionRules"),
            ("\"RetentionRules\":[7]", "Rules.2.RetentionRules.1"),
            ("\"RetentionRules\":\"7\"", "Rules.2.RetentionRules"),
            (
                "\"RetentionRules\":\"[{\\\"X\\\":1}]\"",
                "Rules.2.RetentionRules.1.X",
            ),
            (
                "\"RetentionRules\":[{\"Retention\":1},{\"retention\":1}]",
                "Rules.2.RetentionRules.2.retention",
            ),
            (
                "\"DataSourceFilters\":[{\"Accounts\":[{\"User\":1}]}]",
                "Rules.2.DataSourceFilters.1.Accounts.1.User",
            ),
            ("\"Schedule\":{}", "Rules.2.Schedule"),
        ] {
            refused("CreatePolicyV2", "Rules", &rule(members), place);
        }
        for text in ["{}", "7", "x", "[", "\"text\""] {
            refused("CreatePolicyV2", "Rules", text, "Rules");
        }
        accepted("CreatePolicyV2", "Rules", "[]");
        accepted("CreatePolicyV2", "Rules", " ");
        accepted("CreatePolicyV2", "Rules", "null");
    }

    /// Where the golden file lists a member for one of two actions, the other takes it too.
    #[test]
    fn shared_structures() {
        let file = "{\"FileDetail\":{\"UseVSS\":false}}";
        accepted("UpdatePolicyBinding", "AdvancedOptions", file);
        let in_list =
            format!("[{{\"DataSourceId\":\"i-1\",\"Disabled\":true,\"AdvancedOptions\":{file}}}]");
        accepted("CreatePolicyBindings", "PolicyBindingList", &in_list);
        refused(
            "UpdatePolicyBinding",
            "AdvancedOptions",
            "{\"FileDetail\":{\"useVSS\":false}}",
            "AdvancedOptions.FileDetail.useVSS",
        );
        accepted("DescribeBackupPlans", "Filters.1.Operator", "IN");
        let newer = "{\"UdmDetail\":{\"DestinationKmsKeyId\":\"k\"}}";
        accepted("UpdatePolicyBinding", "AdvancedOptions", newer);
        // Terraform sends them as a text inside of the list.
        let text = serde_json::json!([{"AdvancedOptions": newer}]).to_string();
        accepted("CreatePolicyBindings", "PolicyBindingList", &text);
        refused(
            "DescribeBackupPlans",
            "Filters.1.Value",
            "x",
            "Filters.1.Value",
        );
    }

    #[test]
    fn deep_texts_are_refused() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        refused("CreatePolicyV2", "Rules", &deep, "Rules");
    }
}
