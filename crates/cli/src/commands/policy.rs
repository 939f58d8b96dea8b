//! `policy list|run|simulate|delete`.

use serde_json::{Value, json};

use super::{Context, lookup};
use crate::args::{PolicyCommand, SimulateArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Paint, Table, bytes, clock};
use crate::secrets::confirm;
use crate::session::{Parameters, Session, number, rows, size, text};

/// Policies of one request.
const PAGE: u32 = 100;

/// Runs a verb.
pub(crate) fn run(context: &Context, command: PolicyCommand) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::List { json } => list(context, json),
        PolicyCommand::Run { policy, rule } => execute(context, &policy, rule.as_deref()),
        PolicyCommand::Simulate(args) => simulate(context, &args),
        PolicyCommand::Delete { policy, yes } => delete(context, &policy, yes),
    }
}

/// All policies, or the one of an id.
fn policies(session: &Session, policy_id: Option<&str>) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let parameters = Parameters::new()
            .with("MaxResults", PAGE)
            .with_some("PolicyId", policy_id)
            .with_some("NextToken", token.as_ref());
        let reply = session.call("DescribePoliciesV2", parameters)?;
        found.extend(rows(&reply, &["Policies"]));
        match text(&reply, "NextToken") {
            "" => return Ok(found),
            next => token = Some(next.to_owned()),
        }
    }
}

fn list(context: &Context, as_json: bool) -> Result<Exit, Failure> {
    let policies = policies(&context.session()?, None)?;
    if as_json {
        for policy in &policies {
            context.screen.json(policy);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("POLICY"),
        Column::Flexible("NAME"),
        Column::Text("RULE"),
        Column::Text("TYPE"),
        Column::Flexible("SCHEDULE"),
        Column::Text("VAULT"),
        Column::Text("BOUND"),
    ]);
    for policy in &policies {
        for rule in rows(policy, &["Rules"]) {
            table.row(vec![
                text(policy, "PolicyId").to_owned(),
                text(policy, "PolicyName").to_owned(),
                text(&rule, "RuleId").to_owned(),
                text(&rule, "RuleType").to_owned(),
                text(&rule, "Schedule").to_owned(),
                text(&rule, "VaultId").to_owned(),
                number(policy, "PolicyBindingCount").to_string(),
            ]);
        }
    }
    context.screen.text(&table.render(&context.screen));
    Ok(Exit::Done)
}

fn execute(context: &Context, policy_id: &str, rule: Option<&str>) -> Result<Exit, Failure> {
    let session = context.session()?;
    let found = policies(&session, Some(policy_id))?;
    let policy = found.first().ok_or_else(|| none(policy_id))?;
    for known in rows(policy, &["Rules"]) {
        let rule_id = text(&known, "RuleId");
        if text(&known, "RuleType") != "BACKUP" || rule.is_some_and(|wanted| wanted != rule_id) {
            continue;
        }
        let parameters = Parameters::new()
            .with("PolicyId", policy_id)
            .with("RuleId", rule_id);
        let reply = session.call("ExecutePolicyV2", parameters)?;
        context.screen.line(text(&reply, "JobId"));
    }
    Ok(Exit::Done)
}

fn none(policy_id: &str) -> Failure {
    Failure::new(
        format!("there is no policy {policy_id}"),
        "`strongroom policy list` shows them",
    )
}

fn simulate(context: &Context, args: &SimulateArgs) -> Result<Exit, Failure> {
    let session = context.session()?;
    let vault = match &args.vault {
        Some(vault) => Some(lookup::vault(&session, vault)?),
        None => None,
    };
    let advanced: Vec<Value> = [
        ("DAILY", args.daily),
        ("WEEKLY", args.weekly),
        ("MONTHLY", args.monthly),
        ("YEARLY", args.yearly),
    ]
    .into_iter()
    .filter_map(|(period, days)| {
        Some(json!({"AdvancedRetentionType": period, "Retention": days?, "WhichSnapshot": 1}))
    })
    .collect();
    let parameters = Parameters::new()
        .with_some("PolicyId", args.policy.as_ref())
        .with_some("PlanId", args.plan.as_ref())
        .with_some(
            "VaultId",
            vault.as_ref().map(|vault| text(vault, "VaultId")),
        )
        .with_some("At", args.at)
        .with_some("Retention", args.days)
        .with_some("KeepLatestSnapshots", args.keep_latest.then_some(1))
        .with_some(
            "RetentionRules",
            (!advanced.is_empty()).then(|| json!(advanced)),
        );
    let reply = session.call("SimulateRetention", parameters)?;
    let snapshots = rows(&reply, &["Snapshots"]);
    if args.json {
        for snapshot in &snapshots {
            context.screen.json(snapshot);
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        Column::Text("SNAPSHOT"),
        Column::Text("RECEIVED"),
        Column::Text("ADDED"),
        Column::Text("VERDICT"),
        Column::Text("WHY"),
        Column::Text("UNTIL"),
    ]);
    for snapshot in &snapshots {
        let kept = snapshot
            .get("Keep")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let (verdict, paint) = if kept {
            ("keep", Paint::Green)
        } else {
            ("goes", Paint::Amber)
        };
        let end = snapshot.get("End").and_then(Value::as_i64);
        let plain = |cell: String| (cell, Paint::Plain);
        table.painted_row(vec![
            plain(text(snapshot, "SnapshotId").to_owned()),
            plain(clock(number(snapshot, "CreatedTime"))),
            plain(bytes(size(snapshot, "ActualBytes"))),
            (verdict.to_owned(), paint),
            plain(
                text(snapshot, "Reason")
                    .to_ascii_lowercase()
                    .replace('_', " "),
            ),
            plain(end.filter(|_| kept).map(clock).unwrap_or_default()),
        ]);
    }
    context.screen.text(&table.render(&context.screen));
    context.screen.line(&format!(
        "{} kept, {} would go, at most {} freed",
        number(&reply, "KeptCount"),
        number(&reply, "ExpiredCount"),
        bytes(size(&reply, "FreedBytesAtMost")),
    ));
    Ok(Exit::Done)
}

fn delete(context: &Context, policy_id: &str, yes: bool) -> Result<Exit, Failure> {
    let session = context.session()?;
    let found = policies(&session, Some(policy_id))?;
    let policy = found.first().ok_or_else(|| none(policy_id))?;
    let name = text(policy, "PolicyName");
    if !yes
        && !confirm(&format!(
            "delete the policy {policy_id} ({name})? Its snapshots stay."
        ))
    {
        return Err(Failure::usage("nothing was deleted", "confirm with --yes"));
    }
    session.call(
        "DeletePolicyV2",
        Parameters::new().with("PolicyId", policy_id),
    )?;
    context.screen.line(&format!("{policy_id} is deleted"));
    Ok(Exit::Done)
}
