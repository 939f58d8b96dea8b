//! What a command says to a slip: words that there are not, names of nobody, questions without a terminal, lines for a
//! shell, empty variables.

use std::process::Command;

use super::bench::{Bench, Done, finish};

#[test]
fn a_slip_is_told_with_the_next_step() {
    let bench = Bench::new();
    let source = bench.small_source("source");
    bench.serve_once(&[&source]).expect(0);
    let service = bench.serve(&[]);
    let expect = |code: i32, words: &[&str], told: &[&str]| -> Done {
        let done = bench.run(words).expect(code);
        for text in told {
            assert!(done.err.contains(text), "{words:?}: {text}: {}", done.err);
        }
        done
    };

    // Words of the API, and names of vaults; ids may be of an imported history.
    expect(
        2,
        &["jobs", "--status", "COMPELTE"],
        &["did you mean COMPLETE?"],
    );
    expect(
        2,
        &["jobs", "--source-type", "ECS_FIEL"],
        &["did you mean ECS_FILE?"],
    );
    let filter = ["jobs", "--filter", "Status", "EQUAL", "COMPELTE"];
    expect(2, &filter, &["--filter", "did you mean COMPLETE?"]);
    expect(
        21,
        &["jobs", "--vault", "nosuchname"],
        &["strongroom vault list"],
    );
    let none = expect(0, &["jobs", "--vault", "v-imported", "--json"], &[]);
    assert_eq!(none.out, "");
    for words in [
        &["jobs", "--vault", "default", "--json"][..],
        &["jobs", "--status", "complete,FAILED", "--json"],
        &["jobs", "--source-type", "ECS_FILE", "--json"],
    ] {
        assert_eq!(expect(0, words, &[]).json_lines().len(), 1, "{words:?}");
    }
    assert_eq!(
        expect(0, &["jobs", "--status", "FAILED", "--json"], &[]).out,
        ""
    );

    // A plan by its name, and the days that a plan does not take.
    let plan = &bench
        .run(&["plan", "list", "--json"])
        .expect(0)
        .json_lines()[0];
    let name = plan["PlanName"].as_str().unwrap();
    let simulated = expect(0, &["policy", "simulate", "--plan", name], &[]);
    assert!(simulated.out.contains("1 kept"), "{}", simulated.out);
    let nobody = ["policy", "simulate", "--policy", "nosuchname"];
    expect(21, &nobody, &["strongroom policy list"]);
    for days in ["0", "-1"] {
        let forever = expect(0, &["policy", "simulate", "--days", days], &[]);
        assert!(
            forever.out.contains("1 kept, 0 would go"),
            "{}",
            forever.out
        );
        let of_plan = ["policy", "simulate", "--plan", name, "--days", days];
        expect(2, &of_plan, &["a plan takes no", "leave --plan out"]);
    }

    // Without a terminal nothing that cannot be undone is done unasked.
    bench.run(&["user", "create", "ann"]).expect(0);
    let made = bench.run(&["key", "create", "--user", "ann", "--json"]);
    let key = made.expect(0).json_lines().remove(0);
    let key_id = key["AccessKeyId"].as_str().unwrap();
    let trust = bench.path("trust.json");
    let whom = bench
        .run(&["user", "list", "--json"])
        .expect(0)
        .json_lines()[0]["Arn"]
        .clone();
    let document = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":[{whom}]}}}}]}}"#
    );
    std::fs::write(&trust, document).unwrap();
    let trust = trust.to_str().unwrap();
    bench
        .run(&["role", "create", "see", "--trust", trust])
        .expect(0);
    let snapshot = bench.run(&["snapshots", "--json"]).expect(0).json_lines()[0].clone();
    let snapshot = snapshot["SnapshotId"].as_str().unwrap();
    let policy = ["policy", "create", "nightly"];
    let policy = bench.run(&policy).expect(0).out.trim().to_owned();
    let deletions = [
        ("key", key_id),
        ("user", "ann"),
        ("role", "see"),
        ("snapshot", snapshot),
        ("policy", policy.as_str()),
        ("plan", name),
        ("vault", "default"),
    ];
    for (noun, thing) in deletions {
        expect(2, &[noun, "delete", thing], &["nothing was done", "--yes"]);
    }
    for (noun, thing) in deletions.iter().take(3) {
        expect(0, &[noun, "delete", thing, "--yes"], &[]);
    }

    // What there is not is listed by the command of its noun.
    for (words, command) in [
        (&["user", "delete", "nobody", "--yes"][..], "user list"),
        (&["user", "disable", "nobody"], "user list"),
        (&["key", "create", "--user", "nobody"], "user list"),
        (&["key", "list", "--user", "nobody"], "user list"),
        (&["key", "delete", "SRnone", "--yes"], "key list"),
        (&["key", "rotate", "SRnone"], "key list"),
        (&["role", "delete", "nobody", "--yes"], "role list"),
        (&["account", "disable", "1234567890123456"], "account list"),
        (&["vault", "delete", "nobody", "--yes"], "vault list"),
        (&["plan", "run", "plan-none"], "plan list"),
    ] {
        expect(21, words, &[command]);
    }

    // A restore that was to bring something, and had nothing to bring.
    let target = bench.path("target");
    let target = target.to_str().unwrap();
    for snapshot in ["latest", snapshot] {
        let words = [
            "restore",
            snapshot,
            "--target",
            target,
            "--include",
            "*.nosuch",
        ];
        expect(21, &words, &["nothing in the snapshot matches --include"]);
    }
    service.interrupt().expect(0);
}

#[test]
fn a_shell_that_runs_the_lines_of_a_failure_fails_and_keeps_what_it_had() {
    let bench = Bench::new();
    let binary = bench.binary().to_str().unwrap().to_owned();
    for words in [
        "role assume nosuch --export",
        "role assume --export",
        "role assume nosuch --export --duration soon",
        "vault export nosuch",
        "vault export",
    ] {
        let script = format!(
            r#"eval "$({binary} {words} --data-dir {})"; echo "status $?"; echo "key $ALIBABA_CLOUD_ACCESS_KEY_ID"
            set -e; eval "$({binary} {words})"; echo "went on""#,
            bench.path("none").display()
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env_clear()
            .env("HOME", bench.path(""))
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", "mine")
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret");
        let done = finish(command).expect(1);
        assert_eq!(done.out, "status 1\nkey mine\n", "{words}");
        assert!(done.err.contains("error"), "{words}: {}", done.err);
    }
}

#[test]
fn an_empty_variable_counts_as_none() {
    let bench = Bench::new();
    let service = bench.serve(&[]);
    let run = |variables: &[&str]| {
        let mut command = bench.command(&["vault", "list", "--data-dir"]);
        command.arg(bench.data_dir());
        command.envs(variables.iter().map(|name| (name, "")));
        finish(command)
    };
    let all = [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
        "STRONGROOM_ENDPOINT",
        "STRONGROOM_CACERT",
        "STRONGROOM_DATA_DIR",
    ];
    for name in all {
        run(&[name]).expect(0);
    }
    run(&all).expect(0);
    service.interrupt().expect(0);
    // The data directory of the environment, and none when it is empty.
    let mut command = bench.command(&["vault", "list"]);
    command.env("STRONGROOM_DATA_DIR", "");
    let default = finish(command).expect(1);
    assert!(
        default.err.contains(".local/share/strongroom"),
        "{}",
        default.err
    );
    let mut command = bench.command(&["vault", "list"]);
    command.env("STRONGROOM_DATA_DIR", bench.path("elsewhere"));
    let named = finish(command).expect(1);
    assert!(named.err.contains("elsewhere"), "{}", named.err);
    // A service starts with empty variables of its own, too.
    let mut command = bench.command(&["serve", "--once", "--listen", "127.0.0.1:0", "--protect"]);
    command.arg(bench.small_source("source"));
    command.arg("--data-dir").arg(bench.data_dir());
    for name in [
        "STRONGROOM_CATALOG",
        "STRONGROOM_CATALOG_FILE",
        "STRONGROOM_MASTER_KEY_FILE",
    ] {
        command.env(name, "");
    }
    finish(command).expect(0);
}
