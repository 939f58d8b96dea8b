//! A user whose policy allows one vault: by ids everything works that lies in it, and nothing that lies elsewhere.

use std::path::Path;

use serde_json::Value;

use super::bench::{Bench, Done, assert_same, finish};

/// The vault of the policy in docs/access.md.
const VAULT_OF_THE_PAGE: &str = "v-0002584kx0bn1ptw3ycl";

/// `home.json` of docs/access.md, for another vault.
fn policy_of_the_page(vault_id: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("$ cat home.json\n").unwrap();
    let (document, _) = rest.split_once("    $ strongroom user create ann").unwrap();
    assert!(document.contains(VAULT_OF_THE_PAGE), "{document}");
    document.replace(VAULT_OF_THE_PAGE, vault_id)
}

struct User<'b> {
    bench: &'b Bench,
    key: Value,
}

impl<'b> User<'b> {
    fn new(bench: &'b Bench, name: &str, policy: &str) -> Self {
        let file = bench.path("policy.json");
        std::fs::write(&file, policy).unwrap();
        bench
            .run(&["user", "create", name, "--policy", file.to_str().unwrap()])
            .expect(0);
        let made = bench.run(&["key", "create", "--user", name, "--json"]);
        let key = made.expect(0).json_lines().remove(0);
        Self { bench, key }
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let mut command = self.bench.command(arguments);
        command.arg("--data-dir").arg(self.bench.data_dir());
        for (variable, field) in [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "AccessKeyId"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "AccessKeySecret"),
        ] {
            command.env(variable, self.key[field].as_str().unwrap());
        }
        finish(command)
    }

    /// The first line of what a command prints.
    #[track_caller]
    fn id(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments).expect(0);
        done.out.lines().next().unwrap().to_owned()
    }

    #[track_caller]
    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        self.run(arguments).expect(0).json_lines()
    }
}

#[test]
fn a_user_of_one_vault_works_by_ids() {
    let bench = Bench::new();
    let source = bench.small_source("source");
    let path = source.to_str().unwrap();
    let service = bench.serve(&[]);
    let id = |arguments: &[&str]| bench.run(arguments).expect(0).out.trim().to_owned();
    let (home, other) = (
        id(&["vault", "create", "home"]),
        id(&["vault", "create", "other"]),
    );
    let foreign_plan = id(&["plan", "create", "--vault", "other", "--path", path]);
    let foreign = bench.run(&["plan", "run", &foreign_plan, "--wait", "--json"]);
    let foreign_job = foreign.expect(0).json_lines()[0]["JobId"].clone();
    let foreign_job = foreign_job.as_str().unwrap();
    let ann = User::new(&bench, "ann", &policy_of_the_page(&home));

    let plan = ann.id(&["plan", "create", "--vault", &home, "--path", path]);
    let done = ann.rows(&["plan", "run", &plan, "--wait", "--json"]);
    assert_eq!(done[0]["Status"], "COMPLETE", "{done:?}");
    let shown = ann.run(&["plan", "run", &plan, "--wait"]).expect(0);
    assert!(shown.out.contains("COMPLETE"), "{}", shown.out);
    let job = ann.id(&["plan", "run", &plan]);
    assert!(job.starts_with("job-"), "{job}");
    let plans = ann.rows(&["plan", "list", "--vault", &home, "--json"]);
    assert_eq!(plans.len(), 1, "{plans:?}");
    assert_eq!(ann.rows(&["jobs", "--vault", &home, "--json"]).len(), 3);
    assert_eq!(ann.rows(&["job", "show", &job, "--json"])[0]["JobId"], *job);
    let first = done[0]["JobId"].as_str().unwrap();
    ann.run(&["jobs", "events", first]).expect(0);
    let report = ann.run(&["jobs", "report", first, "--list", "total"]);
    assert!(report.expect(0).out.contains("file-1"));

    let snapshots = ann.rows(&["snapshots", "--vault", &home, "--json"]);
    let snapshot = snapshots.last().unwrap()["SnapshotId"].as_str().unwrap();
    let table = ann.run(&["snapshots", "--vault", &home]).expect(0).out;
    assert!(table.contains(snapshot), "{table}");
    let listed = ann.rows(&["ls", snapshot, path, "--vault", &home, "--json"]);
    assert_eq!(listed[0]["Name"], "sub", "{listed:?}");
    for (name, words) in [
        ("by id", &["restore", snapshot][..]),
        ("newest", &["restore", "latest", "--vault", &home]),
    ] {
        let target = bench.path(name);
        let mut words = words.to_vec();
        words.extend(["--target", target.to_str().unwrap()]);
        ann.run(&words).expect(0);
        assert_same(&source, &target);
    }
    let exported = ann.run(&["vault", "export", &home]).expect(0).out;
    assert!(exported.contains("RESTIC_PASSWORD="), "{exported}");

    // What needs a list says so, and what to write instead.
    for (words, instead) in [
        (&["vault", "export", "home"][..], "write the id (v-…)"),
        (&["plan", "create", "--path", path], "write the id (v-…)"),
        (&["plan", "run", "a plan"], "write the id (plan-…)"),
        (&["plan", "list"], "--vault v-…"),
        (&["snapshots"], "--vault v-…"),
        (&["ls", snapshot], "--vault v-…"),
        (&["restore", "latest", "--target", "/none"], "--vault v-…"),
        (&["policy", "run", "a policy"], "write the id (po-…)"),
    ] {
        let refused = ann.run(words).expect(20);
        assert!(refused.err.contains(instead), "{words:?}: {}", refused.err);
        assert!(refused.err.contains("NoPermission"), "{}", refused.err);
    }
    // And nothing of another vault is told, whichever id names it.
    for words in [
        &["plan", "create", "--vault", &other, "--path", path][..],
        &["plan", "run", &foreign_plan],
        &["plan", "list", "--vault", &other],
        &["snapshots", "--vault", &other],
        &["jobs", "--vault", &other],
        &["jobs"],
        &["job", "show", foreign_job],
        &["job", "cancel", foreign_job],
        &["jobs", "events", foreign_job],
        &["jobs", "report", foreign_job],
        &["vault", "export", &other],
        &["plan", "delete", &plan, "--yes"],
    ] {
        let refused = ann.run(words).expect(20);
        assert!(
            refused.err.contains("NoPermission"),
            "{words:?}: {}",
            refused.err
        );
    }
    let both = format!("DescribeBackupJobs2 Filters.1.Key=JobId Filters.1.Values.1={job}");
    let mut words: Vec<&str> = std::iter::once("api").chain(both.split(' ')).collect();
    ann.run(&words).expect(0);
    let foreign_value = format!("Filters.1.Values.2={foreign_job}");
    words.extend(["Filters.1.Operator=IN", &foreign_value]);
    ann.run(&words).expect(20);
    service.interrupt().expect(0);
}
