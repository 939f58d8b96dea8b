//! Reading a policy document. Whatever is not understood is an error: a rule that is passed over would be worse.

use serde_json::{Map, Value};

use super::Request;
use super::condition::Condition;
use super::pattern;
use super::resource::{self, ResourceKind};
use crate::nearest::{distance, nearest};

/// Most characters of an action that a refusal repeats.
const MAX_SHOWN_CHARS: usize = 64;
/// Most edits by which an action of another service counts as a slip.
const MAX_SLIPS: usize = 2;
/// Most characters of a resource that a refusal repeats.
const MAX_SHOWN_RESOURCE_CHARS: usize = 128;
/// Longest text of a document, in bytes, as RAM's own limit for a custom policy.
const MAX_BYTES: usize = 6_144;

/// Why a text is no policy document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is too long.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// A part is missing or is not what it should be.
    #[error("{element}: {expected}")]
    Element {
        /// Which part.
        element: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A part that has no meaning here.
    #[error("{0} is not known")]
    Unknown(String),
    /// An action that there is not.
    #[error("{action:?} fits no action{}", proposal(.nearest.as_deref()))]
    Action {
        /// As it was written.
        action: String,
        /// One that there is and that is written nearly so.
        nearest: Option<String>,
    },
    /// A resource that no call can be about.
    #[error(
        "{resource:?} fits no resource (after acs:hbr:REGION:ACCOUNT: there may be {known}){}",
        proposal(.nearest.as_deref())
    )]
    Resource {
        /// As it was written.
        resource: String,
        /// What was most likely meant.
        nearest: Option<String>,
        /// What there is.
        known: String,
    },
    /// An operator or key that cannot be evaluated.
    #[error(
        "the condition {operator} of {key} is not known; known are IpAddress and NotIpAddress of acs:SourceIp, and the \
         Date operators of acs:CurrentTime"
    )]
    Condition {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// A value that does not fit its key.
    #[error("{value:?} is no value of {key}; write 10.0.0.0/8 or 2026-01-31T12:00:00Z")]
    ConditionValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// Who may take a role on, in a trust policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Everybody of the account, as far as they may call AssumeRole: `acs:ram::ID:root`.
    Account(String),
    /// One user: `acs:ram::ID:user/NAME`.
    User {
        /// The account.
        account_id: String,
        /// The user's name.
        name: String,
    },
    /// One role: `acs:ram::ID:role/NAME`.
    Role {
        /// The account.
        account_id: String,
        /// The role's name.
        name: String,
    },
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Allow or deny.
    pub effect: Effect,
    /// Patterns of actions, and whether they are those that are not meant (`NotAction`).
    actions: (Vec<String>, bool),
    /// Patterns of resources, and whether they are those that are not meant.
    resources: (Vec<String>, bool),
    conditions: Vec<Condition>,
    /// Of a trust policy: who.
    pub principals: Vec<Principal>,
}

impl Statement {
    pub(super) fn applies_to(&self, request: &Request<'_>) -> bool {
        let has_action = self
            .actions
            .0
            .iter()
            .any(|action| pattern::matches_any_case(action, request.action));
        let fits = |pattern: &String| {
            request
                .resources
                .iter()
                .any(|name| pattern::matches(pattern, name))
        };
        let has_resource = self.resources.0.iter().any(fits);
        has_action != self.actions.1
            && has_resource != self.resources.1
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(request))
    }
}

/// A policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its rules, at least one.
    pub statements: Vec<Statement>,
}

/// Whether the document belongs to an identity or says who may take a role on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Identity,
    Trust,
}

impl Document {
    /// Reads the document of a user or role.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        Self::read(text, Purpose::Identity)
    }

    /// Reads the trust policy of a role: statements with a `Principal`, an `Action` of `sts:AssumeRole`, no `Resource`.
    pub fn parse_trust(text: &str) -> Result<Self, DocumentError> {
        Self::read(text, Purpose::Trust)
    }

    /// Refuses actions that there are not: a denial of a misspelt one would deny nothing. `known` are all actions of some
    /// services, such as `hbr:DescribeVaults`; what other services have is theirs to know. `also` are some actions of a
    /// service that has others besides, as RAM in the cloud: only what nearly is one of them is refused.
    pub fn check_actions(&self, known: &[String], also: &[String]) -> Result<(), DocumentError> {
        let named = self
            .statements
            .iter()
            .flat_map(|statement| &statement.actions.0);
        for action in named {
            let meant = if !may_be(action, known) {
                known
            } else if is_nearly(action, also) {
                also
            } else {
                continue;
            };
            let near = nearest(action, meant.iter().map(String::as_str));
            return Err(DocumentError::Action {
                action: action.chars().take(MAX_SHOWN_CHARS).collect(),
                nearest: near.map(str::to_owned),
            });
        }
        Ok(())
    }

    /// Refuses resources of this service that no call can be about, whatever its ids, and names that are none: a denial of
    /// them would deny nothing. What other services have is theirs to know.
    pub fn check_resources(&self, kinds: &[ResourceKind]) -> Result<(), DocumentError> {
        let named = self
            .statements
            .iter()
            .flat_map(|statement| &statement.resources.0);
        for pattern in named {
            resource::check(pattern, kinds).map_err(|nearest| DocumentError::Resource {
                resource: pattern.chars().take(MAX_SHOWN_RESOURCE_CHARS).collect(),
                nearest: nearest.filter(|name| name.chars().count() <= MAX_SHOWN_RESOURCE_CHARS),
                known: resource::listed(kinds),
            })?;
        }
        Ok(())
    }

    /// Which statement denies a request, counted from 1; `None` if none does.
    #[must_use]
    pub fn denial(&self, request: &Request<'_>) -> Option<usize> {
        let denies = |statement: &Statement| {
            statement.effect == Effect::Deny && statement.applies_to(request)
        };
        let place = self.statements.iter().position(denies)?;
        Some(place + 1)
    }

    fn read(text: &str, purpose: Purpose) -> Result<Self, DocumentError> {
        if text.len() > MAX_BYTES {
            return Err(DocumentError::TooLong);
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| DocumentError::Json(error.to_string()))?;
        let document = object(&value, "the document")?;
        known(document, &["Version", "Statement"])?;
        if document.get("Version").and_then(Value::as_str) != Some("1") {
            return Err(wrong("Version", "it must be \"1\""));
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(wrong("Statement", "it must be a list of objects")),
        };
        if statements.is_empty() {
            return Err(wrong("Statement", "it must not be empty"));
        }
        let statements = statements
            .into_iter()
            .map(|value| statement(value, purpose))
            .collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }
}

/// Whether a pattern of actions fits a known one, or may fit one of a service that is not known.
fn may_be(action: &str, known: &[String]) -> bool {
    let has = |service: &str| {
        let mut services = known.iter().filter_map(|name| name.split_once(':'));
        services.any(|(own, _)| own.eq_ignore_ascii_case(service))
    };
    let is_of_others = match action.split_once(':') {
        Some((service, _)) => !has(service),
        // What has no service names nothing, unless a wildcard stands for one.
        None => action.contains(['*', '?']),
    };
    is_of_others
        || known
            .iter()
            .any(|name| pattern::matches_any_case(action, name))
}

/// Whether an action is none of these but most likely stands for one of them.
fn is_nearly(action: &str, names: &[String]) -> bool {
    !names
        .iter()
        .any(|name| pattern::matches_any_case(action, name))
        && names.iter().any(|name| distance(action, name) <= MAX_SLIPS)
}

fn proposal(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

fn wrong(element: &'static str, expected: &'static str) -> DocumentError {
    DocumentError::Element { element, expected }
}

fn object<'a>(
    value: &'a Value,
    element: &'static str,
) -> Result<&'a Map<String, Value>, DocumentError> {
    value
        .as_object()
        .ok_or_else(|| wrong(element, "it must be an object"))
}

fn known(object: &Map<String, Value>, names: &[&str]) -> Result<(), DocumentError> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(DocumentError::Unknown(key.clone())),
        None => Ok(()),
    }
}

/// A text or a list of texts, at least one.
fn texts(value: &Value, element: &'static str) -> Result<Vec<String>, DocumentError> {
    let expected = "it must be a text or a list of texts that is not empty";
    let found: Option<Vec<String>> = match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    };
    found
        .filter(|found| !found.is_empty() && found.iter().all(|text| !text.is_empty()))
        .ok_or_else(|| wrong(element, expected))
}

fn statement(value: &Value, purpose: Purpose) -> Result<Statement, DocumentError> {
    let fields = object(value, "Statement")?;
    let effect = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(wrong("Effect", "it must be Allow or Deny")),
    };
    let either = |yes: &'static str, no: &'static str| match (fields.get(yes), fields.get(no)) {
        (Some(value), None) => Ok((texts(value, yes)?, false)),
        (None, Some(value)) => Ok((texts(value, no)?, true)),
        _ => Err(wrong(yes, "one of it and its Not form must be there")),
    };
    let actions = either("Action", "NotAction")?;
    let (resources, principals) = match purpose {
        Purpose::Identity => {
            known(
                fields,
                &[
                    "Effect",
                    "Action",
                    "NotAction",
                    "Resource",
                    "NotResource",
                    "Condition",
                ],
            )?;
            (either("Resource", "NotResource")?, Vec::new())
        }
        Purpose::Trust => {
            known(fields, &["Effect", "Action", "Principal", "Condition"])?;
            if !actions.0.iter().all(|action| action == "sts:AssumeRole") {
                return Err(wrong("Action", "it must be sts:AssumeRole"));
            }
            ((vec!["*".to_owned()], false), principals(fields)?)
        }
    };
    Ok(Statement {
        effect,
        actions,
        resources,
        conditions: conditions(fields)?,
        principals,
    })
}

fn principals(fields: &Map<String, Value>) -> Result<Vec<Principal>, DocumentError> {
    let value = fields
        .get("Principal")
        .ok_or_else(|| wrong("Principal", "it must say who"))?;
    let principal = object(value, "Principal")?;
    known(principal, &["RAM"])?;
    let listed = principal
        .get("RAM")
        .ok_or_else(|| wrong("Principal", "it must have RAM"))?;
    texts(listed, "Principal")?
        .iter()
        .map(|text| {
            Principal::parse(text).ok_or_else(|| {
                wrong(
                    "Principal",
                    "write acs:ram::ACCOUNT:root, acs:ram::ACCOUNT:user/NAME or acs:ram::ACCOUNT:role/NAME",
                )
            })
        })
        .collect()
}

impl Principal {
    /// Reads the ARN of an identity. Patterns are none: a role's trust must name whom it trusts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("acs:ram::")?;
        let (account_id, who) = rest.split_once(':')?;
        if account_id.is_empty() || !account_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let account_id = account_id.to_owned();
        let name = |name: &str| {
            let is_name = !name.is_empty() && !name.contains(['*', '?', '/', ':']);
            is_name.then(|| name.to_owned())
        };
        match who.split_once('/') {
            None if who == "root" => Some(Self::Account(account_id)),
            Some(("user", text)) => Some(Self::User {
                account_id,
                name: name(text)?,
            }),
            Some(("role", text)) => Some(Self::Role {
                account_id,
                name: name(text)?,
            }),
            _ => None,
        }
    }
}

fn conditions(fields: &Map<String, Value>) -> Result<Vec<Condition>, DocumentError> {
    let Some(value) = fields.get("Condition") else {
        return Ok(Vec::new());
    };
    let mut conditions = Vec::new();
    for (operator, keys) in object(value, "Condition")? {
        for (key, values) in object(keys, "Condition")? {
            let values = texts(values, "Condition")?;
            conditions.push(Condition::parse(operator, key, &values)?);
        }
    }
    Ok(conditions)
}
