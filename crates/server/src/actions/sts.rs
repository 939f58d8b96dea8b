//! STS, version 2015-04-01, on the same endpoint: AssumeRole and GetCallerIdentity.
//!
//! Source: the API reference of STS. A role may be taken on when its trust policy names the caller and, for a user or a
//! role, his own policy allows `sts:AssumeRole` on it. Root keys cannot take roles on, as in the cloud.

use std::net::IpAddr;

use api::error::{ApiError, Code};
use api::params::Params;
use api::signature::format_time;
use catalog::{CatalogError, identities};
use model::ram::{Document, Principal as Trusted, Request, evaluate};
use model::{AccountId, Timestamp};
use serde_json::{Value, json};

use super::identities::read_policy;
use super::{Answer, registry};
use crate::failure;
use crate::principal::{Kind, Principal, Thing};
use crate::service::Service;
use crate::sessions;
use crate::wire::Wire;

/// What STS serves here.
const ACTIONS: [&str; 2] = ["AssumeRole", "GetCallerIdentity"];
const DEFAULT_SECONDS: i64 = 3_600;
const SHORTEST_SECONDS: i64 = 900;
/// Longest session policy, in bytes.
const MAX_POLICY_BYTES: usize = 2_048;

/// Answers a call of STS.
pub(super) fn serve(
    service: &Service,
    wire: &Wire,
    principal: &Principal,
    action: &str,
    params: &Params,
) -> Answer {
    let mut reply = match action {
        "AssumeRole" => assume_role(service, wire.peer, principal, params)?,
        "GetCallerIdentity" => caller_identity(principal),
        _ => return Err(registry::unknown(action, ACTIONS)),
    };
    if let Some(fields) = reply.as_object_mut() {
        fields.insert("RequestId".to_owned(), json!(wire.request_id));
    }
    serde_json::to_vec(&reply).map_err(|error| failure::internal(&error))
}

fn caller_identity(principal: &Principal) -> Value {
    let account = principal.account.as_str();
    let arn = principal.arn();
    match &principal.kind {
        Kind::Root => json!({
            "AccountId": account, "Arn": arn, "IdentityType": "Account", "PrincipalId": account, "UserId": account,
        }),
        Kind::User { id, .. } => json!({
            "AccountId": account, "Arn": arn, "IdentityType": "RAMUser", "PrincipalId": id, "UserId": id,
        }),
        Kind::Role { id, session, .. } => json!({
            "AccountId": account, "Arn": arn, "IdentityType": "AssumedRoleUser",
            "PrincipalId": format!("{id}:{session}"), "RoleId": id,
        }),
    }
}

fn assume_role(
    service: &Service,
    source_ip: IpAddr,
    principal: &Principal,
    params: &Params,
) -> Result<Value, ApiError> {
    let arn = params.required("RoleArn")?;
    let session = params.required("RoleSessionName")?;
    let is_name = (2..=64).contains(&session.len())
        && session
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".@-_".contains(&byte));
    if !is_name {
        let why = "it must have 2 to 64 letters, digits, or . @ - _";
        return Err(ApiError::invalid("RoleSessionName", why));
    }
    let Some(Trusted::Role { account_id, name }) = Trusted::parse(arn) else {
        return Err(ApiError::invalid(
            "RoleArn",
            "write acs:ram::ACCOUNT:role/NAME",
        ));
    };
    let policy = params.text("Policy");
    if let Some(text) = policy {
        if text.len() > MAX_POLICY_BYTES {
            let why = format!("it may have at most {MAX_POLICY_BYTES} bytes");
            return Err(ApiError::invalid("Policy", why));
        }
        read_policy("Policy", text)?;
    }
    if principal.kind == Kind::Root {
        return Err(ApiError::new(
            Code::NoPermission,
            "Roles may not be assumed by root accounts; sign with the key of a user.",
        ));
    }
    let now = service.now();
    let about = [Thing::named(arn.to_owned())];
    principal.authorize("sts:AssumeRole", &about, source_ip, now)?;
    // Whether a role of another account exists is not told to those whom it does not trust.
    let no_trust = || {
        ApiError::new(
            Code::NoPermission,
            format!(
                "The trust policy of {arn} does not let you assume it, or there is no such role."
            ),
        )
    };
    let account = AccountId::parse(&account_id).map_err(|_| no_trust())?;
    let role = match identities::role(&service.catalog, &account, &name) {
        Ok(role) => role,
        Err(CatalogError::NotFound { .. }) => return Err(no_trust()),
        Err(error) => return Err(failure::of_catalog(error)),
    };
    if !trusts(&role.trust, principal, source_ip, now) {
        return Err(no_trust());
    }
    let longest = role.max_session_seconds;
    let seconds = params
        .int_in("DurationSeconds", SHORTEST_SECONDS..=longest)?
        .unwrap_or(DEFAULT_SECONDS.min(longest));
    let issued = sessions::issue(service, &role, session, policy, now.plus_seconds(seconds))?;
    Ok(json!({
        "AssumedRoleUser": {
            "Arn": format!("acs:ram::{account}:assumed-role/{name}/{session}"),
            "AssumedRoleId": format!("{}:{session}", role.role_id),
        },
        "Credentials": {
            "AccessKeyId": issued.access_key_id,
            "AccessKeySecret": issued.secret.expose(),
            "SecurityToken": issued.token,
            "Expiration": format_time(issued.expires.0)?,
        },
    }))
}

/// Whether the trust policy lets the caller take the role on: only statements that name him count.
fn trusts(text: &str, principal: &Principal, source_ip: IpAddr, now: Timestamp) -> bool {
    let Ok(mut trust) = Document::parse_trust(text) else {
        return false;
    };
    let account = principal.account.as_str();
    let names = |trusted: &Trusted| match (trusted, &principal.kind) {
        (Trusted::Account(id), _) => id == account,
        (Trusted::User { account_id, name }, Kind::User { name: own, .. })
        | (Trusted::Role { account_id, name }, Kind::Role { name: own, .. }) => {
            account_id == account && name == own
        }
        _ => false,
    };
    trust
        .statements
        .retain(|statement| statement.principals.iter().any(names));
    let request = Request {
        action: "sts:AssumeRole",
        resources: &["*".to_owned()],
        source_ip,
        now,
    };
    evaluate([&trust], &request).is_allowed()
}
