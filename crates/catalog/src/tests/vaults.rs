//! Vaults and plans: their life, their limits, and what goes with them.

use model::{JobQuery, JobStatus, SourceType, VaultStatus};

use super::support::{Fixture, at, complete, new_account, new_vault};
use crate::plans::{PlanFilter, PlanSwitch, RunningJobs};
use crate::vaults::{MAX_VAULTS, VaultChange, VaultFilter};
use crate::{
    CatalogError, PageRequest, PlanSpec, TaskKind, WorkState, jobs, plans, pulses, snapshots,
    tasks, vaults, work,
};

#[test]
fn a_vault_is_made_by_a_task() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let new = new_vault(&fixture.catalog, "default", 0);
    let (vault, task_id) = vaults::create(
        &fixture.catalog,
        &fixture.account,
        &new,
        Some(&client.client_id),
        at(0),
    )
    .unwrap();
    assert_eq!(vault.status, VaultStatus::Initializing);
    let plan = fixture.plan(&vault.vault_id, "plan");
    let job = fixture.job(&plan, 1);
    // The job waits: only the task can be leased.
    let leased = fixture.lease(&client, "run", 2, 10);
    assert_eq!(
        leased
            .iter()
            .map(|work| work.work_id.as_str())
            .collect::<Vec<_>>(),
        [task_id.as_str()]
    );
    assert_eq!(
        tasks::get(&fixture.catalog, &fixture.account, &task_id)
            .unwrap()
            .status,
        JobStatus::Running
    );
    let report = tasks::FinishTask {
        work_id: task_id.to_string(),
        epoch: 1,
        outcome: JobStatus::Complete,
        message: None,
        upkeep: None,
    };
    assert!(
        tasks::finish(&fixture.catalog, &report, at(3))
            .unwrap()
            .is_accepted()
    );
    assert_eq!(
        tasks::finish(&fixture.catalog, &report, at(4)).unwrap(),
        work::FinishAnswer::Repeated
    );
    let task = tasks::get(&fixture.catalog, &fixture.account, &task_id).unwrap();
    assert_eq!(
        (task.kind, task.status, task.progress),
        (TaskKind::CreateVault, JobStatus::Complete, 100)
    );
    assert_eq!(task.completed_time, Some(at(3)));
    let vault = vaults::get(&fixture.catalog, &fixture.account, &vault.vault_id).unwrap();
    assert_eq!(vault.status, VaultStatus::Created);
    let leased = fixture.lease(&client, "run", 5, 10);
    assert_eq!(leased[0].work_id, job.job_id.as_str());
}

#[test]
fn a_vault_that_cannot_be_made_fails_the_jobs_that_wait() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let new = new_vault(&fixture.catalog, "default", 0);
    let (vault, _) = vaults::create(&fixture.catalog, &fixture.account, &new, None, at(0)).unwrap();
    let plan = fixture.plan(&vault.vault_id, "plan");
    let job = fixture.job(&plan, 1);
    fixture.finish_task(&client, JobStatus::Failed, 2);
    let vault = vaults::get(&fixture.catalog, &fixture.account, &vault.vault_id).unwrap();
    assert_eq!(
        (vault.status, vault.status_message.as_deref()),
        (VaultStatus::Error, Some("no room"))
    );
    let job = jobs::get(&fixture.catalog, &fixture.account, &job.job_id).unwrap();
    assert_eq!(
        (job.status, job.complete_time),
        (JobStatus::Failed, Some(at(2)))
    );
    assert!(job.error_message.unwrap().contains("no room"));
    assert_eq!(fixture.lease(&client, "run", 3, 10), []);
    // A new job of that vault fails at once, and says why.
    let late = fixture.job(&plan, 4);
    assert_eq!(
        (late.status, late.complete_time),
        (JobStatus::Failed, Some(at(4)))
    );
    assert!(late.error_message.unwrap().contains("no room"));
    assert_eq!(fixture.lease(&client, "run", 5, 10), []);
    let plan = plans::get(&fixture.catalog, &fixture.account, &plan.plan_id).unwrap();
    assert_eq!(plan.latest_finish_job_id, Some(late.job_id));
}

#[test]
fn vaults_are_limited_and_listed() {
    let fixture = Fixture::new();
    for number in 0..MAX_VAULTS {
        let new = new_vault(&fixture.catalog, &format!("vault {number}"), 0);
        vaults::adopt(
            &fixture.catalog,
            &fixture.account,
            &new,
            at(i64::from(number / 2)),
        )
        .unwrap();
    }
    let one_more = new_vault(&fixture.catalog, "one more", 0);
    let result = vaults::create(&fixture.catalog, &fixture.account, &one_more, None, at(1));
    assert!(matches!(
        result,
        Err(CatalogError::TooManyVaults { max: MAX_VAULTS })
    ));
    let other = new_account(&fixture.catalog, 2);
    vaults::adopt(&fixture.catalog, &other, &one_more, at(1)).unwrap();
    let again = vaults::adopt(&fixture.catalog, &other, &one_more, at(1));
    assert!(matches!(again, Err(CatalogError::AlreadyExists { .. })));

    let list = |filter: &VaultFilter, page_number, page_size| {
        let page = PageRequest {
            page_number,
            page_size,
        };
        vaults::list(&fixture.catalog, &fixture.account, filter, page).unwrap()
    };
    let all = list(&VaultFilter::default(), 1, 100);
    assert_eq!((all.rows.len(), all.total), (100, 100));
    let mut paged = Vec::new();
    for page in 1..=4 {
        paged.extend(list(&VaultFilter::default(), page, 33).rows);
    }
    assert_eq!(paged, all.rows);
    assert_eq!(list(&VaultFilter::default(), 5, 33).rows, []);
    let named = VaultFilter {
        vault_name: Some("vault 7".to_owned()),
        ..VaultFilter::default()
    };
    assert_eq!(list(&named, 1, 10).total, 1);
    let id = VaultFilter {
        vault_id: Some("v-none".to_owned()),
        ..VaultFilter::default()
    };
    assert_eq!(list(&id, 1, 10).total, 0);
    let error = VaultFilter {
        status: Some("ERROR".to_owned()),
        ..VaultFilter::default()
    };
    assert_eq!(list(&error, 1, 10).total, 0);
}

#[test]
fn vaults_change_and_worm_is_one_way() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let update = |change: &VaultChange| {
        vaults::update(&fixture.catalog, &fixture.account, &vault, change, at(5))
    };
    let renamed = VaultChange {
        vault_name: Some("new".to_owned()),
        ..VaultChange::default()
    };
    let changed = update(&renamed).unwrap();
    assert_eq!(
        (changed.vault_name.as_str(), changed.description.as_str()),
        ("new", "")
    );
    assert_eq!((changed.updated_time, changed.created_time), (at(5), at(0)));
    let worm = |on| VaultChange {
        worm_enabled: Some(on),
        ..VaultChange::default()
    };
    assert!(!update(&worm(false)).unwrap().worm_enabled);
    assert!(update(&worm(true)).unwrap().worm_enabled);
    assert!(matches!(
        update(&worm(false)),
        Err(CatalogError::Worm { .. })
    ));
    assert!(update(&renamed).unwrap().worm_enabled);
}

#[test]
fn a_deleted_vault_takes_everything_along() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let (vault, kept) = (fixture.vault(0), fixture.vault(1));
    let plan = fixture.plan(&vault, "plan");
    let kept_plan = fixture.plan(&kept, "plan");
    fixture.run_job(&client, &plan, "a", 2);
    fixture.run_job(&client, &kept_plan, "a", 4);
    let running = fixture.job(&plan, 6);
    let leased = fixture.lease(&client, "run", 6, 1);
    let counts = vaults::get(&fixture.catalog, &fixture.account, &vault)
        .unwrap()
        .counts;
    assert_eq!(
        (counts.snapshot_count, counts.plans),
        (1, vec![(SourceType::EcsFile, 1)])
    );
    assert_eq!(counts.source_types, [SourceType::EcsFile]);

    let task = vaults::delete(&fixture.catalog, &fixture.account, &vault, None, at(7)).unwrap();
    assert!(matches!(
        vaults::get(&fixture.catalog, &fixture.account, &vault),
        Err(CatalogError::NotFound { .. })
    ));
    assert!(vaults::delete(&fixture.catalog, &fixture.account, &vault, None, at(7)).is_err());
    assert!(plans::get(&fixture.catalog, &fixture.account, &plan.plan_id).is_err());
    let left = jobs::query(&fixture.catalog, &fixture.account, &JobQuery::default()).unwrap();
    assert!(left.total == 1 && left.rows[0].vault_id.as_ref() == Some(&kept));
    // The agent of the running job finds its work lost.
    let held = pulses::HeldWork {
        work_id: running.job_id.to_string(),
        epoch: leased[0].epoch,
        progress: None,
    };
    let answer = fixture.pulse(&client.client_id, "run", held, 8);
    assert_eq!(answer, pulses::LeaseAnswer::Lost);
    // What it stored is still known to the task, until that has ended.
    let doomed = vaults::get_for_work(&fixture.catalog, &fixture.account, &vault).unwrap();
    assert_eq!(doomed.storage_url, "/vaults/one");
    // It fails, as it does while somebody else holds a lock, and has its next turn later.
    fixture.finish_task(&client, JobStatus::Failed, 9);
    assert!(vaults::get_for_work(&fixture.catalog, &fixture.account, &vault).is_ok());
    assert_eq!(fixture.lease(&client, "run", 10, 1), []);
    fixture.finish_task(&client, JobStatus::Complete, 9 + 300);
    assert!(vaults::get_for_work(&fixture.catalog, &fixture.account, &vault).is_err());
    assert_eq!(
        tasks::get(&fixture.catalog, &fixture.account, &task)
            .unwrap()
            .status,
        JobStatus::Complete
    );
    // The other vault has lost nothing.
    assert!(snapshots::get_by_hash(&fixture.catalog, &fixture.account, &kept, "a").is_ok());
}

#[test]
fn a_vault_is_not_deleted_while_it_is_made_or_immutable() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let new = new_vault(&fixture.catalog, "new", 0);
    let (vault, _) = vaults::create(&fixture.catalog, &fixture.account, &new, None, at(0)).unwrap();
    let delete = |now| {
        vaults::delete(
            &fixture.catalog,
            &fixture.account,
            &vault.vault_id,
            None,
            at(now),
        )
    };
    assert!(matches!(
        delete(1),
        Err(CatalogError::VaultState {
            status: VaultStatus::Initializing,
            ..
        })
    ));
    fixture.finish_task(&client, JobStatus::Complete, 2);
    let worm = VaultChange {
        worm_enabled: Some(true),
        ..VaultChange::default()
    };
    vaults::update(
        &fixture.catalog,
        &fixture.account,
        &vault.vault_id,
        &worm,
        at(3),
    )
    .unwrap();
    let plan = fixture.plan_with(&vault.vault_id, "plan", |spec| spec.retention = Some(2));
    let job = fixture.run_job(&client, &plan, "a", 4);
    let snapshot =
        snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault.vault_id, "a").unwrap();
    assert_eq!(
        snapshot.expire_time,
        Some(job.complete_time.unwrap().plus_seconds(2 * 86_400))
    );
    let remove = |now| {
        snapshots::request_delete(
            &fixture.catalog,
            &fixture.account,
            &snapshot.snapshot_id,
            None,
            at(now),
        )
    };
    assert!(matches!(delete(2 * 86_400), Err(CatalogError::Worm { .. })));
    assert!(matches!(remove(2 * 86_400), Err(CatalogError::Worm { .. })));
    remove(2 * 86_400 + 5).unwrap();
    delete(2 * 86_400 + 6).unwrap();
}

#[test]
fn plans_keep_what_they_are_given() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan_with(&vault, "plan", |spec| {
        spec.include = Some("[\"/a\"]".to_owned());
        spec.speed_limit = Some("0:24:5120".to_owned());
        spec.options = Some("{\"UseVSS\":false}".to_owned());
        spec.schedule = Some("I|1602673264|PT2H".to_owned());
        spec.retention = Some(7);
        spec.keep_latest_snapshots = Some(1);
        spec.rules = Some(serde_json::json!([{"RuleName": "r", "Retention": 5}]));
        spec.source_fields.detail = Some(serde_json::json!({"doCopy": true, "unknown": [1, 2]}));
        spec.source_fields.table_names = vec!["t1".to_owned()];
    });
    let read = plans::get(&fixture.catalog, &fixture.account, &plan.plan_id).unwrap();
    assert_eq!(read, plan);
    assert_eq!(read.spec.source_fields.table_names, ["t1"]);
    let edit = |spec: &mut PlanSpec| {
        spec.paths = Vec::new();
        spec.retention = None;
        spec.plan_name = "renamed".to_owned();
    };
    let changed = plans::update(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        edit,
        at(9),
    )
    .unwrap();
    assert_eq!(
        (
            changed.spec.paths.len(),
            changed.spec.retention,
            changed.updated_time
        ),
        (0, None, at(9))
    );
    assert_eq!(changed.next_run_time, plan.next_run_time);
    let bad = |spec: &mut PlanSpec| spec.schedule = Some("I|x|P1D".to_owned());
    let result = plans::update(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        bad,
        at(10),
    );
    assert!(
        matches!(result, Err(CatalogError::Schedule(_))),
        "{result:?}"
    );
    assert_eq!(
        plans::get(&fixture.catalog, &fixture.account, &plan.plan_id).unwrap(),
        changed
    );
}

#[test]
fn a_plans_name_is_unique_in_its_vault_and_source_type() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.vault(0), fixture.vault(1));
    let plan = fixture.plan(&one, "plan");
    let create = |spec: &PlanSpec| {
        plans::create(
            &fixture.catalog,
            &fixture.account,
            spec,
            PlanSwitch::Enabled,
            at(1),
        )
    };
    assert!(matches!(
        create(&plan.spec),
        Err(CatalogError::PlanNameTaken { .. })
    ));
    let case = PlanSpec {
        plan_name: "Plan".to_owned(),
        ..plan.spec.clone()
    };
    create(&case).unwrap();
    create(&PlanSpec {
        vault_id: Some(two),
        ..plan.spec.clone()
    })
    .unwrap();
    let nas = create(&PlanSpec {
        source_type: SourceType::Nas,
        ..plan.spec.clone()
    })
    .unwrap();
    let rename = |spec: &mut PlanSpec| spec.source_type = SourceType::EcsFile;
    let result = plans::update(
        &fixture.catalog,
        &fixture.account,
        &nas.plan_id,
        rename,
        at(2),
    );
    assert!(matches!(result, Err(CatalogError::PlanNameTaken { .. })));
    // Saving a plan under its own name is no clash.
    plans::update(
        &fixture.catalog,
        &fixture.account,
        &nas.plan_id,
        |_| {},
        at(3),
    )
    .unwrap();
}

/// Plans of whole instances may have no vault; nothing could run for them.
#[test]
fn a_plan_without_a_vault_is_never_due() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan_with(&vault, "plan", |spec| {
        spec.vault_id = None;
        spec.schedule = Some(format!("I|{}|PT1H", at(10).0));
    });
    assert_eq!(plan.next_run_time, None);
    let result = jobs::create(&fixture.catalog, &fixture.account, &plan.plan_id, at(1));
    assert!(matches!(
        result,
        Err(CatalogError::PlanIncomplete {
            missing: "vault",
            ..
        })
    ));
}

#[test]
fn plans_are_filtered_and_paged() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.vault(0), fixture.vault(1));
    for number in 0..5 {
        fixture.plan(
            if number % 2 == 0 { &one } else { &two },
            &format!("plan {number}"),
        );
    }
    let list = |filter: &PlanFilter| {
        plans::list(
            &fixture.catalog,
            &fixture.account,
            filter,
            PageRequest::first(2),
        )
        .unwrap()
    };
    let all = list(&PlanFilter::default());
    assert_eq!((all.rows.len(), all.total), (2, 5));
    assert_eq!(all.rows[0].spec.plan_name, "plan 4");
    let in_two = PlanFilter {
        vault_ids: Some(vec![two.to_string()]),
        ..PlanFilter::default()
    };
    assert_eq!(list(&in_two).total, 2);
    let names = Some(vec![
        "plan 0".to_owned(),
        "plan 1".to_owned(),
        "no".to_owned(),
    ]);
    assert_eq!(
        list(&PlanFilter {
            plan_names: names.clone(),
            ..in_two
        })
        .total,
        1
    );
    assert_eq!(
        list(&PlanFilter {
            plan_names: names,
            ..PlanFilter::default()
        })
        .total,
        2
    );
    let nas = PlanFilter {
        source_types: Some(vec!["NAS".to_owned()]),
        ..PlanFilter::default()
    };
    assert_eq!(list(&nas).total, 0);
}

#[test]
fn a_deleted_plan_leaves_its_snapshots() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let done = fixture.run_job(&client, &plan, "a", 1);
    let waiting = fixture.job(&plan, 3);
    let delete =
        |running| plans::delete(&fixture.catalog, &fixture.account, &plan.plan_id, running);
    match delete(RunningJobs::Refuse) {
        Err(CatalogError::PlanBusy { job_id, .. }) => assert_eq!(job_id, waiting.job_id.as_str()),
        other => panic!("{other:?}"),
    }
    let leased = fixture.lease(&client, "run", 4, 1);
    delete(RunningJobs::Drop).unwrap();
    // The agent that ran the job reports into the void.
    let answer = jobs::finish(&fixture.catalog, &complete(&leased[0], "late"), at(5)).unwrap();
    assert_eq!(answer, work::FinishAnswer::Stale);
    assert!(snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, "late").is_err());
    assert!(jobs::get(&fixture.catalog, &fixture.account, &done.job_id).is_err());
    assert_eq!(
        work::get(&fixture.catalog, waiting.job_id.as_str()).unwrap(),
        None
    );
    let snapshot = snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, "a").unwrap();
    assert_eq!(snapshot.plan_id, Some(plan.plan_id.clone()));
    // With nothing under way, Refuse deletes too.
    let idle = fixture.plan(&vault, "plan");
    fixture.run_job(&client, &idle, "b", 5);
    plans::delete(
        &fixture.catalog,
        &fixture.account,
        &idle.plan_id,
        RunningJobs::Refuse,
    )
    .unwrap();
}

#[test]
fn ending_a_job_does_everything_at_once() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let job = fixture.run_job(&client, &plan, "abc", 10);
    assert_eq!(
        (job.status, job.progress.progress),
        (JobStatus::Complete, 10_000)
    );
    assert_eq!(
        (job.start_time, job.complete_time),
        (Some(at(10)), Some(at(11)))
    );
    let read = vaults::get(&fixture.catalog, &fixture.account, &vault).unwrap();
    assert_eq!(
        (
            read.bytes_done,
            read.storage_size,
            read.counts.snapshot_count
        ),
        (800, 600, 1)
    );
    let snapshot =
        snapshots::get_by_hash(&fixture.catalog, &fixture.account, &vault, "abc").unwrap();
    assert_eq!(
        (snapshot.job_id, snapshot.bytes_total),
        (Some(job.job_id.clone()), 1000)
    );
    let plan = plans::get(&fixture.catalog, &fixture.account, &plan.plan_id).unwrap();
    assert_eq!(plan.latest_execute_job_id.as_ref(), Some(&job.job_id));
    assert_eq!(plan.latest_finish_job_id.as_ref(), Some(&job.job_id));
    assert_eq!(
        work::get(&fixture.catalog, job.job_id.as_str())
            .unwrap()
            .unwrap()
            .state,
        WorkState::Done
    );
}
