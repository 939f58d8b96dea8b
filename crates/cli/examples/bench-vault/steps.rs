//! The commands, in the order of a vault's life.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::make::{PASSWORD, Shape};
use crate::measure::{self, Cost};

/// Files that the measured backup finds, in folders of a hundred.
const SOURCE_FILES: usize = 1_000;
/// How often a command that changes nothing is run; the first run warms the caches of the system and is not told.
const READ_ROUNDS: usize = 2;

/// Told for each command.
type Tell<'a> = &'a mut dyn FnMut(&str, &Cost);

struct Vault<'a> {
    binary: &'a Path,
    dir: &'a Path,
    wrong: u64,
    tell: Tell<'a>,
}

/// Runs everything on the vault in `dir`; gives the number of wrong answers.
pub(crate) fn run(
    binary: &Path,
    dir: &Path,
    shape: Shape,
    tell: Tell<'_>,
) -> Result<u64, Box<dyn Error>> {
    let mut vault = Vault {
        binary,
        dir,
        wrong: 0,
        tell,
    };
    vault.read(shape)?;
    vault.back_up()?;
    vault.clean_up(shape)?;
    Ok(vault.wrong)
}

impl Vault<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command
            .arg("repo")
            .args(words)
            .arg("--json")
            .env("RESTIC_REPOSITORY", self.dir.join("vault"))
            .env("RESTIC_PASSWORD", PASSWORD);
        command
    }

    /// Runs a command that changes the vault, and gives the last line of what it printed.
    fn once(&mut self, step: &str, words: &[&str]) -> Result<Value, Box<dyn Error>> {
        let (text, cost) = measure::run(&mut self.command(words))?;
        (self.tell)(step, &cost);
        Ok(last_line(&text))
    }

    /// Runs a command that changes nothing, and gives all that it printed.
    fn warm(&mut self, step: &str, words: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut last = (String::new(), Cost::default());
        for _ in 0..READ_ROUNDS {
            last = measure::run(&mut self.command(words))?;
        }
        (self.tell)(step, &last.1);
        Ok(last.0)
    }

    fn expect(&mut self, what: &str, is_right: bool) {
        if !is_right {
            eprintln!("wrong: {what}");
            self.wrong += 1;
        }
    }

    fn read(&mut self, shape: Shape) -> Result<(), Box<dyn Error>> {
        let text = self.warm("list the snapshots", &["snapshots"])?;
        let snapshots: Vec<Value> = serde_json::from_str(&text)?;
        let is_right = snapshots.len() as u64 == shape.snapshots;
        self.expect("the number of snapshots", is_right);
        let oldest = snapshots
            .first()
            .and_then(|snapshot| snapshot["id"].as_str())
            .ok_or("no snapshot is listed")?
            .to_owned();
        let text = self.warm(
            "list one folder of the newest",
            &["ls", "latest", "/scale/0000/00"],
        )?;
        self.expect("the entries of a folder", text.lines().count() >= 100);
        let (path, content) = shape.oldest_file();
        let target = self.dir.join("target");
        let words = [
            "restore",
            &oldest,
            "--include",
            path,
            "--target",
            target.to_str().ok_or("a folder that is no text")?,
        ];
        self.warm("restore one file of the oldest", &words)?;
        let restored = fs::read(target.join(path.trim_start_matches('/')))?;
        self.expect("the restored file", restored == content);
        fs::remove_dir_all(&target)?;
        self.warm("check the structure", &["check"])?;
        Ok(())
    }

    fn back_up(&mut self) -> Result<(), Box<dyn Error>> {
        let source = self.dir.join("source");
        for number in 0..SOURCE_FILES {
            let folder = source.join(format!("{:02}", number / 100));
            fs::create_dir_all(&folder)?;
            let text = format!("file {number}\n").repeat(100);
            fs::write(folder.join(format!("{number:04}")), text)?;
        }
        let source = source
            .to_str()
            .ok_or("a folder that is no text")?
            .to_owned();
        let first = self.once("back up 1,000 new files", &["backup", &source])?;
        self.expect(
            "the number of new files",
            first["files_new"] == SOURCE_FILES,
        );
        let again = self.once("back up, nothing changed", &["backup", &source])?;
        let is_right = again["files_unmodified"] == SOURCE_FILES && again["files_new"] == 0;
        self.expect("the number of unchanged files", is_right);
        Ok(())
    }

    /// Removes the older half of the snapshots and what only they need.
    fn clean_up(&mut self, shape: Shape) -> Result<(), Box<dyn Error>> {
        let kept = (shape.snapshots.div_ceil(2)).to_string();
        self.once(
            "forget half of the snapshots",
            &["forget", "--keep-last", &kept],
        )?;
        self.once("prune: mark and write anew", &["prune"])?;
        self.once(
            "prune: remove the marked",
            &["prune", "--keep-delete", "0m"],
        )?;
        let text = self.warm("list the snapshots that are left", &["snapshots"])?;
        let left: Vec<Value> = serde_json::from_str(&text)?;
        let mut expected = shape.snapshots.div_ceil(2);
        // The two of `back_up` are a group of their own, of which as many are kept.
        expected += shape.snapshots.div_ceil(2).min(2);
        self.expect(
            "the number of snapshots left",
            left.len() as u64 == expected,
        );
        let text = self.warm("check the structure after it", &["check"])?;
        self.expect("the check", !text.contains("error:"));
        Ok(())
    }
}

fn last_line(text: &str) -> Value {
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_default()
}
