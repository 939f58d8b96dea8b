//! What the service refused, for a person: the class of the refusal as an exit status, and what to do about it.
//!
//! The classes are those that `strongroom --help` lists. Never talks to a service: what it said comes as a value.

use api::client::{ClientError, Denied};

use crate::exit::{Exit, Failure, chain};

/// What a code means for who called.
struct Advice {
    /// The code begins with one of these.
    begins: &'static [&'static str],
    exit: Exit,
    next: &'static str,
}

/// The first that fits counts, so what is special stands before what is general.
const BY_CODE: &[Advice] = &[
    Advice {
        begins: &["InvalidSecurityToken.Expired"],
        exit: Exit::Refused,
        next: "the temporary access key has ended: take the role on again, as strongroom role assume does",
    },
    Advice {
        begins: &["InvalidSecurityToken.MismatchWithAccessKey"],
        exit: Exit::Refused,
        next: "unset ALIBABA_CLOUD_SECURITY_TOKEN: a lasting access key has no token",
    },
    Advice {
        begins: &["InvalidSecurityToken"],
        exit: Exit::Refused,
        next: "set ALIBABA_CLOUD_SECURITY_TOKEN to the whole token that came with the access key: strongroom role assume",
    },
    Advice {
        begins: &["MissingSecurityToken"],
        exit: Exit::Refused,
        next: "set ALIBABA_CLOUD_SECURITY_TOKEN to the token that came with the temporary access key",
    },
    Advice {
        begins: &["InvalidAccessKeyId.Inactive"],
        exit: Exit::Refused,
        next: "the key, its user or its account is disabled: strongroom key enable, user enable, account enable",
    },
    Advice {
        begins: &[
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidSignature",
            "IncompleteSignature",
            "SignatureNonceUsed",
            "MissingAccessKeyId",
            "MissingSignature",
        ],
        exit: Exit::Refused,
        next: "check the access key: ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET if they are set, else credentials.json in the data \
               directory",
    },
    Advice {
        begins: &["InvalidTimeStamp", "MissingTimestamp"],
        exit: Exit::Refused,
        next: "set the clocks of both hosts: they may differ by 15 minutes at most",
    },
    Advice {
        begins: &["NoPermission", "Forbidden"],
        exit: Exit::Refused,
        next: "use a key that may do this; the message says why this one may not",
    },
    Advice {
        begins: &["Throttling"],
        exit: Exit::Throttled,
        next: "try again in a moment",
    },
    Advice {
        begins: &["InvalidAction"],
        exit: Exit::NotFound,
        next: "write the action as the Cloud Backup API does, as DescribeVaults or DescribeBackupJobs2",
    },
    Advice {
        begins: &["InvalidPath", "InvalidVersion"],
        exit: Exit::Failed,
        next: "check the endpoint: it must be the address of a Strongroom service",
    },
    Advice {
        begins: &["OperationDenied.NotSupported"],
        exit: Exit::Failed,
        next: "docs/api-coverage.md says what is served",
    },
    Advice {
        begins: &["InvalidResourceId"],
        exit: Exit::NotFound,
        next: LOOK_FOR_IT,
    },
    Advice {
        begins: &["VaultNotExist"],
        exit: Exit::NotFound,
        next: "look for it: strongroom vault list",
    },
    Advice {
        begins: &["PlanNotExist"],
        exit: Exit::NotFound,
        next: "look for it: strongroom plan list",
    },
    Advice {
        begins: &["PolicyNotExist", "RuleNotExist"],
        exit: Exit::NotFound,
        next: "look for it: strongroom policy list",
    },
    Advice {
        begins: &["PolicyBindingNotExist"],
        exit: Exit::NotFound,
        next: "look what is bound: strongroom policy bindings",
    },
    Advice {
        begins: &["JobNotExist"],
        exit: Exit::NotFound,
        next: "look for it: strongroom jobs",
    },
    Advice {
        begins: &["SnapshotNotExist"],
        exit: Exit::NotFound,
        next: "look for it: strongroom snapshots",
    },
    Advice {
        begins: &["TaskNotExist"],
        exit: Exit::NotFound,
        next: "look for it: strongroom vault tasks",
    },
    Advice {
        begins: &["ClientNotExist", "InstanceNotExist"],
        exit: Exit::NotFound,
        next: "look for the host: strongroom api DescribeBackupClients ClientType=ECS_CLIENT",
    },
    Advice {
        begins: &["InvalidParameter", "Missing"],
        exit: Exit::Usage,
        next: "correct the value that the message names; --help shows what is valid",
    },
    Advice {
        begins: &["IdempotentParameterMismatch"],
        exit: Exit::Conflict,
        next: "use another ClientToken for another request",
    },
    Advice {
        begins: &["ClientNotInstalled"],
        exit: Exit::Conflict,
        next: "start the agent on that host again, as strongroom agent --help says",
    },
    Advice {
        begins: &["PlanNameAlreadyExists"],
        exit: Exit::Conflict,
        next: "use another name, or the plan that has this one already: strongroom plan list",
    },
    Advice {
        begins: &["QuotaExceeded", "VaultQuotaExceeded"],
        exit: Exit::Conflict,
        next: "delete one that is not needed any more first",
    },
];

const LOOK_FOR_IT: &str =
    "look for the right id: strongroom jobs, vault list, plan list, policy list, snapshots";

/// Words in codes that say that the state of a thing does not allow it.
const OF_STATE: &[&str] = &[
    "Conflict",
    "Duplicate",
    "Already",
    "Running",
    "IncorrectStatus",
    "Cannot",
    "NotReady",
    "InUse",
    "Held",
    "Active",
    "OPEND",
];

/// What a call named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) action: &'a str,
    pub(crate) parameters: &'a [(String, String)],
}

/// What the service said to something else than a call of an action, for a person.
pub(crate) fn api_failure(action: &str, error: &ClientError) -> Failure {
    let call = Call {
        action,
        parameters: &[],
    };
    call_failure(call, error)
}

/// What the service said to a call, for a person.
pub(crate) fn call_failure(call: Call<'_>, error: &ClientError) -> Failure {
    let action = call.action;
    match error {
        ClientError::Api {
            code,
            message,
            http_status,
            request_id,
            denied,
            ..
        } => {
            let what = format!("{action} was refused: {code}: {message} (RequestId {request_id})");
            let (exit, next) =
                of_an_identity(call, code, message).unwrap_or_else(|| advice(code, *http_status));
            match denied {
                Some(denied) => Failure::with(exit, what, missing_policy(denied)),
                None => Failure::with(exit, what, next),
            }
        }
        ClientError::Transport { endpoint, .. } => {
            let cause = last_cause(error);
            let next = if cause.contains("certificate") {
                "name the CA of the service with --cacert or STRONGROOM_CACERT, and the service by a name that is in its \
                 certificate"
            } else {
                "start it with `strongroom serve`, or check --data-dir or STRONGROOM_ENDPOINT"
            };
            Failure::new(
                format!("cannot reach the service at {endpoint}: {cause}"),
                next,
            )
        }
        _ => Failure::new(
            chain(error),
            "check the endpoint: it must be the address of a Strongroom service",
        ),
    }
}

/// What a call names of who may do what, and the command that lists it.
const IDENTITIES: [(&str, &str); 3] = [
    ("UserName", "look for the user: strongroom user list"),
    ("RoleName", "look for the role: strongroom role list"),
    ("AccountId", "look for the account: strongroom account list"),
];

/// The advice for a user, role, account or key that there is not. The key that the call was signed with has the same code.
fn of_an_identity(call: Call<'_>, code: &str, message: &str) -> Option<(Exit, &'static str)> {
    let named = |wanted: &str| call.parameters.iter().find(|(name, _)| name == wanted);
    match code {
        "EntityNotExist" => IDENTITIES
            .iter()
            .find(|(name, _)| named(name).is_some())
            .map(|(_, next)| (Exit::NotFound, *next)),
        "InvalidAccessKeyId.NotFound" => named("UserAccessKeyId")
            .filter(|(_, key)| message.contains(key.as_str()))
            .map(|_| (Exit::NotFound, "look for the key: strongroom key list")),
        _ => None,
    }
}

fn advice(code: &str, http_status: u16) -> (Exit, &'static str) {
    let begins = |advice: &&Advice| advice.begins.iter().any(|start| code.starts_with(start));
    if let Some(advice) = BY_CODE.iter().find(begins) {
        return (advice.exit, advice.next);
    }
    if http_status == 429 {
        return (Exit::Throttled, "try again in a moment");
    }
    if code.ends_with("NotExist") || http_status == 404 {
        return (Exit::NotFound, LOOK_FOR_IT);
    }
    if http_status == 409 || OF_STATE.iter().any(|word| code.contains(word)) {
        return (
            Exit::Conflict,
            "look at its state first: strongroom jobs, vault list, plan list",
        );
    }
    if http_status >= 500 {
        return (
            Exit::Failed,
            "look at the log of the service under this RequestId",
        );
    }
    (Exit::Failed, "correct what the message names")
}

/// Whether the service says that the caller's policies do not allow the call.
pub(crate) fn is_denied(error: &ClientError) -> bool {
    error.code() == Some("NoPermission")
}

/// Which policy would have to say something else.
fn missing_policy(denied: &Denied) -> String {
    let Denied {
        auth_action: action,
        auth_principal_display_name: name,
        ..
    } = denied;
    let (whose, how) = if denied.auth_principal_type == "AssumedRoleUser" {
        let role = name.split(':').next().unwrap_or(name);
        (
            format!("of the role {role}, or that of its session,"),
            "strongroom role create --help".to_owned(),
        )
    } else {
        (
            format!("of the user {name}"),
            format!("strongroom user policy {name} --policy FILE, by who may"),
        )
    };
    // On which of the things that the call is about, and in which statement, the message says.
    if denied.no_permission_type == "ExplicitDeny" {
        format!("the policy {whose} has a Deny for {action}, which wins over every Allow: {how}")
    } else {
        format!("the policy {whose} has no Allow for {action} on what the message names: {how}")
    }
}

fn last_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
