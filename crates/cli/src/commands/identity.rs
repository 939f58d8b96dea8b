//! `account`, `user`, `key`, `role`: who may do what.

use std::path::Path;

use serde_json::Value;

use super::{Context, assume_role};
use crate::args::{AccessKeyCommand, AccountCommand, RoleCommand, UserCommand};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, clock};
use crate::session::{KEY_ID, KEY_SECRET, Parameters, number, rows, text};

/// Runs a verb of `account`.
pub(crate) fn account(context: &Context, command: AccountCommand) -> Result<Exit, Failure> {
    match command {
        AccountCommand::Create { name, json } => {
            let parameters = Parameters::new().with("AccountName", name);
            secret(context, "CreateAccount", parameters, json)
        }
        AccountCommand::List { json } => list(
            context,
            ("ListAccounts", Parameters::new()),
            "Accounts",
            &["AccountId", "AccountName", "Status"],
            json,
        ),
        AccountCommand::Disable { account } => set_status(
            context,
            "SetAccountStatus",
            ("AccountId", &account),
            "DISABLED",
        ),
        AccountCommand::Enable { account } => set_status(
            context,
            "SetAccountStatus",
            ("AccountId", &account),
            "ACTIVE",
        ),
    }
}

/// Runs a verb of `user`.
pub(crate) fn user(context: &Context, command: UserCommand) -> Result<Exit, Failure> {
    match command {
        UserCommand::Create { name, policy } => {
            let parameters = Parameters::new()
                .with("UserName", &name)
                .with_some("PolicyDocument", document(policy.as_deref())?);
            let reply = context.session()?.call("CreateUser", parameters)?;
            context.screen.line(text(&reply["User"], "Arn"));
            context
                .screen
                .note(&format!("next: strongroom key create --user {name}"));
            Ok(Exit::Done)
        }
        UserCommand::List { json } => list(
            context,
            ("ListUsers", Parameters::new()),
            "Users",
            &["UserName", "Arn", "Status"],
            json,
        ),
        UserCommand::Policy { name, policy, .. } => {
            let parameters = Parameters::new()
                .with("UserName", &name)
                .with_some("PolicyDocument", document(policy.as_deref())?);
            done(
                context,
                "SetUserPolicy",
                parameters,
                &format!("{name} is changed"),
            )
        }
        UserCommand::Disable { name } => {
            set_status(context, "SetUserStatus", ("UserName", &name), "DISABLED")
        }
        UserCommand::Enable { name } => {
            set_status(context, "SetUserStatus", ("UserName", &name), "ACTIVE")
        }
        UserCommand::Delete { name, confirmed } => {
            confirmed.ask(&format!("delete the user {name} with its keys?"))?;
            let parameters = Parameters::new().with("UserName", &name);
            done(
                context,
                "DeleteUser",
                parameters,
                &format!("{name} is deleted"),
            )
        }
    }
}

/// Runs a verb of `key`.
pub(crate) fn key(context: &Context, command: AccessKeyCommand) -> Result<Exit, Failure> {
    match command {
        AccessKeyCommand::Create {
            user,
            register,
            root,
            json,
        } => {
            let kind = match (&user, register, root) {
                (Some(_), ..) => "USER",
                (None, true, _) => "REGISTER",
                (None, false, true) => "ROOT",
                (None, false, false) => {
                    return Err(Failure::usage(
                        "it is not said whose key it is to be",
                        "add --user NAME, --register or --root",
                    ));
                }
            };
            let parameters = Parameters::new()
                .with("Kind", kind)
                .with_some("UserName", user);
            secret(context, "CreateKey", parameters, json)
        }
        AccessKeyCommand::List { user, json } => {
            if let Some(user) = &user {
                refuse_nobody(context, user)?;
            }
            list(
                context,
                ("ListKeys", Parameters::new().with_some("UserName", user)),
                "Keys",
                &["AccessKeyId", "Kind", "UserName", "Status"],
                json,
            )
        }
        AccessKeyCommand::Rotate { key, json } => {
            let parameters = Parameters::new().with("UserAccessKeyId", &key);
            let exit = secret(context, "RotateKey", parameters, json)?;
            context.screen.note(&format!(
                "the old key goes on working; when nobody uses it any more: strongroom key disable {key}"
            ));
            Ok(exit)
        }
        AccessKeyCommand::Disable { key } => set_status(
            context,
            "SetKeyStatus",
            ("UserAccessKeyId", &key),
            "DISABLED",
        ),
        AccessKeyCommand::Enable { key } => {
            set_status(context, "SetKeyStatus", ("UserAccessKeyId", &key), "ACTIVE")
        }
        AccessKeyCommand::Delete { key, confirmed } => {
            confirmed.ask(&format!("delete the access key {key}?"))?;
            let parameters = Parameters::new().with("UserAccessKeyId", &key);
            done(
                context,
                "DeleteKey",
                parameters,
                &format!("{key} is deleted"),
            )
        }
    }
}

/// Runs a verb of `role`.
pub(crate) fn role(context: &Context, command: RoleCommand) -> Result<Exit, Failure> {
    match command {
        RoleCommand::Create {
            name,
            trust,
            policy,
            max_session,
        } => {
            let parameters = Parameters::new()
                .with("RoleName", &name)
                .with_some("AssumeRolePolicyDocument", document(Some(&trust))?)
                .with_some("PolicyDocument", document(policy.as_deref())?)
                .with("MaxSessionDuration", max_session);
            let reply = context.session()?.call("CreateRole", parameters)?;
            context.screen.line(text(&reply["Role"], "Arn"));
            Ok(Exit::Done)
        }
        RoleCommand::List { json } => list(
            context,
            ("ListRoles", Parameters::new()),
            "Roles",
            &["RoleName", "Arn"],
            json,
        ),
        RoleCommand::Assume(args) => assume_role::run(context, &args),
        RoleCommand::Delete { name, confirmed } => {
            confirmed.ask(&format!("delete the role {name}, and end its sessions?"))?;
            let parameters = Parameters::new().with("RoleName", &name);
            done(
                context,
                "DeleteRole",
                parameters,
                &format!("{name} is deleted"),
            )
        }
    }
}

/// A list of what nobody has would be empty. Who may not list the users is not told.
fn refuse_nobody(context: &Context, user: &str) -> Result<(), Failure> {
    let session = context.session()?;
    let Ok(reply) = session.try_call("ListUsers", &Parameters::new()) else {
        return Ok(());
    };
    let is_there = |row: &Value| text(row, "UserName") == user;
    match rows(&reply, &["Users"]).iter().any(is_there) {
        true => Ok(()),
        false => Err(Failure::with(
            Exit::NotFound,
            format!("there is no user {user:?}"),
            "look for the user: strongroom user list",
        )),
    }
}

/// The text of a policy file; the service says what is wrong with it.
pub(crate) fn document(path: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    std::fs::read_to_string(path).map(Some).map_err(|error| {
        Failure::usage(
            format!("cannot read the policy file {}: {error}", path.display()),
            "name a file that holds a policy document (JSON)",
        )
    })
}

fn done(
    context: &Context,
    action: &str,
    parameters: Parameters,
    said: &str,
) -> Result<Exit, Failure> {
    context.session()?.call(action, parameters)?;
    context.screen.line(said);
    Ok(Exit::Done)
}

fn set_status(
    context: &Context,
    action: &str,
    (name, id): (&str, &str),
    status: &str,
) -> Result<Exit, Failure> {
    let parameters = Parameters::new().with(name, id).with("Status", status);
    let word = status.to_ascii_lowercase();
    done(context, action, parameters, &format!("{id} is {word}"))
}

/// Calls an action that makes a key and prints it, as variables of the SDKs or as JSON: the only time it is shown.
fn secret(
    context: &Context,
    action: &str,
    parameters: Parameters,
    json: bool,
) -> Result<Exit, Failure> {
    let reply = context.session()?.call(action, parameters)?;
    if json {
        context.screen.json(&reply);
        return Ok(Exit::Done);
    }
    if let Some(account) = reply.get("AccountId").and_then(Value::as_str) {
        context.screen.line(&format!("account {account}"));
    }
    for (variable, field) in [(KEY_ID, "AccessKeyId"), (KEY_SECRET, "AccessKeySecret")] {
        context
            .screen
            .line(&format!("{variable}={}", text(&reply, field)));
    }
    context
        .screen
        .note("keep the secret now: it is not shown again");
    Ok(Exit::Done)
}

fn list(
    context: &Context,
    (action, parameters): (&str, Parameters),
    member: &str,
    fields: &[&'static str],
    json: bool,
) -> Result<Exit, Failure> {
    let reply = context.session()?.call(action, parameters)?;
    let titles = |field: &&'static str| match *field {
        "AccountId" => "ACCOUNT",
        "AccountName" | "UserName" | "RoleName" => "NAME",
        "AccessKeyId" => "KEY",
        "Kind" => "KIND",
        "Arn" => "ARN",
        _ => "STATUS",
    };
    let mut columns: Vec<Column> = fields
        .iter()
        .map(|field| Column::Text(titles(field)))
        .collect();
    columns.push(Column::Text("CREATED"));
    let mut table = Table::new(&columns);
    for row in rows(&reply, &[member]) {
        if json {
            context.screen.json(&row);
            continue;
        }
        let mut cells: Vec<(String, Paint)> = fields
            .iter()
            .map(|field| {
                let value = text(&row, field);
                let paint = match value {
                    "DISABLED" | "INACTIVE" => Paint::Red,
                    "ACTIVE" => Paint::Green,
                    _ => Paint::Plain,
                };
                (value.to_owned(), paint)
            })
            .collect();
        cells.push((clock(number(&row, "CreatedTime")), Paint::Plain));
        table.painted_row(cells);
    }
    if !json {
        context.screen.text(&table.render(&context.screen));
    }
    Ok(Exit::Done)
}
