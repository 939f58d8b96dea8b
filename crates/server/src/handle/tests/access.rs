//! What callers are told when they may not, or when nothing could come of what they ask for.

use catalog::tasks::FinishTask;
use catalog::{Snapshot, tasks};
use serde_json::{Value, json};

use super::{
    Arc, Client, Duration, JobStatus, ManualClock, Pending, Plan, ServerHandle, Timestamp, client,
    root_key, server, snapshot_by, wire_by, work,
};
use api::error::ApiError;
use std::cell::Cell;

type Key = (String, String);

/// A server with one plan and one snapshot of it, both of the host `stays`; and a host that will go.
struct World {
    server: ServerHandle,
    clock: Arc<ManualClock>,
    root: Key,
    stays: Client,
    goes: Client,
    plan: Plan,
    snapshot: Snapshot,
    calls: Cell<u32>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp(1_767_225_600)));
        let server = server(&clock, folder.path());
        let stays = client(&server, "machine 1", "key 1");
        let goes = client(&server, "machine 2", "key 2");
        let (plan, snapshot) = snapshot_by(&server, &stays, 'a');
        Self {
            root: root_key(&server),
            server,
            clock,
            stays,
            goes,
            plan,
            snapshot,
            calls: Cell::new(0),
            _folder: folder,
        }
    }

    fn call_by(&self, key: &Key, action: &str, params: &[(&str, &str)]) -> Result<Value, ApiError> {
        let nonce = self.calls.get() + 1;
        self.calls.set(nonce);
        let pairs = params
            .iter()
            .map(|(name, value)| format!("{name}={}", api::pairs::encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let wire = wire_by(&self.server, key, &nonce.to_string(), action, &body);
        let reply = Pending::Arrived.finish(&self.server.service, &wire)?;
        Ok(serde_json::from_slice(&reply).unwrap())
    }

    fn call(&self, action: &str, params: &[(&str, &str)]) -> Value {
        self.call_by(&self.root, action, params)
            .unwrap_or_else(|error| panic!("{action}: {error}"))
    }

    /// The code and the message of a refusal.
    fn refused(&self, action: &str, params: &[(&str, &str)]) -> (String, String) {
        let error = self.call_by(&self.root, action, params).unwrap_err();
        (error.code.into_owned(), error.message)
    }

    /// The key of a new user.
    fn user(&self, name: &str, statements: Value) -> Key {
        let policy = json!({"Version": "1", "Statement": statements}).to_string();
        self.call(
            "CreateUser",
            &[("UserName", name), ("PolicyDocument", &policy)],
        );
        let key = self.call("CreateKey", &[("UserName", name)]);
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("AccessKeyId"), text("AccessKeySecret"))
    }

    fn policy(&self, name: &str) -> String {
        let rules = json!([{"RuleType": "BACKUP", "Schedule": "I|1893456000|P1D", "Retention": 7,
            "VaultId": self.snapshot.vault_id}]);
        let made = self.call(
            "CreatePolicyV2",
            &[("PolicyName", name), ("Rules", &rules.to_string())],
        );
        made["PolicyId"].as_str().unwrap().to_owned()
    }

    fn bind(&self, policy_id: &str, client: &Client) -> Result<Value, ApiError> {
        let list = json!([{"SourceType": "ECS_FILE", "DataSourceId": client.instance_id}]);
        let list = list.to_string();
        let params = [
            ("PolicyId", policy_id),
            ("PolicyBindingList", list.as_str()),
        ];
        self.call_by(&self.root, "CreatePolicyBindings", &params)
    }

    /// Lets the agent go of the host that was not heard of for long.
    fn uninstall(&self) {
        self.clock.advance_seconds(7_200);
        let ids = json!([self.goes.client_id]).to_string();
        self.call("UninstallBackupClients", &[("ClientIds", &ids)]);
    }
}

#[test]
fn a_document_that_names_no_resource_is_not_stored() {
    let world = World::new();
    let document = |resource: &str| {
        json!({"Version": "1", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": resource}]})
            .to_string()
    };
    let trust =
        json!({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"RAM": format!("acs:ram::{}:root", world.server.account_id)}}]})
        .to_string();
    world.call("CreateUser", &[("UserName", "ann")]);
    for (resource, told) in [
        (
            "acs:hbr:*:*:vualt/v-1",
            "did you mean acs:hbr:*:*:vault/v-1?",
        ),
        ("acs:hrb:*:*:*", "did you mean acs:hbr:*:*:*?"),
        (
            "acs:hbr:*:*:clients/c-1",
            "did you mean acs:hbr:*:*:client/c-1?",
        ),
        ("po-1", "did you mean acs:hbr:*:*:policy/po-1?"),
        (
            "acs:hbr:vault/x",
            "there may be vault/v-…, plan/plan-…, policy/po-…, client/c-…, *",
        ),
    ] {
        let document = document(resource);
        for (action, params) in [
            ("CreateUser", vec![("UserName", "bob")]),
            ("SetUserPolicy", vec![("UserName", "ann")]),
            (
                "CreateRole",
                vec![
                    ("RoleName", "see"),
                    ("AssumeRolePolicyDocument", trust.as_str()),
                ],
            ),
        ] {
            let params = [params, vec![("PolicyDocument", document.as_str())]].concat();
            let (code, message) = world.refused(action, &params);
            assert_eq!(code, "InvalidParameter.PolicyDocument");
            assert!(
                message.contains(resource) && message.contains(told),
                "{message}"
            );
        }
    }
    let users = world.call("ListUsers", &[]);
    assert_eq!(users["Users"].as_array().unwrap().len(), 1);
    assert_eq!(users["Users"][0]["PolicyDocument"], Value::Null);

    // What the service itself writes, and what is about other services.
    let vault_id = world.snapshot.vault_id.as_str();
    let asked = [("ActionType", "BACKUP"), ("VaultId", vault_id)];
    let written = world.call("GenerateRamPolicy", &asked);
    for document in [
        written["PolicyDocument"].as_str().unwrap().to_owned(),
        document("acs:oss:*:*:bucket/*"),
    ] {
        let params = [("UserName", "ann"), ("PolicyDocument", document.as_str())];
        world.call("SetUserPolicy", &params);
        let users = world.call("ListUsers", &[]);
        assert_eq!(users["Users"][0]["PolicyDocument"], document.as_str());
    }
    world.server.join();
}

/// By the names that the caller has given, and alike for what there is and what there is not.
#[test]
fn a_refusal_names_what_was_asked_for() {
    let world = World::new();
    let vault = format!("acs:hbr:*:*:vault/{}", world.snapshot.vault_id);
    let barred = world.user(
        "barred",
        json!([{"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": vault}]),
    );
    let elsewhere = world.user(
        "elsewhere",
        json!({"Effect": "Allow", "Action": "*", "Resource": "acs:hbr:*:*:vault/v-0"}),
    );
    let account = &world.server.account_id;
    let arn = |what: &str| format!("acs:hbr:cn-hangzhou:{account}:{what}");
    let job_id = world.snapshot.job_id.clone().unwrap().to_string();
    let (vault_id, plan_id) = (&world.snapshot.vault_id, &world.plan.plan_id);
    for (action, name, id, shown) in [
        (
            "CheckVault",
            "VaultId",
            vault_id.as_str(),
            arn(&format!("vault/{vault_id}")),
        ),
        (
            "ExecuteBackupPlan",
            "PlanId",
            plan_id.as_str(),
            arn(&format!("plan/{plan_id}")),
        ),
        (
            "ListJobEvents",
            "JobId",
            job_id.as_str(),
            format!("the vault of {job_id}"),
        ),
    ] {
        let said = |key: &Key, id: &str| {
            let error = world.call_by(key, action, &[(name, id)]).unwrap_err();
            assert_eq!(error.code, "NoPermission", "{action}");
            error.message
        };
        let before = "You are not authorized to do this operation";
        // The number of the statement would tell where the job lies.
        let statement = match name {
            "JobId" => "a statement",
            _ => "statement 2",
        };
        assert_eq!(
            said(&barred, id),
            format!(
                "{before}: {statement} in the policy of the user barred denies hbr:{action} on {shown} (ExplicitDeny)."
            )
        );
        let implicit = format!(
            "{before}: no statement in the policy of the user elsewhere allows hbr:{action} on {shown} (ImplicitDeny)."
        );
        assert_eq!(said(&elsewhere, id), implicit);
        let nobody = format!("{id}x");
        assert_eq!(said(&elsewhere, &nobody), implicit.replace(id, &nobody));
    }
    let error = world.call_by(&elsewhere, "ListTrash", &[]).unwrap_err();
    assert!(error.message.contains(&arn("*")), "{error}");
    world.server.join();
}

/// A condition on jobs is about jobs: an id of another kind beside them, which the caller may use, opens nothing.
#[test]
fn a_list_of_ids_is_judged_by_each_of_them() {
    let world = World::new();
    let (vault_id, instance) = (&world.snapshot.vault_id, &world.stays.instance_id);
    let plan = [
        ("SourceType", "ECS_FILE"),
        ("VaultId", vault_id.as_str()),
        ("InstanceId", instance.as_str()),
        ("PlanName", "other"),
        ("Path", "[\"/srv/other\"]"),
        ("Schedule", "I|1893456000|P1D"),
        ("BackupType", "COMPLETE"),
    ];
    let other = world.call("CreateBackupPlan", &plan)["PlanId"].clone();
    let other = other.as_str().unwrap();
    let allowed = format!("acs:hbr:*:*:plan/{other}");
    let key = world.user(
        "bob",
        json!({"Effect": "Allow", "Action": "hbr:*", "Resource": allowed}),
    );
    let job_id = world.snapshot.job_id.clone().unwrap().to_string();
    let list = |ids: &[&str]| {
        let mut params = vec![
            ("Filters.1.Key", "JobId"),
            ("Filters.1.Operator", "IN"),
            ("Filters.1.Values.1", ids[0]),
        ];
        params.extend(ids.get(1).map(|id| ("Filters.1.Values.2", *id)));
        world.call_by(&key, "DescribeBackupJobs2", &params)
    };
    for ids in [
        &[job_id.as_str()][..],
        &[&job_id, other],
        &[other, &job_id],
        &[other],
    ] {
        assert_eq!(list(ids).unwrap_err().code, "NoPermission", "{ids:?}");
    }
    let whole = world.user(
        "carol",
        json!({"Effect": "Allow", "Action": "hbr:*", "Resource": format!("acs:hbr:*:*:vault/{vault_id}")}),
    );
    let filters = |ids: usize| {
        let values: Vec<String> = (0..ids).map(|number| format!("{job_id}{number}")).collect();
        json!([{"Key": "JobId", "Operator": "IN", "Values": values}]).to_string()
    };
    for (ids, told) in [(1, "the vault of job-"), (200, ":*")] {
        let params = [("Filters", filters(ids))];
        let params = params.each_ref().map(|(name, text)| (*name, text.as_str()));
        let error = world
            .call_by(&whole, "DescribeBackupJobs2", &params)
            .unwrap_err();
        assert!(error.message.contains(told), "{error}");
    }
    let own = [
        ("Filters.1.Key", "JobId"),
        ("Filters.1.Operator", "EQUAL"),
        ("Filters.1.Values.1", job_id.as_str()),
    ];
    let found = world.call_by(&whole, "DescribeBackupJobs2", &own).unwrap();
    assert_eq!(found["TotalCount"], 1);
    world.server.join();
}

#[test]
fn an_unknown_action_is_answered_with_the_nearest() {
    let world = World::new();
    for (action, near) in [
        ("DescribeBackupJob2", "Did you mean DescribeBackupJobs2?"),
        ("createvault", "Did you mean CreateVault?"),
    ] {
        let (code, message) = world.refused(action, &[]);
        assert_eq!(code, "InvalidAction.NotFound");
        assert!(message.ends_with(near), "{message}");
    }
    world.server.join();
}

#[test]
fn names_are_no_ids() {
    let world = World::new();
    let first = world.policy("nightly");
    let rules = json!([{"RuleType": "BACKUP", "Schedule": "I|1893456000|P1D"}]).to_string();
    let create = |name: &str| {
        let params = [("PolicyName", name), ("Rules", rules.as_str())];
        world.call_by(&world.root, "CreatePolicyV2", &params)
    };
    assert_eq!(
        create(&first).unwrap_err().code,
        "InvalidParameter.PolicyName"
    );
    let nameless = create("").unwrap()["PolicyId"].as_str().unwrap().to_owned();
    let found = world.call("DescribePoliciesV2", &[("PolicyId", &nameless)]);
    assert_eq!(found["Policies"][0]["PolicyName"], nameless.as_str());
    let rename = |name: &str| {
        let params = [("PolicyId", nameless.as_str()), ("PolicyName", name)];
        world.call_by(&world.root, "UpdatePolicyV2", &params)
    };
    assert_eq!(
        rename(&first).unwrap_err().code,
        "InvalidParameter.PolicyName"
    );
    // What was read can be sent back.
    assert!(rename(&nameless).is_ok());
    assert!(rename("weekly").is_ok());

    // Vaults and plans neither have the names of others' ids.
    let (vault_id, plan_id) = (
        world.snapshot.vault_id.as_str(),
        world.plan.plan_id.as_str(),
    );
    let instance = world.stays.instance_id.as_str();
    let plan = [
        ("SourceType", "ECS_FILE"),
        ("VaultId", vault_id),
        ("InstanceId", instance),
        ("PlanName", plan_id),
    ];
    for (action, params, code) in [
        (
            "CreateVault",
            &[("VaultName", vault_id), ("VaultRegionId", "cn-hangzhou")][..],
            "InvalidParameter.VaultName",
        ),
        (
            "UpdateVault",
            &[("VaultName", vault_id), ("VaultId", vault_id)][..],
            "InvalidParameter.VaultName",
        ),
        ("CreateBackupPlan", &plan[..], "InvalidParameter.PlanName"),
        (
            "UpdateBackupPlan",
            &[("PlanName", plan_id), ("PlanId", plan_id)][..],
            "InvalidParameter.PlanName",
        ),
    ] {
        assert_eq!(world.refused(action, params).0, code, "{action}");
    }
    world.server.join();
}

/// Nothing is created that could not run: plans, bindings and runs of rules alike.
#[test]
fn a_host_whose_agent_was_uninstalled_gets_nothing_to_do() {
    let world = World::new();
    let (both, none) = (world.policy("both"), world.policy("none"));
    world.bind(&both, &world.stays).unwrap();
    world.bind(&both, &world.goes).unwrap();
    world.uninstall();
    let (vault_id, goes) = (
        world.snapshot.vault_id.as_str(),
        world.goes.instance_id.as_str(),
    );
    let check = |error: ApiError| {
        assert_eq!(
            (&*error.code, error.http_status),
            ("ClientNotInstalled", 409)
        );
        let expected = format!(
            "Backup client {} (host) is uninstalled: start the agent on that host again with `strongroom agent`, and try \
             again.",
            world.goes.client_id
        );
        assert_eq!(error.message, expected);
    };
    let plan = [
        ("SourceType", "ECS_FILE"),
        ("VaultId", vault_id),
        ("InstanceId", goes),
        ("PlanName", "p"),
    ];
    check(
        world
            .call_by(&world.root, "CreateBackupPlan", &plan)
            .unwrap_err(),
    );
    let sources = json!([goes]).to_string();
    let unbind = [
        ("PolicyId", both.as_str()),
        ("SourceType", "ECS_FILE"),
        ("DataSourceIds", sources.as_str()),
    ];
    check(world.bind(&none, &world.goes).unwrap_err());

    let found = world.call("DescribePoliciesV2", &[("PolicyId", &both)]);
    let rule_id = found["Policies"][0]["Rules"][0]["RuleId"].as_str().unwrap();
    let run = |more: &[(&str, &str)]| {
        let params = [("PolicyId", both.as_str()), ("RuleId", rule_id)];
        world.call_by(
            &world.root,
            "ExecutePolicyV2",
            &[&params[..], more].concat(),
        )
    };
    let jobs_of = |client: &Client| {
        let filter = [
            ("SourceType", "ECS_FILE"),
            ("Filters.1.Key", "InstanceId"),
            ("Filters.1.Values.1", client.instance_id.as_str()),
        ];
        let found = world.call("DescribeBackupJobs2", &filter);
        found["BackupJobs"]["BackupJob"].as_array().unwrap().clone()
    };
    let one = [("DataSourceId", goes)];
    check(run(&one).unwrap_err());
    assert_eq!(
        (jobs_of(&world.goes), jobs_of(&world.stays)),
        (vec![], vec![])
    );
    // Of all that are bound, the job of the one that can run is told; that of the other says why it failed.
    let started = run(&[]).unwrap();
    let (gone, there) = (jobs_of(&world.goes), jobs_of(&world.stays));
    assert_eq!((gone.len(), there.len()), (1, 1));
    assert_eq!(started["JobId"], there[0]["JobId"]);
    assert_eq!(gone[0]["Status"], "FAILED");
    let why = gone[0]["ErrorMessage"].as_str().unwrap();
    assert!(why.contains("is uninstalled: start the agent"), "{why}");

    world.call("DeletePolicyBinding", &unbind);
    client(&world.server, "machine 2", "key 3");
    world.bind(&both, &world.goes).unwrap();
    run(&one).unwrap();
    assert!(
        world
            .call_by(&world.root, "CreateBackupPlan", &plan)
            .is_ok()
    );
    world.server.join();
}

/// Also when all that is left of its snapshot is the restore job, and for a caller who may only use its vault.
#[test]
fn a_restore_that_is_asked_for_again_is_the_same() {
    let world = World::new();
    let vault = format!("acs:hbr:*:*:vault/{}", world.snapshot.vault_id);
    let confined = world.user(
        "confined",
        json!({"Effect": "Allow", "Action": "*", "Resource": vault}),
    );
    let stranger = world.user(
        "stranger",
        json!({"Effect": "Allow", "Action": "*", "Resource": "acs:hbr:*:*:vault/v-0"}),
    );
    let asked = [
        ("RestoreType", "ECS_FILE"),
        ("SourceType", "ECS_FILE"),
        ("SnapshotId", world.snapshot.snapshot_id.as_str()),
        ("TargetInstanceId", world.stays.instance_id.as_str()),
        ("TargetPath", "/to"),
        ("ClientToken", "again"),
    ];
    let restore = |key: &Key| world.call_by(key, "CreateRestoreJob", &asked);
    let made = restore(&confined).unwrap()["RestoreId"].clone();
    let restore_id = [("RestoreId", made.as_str().unwrap())];
    world.call("CancelRestoreJob", &restore_id);
    world.call("DeleteSnapshot", &[asked[2]]);
    let remove = || {
        let (catalog, now) = (&world.server.service.catalog, world.server.service.now());
        let (account, client) = (&world.server.account_id, &world.stays.client_id);
        let ttl = Duration::from_secs(30);
        let leased = work::lease_next(catalog, account, client, "run", now, ttl, 9).unwrap();
        let report = FinishTask {
            work_id: leased.first()?.work_id.clone(),
            epoch: leased[0].epoch,
            outcome: JobStatus::Complete,
            message: None,
            upkeep: None,
        };
        tasks::finish(catalog, &report, now).unwrap();
        Some(())
    };
    assert_eq!(remove(), None, "it rests in the trash");
    for key in [&world.root, &confined] {
        assert_eq!(restore(key).unwrap()["RestoreId"], made);
    }
    world.clock.advance_seconds(7_200);
    assert_eq!(remove(), Some(()));
    for key in [&world.root, &confined] {
        assert_eq!(restore(key).unwrap()["RestoreId"], made);
    }
    assert_eq!(restore(&stranger).unwrap_err().code, "NoPermission");
    let with = |name: &str, value: &'static str| {
        let changed = asked.map(|(own, text)| (own, if own == name { value } else { text }));
        let error = world.call_by(&world.root, "CreateRestoreJob", &changed);
        error.unwrap_err().code.into_owned()
    };
    assert_eq!(
        with("TargetPath", "/elsewhere"),
        "IdempotentParameterMismatch"
    );
    assert_eq!(with("ClientToken", "another"), "SnapshotNotExist");
    world.server.join();
}
