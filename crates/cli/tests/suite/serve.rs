//! `serve`: the first start, restarts, stops, kills, and what it refuses.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use testkit::programs::Restic;

use super::bench::{Bench, assert_same};

#[test]
fn one_command_protects_a_folder_and_everything_agrees() {
    let bench = Bench::new();
    let source = bench.path("source");
    testkit::tree::build(&source, testkit::tree::TreeOptions::default()).unwrap();
    let done = bench.serve_once(&[&source]).expect(0);
    assert!(
        done.out.contains("COMPLETE") && done.out.contains("recovery-"),
        "{}",
        done.out
    );
    assert!(
        !done.out.contains('\u{1b}') && !done.err.contains('\u{1b}') && !done.err.contains('\r')
    );
    let credentials = bench.data_dir().join("credentials.json");
    assert_eq!(
        std::fs::metadata(&credentials)
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );

    let service = bench.serve(&[]);
    let job = bench.only_job();
    assert_eq!(job["Status"], "COMPLETE");
    assert_eq!(job["Paths"]["Path"][0].as_str(), source.to_str());
    assert!(done.out.contains(job["JobId"].as_str().unwrap()));
    let target = bench.path("restored");
    bench
        .run(&["restore", "latest", "--target", target.to_str().unwrap()])
        .expect(0);
    assert_same(&source, &target);
    let listed = bench
        .run(&["ls", "latest", source.to_str().unwrap(), "--json"])
        .expect(0)
        .json_lines();
    assert!(
        listed
            .iter()
            .any(|node| node["Name"] == "plain" && node["Type"] == "dir"),
        "{listed:?}"
    );
    service.interrupt().expect(0);

    let (repository, password) = export(&bench);
    for restic in Restic::all().unwrap() {
        restic
            .run(Path::new(&repository), &password, &["check", "--read-data"])
            .unwrap();
    }
}

/// Where the default vault is and what opens it, without a service.
fn export(bench: &Bench) -> (String, String) {
    let text = bench.run(&["vault", "export", "default"]).expect(0).out;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim_matches('\'').to_owned()
    };
    (value("RESTIC_REPOSITORY="), value("RESTIC_PASSWORD="))
}

#[test]
fn a_restart_finds_the_same_client_plan_and_vault() {
    let bench = Bench::new();
    let (one, two) = (bench.small_source("one"), bench.small_source("two"));
    bench.serve_once(&[&one, &two, &one]).expect(0);
    let identity = std::fs::read_to_string(bench.data_dir().join("agent/agent.json")).unwrap();
    bench.serve_once(&[&two]).expect(0);
    let again = std::fs::read_to_string(bench.data_dir().join("agent/agent.json")).unwrap();
    let id = |text: &str, name: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap()[name].clone()
    };
    for name in ["client_id", "instance_id", "machine_id"] {
        assert_eq!(id(&identity, name), id(&again, name));
    }
    let service = bench.serve(&[]);
    let plans = bench
        .run(&["plan", "list", "--json"])
        .expect(0)
        .json_lines();
    assert_eq!(plans.len(), 2, "{plans:?}");
    assert!(
        plans
            .iter()
            .all(|plan| plan["Schedule"].as_str().unwrap().ends_with("|P1D"))
    );
    assert_eq!(
        bench
            .run(&["vault", "list", "--json"])
            .expect(0)
            .json_lines()
            .len(),
        1
    );
    let jobs = bench.run(&["jobs", "--json"]).expect(0).json_lines();
    assert_eq!(jobs.len(), 3);
    assert_eq!(jobs[0]["ActualFiles"], 0, "nothing changed: {}", jobs[0]);
    service.interrupt().expect(0);
}

#[test]
fn what_cannot_be_read_makes_it_partial() {
    let bench = Bench::unprivileged();
    let source = bench.small_source("source");
    std::fs::set_permissions(
        source.join("sub/file-3"),
        std::fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    let done = bench.serve_once(&[&source]).expect(3);
    assert!(done.out.contains("PARTIAL_COMPLETE"), "{}", done.out);
    assert!(
        done.out.contains("file-3") && done.out.contains("ermission denied"),
        "{}",
        done.out
    );
}

#[test]
fn a_vault_that_is_gone_fails_the_job_and_says_why() {
    let bench = Bench::new();
    let source = bench.small_source("source");
    bench.serve_once(&[&source]).expect(0);
    let (repository, _) = export(&bench);
    std::fs::rename(&repository, bench.path("moved")).unwrap();
    let done = bench.serve_once(&[&source]).expect(1);
    assert!(
        done.out.contains("FAILED") && done.out.contains("cannot be reached from this host"),
        "{}",
        done.out
    );
    std::fs::rename(bench.path("moved"), &repository).unwrap();
    bench.serve_once(&[&source]).expect(0);
}

#[test]
fn an_interrupted_job_goes_on_under_its_id() {
    let bench = Bench::new();
    let source = bench.big_source("source");
    let first = bench.start_once(&[&source]);
    bench.wait_for_packs();
    let done = first.interrupt().expect(130);
    assert!(
        done.err.contains("goes on under the same id"),
        "{}",
        done.err
    );
    let (repository, password) = export(&bench);
    assert_eq!(
        std::fs::read_dir(Path::new(&repository).join("locks"))
            .unwrap()
            .count(),
        0
    );
    let second = bench.serve_once(&[&source]).expect(0);
    assert!(second.err.contains("goes on with"), "{}", second.err);
    resumed_well(&bench, &source, &repository, &password);
}

#[test]
fn a_killed_job_goes_on_under_its_id() {
    let bench = Bench::new();
    let source = bench.big_source("source");
    let first = bench.start_once(&[&source]);
    bench.wait_for_packs();
    first.signal(Signal::KILL);
    first.wait().expect(128 + 9);
    let (repository, password) = export(&bench);
    if let Some(restic) = Restic::oldest().unwrap() {
        restic
            .run(Path::new(&repository), &password, &["unlock"])
            .unwrap();
        restic
            .run(Path::new(&repository), &password, &["check"])
            .unwrap();
    }
    bench.serve_once(&[&source]).expect(0);
    resumed_well(&bench, &source, &repository, &password);
}

/// One job, complete, and its snapshot is the source.
fn resumed_well(bench: &Bench, source: &Path, repository: &str, password: &str) {
    let service = bench.serve(&[]);
    assert_eq!(bench.only_job()["Status"], "COMPLETE");
    assert_eq!(
        bench
            .run(&["snapshots", "--json"])
            .expect(0)
            .json_lines()
            .len(),
        1
    );
    service.interrupt().expect(0);
    if let Some(restic) = Restic::oldest().unwrap() {
        let repository = Path::new(repository);
        restic
            .run(repository, password, &["check", "--read-data"])
            .unwrap();
        let target = bench.path("restored");
        restic
            .run(
                repository,
                password,
                &["restore", "latest", "--target", target.to_str().unwrap()],
            )
            .unwrap();
        assert_same(source, &target);
    }
}

#[test]
fn wrong_paths_are_refused_before_anything_starts() {
    let bench = Bench::new();
    let missing = bench.serve_once(&[&bench.path("missing")]).expect(1);
    assert!(
        missing.err.contains("No such file") && missing.err.contains("next:"),
        "{}",
        missing.err
    );
    assert!(!bench.data_dir().exists());
    let source = bench.small_source("source");
    bench.serve_once(&[&source]).expect(0);
    for own in [bench.data_dir(), bench.data_dir().join("vaults")] {
        let done = bench.serve_once(&[&own]).expect(1);
        assert!(done.err.contains("the data directory"), "{}", done.err);
    }
    // Around it is fine: the data directory is left out.
    bench.serve_once(&[&bench.path("")]).expect(0);
    let (repository, password) = export(&bench);
    if let Some(restic) = Restic::oldest().unwrap() {
        let listed = restic
            .run(Path::new(&repository), &password, &["ls", "latest"])
            .unwrap();
        assert!(
            listed.contains("source/sub/file-1") && !listed.contains("master.key"),
            "{listed}"
        );
    }
}

#[test]
fn a_second_service_on_the_same_data_is_refused() {
    let bench = Bench::new();
    let service = bench.serve(&[]);
    let done = bench
        .serve_once(&[&bench.small_source("source")])
        .expect(22);
    assert!(done.err.contains("another server uses"), "{}", done.err);
    let text = bench.run(&["vault", "list"]).expect(0).out;
    assert!(text.starts_with("VAULT"), "{text}");
    service.signal(Signal::TERM);
    service.wait().expect(0);
}
