//! `repo key`: lists, adds, replaces and removes passwords. Passwords come from files, commands, variables or a terminal,
//! never from arguments.

use serde_json::{Value, json};
use vault::VaultError;

use super::{Repo, key_options, secret, vault_failure};
use crate::args::{KeyCommand, NewPasswordArgs, RepoKeyArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Table, clock};
use crate::secrets::{self, Secret};

/// Runs a verb.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoKeyArgs) -> Result<Exit, Failure> {
    match &args.command {
        KeyCommand::List => list(repo),
        KeyCommand::Add(new) => add(repo, new),
        KeyCommand::Rotate(new) => rotate(repo, new),
        KeyCommand::Remove { key } => remove(repo, key),
    }
}

fn list(repo: &Repo<'_>) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let labels = vault::key_labels(&**opened.storage()).map_err(|error| vault_failure(&error))?;
    if repo.options.json {
        let list: Vec<Value> = labels
            .iter()
            .map(|(id, label)| {
                json!({
                    "current": *id == opened.current_key(),
                    "id": id.short(),
                    "userName": label.username,
                    "hostName": label.hostname,
                    "created": label.created.to_string(),
                })
            })
            .collect();
        repo.screen.json(&Value::Array(list));
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text(" ID"),
        Column::Flexible("USER"),
        Column::Flexible("HOST"),
        Column::Text("CREATED"),
    ]);
    for (id, label) in labels {
        let mark = if id == opened.current_key() { '*' } else { ' ' };
        table.row(vec![
            format!("{mark}{}", id.short()),
            label.username,
            label.hostname,
            clock(label.created.seconds),
        ]);
    }
    repo.screen.text(&table.render(repo.screen));
    Ok(Exit::Done)
}

fn add(repo: &Repo<'_>, new: &NewPasswordArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let password = new_password(new)?;
    let id = opened
        .add_key(&secret(&password), &key_options())
        .map_err(|error| vault_failure(&error))?;
    done(repo, "added", &id.short());
    Ok(Exit::Done)
}

fn rotate(repo: &Repo<'_>, new: &NewPasswordArgs) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let password = new_password(new)?;
    let rotated = opened
        .rotate_key(&secret(&password), &key_options())
        .map_err(|error| vault_failure(&error))?;
    done(
        repo,
        "replaced the current key by",
        &rotated.current_key().short(),
    );
    Ok(Exit::Done)
}

fn remove(repo: &Repo<'_>, pattern: &str) -> Result<Exit, Failure> {
    let opened = repo.open()?;
    let id = opened
        .find_key(pattern)
        .and_then(|id| opened.remove_key(&id).map(|()| id))
        .map_err(|error| match error {
            VaultError::Refused { reason } => {
                Failure::new(reason, "look for another one: strongroom repo key list")
            }
            error => vault_failure(&error),
        })?;
    done(repo, "removed", &id.short());
    Ok(Exit::Done)
}

fn done(repo: &Repo<'_>, what: &str, id: &str) {
    if repo.options.json {
        repo.screen
            .json(&json!({"message_type": "summary", "done": what, "id": id}));
    }
    repo.say(&format!("{what} key {id}"));
}

fn new_password(args: &NewPasswordArgs) -> Result<Secret, Failure> {
    if let Some(file) = &args.new_password_file {
        return secrets::from_file(file);
    }
    if let Some(command) = &args.new_password_command {
        return secrets::from_command(command);
    }
    if let Some(secret) = secrets::from_environment("RESTIC_NEW_PASSWORD")? {
        return Ok(secret);
    }
    let missing = || {
        Failure::usage(
            "no new password is given",
            "use --new-password-file, --new-password-command or RESTIC_NEW_PASSWORD_FILE",
        )
    };
    let first = secrets::ask("enter the new password")?.ok_or_else(missing)?;
    if *first != *secrets::ask("enter it again")?.ok_or_else(missing)? {
        return Err(Failure::new(
            "the passwords differ",
            "type the same password twice",
        ));
    }
    Ok(first)
}
