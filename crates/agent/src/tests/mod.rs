//! The agent against a scripted server, with scripted work: leases, reports, stops, and a server that is away.

#![allow(clippy::unwrap_used, clippy::panic)]

mod engine;
mod fake_server;
mod leaving;

use std::sync::Arc;
use std::time::Duration;

use api::agent_protocol::{
    Assignment, DeleteSnapshotSpec, ErrorRow, Lease, Outcome, Progress, SyncReply, VaultSpec,
    WorkKind,
};
use api::client::{Credentials, Trust};

use self::fake_server::FakeServer;
use crate::execute::Execute;
use crate::report::End;
use crate::work::Work;
use crate::{AgentError, AgentHandle, AgentOptions, Capacity, Uninstall, start_with};

/// Does what the snapshot hash of the assignment says.
#[derive(Debug)]
struct Scripted;

/// How long scripts that say so may stand still.
const PATIENCE: Duration = Duration::from_millis(1500);

impl Execute for Scripted {
    fn patience(&self, kind: &WorkKind) -> Option<Duration> {
        let WorkKind::DeleteSnapshot(spec) = kind else {
            panic!("not scripted")
        };
        let is_watched = ["hangs", "moves", "obeys"].contains(&spec.snapshot_hash.as_str());
        is_watched.then_some(PATIENCE)
    }

    fn run(&self, kind: WorkKind, work: &Arc<Work>) -> End {
        let WorkKind::DeleteSnapshot(spec) = kind else {
            panic!("not scripted")
        };
        match spec.snapshot_hash.as_str() {
            "complete" => End::done(Outcome::Complete),
            "panic" => panic!("out of luck"),
            "rows" => {
                for number in 0..1_234 {
                    work.add_row(row(number));
                }
                match work.wait_for_rows() {
                    Ok(()) => End::done(Outcome::PartialComplete),
                    Err(_) => End::stopped(),
                }
            }
            "until stopped" => {
                work.set_progress(Progress {
                    bytes_done: 7,
                    ..Progress::default()
                });
                while work.stop_token.requested().is_none() {
                    work.stop_token.sleep(Duration::from_secs(60));
                }
                End::stopped()
            }
            // As in a call of a storage that never returns.
            "hangs" => loop {
                std::thread::park();
            },
            "moves" => {
                for bytes_done in 0..20 {
                    work.set_progress(Progress {
                        bytes_done,
                        ..Progress::default()
                    });
                    work.stop_token.sleep(PATIENCE / 15);
                }
                End::done(Outcome::Complete)
            }
            "obeys" => {
                work.stop_token.sleep(Duration::from_secs(60));
                End::stopped()
            }
            other => panic!("no script {other}"),
        }
    }
}

fn row(number: u32) -> ErrorRow {
    ErrorRow {
        path: format!("/{number}"),
        operation: "open".into(),
        errno: 13,
        message: "denied".into(),
        time: 1,
    }
}

fn lease(work_id: &str, epoch: u64) -> Lease {
    Lease {
        work_id: work_id.into(),
        epoch,
    }
}

fn assignment(work_id: &str, script: &str) -> Assignment {
    let vault = VaultSpec {
        vault_id: "v".into(),
        storage_url: "/v".into(),
        password: "p".into(),
        recovery_password: None,
    };
    let kind = WorkKind::DeleteSnapshot(DeleteSnapshotSpec {
        vault,
        snapshot_hash: script.into(),
    });
    Assignment {
        work_id: work_id.into(),
        epoch: 1,
        kind,
    }
}

struct Bench {
    server: FakeServer,
    folder: tempfile::TempDir,
    uninstall: Uninstall,
}

impl Bench {
    fn new() -> Self {
        Self {
            server: FakeServer::start(),
            folder: tempfile::tempdir().unwrap(),
            uninstall: Uninstall::Go,
        }
    }

    fn start(&self) -> AgentHandle {
        self.try_start().unwrap()
    }

    fn try_start(&self) -> Result<AgentHandle, AgentError> {
        let options = AgentOptions {
            trust: Trust::default(),
            endpoint: self.server.endpoint.clone(),
            credentials: Credentials {
                access_key_id: "root".into(),
                access_key_secret: "s".into(),
                security_token: None,
            },
            region: "r".into(),
            state_dir: self.folder.path().to_owned(),
            skip: Vec::new(),
            capacity: Capacity::default(),
            hostname: Some("testhost".into()),
            uninstall: self.uninstall,
        };
        start_with(options, |_| Box::new(Scripted))
    }

    fn ends(&self) -> Vec<(String, Outcome, String)> {
        self.server.with(|state| {
            state
                .ends
                .iter()
                .map(|end| (end.work_id.clone(), end.outcome, end.message.clone()))
                .collect()
        })
    }
}

fn stop(agent: AgentHandle) {
    agent.stop();
    agent.join();
}

#[test]
fn work_is_run_and_reported_once() {
    let bench = Bench::new();
    bench.server.assign(vec![
        assignment("t-1", "complete"),
        assignment("t-2", "complete"),
    ]);
    let agent = bench.start();
    assert_eq!(
        (agent.client_id().as_str(), agent.instance_id().as_str()),
        ("c-1", "i-1")
    );
    bench
        .server
        .wait_for("two ends", |state| state.ends.len() == 2);
    stop(agent);
    let mut ends = bench.ends();
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = ["t-1", "t-2"].map(|id| (id.to_owned(), Outcome::Complete, String::new()));
    assert_eq!(ends, expected);
    assert!(crate::outbox::kept(bench.folder.path()).unwrap().is_empty());
}

/// Two accounts on one host: each agent needs a folder of its own. A server that was set up anew is no second account.
#[test]
fn the_identity_in_another_account_is_not_overwritten() {
    let bench = Bench::new();
    stop(bench.start());
    let identity = || std::fs::read_to_string(bench.folder.path().join("agent.json")).unwrap();
    let of_first = identity();
    bench.server.with(|state| state.account_id = Some("2"));
    let error = bench.try_start().unwrap_err();
    let is_told =
        matches!(&error, AgentError::OtherAccount { account_id, .. } if account_id == "1");
    assert!(is_told, "{error}");
    assert_eq!(bench.server.with(|state| state.registrations.len()), 1);
    // A key that may only register is known by what it registers.
    bench
        .server
        .with(|state| state.failures.push(("", 403, "NoPermission", 1)));
    let error = bench.try_start().unwrap_err();
    assert!(matches!(error, AgentError::OtherAccount { .. }), "{error}");
    assert_eq!(bench.server.with(|state| state.registrations.len()), 2);
    assert_eq!(identity(), of_first);
    bench.server.with(|state| {
        let unknown = ("Deregister", 404, "InvalidAccessKeyId.NotFound", 2);
        state.failures.push(unknown);
    });
    stop(bench.start());
    assert!(identity().contains(r#""account_id":"2""#), "{}", identity());
}

/// T13 of the history of failures: what hangs ends, and what it held is free.
#[test]
fn t13_work_that_stands_still_is_failed_and_its_slot_is_free() {
    let bench = Bench::new();
    let agent = bench.start();
    bench.server.assign(vec![
        assignment("w-1", "hangs"),
        assignment("w-2", "obeys"),
        assignment("w-3", "moves"),
    ]);
    bench
        .server
        .wait_for("three ends", |state| state.ends.len() == 3);
    let mut ends = bench.ends();
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    for (work, outcome, message) in &ends[..2] {
        assert_eq!(*outcome, Outcome::Failed, "{work}");
        assert!(message.contains("nothing moved"), "{message}");
    }
    assert_eq!(ends[2].1, Outcome::Complete, "{ends:?}");
    // As many as the agent takes at a time.
    let more = ["w-4", "w-5", "w-6"];
    bench
        .server
        .assign(more.map(|id| assignment(id, "complete")).to_vec());
    bench
        .server
        .wait_for("three more ends", |state| state.ends.len() == 6);
    stop(agent);
}

/// A person cancels what hangs.
#[test]
fn t13_a_cancelled_work_that_hangs_ends_as_cancelled() {
    let bench = Bench::new();
    let agent = bench.start();
    bench.server.assign(vec![assignment("w-1", "hangs")]);
    bench.server.wait_for("the work to run", |state| {
        let last = state.syncs.last();
        last.is_some_and(|sync| sync.running.iter().any(|work| work.work_id == "w-1"))
    });
    bench
        .server
        .with(|state| state.cancel.push(lease("w-1", 1)));
    bench
        .server
        .wait_for("the end", |state| state.ends.len() == 1);
    assert_eq!(bench.ends()[0].1, Outcome::Canceled);
    stop(agent);
}

#[test]
fn a_panic_fails_the_work_and_not_the_agent() {
    let bench = Bench::new();
    bench.server.assign(vec![assignment("t-1", "panic")]);
    let agent = bench.start();
    bench
        .server
        .wait_for("the end of the first", |state| state.ends.len() == 1);
    bench.server.assign(vec![assignment("t-2", "complete")]);
    bench
        .server
        .wait_for("the end of the second", |state| state.ends.len() == 2);
    stop(agent);
    let ends = bench.ends();
    assert_eq!((ends[0].1, ends[1].1), (Outcome::Failed, Outcome::Complete));
    assert!(ends[0].2.contains("out of luck"), "{}", ends[0].2);
}

#[test]
fn all_rows_are_there_before_the_end_in_pages() {
    let bench = Bench::new();
    bench.server.with(|state| {
        state
            .failures
            .push(("ReportErrors", 500, "InternalError", 1))
    });
    bench.server.assign(vec![assignment("job-1", "rows")]);
    let agent = bench.start();
    bench
        .server
        .wait_for("the end", |state| state.ends.len() == 1);
    bench.server.with(|state| {
        let mut next = 0;
        for page in &state.rows {
            assert_eq!(page.first_seq, next);
            assert!(page.rows.len() <= 500);
            assert_eq!(page.rows[0].path, format!("/{next}"));
            next += page.rows.len() as u64;
        }
        assert_eq!(next, 1_234);
    });
    stop(agent);
    assert_eq!(bench.ends()[0].1, Outcome::PartialComplete);
}

#[test]
fn a_stop_gives_running_work_back() {
    let bench = Bench::new();
    bench
        .server
        .assign(vec![assignment("job-1", "until stopped")]);
    let agent = bench.start();
    bench.server.wait_for("progress", |state| {
        state.syncs.last().is_some_and(|sync| {
            sync.running
                .iter()
                .any(|work| work.progress.bytes_done == 7)
        })
    });
    stop(agent);
    assert_eq!(
        bench.ends(),
        [("job-1".to_owned(), Outcome::Released, String::new())]
    );
    // The folder is free for the next agent.
    stop(bench.start());
}

#[test]
fn a_cancelled_work_ends_as_cancelled() {
    let bench = Bench::new();
    bench
        .server
        .assign(vec![assignment("job-1", "until stopped")]);
    let agent = bench.start();
    bench.server.wait_for("running", |state| {
        state.syncs.iter().any(|sync| !sync.running.is_empty())
    });
    bench
        .server
        .with(|state| state.cancel.push(lease("job-1", 1)));
    bench
        .server
        .wait_for("the end", |state| !state.ends.is_empty());
    stop(agent);
    assert_eq!(bench.ends()[0].1, Outcome::Canceled);
}

#[test]
fn lost_work_is_dropped_without_a_report() {
    let bench = Bench::new();
    bench
        .server
        .assign(vec![assignment("job-1", "until stopped")]);
    let agent = bench.start();
    bench.server.wait_for("running", |state| {
        state.syncs.iter().any(|sync| !sync.running.is_empty())
    });
    bench.server.with(|state| {
        state.replies.push_back(SyncReply {
            // A lease of the same job that is not this agent's present one changes nothing.
            cancel: vec![lease("job-1", 2)],
            lost: vec![lease("job-1", 1)],
            ..SyncReply::default()
        });
    });
    let seen = bench.server.with(|state| state.syncs.len());
    bench.server.wait_for("an idle sync", |state| {
        state
            .syncs
            .iter()
            .skip(seen)
            .any(|sync| sync.running.is_empty())
    });
    stop(agent);
    assert!(bench.ends().is_empty());
}

#[test]
fn rows_that_count_no_more_end_the_work() {
    let bench = Bench::new();
    bench.server.with(|state| state.stale.push("job-1".into()));
    bench.server.assign(vec![assignment("job-1", "rows")]);
    let agent = bench.start();
    bench
        .server
        .wait_for("a page", |state| !state.rows.is_empty());
    let seen = bench.server.with(|state| state.syncs.len());
    bench.server.wait_for("an idle sync", |state| {
        state
            .syncs
            .iter()
            .skip(seen)
            .any(|sync| sync.running.is_empty())
    });
    stop(agent);
    assert!(bench.ends().is_empty());
}

#[test]
fn an_end_that_could_not_be_reported_is_reported_by_the_next_run_before_its_first_sync() {
    let bench = Bench::new();
    bench.server.with(|state| {
        state
            .failures
            .push(("Finish", 503, "ServiceUnavailable", u32::MAX))
    });
    bench.server.assign(vec![assignment("job-1", "complete")]);
    let agent = bench.start();
    bench
        .server
        .wait_for("a try", |state| state.failures[0].3 < u32::MAX);
    stop(agent);
    assert_eq!(crate::outbox::kept(bench.folder.path()).unwrap().len(), 1);
    let runs = |state: &fake_server::State| {
        let mut ids: Vec<String> = state.syncs.iter().map(|sync| sync.run_id.clone()).collect();
        ids.dedup();
        ids.len()
    };
    let former = bench.server.with(|state| {
        state.failures.clear();
        runs(state)
    });
    let agent = bench.start();
    bench.server.wait_for("the report", |state| {
        assert!(
            !state.ends.is_empty() || runs(state) == former,
            "the sync came first"
        );
        !state.ends.is_empty()
    });
    bench
        .server
        .wait_for("the first sync", |state| runs(state) > former);
    stop(agent);
    assert_eq!(bench.ends()[0].1, Outcome::Complete);
    assert!(crate::outbox::kept(bench.folder.path()).unwrap().is_empty());
}

#[test]
fn work_goes_on_while_the_server_is_away() {
    let bench = Bench::new();
    bench.server.assign(vec![
        assignment("job-1", "until stopped"),
        assignment("t-2", "complete"),
    ]);
    let agent = bench.start();
    bench.server.wait_for("both", |state| {
        state.ends.len() == 1 && state.syncs.iter().any(|sync| !sync.running.is_empty())
    });
    bench
        .server
        .with(|state| state.failures.push(("Sync", 503, "ServiceUnavailable", 2)));
    bench
        .server
        .wait_for("two failures", |state| state.failures[0].3 == 0);
    let seen = bench.server.with(|state| state.syncs.len());
    bench.server.wait_for("the work again", |state| {
        state
            .syncs
            .iter()
            .skip(seen)
            .any(|sync| sync.running.iter().any(|work| work.work_id == "job-1"))
    });
    stop(agent);
    assert_eq!(bench.ends()[1].1, Outcome::Released);
}

#[test]
fn a_server_that_forgot_the_key_gets_a_new_registration() {
    let bench = Bench::new();
    let agent = bench.start();
    bench.server.with(|state| {
        state
            .failures
            .push(("Sync", 404, "InvalidAccessKeyId.NotFound", 1))
    });
    bench.server.wait_for("a second registration", |state| {
        state.registrations.len() == 2
    });
    bench.server.assign(vec![assignment("t-1", "complete")]);
    bench.server.wait_for("work", |state| state.ends.len() == 1);
    stop(agent);
    bench.server.with(|state| {
        assert_eq!(state.registrations[0].client_id, None);
        assert_eq!(state.registrations[1].client_id.as_deref(), Some("c-1"));
        assert_eq!(
            state.registrations[0].machine_id,
            state.registrations[1].machine_id
        );
    });
}

#[test]
fn a_known_agent_starts_without_its_server_and_a_new_one_does_not() {
    let bench = Bench::new();
    bench.server.with(|state| state.is_away = true);
    assert!(bench.try_start().unwrap_err().is_transient());
    bench.server.with(|state| state.is_away = false);
    stop(bench.start());
    bench.server.with(|state| state.is_away = true);
    stop(bench.start());
    bench.server.with(|state| {
        state.is_away = false;
        state.failures.push(("Register", 403, "NoPermission", 1));
    });
    assert!(!bench.try_start().unwrap_err().is_transient());
}

/// The server still counts the process as alive that was killed a moment ago. Who has its state folder is its successor;
/// who has none is another agent on a copied machine.
#[test]
fn an_agent_that_was_killed_starts_again_at_once_and_its_twin_does_not() {
    let bench = Bench::new();
    let refuse = || {
        bench.server.with(|state| {
            state.failures.push(("Register", 409, "ClientIsRunning", 1));
        });
    };
    refuse();
    assert!(bench.try_start().is_err());
    stop(bench.start());
    refuse();
    stop(bench.start());
}

#[test]
fn backups_have_slots_of_their_own() {
    let bench = Bench::new();
    let agent = bench.start();
    bench
        .server
        .wait_for("a sync", |state| !state.syncs.is_empty());
    let first = bench
        .server
        .with(|state| (state.syncs[0].can_take, state.syncs[0].can_take_backups));
    assert_eq!(first, (4, Some(1)));
    bench.server.assign(
        (0..5)
            .map(|number| assignment(&format!("t-{number}"), "until stopped"))
            .collect(),
    );
    // Three run; the other two are given back at once.
    bench
        .server
        .wait_for("two given back", |state| state.ends.len() == 2);
    bench.server.wait_for("no room but for a backup", |state| {
        state
            .syncs
            .last()
            .is_some_and(|sync| (sync.can_take, sync.can_take_backups) == (1, Some(1)))
    });
    stop(agent);
    assert!(bench.ends().iter().all(|end| end.1 == Outcome::Released));
    assert_eq!(bench.ends().len(), 5);
}
