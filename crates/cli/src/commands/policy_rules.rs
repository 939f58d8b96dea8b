//! `policy create|bind|unbind|bindings`: what a policy says, and whom it protects.

use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use super::plan::{paths_on_host, schedule};
use super::policy::advanced_retention;
use super::{Context, lookup, restore};
use crate::args::{PolicyBindArgs, PolicyCreateArgs, SelectionArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table};
use crate::session::{Parameters, Session, text};

/// What a policy file may have: the parameters of CreatePolicyV2.
const MEMBERS: [&str; 4] = ["PolicyName", "PolicyDescription", "PolicyType", "Rules"];

/// Makes a policy.
pub(crate) fn create(context: &Context, args: &PolicyCreateArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let mut members = match &args.file {
        Some(file) => members_of(&read(file)?)
            .map_err(|what| Failure::usage(format!("{}: {what}", file.display()), FILE_HELP))?,
        None => vec![("Rules", json!([backup_rule(&session, args)?]).to_string())],
    };
    for (name, typed) in [
        ("PolicyName", &args.name),
        ("PolicyDescription", &args.description),
    ] {
        if let Some(typed) = typed {
            members.retain(|(known, _)| *known != name);
            members.push((name, typed.clone()));
        }
    }
    let name = members.iter().find(|(name, _)| *name == "PolicyName");
    if let (Some((_, name)), false) = (name, args.allow_duplicate_name) {
        refuse_taken_name(&session, name)?;
    }
    let parameters = members
        .into_iter()
        .fold(Parameters::new(), |parameters, (name, value)| {
            parameters.with(name, value)
        });
    let reply = session.call("CreatePolicyV2", parameters)?;
    let policy_id = text(&reply, "PolicyId");
    context.screen.line(policy_id);
    context.screen.note(&format!(
        "next: strongroom policy bind {policy_id} --path PATH"
    ));
    Ok(Exit::Done)
}

/// Names need not be unique for the service, but who names a policy by its name wants one to be meant. Who may not list
/// policies is not asked.
fn refuse_taken_name(session: &Session, name: &str) -> Result<(), Failure> {
    let policies = lookup::policies_to_see(session)?;
    match policies
        .iter()
        .find(|policy| text(policy, "PolicyName") == name)
    {
        None => Ok(()),
        Some(policy) => Err(Failure::with(
            Exit::Conflict,
            format!(
                "there is a policy called {name:?} already: {}",
                text(policy, "PolicyId")
            ),
            "use that one, or another name; --allow-duplicate-name makes a second one, and then commands need ids",
        )),
    }
}

const FILE_HELP: &str = "write what CreatePolicyV2 takes: strongroom policy create --help";

fn backup_rule(session: &Session, args: &PolicyCreateArgs) -> Result<Value, Failure> {
    let vault = lookup::vault(session, &args.vault)?;
    let mut rule = json!({
        "RuleType": "BACKUP",
        "BackupType": "COMPLETE",
        "Schedule": schedule(&args.when)?,
        "VaultId": text(&vault, "VaultId"),
    });
    if let Some(days) = args.keep.keep_days {
        rule["Retention"] = json!(days);
    }
    if args.keep.keep_latest {
        rule["KeepLatestSnapshots"] = json!(1);
    }
    if let Some(rules) = advanced_retention([args.daily, args.weekly, args.monthly, args.yearly]) {
        rule["RetentionRules"] = rules;
    }
    Ok(rule)
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| {
        Failure::new(
            format!("cannot read the policy file {}: {error}", file.display()),
            "name a file that you can read",
        )
    })
}

/// The parameters that a policy file stands for.
fn members_of(text: &str) -> Result<Vec<(&'static str, String)>, String> {
    let fields: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))?;
    fields
        .into_iter()
        .map(|(name, value)| {
            let known = MEMBERS.into_iter().find(|known| *known == name);
            let known = known.ok_or_else(|| {
                format!(
                    "{name:?} is no member of a policy; these are: {}",
                    MEMBERS.join(", ")
                )
            })?;
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Ok((known, text))
        })
        .collect()
}

/// Binds hosts, all or none.
pub(crate) fn bind(context: &Context, args: &PolicyBindArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let policy = lookup::policy(&session, &args.policy)?;
    let policy_id = text(&policy, "PolicyId");
    let instances = instances(context, &session, &args.instance)?;
    let paths = paths_on_host(&args.path, !args.instance.is_empty())?;
    let list: Vec<Value> = instances
        .iter()
        .map(|instance| binding(instance, &paths, &args.what))
        .collect();
    let parameters = Parameters::new()
        .with("PolicyId", policy_id)
        .with("PolicyBindingList", json!(list));
    session.call("CreatePolicyBindings", parameters)?;
    for instance in &instances {
        context
            .screen
            .line(&format!("{instance} is bound to {policy_id}"));
    }
    Ok(Exit::Done)
}

/// A member of `PolicyBindingList`. Lists inside it are texts with JSON, as the API has them.
fn binding(instance: &str, paths: &[String], what: &SelectionArgs) -> Value {
    let mut binding = json!({"SourceType": "ECS_FILE", "DataSourceId": instance});
    for (name, list) in [
        ("Source", paths),
        ("Include", &what.include[..]),
        ("Exclude", &what.exclude[..]),
    ] {
        if !list.is_empty() {
            binding[name] = json!(json!(list).to_string());
        }
    }
    if let Some(rules) = &what.speed_limit {
        binding["SpeedLimit"] = json!(rules);
    }
    binding
}

/// Unbinds hosts, all or none.
pub(crate) fn unbind(context: &Context, wanted: &str, typed: &[String]) -> Result<Exit, Failure> {
    let session = context.session()?;
    let policy = lookup::policy(&session, wanted)?;
    let policy_id = text(&policy, "PolicyId");
    let instances = instances(context, &session, typed)?;
    let parameters = Parameters::new()
        .with("PolicyId", policy_id)
        .with("SourceType", "ECS_FILE")
        .with("DataSourceIds", json!(instances));
    session.call("DeletePolicyBinding", parameters)?;
    for instance in &instances {
        context
            .screen
            .line(&format!("{instance} is no longer bound to {policy_id}"));
    }
    Ok(Exit::Done)
}

/// The hosts that are meant: those that were typed, or this one.
fn instances(
    context: &Context,
    session: &Session,
    typed: &[String],
) -> Result<Vec<String>, Failure> {
    if !typed.is_empty() {
        return Ok(typed.to_vec());
    }
    restore::instance(context, session, None).map(|instance| vec![instance])
}

/// Lists bindings, the oldest first.
pub(crate) fn bindings(
    context: &Context,
    wanted: Option<&str>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let session = context.session()?;
    let policy = match wanted {
        Some(wanted) => Some(lookup::policy(&session, wanted)?),
        None => None,
    };
    let policy_id = policy.as_ref().map(|policy| text(policy, "PolicyId"));
    let found = lookup::bindings(&session, policy_id)?;
    if as_json {
        for binding in &found {
            context.screen.json(binding);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("POLICY"),
        Column::Text("DATA SOURCE"),
        Column::Text("STATE"),
        Column::Path("PATHS"),
    ]);
    for binding in &found {
        let is_disabled = binding.get("Disabled").and_then(Value::as_bool) == Some(true);
        let (state, paint) = match is_disabled {
            true => ("disabled", Paint::Dim),
            false => ("enabled", Paint::Green),
        };
        table.painted_row(vec![
            (text(binding, "PolicyId").to_owned(), Paint::Plain),
            (text(binding, "DataSourceId").to_owned(), Paint::Plain),
            (state.to_owned(), paint),
            (paths_of(text(binding, "Source")), Paint::Plain),
        ]);
    }
    context.screen.text(&table.render(&context.screen));
    Ok(Exit::Done)
}

/// The paths of a binding for a person; none means all.
fn paths_of(source: &str) -> String {
    match serde_json::from_str::<Vec<String>>(source) {
        Ok(paths) if !paths.is_empty() => paths.join(", "),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{binding, members_of, paths_of};
    use crate::args::SelectionArgs;
    use serde_json::json;

    #[test]
    fn a_file_has_the_parameters_of_the_action_and_no_others() {
        let text = r#"{"PolicyName": "n", "Rules": [{"RuleType": "BACKUP"}]}"#;
        assert_eq!(
            members_of(text).unwrap(),
            [
                ("PolicyName", "n".to_owned()),
                ("Rules", r#"[{"RuleType":"BACKUP"}]"#.to_owned())
            ]
        );
        let wrong = members_of(r#"{"PolicyNam": "n"}"#).unwrap_err();
        assert!(
            wrong.contains("PolicyNam") && wrong.contains("PolicyDescription"),
            "{wrong}"
        );
        assert!(members_of("[]").is_err() && members_of("{").is_err());
    }

    #[test]
    fn a_binding_has_its_lists_as_texts() {
        let what = SelectionArgs {
            include: vec![],
            exclude: vec!["*.tmp".to_owned()],
            speed_limit: Some("0:24:1".to_owned()),
        };
        assert_eq!(
            binding("i-1", &["/a b".to_owned()], &what),
            json!({
                "SourceType": "ECS_FILE", "DataSourceId": "i-1", "Source": r#"["/a b"]"#,
                "Exclude": r#"["*.tmp"]"#, "SpeedLimit": "0:24:1"
            })
        );
        assert_eq!(paths_of(r#"["/a","/b"]"#), "/a, /b");
        assert_eq!(
            (paths_of(""), paths_of("[]")),
            ("/".to_owned(), "/".to_owned())
        );
    }
}
