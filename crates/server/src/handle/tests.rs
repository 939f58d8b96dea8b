//! A whole server in this process, without sockets where they do not matter.

#![allow(clippy::unwrap_used, clippy::panic)]
use api::error::ApiError;
use api::signature::v3::{authorize, sha256_hex};
use api::signature::{WireRequest, format_time};
use catalog::clients::Registration;
use catalog::jobs::FinishJob;
use catalog::plans::PlanSwitch;
use catalog::snapshots::SnapshotReport;
use catalog::vaults::NewVault;
use catalog::{
    AccessKeyKind, AccessKeyStatus, Client, ClientType, Plan, PlanSpec, Progress, Sealed, Snapshot,
    clients, jobs, plans, retention, snapshots, vaults, work,
};
use model::{JobStatus, Timestamp};

mod access;

use super::{Arc, Duration, IpAddr, Ipv4Addr, ServerHandle, ServerOptions, start};
use crate::actions::{Attempt, Pending, attempt};
use crate::clock::ManualClock;
use crate::wire::Wire;

const DAY: u64 = 86_400;

fn options(clock: &Arc<ManualClock>, folder: &std::path::Path) -> ServerOptions {
    let mut options = ServerOptions::new(folder.join("data"));
    options.listen = "127.0.0.1:0".to_owned();
    options.tick_interval = None;
    options.clock = clock.clone();
    options.trash = Duration::from_secs(3_600);
    options
}

fn server(clock: &Arc<ManualClock>, folder: &std::path::Path) -> ServerHandle {
    start(options(clock, folder)).unwrap()
}

/// A plan of one day's retention with one snapshot, made without an agent.
fn snapshot(server: &ServerHandle, hash: char) {
    let client = client(server, "machine", &format!("key-{hash}"));
    snapshot_by(server, &client, hash);
}

fn client(server: &ServerHandle, machine: &str, agent_key_id: &str) -> Client {
    let registration = Registration {
        client_id: None,
        machine_id: machine.to_owned(),
        client_type: ClientType::Ecs,
        hostname: "host".to_owned(),
        os_type: "linux".to_owned(),
        arch_type: "x86_64".to_owned(),
        client_version: "0".to_owned(),
        private_ipv4: None,
        agent_key_id: agent_key_id.to_owned(),
        sealed_agent_secret: Sealed(vec![1]),
    };
    let (catalog, account) = (&server.service.catalog, &server.account_id);
    clients::register(catalog, account, &registration, server.service.now()).unwrap()
}

/// The plan, and the snapshot that its job has made.
fn snapshot_by(server: &ServerHandle, client: &Client, hash: char) -> (Plan, Snapshot) {
    let (catalog, account) = (&server.service.catalog, &server.account_id);
    let now = server.service.now();
    let vault = NewVault {
        vault_id: vaults::new_id(catalog, now),
        vault_name: "vault".to_owned(),
        description: String::new(),
        vault_region_id: "cn-hangzhou".to_owned(),
        vault_type: "STANDARD".to_owned(),
        vault_storage_class: "STANDARD".to_owned(),
        encrypt_type: "HBR_PRIVATE".to_owned(),
        kms_key_id: None,
        worm_enabled: false,
        storage_url: "/nowhere".to_owned(),
        sealed_password: Sealed(vec![1]),
        kept_by: None,
    };
    let vault_id = vaults::adopt(catalog, account, &vault, now)
        .unwrap()
        .vault_id;
    let mut spec = PlanSpec::files("cn-hangzhou", "plan", vault_id.clone(), Vec::new());
    spec.retention = Some(1);
    let plan = plans::create(catalog, account, &spec, PlanSwitch::Enabled, now).unwrap();
    jobs::create(catalog, account, &plan.plan_id, now).unwrap();
    let ttl = Duration::from_secs(30);
    let leased = work::lease_next(catalog, account, &client.client_id, "run", now, ttl, 1).unwrap();
    let report = FinishJob {
        work_id: leased[0].work_id.clone(),
        epoch: leased[0].epoch,
        outcome: JobStatus::Complete,
        message: None,
        progress: Progress::default(),
        snapshot: Some(SnapshotReport {
            snapshot_hash: hash.to_string().repeat(64),
            parent_snapshot_hash: None,
            paths: None,
        }),
        error_epoch: None,
    };
    assert!(jobs::finish(catalog, &report, now).unwrap().is_accepted());
    let hash = hash.to_string().repeat(64);
    let made = snapshots::get_by_hash(catalog, account, &vault_id, &hash).unwrap();
    (plan, made)
}

/// The id and the secret of the root key.
fn root_key(server: &ServerHandle) -> (String, String) {
    let file = std::fs::read(server.credentials_path()).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    (text("AccessKeyId"), text("AccessKeySecret"))
}

/// A call as it comes in, signed by the root key.
fn wire(server: &ServerHandle, nonce: &str, action: &str, body: &str) -> Wire {
    wire_by(server, &root_key(server), nonce, action, body)
}

/// The same, signed by a key.
fn wire_by(
    server: &ServerHandle,
    (id, secret): &(String, String),
    nonce: &str,
    action: &str,
    body: &str,
) -> Wire {
    let hash = sha256_hex(body.as_bytes());
    let date = format_time(server.service.now().0).unwrap();
    let mut headers: Vec<(String, String)> = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "localhost"),
        ("x-acs-action", action),
        ("x-acs-content-sha256", &hash),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", nonce),
        ("x-acs-version", api::VERSION),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let request = WireRequest {
        method: "POST",
        path: "/",
        query: "",
        headers: &headers,
        body: body.as_bytes(),
    };
    let authorization = authorize(id, secret, &request, &[], &hash);
    headers.push(("authorization".to_owned(), authorization));
    Wire {
        request_id: nonce.to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers,
        body: body.to_owned().into(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// The number of jobs that a reply tells, or its error's code.
fn total(answer: Result<Vec<u8>, ApiError>) -> Result<i64, String> {
    let reply = answer.map_err(|error| error.code.into_owned())?;
    let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
    Ok(reply["TotalCount"].as_i64().unwrap())
}

/// What can be answered without being held up is, with the same checks; all else goes on where it was left.
#[test]
fn a_question_about_jobs_is_answered_where_it_is_or_goes_on_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000)));
    let server = server(&clock, folder.path());
    snapshot(&server, 'a');
    let service = &server.service;
    let (action, later) = (
        "DescribeBackupJobs2",
        "Filters.1.Key=JobId&Filters.1.Operator=",
    );
    let done = |wire: &Wire| match attempt(service, wire) {
        Attempt::Done(answer) => total(answer),
        Attempt::Later(pending) => panic!("it should not wait: {pending:?}"),
    };
    // The index follows first, elsewhere.
    jobs::load_index(&service.catalog).unwrap();
    let first = wire(&server, "1", action, "SourceType=ECS_FILE");
    assert_eq!(done(&first), Ok(1));
    assert_eq!(done(&first), Err("SignatureNonceUsed".to_owned()));
    let mut forged = wire(&server, "2", action, "SourceType=ECS_FILE");
    forged.body = "SourceType=OSS".into();
    assert_eq!(done(&forged), Err("SignatureDoesNotMatch".to_owned()));
    let long = "SourceType=ECS_FILE&X=".to_owned() + &"x".repeat(20_000);
    let ordered = format!("{later}GREATER_THAN&Filters.1.Values.1=job-0");
    for (nonce, action, body, state) in [
        ("3", action, long.as_str(), "Arrived"),
        ("4", "DescribeVaults", "", "Claimed"),
        ("5", action, ordered.as_str(), "Admitted"),
    ] {
        let wire = wire(&server, nonce, action, body);
        let Attempt::Later(pending) = attempt(service, &wire) else {
            panic!("{nonce} was answered");
        };
        assert!(format!("{pending:?}").starts_with(state), "{nonce}");
        assert_eq!(total(pending.finish(service, &wire)), Ok(1), "{nonce}");
        let again = Pending::Arrived.finish(service, &wire);
        assert_eq!(total(again), Err("SignatureNonceUsed".to_owned()));
    }
    // A key that is switched off is off at once, though its secret is known.
    let key = catalog::access_keys::list(&service.catalog, &server.account_id).unwrap();
    let key = key.iter().find(|key| key.kind == AccessKeyKind::Root);
    let id = &key.unwrap().access_key_id;
    let off = AccessKeyStatus::Inactive;
    catalog::access_keys::set_status(&service.catalog, &server.account_id, id, off).unwrap();
    let last = wire(&server, "6", action, "SourceType=ECS_FILE");
    assert_eq!(done(&last), Err("InvalidAccessKeyId.Inactive".to_owned()));
    server.join();
}

#[test]
fn the_ticker_lets_snapshots_go_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000)));
    let server = server(&clock, folder.path());
    snapshot(&server, 'a');
    assert_eq!(server.tick().unwrap().expired_snapshots, 0);
    clock.advance_seconds(DAY - 1);
    assert_eq!(server.tick().unwrap().expired_snapshots, 0);
    clock.advance_seconds(60);
    assert_eq!(server.tick().unwrap().expired_snapshots, 1);
    clock.advance_seconds(60);
    assert_eq!(server.tick().unwrap().expired_snapshots, 0);
    let trash = retention::trash(&server.service.catalog, &server.account_id).unwrap();
    assert_eq!(trash.len(), 1);
    server.join();
}

/// With the keys of its report, which are long and say little.
#[test]
fn the_kept_json_of_a_job_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000)));
    let server = server(&clock, folder.path());
    snapshot(&server, 'a');
    let figures = jobs::body_figures(&server.service.catalog).unwrap();
    assert_eq!(figures.count, 1);
    assert!(figures.bytes < 300, "{figures:?}");
    server.join();
}

/// The step looks once a minute, and what is left goes with the next ones.
#[test]
fn the_ticker_removes_jobs_that_the_history_keeps_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000)));
    let mut options = options(&clock, folder.path());
    options.job_retention = Some(Duration::from_secs(DAY));
    let server = start(options).unwrap();
    snapshot(&server, 'a');
    let count = || {
        let (catalog, account) = (&server.service.catalog, &server.account_id);
        let asked = model::JobQuery::default();
        jobs::query(catalog, account, &asked).unwrap().total
    };
    clock.advance_seconds(DAY);
    assert_eq!((server.tick().unwrap().removed_jobs, count()), (0, 1));
    clock.advance_seconds(1);
    assert_eq!((server.tick().unwrap().removed_jobs, count()), (0, 1));
    clock.advance_seconds(60);
    assert_eq!((server.tick().unwrap().removed_jobs, count()), (1, 0));
    let trash = retention::trash(&server.service.catalog, &server.account_id).unwrap();
    assert_eq!(trash.len(), 1, "of its own time, not of the job's");
    server.join();
}
