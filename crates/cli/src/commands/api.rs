//! `api ACTION`: a signed call of any action, its JSON on standard output.
//!
//! The service ignores parameters that an action does not take, as HBR does: clients send some. A person who misspells one is
//! told before anything is sent.

use api::contract;

use super::Context;
use crate::args::ApiArgs;
use crate::exit::{Exit, Failure};
use crate::session::Parameters;

/// Calls and prints.
pub(crate) fn run(context: &Context, args: ApiArgs) -> Result<Exit, Failure> {
    if !args.force {
        refuse_unknown(&args.action, &args.parameters)?;
    }
    let reply = context
        .session()?
        .call(&args.action, Parameters::from_pairs(args.parameters))?;
    let text = serde_json::to_string_pretty(&reply)
        .map_err(|error| Failure::new(format!("cannot print the answer: {error}"), ""))?;
    context.screen.line(&text);
    Ok(Exit::Done)
}

fn refuse_unknown(action: &str, parameters: &[(String, String)]) -> Result<(), Failure> {
    let names = parameters.iter().map(|(name, _)| name.as_str());
    let Some(unknown) = contract::first_unknown(action, names) else {
        return Ok(());
    };
    let proposal = match unknown.nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => String::new(),
    };
    Err(Failure::usage(
        format!("{action} has no parameter {}{proposal}", unknown.name),
        "nothing was sent; with --force it is sent, and the service ignores what it does not know",
    ))
}

#[cfg(test)]
mod tests {
    use super::refuse_unknown;
    use crate::exit::Exit;

    fn refusal(action: &str, names: &[&str]) -> Option<String> {
        let pairs: Vec<(String, String)> = names
            .iter()
            .map(|name| ((*name).to_owned(), "value".to_owned()))
            .collect();
        let failure = refuse_unknown(action, &pairs).err()?;
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.next.contains("--force"), "{}", failure.next);
        Some(failure.what)
    }

    #[test]
    fn misspelt_parameters_are_named_with_what_was_meant() {
        for (action, names, expected) in [
            (
                "CreateBackupPlan",
                &["PlanName", "Paths"][..],
                "CreateBackupPlan has no parameter Paths; did you mean Path?",
            ),
            (
                "CreateBackupPlan",
                &["Rules.1.Retention"],
                "CreateBackupPlan has no parameter Rules; did you mean Rule?",
            ),
            (
                "DescribeVaults",
                &["Colour"],
                "DescribeVaults has no parameter Colour",
            ),
            (
                "HoldSnapshot",
                &["SnapshotId", "Reasons"],
                "HoldSnapshot has no parameter Reasons; did you mean Reason?",
            ),
        ] {
            assert_eq!(refusal(action, names).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_an_action_takes_and_what_nobody_knows_is_sent() {
        for (action, names) in [
            (
                "CreateBackupPlan",
                &["PlanName", "Path.1", "Rule.1.Retention", "RegionId"][..],
            ),
            ("CreateVault", &["VaultName", "StorageUrl"]),
            ("NoSuchAction", &["Anything"]),
            ("DescribeRegions", &[]),
        ] {
            assert_eq!(refusal(action, names), None, "{action}");
        }
    }
}
