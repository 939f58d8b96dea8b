//! `role assume`: an access key for a while, shown to a person, to a script, or to a shell.

use std::path::Path;

use serde_json::Value;

use super::{Context, FAILED_LINE, identity};
use crate::args::AssumeRoleArgs;
use crate::exit::{Exit, Failure};
use crate::output::shell_quoted;
use crate::secrets::FORMS;
use crate::session::{
    Access, CACERT, ENDPOINT, KEY_ID, KEY_SECRET, Parameters, REGION, Session, TOKEN, text,
};

/// Takes the role on. What a shell would run tells it, too, of a failure: the status of a command inside `eval "$(…)"` is
/// lost. Nothing else is changed there: without the variables that are set commands would take the key of the data directory.
pub(crate) fn run(context: &Context, args: &AssumeRoleArgs) -> Result<Exit, Failure> {
    let done = take_on(context, args);
    if args.export && done.is_err() {
        context.screen.line(FAILED_LINE);
    }
    done
}

fn take_on(context: &Context, args: &AssumeRoleArgs) -> Result<Exit, Failure> {
    let access = context.access_from_here()?;
    let session = Session::new(access.clone(), &context.screen)?;
    let parameters = Parameters::new()
        .with("RoleArn", arn(&session, &args.role)?)
        .with("RoleSessionName", &args.session)
        .with_some("DurationSeconds", args.duration)
        .with_some("Policy", identity::document(args.policy.as_deref())?);
    let reply = session.call("AssumeRole", parameters)?;
    let screen = &context.screen;
    if args.json {
        screen.json(&reply);
        return Ok(Exit::Done);
    }
    let given = &reply["Credentials"];
    if args.export {
        for line in exports(&access, given, &|name| std::env::var_os(name).is_some()) {
            screen.line(&line);
        }
        return Ok(Exit::Done);
    }
    for (title, value) in [
        ("role", text(&reply["AssumedRoleUser"], "Arn")),
        ("key", text(given, "AccessKeyId")),
        ("secret", text(given, "AccessKeySecret")),
        ("token", text(given, "SecurityToken")),
        ("ends", text(given, "Expiration")),
    ] {
        screen.line(&format!("{title:<8}{value}"));
    }
    screen.note(&format!(
        "to use it in a shell: eval \"$(strongroom role assume {} --export)\"",
        shell_quoted(&args.role)
    ));
    Ok(Exit::Done)
}

/// A name is one of the caller's account.
fn arn(session: &Session, role: &str) -> Result<String, Failure> {
    if role.starts_with("acs:") {
        return Ok(role.to_owned());
    }
    let caller = session.call("GetCallerIdentity", Parameters::new())?;
    Ok(format!(
        "acs:ram::{}:role/{role}",
        text(&caller, "AccountId")
    ))
}

/// What a shell has to run so that the key is used for this service. `is_set` tells of the variables that are there:
/// those that name another secret or token are taken away.
fn exports(access: &Access, given: &Value, is_set: &dyn Fn(&str) -> bool) -> Vec<String> {
    let export = |name: &str, value: &str| format!("export {name}={}", shell_quoted(value));
    let others = [KEY_SECRET, TOKEN]
        .into_iter()
        .flat_map(|name| FORMS[1..].iter().map(move |form| format!("{name}{form}")));
    let mut lines: Vec<String> = others
        .filter(|name| is_set(name))
        .map(|name| format!("unset {name}"))
        .collect();
    lines.extend([
        export(ENDPOINT, &access.endpoint),
        export(REGION, &access.region),
    ]);
    if let Some(file) = access.ca_file.as_deref().and_then(Path::to_str) {
        lines.push(export(CACERT, file));
    }
    lines.extend([
        export(KEY_ID, text(given, "AccessKeyId")),
        export(KEY_SECRET, text(given, "AccessKeySecret")),
        export(TOKEN, text(given, "SecurityToken")),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::exports;
    use crate::session::Access;
    use api::client::{Credentials, Trust};
    use serde_json::json;

    #[test]
    fn a_shell_gets_all_that_is_needed_and_loses_what_is_in_the_way() {
        let access = Access {
            endpoint: "https://host:8710/".to_owned(),
            trust: Trust::default(),
            ca_file: Some("/data dir/tls/ca.pem".into()),
            region: "cn-hangzhou".to_owned(),
            credentials: Credentials {
                access_key_id: "own".to_owned(),
                access_key_secret: "own secret".into(),
                security_token: None,
            },
        };
        let given = json!({"AccessKeyId": "STS.1", "AccessKeySecret": "s", "SecurityToken": "t=="});
        let lines = exports(&access, &given, &|name| {
            name == "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE"
        });
        assert_eq!(
            lines,
            [
                "unset ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
                "export STRONGROOM_ENDPOINT=https://host:8710/",
                "export ALIBABA_CLOUD_REGION_ID=cn-hangzhou",
                "export STRONGROOM_CACERT='/data dir/tls/ca.pem'",
                "export ALIBABA_CLOUD_ACCESS_KEY_ID=STS.1",
                "export ALIBABA_CLOUD_ACCESS_KEY_SECRET=s",
                "export ALIBABA_CLOUD_SECURITY_TOKEN='t=='",
            ]
        );
    }
}
