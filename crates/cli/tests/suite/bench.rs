//! Folders of one test, and the binary run in them.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::compare::CompareOptions;

/// Longest time that anything here may take; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(180);
/// User for tests that must not be allowed everything.
const NOBODY: u32 = 65_534;

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The run must have ended so.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out:\n{}\nerr:\n{}", self.out, self.err);
        self
    }

    /// The JSON lines of standard output.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A data directory and room beside it.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    binary: PathBuf,
    user: Option<u32>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_strongroom")),
            user: None,
        }
    }

    /// The same for a user that may not read everything; root runs the binary as somebody else then.
    pub(crate) fn unprivileged() -> Self {
        let mut bench = Self::new();
        if !rustix::process::geteuid().is_root() {
            return bench;
        }
        let root = bench.folder.path().to_owned();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        let binary = root.join("strongroom");
        std::fs::copy(&bench.binary, &binary).unwrap();
        chown(&root, Some(NOBODY), Some(NOBODY)).unwrap();
        bench.binary = binary;
        bench.user = Some(NOBODY);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// The program.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// A folder with a few files.
    pub(crate) fn small_source(&self, name: &str) -> PathBuf {
        let source = self.path(name);
        std::fs::create_dir_all(source.join("sub")).unwrap();
        for number in 0..5 {
            std::fs::write(
                source.join(format!("sub/file-{number}")),
                format!("text {number}\n"),
            )
            .unwrap();
        }
        source
    }

    /// A folder that takes a moment to back up.
    pub(crate) fn big_source(&self, name: &str) -> PathBuf {
        let source = self.path(name);
        std::fs::create_dir(&source).unwrap();
        for number in 0..24 {
            let file = source.join(format!("file-{number}"));
            testkit::content::write_random_file(&file, 16 << 20, number).unwrap();
        }
        source
    }

    /// The command with nothing of this process's environment that could disturb it.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("HOME", self.folder.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["RESTIC_", "STRONGROOM_", "ALIBABA_", "XDG_"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                command.env_remove(name);
            }
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs the binary with this data directory.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Done {
        let mut command = self.command(arguments);
        command.arg("--data-dir").arg(self.data_dir());
        finish(command)
    }

    /// `serve --once` for these paths.
    pub(crate) fn serve_once(&self, paths: &[&Path]) -> Done {
        finish(self.serve_command(paths, true))
    }

    fn serve_command(&self, paths: &[&Path], once: bool) -> Command {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(self.data_dir());
        if once {
            command.arg("--once");
        }
        if !paths.is_empty() {
            command.arg("--protect").args(paths);
        }
        command
    }

    /// A service that runs until it is told to stop.
    pub(crate) fn serve(&self, paths: &[&Path]) -> Running {
        let running = self.start(self.serve_command(paths, false));
        let credentials = self.data_dir().join("credentials.json");
        wait_for("the service to answer", || {
            credentials.exists() && self.run(&["api", "DescribeRegions"]).code == 0
        });
        running
    }

    /// `serve --once` that goes on in the background.
    pub(crate) fn start_once(&self, paths: &[&Path]) -> Running {
        self.start(self.serve_command(paths, true))
    }

    /// Any command in the background, its output in files.
    pub(crate) fn start(&self, mut command: Command) -> Running {
        let (out, err) = (self.path("out.txt"), self.path("err.txt"));
        command
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap());
        Running {
            child: command.spawn().unwrap(),
            out,
            err,
        }
    }

    /// Waits until some backup has put packs into a vault of the data directory.
    pub(crate) fn wait_for_packs(&self) {
        let vaults = self.data_dir().join("vaults");
        wait_for("packs in the vault", || {
            let vaults = std::fs::read_dir(&vaults).into_iter().flatten().flatten();
            vaults.map(|vault| pack_count(&vault.path())).sum::<usize>() > 1
        });
    }

    /// The only job.
    #[track_caller]
    pub(crate) fn only_job(&self) -> Value {
        let jobs = self.run(&["jobs", "--json"]).expect(0).json_lines();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs[0].clone()
    }
}

/// Packs of a repository.
pub(crate) fn pack_count(repository: &Path) -> usize {
    let folders = std::fs::read_dir(repository.join("data"))
        .into_iter()
        .flatten()
        .flatten();
    folders
        .filter_map(|folder| std::fs::read_dir(folder.path()).ok())
        .map(Iterator::count)
        .sum()
}

/// A process in the background; killed when the test ends without it.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Done {
        let status = wait_for_child(&mut self.child);
        Done {
            code: code_of(status),
            out: std::fs::read_to_string(&self.out).unwrap(),
            err: std::fs::read_to_string(&self.err).unwrap(),
        }
    }

    /// Ctrl-C, and the end.
    pub(crate) fn interrupt(self) -> Done {
        self.signal(rustix::process::Signal::INT);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for_child(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for("a process to end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: code_of(output.status),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Asks again and again until it is so.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The restored tree must be the source, metadata included; `restored` is what lies at the source's path in the target.
#[track_caller]
pub(crate) fn assert_same(source: &Path, target: &Path) {
    let restored = target.join(source.strip_prefix("/").unwrap());
    let options = CompareOptions {
        holes: true,
        skip_root: false,
    };
    let differences = testkit::compare::trees(source, &restored, options).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}
