//! Agents that are asked to uninstall themselves.

use api::agent_protocol::{Outcome, SyncReply};

use super::{Bench, assignment, stop};
use crate::Uninstall;

/// What runs is put down and reported first; what the agent kept is gone, and what others put beside it stays.
#[test]
fn an_agent_that_is_asked_to_uninstall_itself_goes() {
    for stranger in [None, Some("notes.txt")] {
        let bench = Bench::new();
        bench
            .server
            .assign(vec![assignment("job-1", "until stopped")]);
        let agent = bench.start();
        bench.server.wait_for("running", |state| {
            state.syncs.iter().any(|sync| !sync.running.is_empty())
        });
        assert!(!agent.is_gone());
        std::fs::write(bench.folder.path().join("restored-r-1.folders"), "").unwrap();
        if let Some(name) = stranger {
            std::fs::write(bench.folder.path().join(name), "mine").unwrap();
        }
        bench.server.with(|state| {
            state.replies.push_back(SyncReply {
                uninstall: true,
                ..SyncReply::default()
            });
        });
        bench
            .server
            .wait_for("a goodbye", |state| !state.goodbyes.is_empty());
        assert_eq!(bench.ends()[0].1, Outcome::Released);
        while !agent.is_gone() {
            std::thread::yield_now();
        }
        agent.uninstall().unwrap();
        let left: Vec<String> = std::fs::read_dir(bench.folder.path())
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(left, Vec::from_iter(stranger));
        assert_eq!(bench.folder.path().exists(), stranger.is_some());
        assert_eq!(bench.server.with(|state| state.registrations.len()), 1);
    }
}

#[test]
fn an_agent_of_a_service_that_is_asked_to_uninstall_itself_stays() {
    let bench = Bench {
        uninstall: Uninstall::Stay,
        ..Bench::new()
    };
    let agent = bench.start();
    bench.server.with(|state| {
        state.replies.push_back(SyncReply {
            uninstall: true,
            ..SyncReply::default()
        });
    });
    bench
        .server
        .wait_for("a new registration", |state| state.registrations.len() == 2);
    bench.server.assign(vec![assignment("t-1", "complete")]);
    bench
        .server
        .wait_for("an end", |state| !state.ends.is_empty());
    assert!(!agent.is_gone());
    stop(agent);
    assert!(bench.server.with(|state| state.goodbyes.is_empty()));
}
