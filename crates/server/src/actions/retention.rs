//! Extensions of this server about what is kept: SimulateRetention, HoldSnapshot, ReleaseSnapshot, ListTrash,
//! RecoverSnapshot. The cloud has no such actions; the CLI uses them.

use api::error::{ApiError, Code};
use catalog::retention::{self, Group, Judged};
use catalog::{plan_rules, policies, policy_bindings};
use model::retention::{AdvancedRule, KeepReason, MAX_RETENTION_DAYS, RetentionRule, Verdict};
use model::{PlanId, SnapshotId, Timestamp};
use serde_json::{Value, json};

use super::{Answer, Call, lists, policy_rules};
use crate::failure;

/// Bindings of a policy that are looked at.
const MAX_BINDINGS: u32 = 10_000;
const MAX_REASON_CHARS: usize = 255;

/// What retention would keep and let go at a time, by what snapshots were promised, or by another rule.
pub(crate) fn simulate_retention(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let vault_id = lists::vault_if_named(call)?;
    let plan_ids = plan_ids(call)?;
    let at = params
        .int_in("At", 0..=253_370_764_800)?
        .map_or(call.now, Timestamp);
    let rule = other_rule(call)?;
    let found = retention::preview(
        &call.service.catalog,
        &call.account,
        (vault_id.as_ref(), plan_ids.as_deref()),
        rule.as_ref(),
        at,
    )
    .map_err(failure::of_catalog)?;
    let rows: Vec<(&Group, &Judged)> = found
        .iter()
        .flat_map(|(group, judged)| judged.iter().map(move |one| (group, one)))
        .collect();
    let expired = || {
        rows.iter()
            .filter(|(_, judged)| judged.verdict == Verdict::Expire)
    };
    let freed: i64 = expired()
        .map(|(_, judged)| judged.actual_bytes)
        .fold(0, i64::saturating_add);
    call.reply(json!({
        "At": at.0,
        "KeptCount": rows.len() - expired().count(),
        "ExpiredCount": expired().count(),
        "FreedBytesAtMost": freed,
        "Snapshots": rows.iter().map(|(group, judged)| row(group, judged)).collect::<Vec<Value>>(),
    }))
}

/// The plans that a policy or a plan runs; `None`: all.
fn plan_ids(call: &Call<'_>) -> Result<Option<Vec<String>>, ApiError> {
    let params = &call.params;
    let catalog = &call.service.catalog;
    if params.has("PlanId") {
        let plan_id: PlanId = lists::id(params, "PlanId", Code::PlanNotExist)?;
        catalog::plans::get(catalog, &call.account, &plan_id).map_err(failure::of_catalog)?;
        return Ok(Some(vec![plan_id.to_string()]));
    }
    let Some(policy_id) = params.text("PolicyId") else {
        return Ok(None);
    };
    policies::get(catalog, &call.account, policy_id).map_err(failure::of_catalog)?;
    let filter = policy_bindings::BindingFilter {
        policy_ids: Some(vec![policy_id.to_owned()]),
        ..Default::default()
    };
    let bound = policy_bindings::list(catalog, &call.account, &filter, (MAX_BINDINGS, None))
        .map_err(failure::of_catalog)?;
    let mut ids = Vec::new();
    for binding in bound.rows {
        ids.extend(
            plan_rules::plans_of(catalog, &call.account, &binding.binding_id)
                .map_err(failure::of_catalog)?,
        );
    }
    Ok(Some(ids))
}

/// The rule to try, if the caller names one.
fn other_rule(call: &Call<'_>) -> Result<Option<RetentionRule>, ApiError> {
    let params = &call.params;
    let days = params.int_in("Retention", -1..=MAX_RETENTION_DAYS)?;
    let keep = params.int_in("KeepLatestSnapshots", 0..=1)?;
    let advanced = policy_rules::retention_rules(params)?;
    if days.is_none() && keep.is_none() && advanced.is_empty() {
        return Ok(None);
    }
    Ok(Some(RetentionRule {
        days,
        keep_latest: keep == Some(1),
        advanced: advanced
            .into_iter()
            .map(|rule| AdvancedRule {
                period: rule.advanced_retention_type,
                which: rule.which_snapshot,
                days: rule.retention,
            })
            .collect(),
    }))
}

fn row(group: &Group, judged: &Judged) -> Value {
    let (kept, reason, end) = match judged.verdict {
        Verdict::Expire => (false, "EXPIRED".to_owned(), None),
        Verdict::Keep { reason, end } => {
            let word = match reason {
                KeepReason::ForEver => "FOR_EVER".to_owned(),
                KeepReason::Held => "HELD".to_owned(),
                KeepReason::Latest => "LATEST".to_owned(),
                KeepReason::Days => "DAYS".to_owned(),
                KeepReason::Advanced(period) => period.as_str().to_owned(),
            };
            (true, word, end)
        }
    };
    json!({
        "SnapshotId": judged.snapshot_id.as_str(),
        "VaultId": group.vault_id.as_str(),
        "PlanId": group.plan_id.as_ref().map(PlanId::as_str),
        "CreatedTime": judged.received.0,
        "ActualBytes": judged.actual_bytes,
        "Keep": kept,
        "Reason": reason,
        "End": end.map(|end| end.0),
    })
}

/// Holds a snapshot: nobody and nothing deletes it until it is let go.
pub(crate) fn hold_snapshot(call: &Call<'_>) -> Answer {
    let reason = call.params.text("Reason").unwrap_or("held");
    if reason.chars().count() > MAX_REASON_CHARS {
        let why = format!("it may have at most {MAX_REASON_CHARS} characters");
        return Err(ApiError::invalid("Reason", why));
    }
    hold(call, Some(reason))
}

/// Lets a snapshot go again.
pub(crate) fn release_snapshot(call: &Call<'_>) -> Answer {
    hold(call, None)
}

fn hold(call: &Call<'_>, reason: Option<&str>) -> Answer {
    let snapshot_id: SnapshotId = lists::id(&call.params, "SnapshotId", Code::SnapshotNotExist)?;
    retention::hold(
        &call.service.catalog,
        &call.account,
        &snapshot_id,
        reason,
        call.now,
    )
    .map_err(failure::of_catalog)?;
    call.done()
}

/// Deleted snapshots that can be taken back.
pub(crate) fn list_trash(call: &Call<'_>) -> Answer {
    let trashed =
        retention::trash(&call.service.catalog, &call.account).map_err(failure::of_catalog)?;
    let rows = trashed.iter().map(|one| {
        json!({
            "SnapshotId": one.snapshot_id.as_str(),
            "VaultId": one.vault_id.as_str(),
            "TaskId": one.task_id.as_str(),
            "Until": one.until.0,
        })
    });
    call.reply(json!({ "Snapshots": rows.collect::<Vec<Value>>() }))
}

/// Takes a snapshot out of the trash.
pub(crate) fn recover_snapshot(call: &Call<'_>) -> Answer {
    let snapshot_id: SnapshotId = lists::id(&call.params, "SnapshotId", Code::SnapshotNotExist)?;
    retention::take_back(&call.service.catalog, &call.account, &snapshot_id, call.now)
        .map_err(failure::of_catalog)?;
    call.done()
}
