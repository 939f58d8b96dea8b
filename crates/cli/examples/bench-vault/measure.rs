//! Wall time, CPU time and peak memory of a program.

use std::error::Error;
use std::fmt;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

/// How often the peak is asked for: it only grows, so only what grows in the last moment can be missed.
const INTERVAL: Duration = Duration::from_millis(1);

/// What a run cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    wall: Duration,
    cpu: Duration,
    peak_bytes: u64,
}

impl Cost {
    pub(crate) fn json(&self, blobs: u64, snapshots: u64, command: &str) -> Value {
        json!({
            "blobs": blobs,
            "snapshots": snapshots,
            "command": command,
            "wall_seconds": self.wall.as_secs_f64(),
            "cpu_seconds": self.cpu.as_secs_f64(),
            "peak_bytes": self.peak_bytes,
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:>9.3} {:>9.2} {:>9.1}",
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.peak_bytes as f64 / 1e6
        )
    }
}

/// Runs a command to its end; gives its standard output and what it cost. One that fails is an error.
pub(crate) fn run(command: &mut Command) -> Result<(String, Cost), Box<dyn Error>> {
    let output = tempfile::tempfile()?;
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .spawn()?;
    let mut peak_bytes = 0;
    while !has_ended(&child)? {
        peak_bytes = peak(&child).unwrap_or(0).max(peak_bytes);
        std::thread::sleep(INTERVAL);
    }
    let wall = start.elapsed();
    let cpu = cpu_time(&child)?;
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    let cost = Cost {
        wall,
        cpu,
        peak_bytes,
    };
    Ok((read_all(output)?, cost))
}

fn read_all(mut file: fs::File) -> Result<String, Box<dyn Error>> {
    use std::io::{Read, Seek};
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the program has ended. Its figures stay until somebody waits for it.
fn has_ended(child: &Child) -> Result<bool, Box<dyn Error>> {
    let pid = Pid::from_raw(child.id() as i32).ok_or("a child without a number")?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Of all its threads, in the ticks of the system, of which there are a hundred a second.
fn cpu_time(child: &Child) -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // The name of the program is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("a line without a name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Result<u64, Box<dyn Error>> {
        Ok(fields.next().ok_or("a line that is too short")?.parse()?)
    };
    let ticks = ticks()? + ticks()?;
    Ok(Duration::from_millis(ticks * 10))
}
