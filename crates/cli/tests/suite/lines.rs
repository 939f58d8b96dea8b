//! Commands for people and scripts: documents, credentials, lists, errors of two lines.

use super::bench::{Bench, finish, wait_for};

#[test]
fn documents_come_from_the_definitions() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            bench
                .run(&["completion", shell])
                .expect(0)
                .out
                .contains("strongroom")
        );
    }
    let pages = bench.path("man");
    bench.run(&["man", pages.to_str().unwrap()]).expect(0);
    assert!(pages.join("strongroom.1").exists() && pages.join("strongroom-repo-backup.1").exists());
    let version = bench.run(&["version", "--json"]).expect(0).json_lines();
    assert_eq!(version[0]["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        finish(bench.command(&["--version"]))
            .expect(0)
            .out
            .starts_with("strongroom ")
    );
}

#[test]
fn failures_say_what_and_what_next() {
    let bench = Bench::new();
    let done = bench.run(&["jobs"]).expect(1);
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", done.err);
    assert!(lines[0].starts_with("error: ") && lines[0].contains("credentials.json"));
    assert!(lines[1].starts_with("  next: "));
    bench.run(&["no-such-command"]).expect(2);
}

#[test]
fn a_service_is_found_by_file_or_environment() {
    let bench = Bench::new();
    let service = bench.serve(&[]);
    let text = std::fs::read_to_string(bench.data_dir().join("credentials.json")).unwrap();
    let credentials: serde_json::Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| credentials[name].as_str().unwrap().to_owned();
    let with = |secret: &str| {
        let mut command = bench.command(&["vault", "list", "--json"]);
        command
            .env("STRONGROOM_ENDPOINT", field("Endpoint"))
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", field("AccessKeyId"))
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret);
        finish(command)
    };
    with(&field("AccessKeySecret")).expect(0);
    let refused = with("wrong").expect(20);
    assert!(
        refused.err.contains("SignatureDoesNotMatch") && refused.err.contains("RequestId"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains(&field("AccessKeySecret")));
    // Whoever sets a part of a key means another one than the data directory's root key.
    for part in [
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
    ] {
        let mut command = bench.command(&["vault", "list"]);
        command.arg("--data-dir").arg(bench.data_dir());
        command.env(part, "part");
        finish(command).expect(1);
    }
    bench.run(&["user", "policy", "ann"]).expect(2);
    let unknown = bench.run(&["api", "NoSuchAction"]).expect(21);
    assert!(
        unknown.err.contains("InvalidAction.NotFound"),
        "{}",
        unknown.err
    );
    bench
        .run(&["job", "show", "job-000000000000000000"])
        .expect(21);
    service.interrupt().expect(0);
    let away = bench.run(&["jobs"]).expect(1);
    assert!(
        away.err.contains("cannot reach the service") && away.err.contains("strongroom serve"),
        "{}",
        away.err
    );
}

#[test]
fn plans_and_jobs_by_hand() {
    let bench = Bench::new();
    let source = bench.big_source("source");
    let service = bench.serve(&[]);
    let storage = bench.path("vault");
    bench
        .run(&[
            "vault",
            "create",
            "home",
            "--storage",
            storage.to_str().unwrap(),
        ])
        .expect(0);
    let path = source.to_str().unwrap();
    let create = [
        "plan",
        "create",
        "--vault",
        "home",
        "--path",
        path,
        "--name",
        "slow",
        "--speed-limit",
        "0:24:1024",
    ];
    bench.run(&create).expect(0);
    let job = bench
        .run(&["plan", "run", "slow"])
        .expect(0)
        .out
        .trim()
        .to_owned();
    wait_for("the job to run", || bench.only_job()["Status"] == "RUNNING");
    bench.run(&["job", "cancel", &job]).expect(0);
    wait_for("the job to be cancelled", || {
        bench.only_job()["Status"] == "CANCELED"
    });
    let filtered = [
        "jobs", "--filter", "Status", "IN", "COMPLETE", "FAILED", "--filter", "JobId", "EQUAL",
        &job, "--json",
    ];
    assert!(bench.run(&filtered).expect(0).out.is_empty());
    let wrong = bench
        .run(&["jobs", "--filter", "Colour", "EQUAL", "red"])
        .expect(2);
    assert!(wrong.err.contains("there is no key"), "{}", wrong.err);
    bench.run(&["plan", "delete", "slow"]).expect(2);
    bench.run(&["plan", "delete", "slow", "--yes"]).expect(0);
    bench.run(&["vault", "delete", "home", "--yes"]).expect(0);
    service.interrupt().expect(0);
}
