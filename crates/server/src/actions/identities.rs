//! Extensions of this server about who there is: accounts, users, keys, roles. In the cloud these belong to RAM, which has
//! an API of its own; the CLI uses these.
//!
//! Policies name them `ram:CreateUser` and so on: whoever may do everything in HBR (`hbr:*`) cannot give himself more.
//! Accounts are the operator's, whose root key is that of the first account. Secrets are shown once, in the reply that
//! makes them.

use api::error::{ApiError, Code};
use catalog::access_keys;
use catalog::identities::{self, NewRole};
use catalog::{AccessKey, AccessKeyKind, AccessKeyStatus, IdentityStatus, Role, User, accounts};
use model::AccountId;
use model::ram::Document;
use serde_json::{Value, json};

use super::{Answer, Call, Handler, registry, resource};
use crate::bootstrap::new_key;
use crate::failure;
use crate::principal::Kind;

const SHORTEST_SESSION: i64 = 900;
const LONGEST_SESSION: i64 = 43_200;

/// These actions, which policies name with `ram:`.
pub(crate) const ACTIONS: &[(&str, Handler)] = &[
    ("CreateAccount", create_account),
    ("CreateKey", create_key),
    ("CreateRole", create_role),
    ("CreateUser", create_user),
    ("DeleteKey", delete_key),
    ("DeleteRole", delete_role),
    ("DeleteUser", delete_user),
    ("ListAccounts", list_accounts),
    ("ListKeys", list_keys),
    ("ListRoles", list_roles),
    ("ListUsers", list_users),
    ("RotateKey", rotate_key),
    ("SetAccountStatus", set_account_status),
    ("SetKeyStatus", set_key_status),
    ("SetUserPolicy", set_user_policy),
    ("SetUserStatus", set_user_status),
];

/// Refuses everybody but the operator.
fn require_operator(call: &Call<'_>) -> Result<(), ApiError> {
    if call.account == call.service.operator && call.principal.kind == Kind::Root {
        return Ok(());
    }
    Err(ApiError::new(
        Code::NoPermission,
        "Accounts are the operator's: sign with the root key in credentials.json of the data directory.",
    ))
}

fn name(call: &Call<'_>, parameter: &'static str) -> Result<String, ApiError> {
    let text = call.params.required(parameter)?;
    let is_name = text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".@-_".contains(&byte));
    if is_name {
        return Ok(text.to_owned());
    }
    let why = "it must have 1 to 64 letters, digits, or . @ - _";
    Err(ApiError::invalid(parameter, why))
}

fn policy<'a>(call: &'a Call<'_>) -> Result<Option<&'a str>, ApiError> {
    let text = call.params.text("PolicyDocument");
    if let Some(text) = text {
        read_policy("PolicyDocument", text)?;
    }
    Ok(text)
}

/// Checks a policy document before it is kept: what it says, and which actions and resources of this service it names. One
/// that is kept is read without the latter: the service may have had others then.
pub(super) fn read_policy(parameter: &str, text: &str) -> Result<(), ApiError> {
    let document = Document::parse(text);
    document
        .and_then(|document| {
            document.check_actions(&registry::policy_actions(), &registry::ram_actions())?;
            document.check_resources(&resource::KINDS)
        })
        .map_err(|why| ApiError::invalid(parameter, why))
}

fn status(call: &Call<'_>) -> Result<IdentityStatus, ApiError> {
    let text = call.params.required("Status")?;
    text.parse()
        .map_err(|_| ApiError::invalid("Status", "write ACTIVE or DISABLED"))
}

fn create_account(call: &Call<'_>) -> Answer {
    require_operator(call)?;
    let account_name = name(call, "AccountName")?;
    let taken = accounts::list(&call.service.catalog).map_err(failure::of_catalog)?;
    if taken
        .iter()
        .any(|account| account.account_name == account_name)
    {
        return Err(ApiError::of(Code::EntityExists));
    }
    let account_id = AccountId::new(rand::random());
    let (key, secret) = new_key(&call.service.master_key, AccessKeyKind::Root, None);
    accounts::create(
        &call.service.catalog,
        &account_id,
        &account_name,
        &key,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.reply(json!({
        "AccountId": account_id.as_str(),
        "AccessKeyId": key.access_key_id,
        "AccessKeySecret": secret.expose(),
    }))
}

fn list_accounts(call: &Call<'_>) -> Answer {
    require_operator(call)?;
    let found = accounts::list(&call.service.catalog).map_err(failure::of_catalog)?;
    let rows = found.iter().map(|account| {
        json!({
            "AccountId": account.account_id.as_str(),
            "AccountName": account.account_name,
            "Status": account.status.as_str(),
            "IsOperator": account.account_id == call.service.operator,
            "CreatedTime": account.created_time.0,
        })
    });
    call.reply(json!({ "Accounts": rows.collect::<Vec<Value>>() }))
}

fn set_account_status(call: &Call<'_>) -> Answer {
    require_operator(call)?;
    let account_id = AccountId::parse(call.params.required("AccountId")?)
        .map_err(|_| ApiError::of(Code::EntityNotExist))?;
    let status = status(call)?;
    if account_id == call.service.operator {
        return Err(ApiError::invalid(
            "AccountId",
            "the operator's account stays active",
        ));
    }
    accounts::set_status(&call.service.catalog, &account_id, status)
        .map_err(failure::of_catalog)?;
    call.done()
}

fn create_user(call: &Call<'_>) -> Answer {
    let user_name = name(call, "UserName")?;
    let policy = policy(call)?;
    let catalog = &call.service.catalog;
    let user = identities::create_user(catalog, &call.account, &user_name, policy, call.now)
        .map_err(failure::of_catalog)?;
    call.reply(json!({ "User": user_row(&user) }))
}

fn user_row(user: &User) -> Value {
    json!({
        "UserName": user.user_name,
        "UserId": user.user_id,
        "Arn": format!("acs:ram::{}:user/{}", user.account_id, user.user_name),
        "Status": user.status.as_str(),
        "PolicyDocument": user.policy,
        "CreatedTime": user.created_time.0,
        "UpdatedTime": user.updated_time.0,
    })
}

fn list_users(call: &Call<'_>) -> Answer {
    let found =
        identities::users(&call.service.catalog, &call.account).map_err(failure::of_catalog)?;
    call.reply(json!({ "Users": found.iter().map(user_row).collect::<Vec<Value>>() }))
}

fn set_user_status(call: &Call<'_>) -> Answer {
    let user_name = name(call, "UserName")?;
    let status = status(call)?;
    let catalog = &call.service.catalog;
    identities::set_user_status(catalog, &call.account, &user_name, status, call.now)
        .map_err(failure::of_catalog)?;
    call.done()
}

fn set_user_policy(call: &Call<'_>) -> Answer {
    let user_name = name(call, "UserName")?;
    let policy = policy(call)?;
    let catalog = &call.service.catalog;
    identities::set_user_policy(catalog, &call.account, &user_name, policy, call.now)
        .map_err(failure::of_catalog)?;
    call.done()
}

fn delete_user(call: &Call<'_>) -> Answer {
    let user_name = name(call, "UserName")?;
    identities::delete_user(&call.service.catalog, &call.account, &user_name)
        .map_err(failure::of_catalog)?;
    call.done()
}

/// A key of a user, a further root key, or one that may only register agents.
fn create_key(call: &Call<'_>) -> Answer {
    let user_name = match call.params.text("UserName") {
        Some(_) => Some(name(call, "UserName")?),
        None => None,
    };
    let kind = match (call.params.text("Kind"), &user_name) {
        (None | Some("USER"), Some(_)) => AccessKeyKind::User,
        (Some("ROOT"), None) => AccessKeyKind::Root,
        (Some("REGISTER"), None) => AccessKeyKind::Register,
        _ => {
            let why = "write USER with a UserName, or ROOT or REGISTER without one";
            return Err(ApiError::invalid("Kind", why));
        }
    };
    make_key(call, kind, user_name)
}

fn make_key(call: &Call<'_>, kind: AccessKeyKind, user_name: Option<String>) -> Answer {
    if kind == AccessKeyKind::Root && call.principal.kind != Kind::Root {
        return Err(ApiError::new(
            Code::NoPermission,
            "A root key is made by a root key.",
        ));
    }
    let (key, secret) = new_key(&call.service.master_key, kind, user_name);
    let (catalog, account) = (&call.service.catalog, &call.account);
    match kind {
        AccessKeyKind::User => identities::create_user_key(catalog, account, &key, call.now),
        _ => access_keys::create(catalog, account, &key, call.now),
    }
    .map_err(failure::of_catalog)?;
    call.reply(json!({
        "AccessKeyId": key.access_key_id,
        "AccessKeySecret": secret.expose(),
        "Kind": kind.as_str(),
        "UserName": key.user_name,
    }))
}

/// The keys of the account that people made; those of agents come and go with them.
fn keys(call: &Call<'_>) -> Result<Vec<AccessKey>, ApiError> {
    let mut found =
        access_keys::list(&call.service.catalog, &call.account).map_err(failure::of_catalog)?;
    found.retain(|key| key.kind != AccessKeyKind::Agent);
    Ok(found)
}

fn key(call: &Call<'_>) -> Result<AccessKey, ApiError> {
    let wanted = call.params.required("UserAccessKeyId")?;
    keys(call)?
        .into_iter()
        .find(|key| key.access_key_id == wanted)
        .ok_or_else(|| failure::not_found(catalog::Entity::AccessKey, wanted))
}

fn list_keys(call: &Call<'_>) -> Answer {
    let of_user = call.params.text("UserName");
    let found = keys(call)?;
    let rows = found
        .iter()
        .filter(|key| of_user.is_none_or(|name| key.user_name.as_deref() == Some(name)))
        .map(|key| {
            json!({
                "AccessKeyId": key.access_key_id,
                "Kind": key.kind.as_str(),
                "UserName": key.user_name,
                "Status": key.status.as_str(),
                "CreatedTime": key.created_time.0,
            })
        });
    call.reply(json!({ "Keys": rows.collect::<Vec<Value>>() }))
}

/// Whether the key may be taken out of use: never the account's last root key, and root keys only by root keys.
fn refuse_to_lose(call: &Call<'_>, key: &AccessKey) -> Result<(), ApiError> {
    if key.kind != AccessKeyKind::Root {
        return Ok(());
    }
    if call.principal.kind != Kind::Root {
        return Err(ApiError::new(
            Code::NoPermission,
            "A root key is changed by a root key.",
        ));
    }
    let has_other = keys(call)?.iter().any(|other| {
        other.kind == AccessKeyKind::Root
            && other.status == AccessKeyStatus::Active
            && other.access_key_id != key.access_key_id
    });
    if has_other {
        return Ok(());
    }
    Err(ApiError::invalid(
        "UserAccessKeyId",
        "it is the last active root key of the account; make another one first",
    ))
}

fn set_key_status(call: &Call<'_>) -> Answer {
    let key = key(call)?;
    let status = match status(call)? {
        IdentityStatus::Active => AccessKeyStatus::Active,
        IdentityStatus::Disabled => {
            refuse_to_lose(call, &key)?;
            AccessKeyStatus::Inactive
        }
    };
    let catalog = &call.service.catalog;
    access_keys::set_status(catalog, &call.account, &key.access_key_id, status)
        .map_err(failure::of_catalog)?;
    call.done()
}

fn delete_key(call: &Call<'_>) -> Answer {
    let key = key(call)?;
    refuse_to_lose(call, &key)?;
    access_keys::delete(&call.service.catalog, &call.account, &key.access_key_id)
        .map_err(failure::of_catalog)?;
    call.done()
}

/// Makes a new key for the owner of an old one. The old one stays until it is disabled, so that nothing stops.
fn rotate_key(call: &Call<'_>) -> Answer {
    let old = key(call)?;
    make_key(call, old.kind, old.user_name)
}

fn create_role(call: &Call<'_>) -> Answer {
    let role_name = name(call, "RoleName")?;
    let trust = call.params.required("AssumeRolePolicyDocument")?;
    Document::parse_trust(trust)
        .map_err(|why| ApiError::invalid("AssumeRolePolicyDocument", why))?;
    let new = NewRole {
        role_name,
        trust: trust.to_owned(),
        policy: policy(call)?.map(str::to_owned),
        max_session_seconds: call
            .params
            .int_in("MaxSessionDuration", SHORTEST_SESSION..=LONGEST_SESSION)?
            .unwrap_or(3_600),
    };
    let role = identities::create_role(&call.service.catalog, &call.account, &new, call.now)
        .map_err(failure::of_catalog)?;
    call.reply(json!({ "Role": role_row(&role) }))
}

fn role_row(role: &Role) -> Value {
    json!({
        "RoleName": role.role_name,
        "RoleId": role.role_id,
        "Arn": format!("acs:ram::{}:role/{}", role.account_id, role.role_name),
        "AssumeRolePolicyDocument": role.trust,
        "PolicyDocument": role.policy,
        "MaxSessionDuration": role.max_session_seconds,
        "CreatedTime": role.created_time.0,
    })
}

fn list_roles(call: &Call<'_>) -> Answer {
    let found =
        identities::roles(&call.service.catalog, &call.account).map_err(failure::of_catalog)?;
    call.reply(json!({ "Roles": found.iter().map(role_row).collect::<Vec<Value>>() }))
}

fn delete_role(call: &Call<'_>) -> Answer {
    let role_name = name(call, "RoleName")?;
    identities::delete_role(&call.service.catalog, &call.account, &role_name)
        .map_err(failure::of_catalog)?;
    call.done()
}
