//! A catalog in a temporary folder, and short ways to fill it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use model::{AccountId, ClientId, InstanceId, Timestamp, VaultId};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::access_keys::NewAccessKey;
use crate::clients::Registration;
use crate::jobs::FinishJob;
use crate::plans::PlanSwitch;
use crate::pulses::{HeldWork, LeaseAnswer, Pulse};
use crate::snapshots::SnapshotReport;
use crate::tasks::FinishTask;
use crate::tests::places::Place;
use crate::vaults::NewVault;
use crate::{
    AccessKeyKind, Catalog, CatalogError, CatalogOptions, Client, ClientType, Job, Plan, PlanSpec,
    Progress, Sealed, Work, accounts, clients, jobs, plans, pulses, tasks, vaults, work,
};

/// Tables whose rows grow with the history or the number of hosts: no statement may read one from end to end.
const GROWING: [&str; 12] = [
    "jobs",
    "work",
    "snapshots",
    "item_errors",
    "job_events",
    "restore_jobs",
    "tasks",
    "plans",
    "clients",
    "policy_bindings",
    "kept_records",
    "tags",
];

thread_local! {
    static CHECKED: RefCell<HashSet<String>> = RefCell::default();
}

/// Fails when SQLite would scan a growing table for this statement (a scan of an index that holds only due plans is
/// none). Called for each statement that any test runs, but for those of the tests themselves that say `/* whole */`.
pub(crate) fn check_query_plan(connection: &Connection, sql: &str) {
    if sql.starts_with("/* whole */")
        || !CHECKED.with_borrow_mut(|checked| checked.insert(sql.to_owned()))
    {
        return;
    }
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    // Unbound parameters are NULL, which is as good as any value here.
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().unwrap() {
        let step: String = row.get("detail").unwrap();
        let scanned = step
            .strip_prefix("SCAN ")
            .and_then(|rest| rest.split(' ').next());
        let is_growing = scanned.is_some_and(|table| GROWING.contains(&table) || table.len() == 1);
        assert!(
            !is_growing || step.contains("INDEX plans_due"),
            "{step}: {sql}"
        );
    }
}

/// Calls again while the connection to the database is cut: a call that failed so has changed nothing.
pub(crate) fn again<T>(call: impl Fn() -> Result<T, CatalogError>) -> Result<T, CatalogError> {
    loop {
        match call() {
            Err(CatalogError::Away { .. }) => {}
            result => return result,
        }
    }
}

/// How long leases last in tests.
pub(crate) const TTL: Duration = Duration::from_secs(30);

/// A catalog with one account.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) catalog: Catalog,
    pub(crate) place: Place,
    pub(crate) account: AccountId,
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000 + seconds)
}

impl Fixture {
    /// When the next run of any plan comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let due = crate::plans::due(&self.catalog, Timestamp(i64::MAX), 100).unwrap();
        due.iter().map(|plan| plan.planned).min()
    }

    pub(crate) fn new() -> Self {
        Self::with(CatalogOptions::default())
    }

    pub(crate) fn with(options: CatalogOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path());
        Self::at(folder, place, options)
    }

    /// For what only SQLite has.
    pub(crate) fn sqlite(options: CatalogOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::in_folder(folder.path());
        Self::at(folder, place, options)
    }

    fn at(folder: TempDir, place: Place, options: CatalogOptions) -> Self {
        let catalog = place.open(options);
        let account = new_account(&catalog, 1);
        Self {
            folder,
            catalog,
            place,
            account,
        }
    }

    /// Another catalog on the same database, as a second process would have it.
    pub(crate) fn open_again(&self) -> Catalog {
        self.place.open(CatalogOptions::default())
    }

    /// A vault that is CREATED.
    pub(crate) fn vault(&self, now: i64) -> VaultId {
        let vault = new_vault(&self.catalog, "vault", now);
        vaults::adopt(&self.catalog, &self.account, &vault, at(now))
            .unwrap()
            .vault_id
    }

    pub(crate) fn client(&self, machine_id: &str, now: i64) -> Client {
        let key = format!("key-{machine_id}-{now}");
        clients::register(
            &self.catalog,
            &self.account,
            &registration(machine_id, &key),
            at(now),
        )
        .unwrap()
    }

    /// A plan without a schedule that any client may run.
    pub(crate) fn plan(&self, vault_id: &VaultId, name: &str) -> Plan {
        self.plan_with(vault_id, name, |_| {})
    }

    pub(crate) fn plan_with(
        &self,
        vault_id: &VaultId,
        name: &str,
        edit: impl FnOnce(&mut PlanSpec),
    ) -> Plan {
        let mut spec = PlanSpec::files(
            "cn-hangzhou",
            name,
            vault_id.clone(),
            vec!["/home".to_owned()],
        );
        spec.instance_id = Some(InstanceId::parse("i-1").unwrap());
        edit(&mut spec);
        plans::create(
            &self.catalog,
            &self.account,
            &spec,
            PlanSwitch::Enabled,
            at(0),
        )
        .unwrap()
    }

    pub(crate) fn job(&self, plan: &Plan, now: i64) -> Job {
        again(|| jobs::create(&self.catalog, &self.account, &plan.plan_id, at(now))).unwrap()
    }

    pub(crate) fn lease(&self, client: &Client, run_id: &str, now: i64, limit: u32) -> Vec<Work> {
        again(|| {
            work::lease_next(
                &self.catalog,
                &self.account,
                &client.client_id,
                run_id,
                at(now),
                TTL,
                limit,
            )
        })
        .unwrap()
    }

    /// What an agent is told about a work that it says it runs, and noted as it does.
    pub(crate) fn pulse(
        &self,
        client_id: &ClientId,
        run_id: &str,
        held: HeldWork,
        now: i64,
    ) -> LeaseAnswer {
        let pulse = Pulse {
            client_id: client_id.clone(),
            run_id: run_id.to_owned(),
            held: vec![held],
            heard: at(now),
        };
        let held = &pulse.held;
        let answers =
            again(|| pulses::lease_answers(&self.catalog, client_id, run_id, held)).unwrap();
        again(|| pulses::note_pulses(&self.catalog, std::slice::from_ref(&pulse), TTL)).unwrap();
        assert_eq!(answers.len(), 1);
        answers[0]
    }

    /// Creates and runs a job to its end; gives it as it ended.
    pub(crate) fn run_job(&self, client: &Client, plan: &Plan, hash: &str, now: i64) -> Job {
        let job = self.job(plan, now);
        let leased = self.lease(client, "run", now, 10);
        let work = leased
            .iter()
            .find(|work| work.work_id == job.job_id.as_str())
            .unwrap();
        assert!(
            jobs::finish(&self.catalog, &complete(work, hash), at(now + 1))
                .unwrap()
                .is_accepted()
        );
        jobs::get(&self.catalog, &self.account, &job.job_id).unwrap()
    }

    /// Runs the next task to its end.
    pub(crate) fn finish_task(&self, client: &Client, outcome: model::JobStatus, now: i64) {
        let leased = self.lease(client, "run", now, 1);
        let report = FinishTask {
            work_id: leased[0].work_id.clone(),
            epoch: leased[0].epoch,
            outcome,
            message: (outcome == model::JobStatus::Failed).then(|| "no room".to_owned()),
            upkeep: None,
        };
        assert!(
            tasks::finish(&self.catalog, &report, at(now))
                .unwrap()
                .is_accepted()
        );
    }
}

pub(crate) fn new_account(catalog: &Catalog, number: u64) -> AccountId {
    let account = AccountId::new(number);
    let key = NewAccessKey {
        access_key_id: format!("root-{number}"),
        kind: AccessKeyKind::Root,
        client_id: None,
        user_name: None,
        sealed_secret: Sealed(vec![1, 2, 3]),
    };
    accounts::create(catalog, &account, "account", &key, at(0)).unwrap();
    account
}

pub(crate) fn new_vault(catalog: &Catalog, name: &str, now: i64) -> NewVault {
    NewVault {
        vault_id: vaults::new_id(catalog, at(now)),
        vault_name: name.to_owned(),
        description: String::new(),
        vault_region_id: "cn-hangzhou".to_owned(),
        vault_type: "STANDARD".to_owned(),
        vault_storage_class: "STANDARD".to_owned(),
        encrypt_type: "HBR_PRIVATE".to_owned(),
        kms_key_id: None,
        worm_enabled: false,
        storage_url: "/vaults/one".to_owned(),
        sealed_password: Sealed(vec![9; 40]),
        kept_by: None,
    }
}

pub(crate) fn registration(machine_id: &str, agent_key_id: &str) -> Registration {
    Registration {
        client_id: None,
        machine_id: machine_id.to_owned(),
        client_type: ClientType::Ecs,
        hostname: "host".to_owned(),
        os_type: "linux".to_owned(),
        arch_type: "x86_64".to_owned(),
        client_version: "0.1.0".to_owned(),
        private_ipv4: None,
        agent_key_id: agent_key_id.to_owned(),
        sealed_agent_secret: Sealed(vec![7; 20]),
    }
}

pub(crate) fn report(work: &Work, outcome: model::JobStatus) -> FinishJob {
    FinishJob {
        work_id: work.work_id.clone(),
        epoch: work.epoch,
        outcome,
        message: None,
        progress: Progress {
            bytes_total: 1000,
            bytes_done: 800,
            actual_bytes: 600,
            ..Progress::default()
        },
        snapshot: None,
        error_epoch: None,
    }
}

pub(crate) fn complete(work: &Work, hash: &str) -> FinishJob {
    let snapshot = SnapshotReport {
        snapshot_hash: hash.to_owned(),
        parent_snapshot_hash: None,
        paths: None,
    };
    FinishJob {
        snapshot: Some(snapshot),
        ..report(work, model::JobStatus::Complete)
    }
}
