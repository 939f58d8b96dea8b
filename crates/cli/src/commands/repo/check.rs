//! `repo check`: looks for damage, changes nothing.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::json;
use vault::{CheckOptions, CheckPhase, CheckProgress, CheckReport, Extent, ReadData};

use super::tell::list;
use super::{Repo, vault_failure};
use crate::args::RepoCheckArgs;
use crate::exit::{Exit, Failure, chain};
use crate::output::{Meter, Sample, bytes, counted, duration, printable};

/// Checks; exit status 1 if there is damage.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoCheckArgs) -> Result<Exit, Failure> {
    let read_data = read_data(args)?;
    let opened = repo.open()?;
    let lock = repo.lock_to_read(&opened)?;
    // A check only reads: an interruption ends it at once, but not without taking its lock away.
    let lock = std::sync::Arc::new(Mutex::new(lock));
    let held = std::sync::Arc::clone(&lock);
    repo.interrupts.on_interrupt(move || {
        if let Ok(mut lock) = held.lock() {
            lock.take();
        }
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    let start = Instant::now();
    let meter = Mutex::new(Meter::new(repo.screen, repo.meter_style(), "check", start));
    let options = CheckOptions {
        read_data,
        ..CheckOptions::default()
    };
    let report = vault::check(&opened, &options, &|progress| {
        show(repo, &meter, start, progress)
    });
    drop(meter);
    if let Ok(mut lock) = lock.lock() {
        lock.take();
    }
    let report = report.map_err(|error| vault_failure(&error))?;
    if repo.options.json {
        print_json(repo, &report)
    } else {
        print(repo, &report, start)
    }
    if report.is_ok() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        format!(
            "the repository is damaged: {}",
            counted(report.error_count, "error")
        ),
        "copy the folder of the repository first; then see what a repair would do, which changes nothing yet: \
         strongroom repo repair index, then packs. A backup with --force then heals what is still on its host; last comes \
         repair snapshots, which takes out what is lost",
    ))
}

fn show(repo: &Repo<'_>, meter: &Mutex<Meter>, start: Instant, progress: CheckProgress) {
    let mut sample = Sample {
        elapsed: start.elapsed(),
        ..Sample::default()
    };
    match progress.phase {
        CheckPhase::Packs => {
            sample.phase = "packs".to_owned();
            (sample.files_done, sample.files_total) = (progress.done, progress.total);
        }
        CheckPhase::Trees => {
            sample.phase = "trees".to_owned();
            sample.files_done = progress.done;
        }
        CheckPhase::Data => {
            sample.phase = "data".to_owned();
            (sample.bytes_done, sample.bytes_total) = (progress.done, progress.total);
        }
    }
    if let Ok(mut meter) = meter.lock() {
        let now = Instant::now();
        if repo.interrupts.take_report_wish() {
            meter.print(&sample, now)
        } else {
            meter.show(&sample, now)
        }
    }
}

fn print(repo: &Repo<'_>, report: &CheckReport, start: Instant) {
    for hint in &report.hints {
        repo.warn(&hint.to_string());
    }
    let errors = report.errors.iter().map(|error| chain(error));
    note_list(repo, "error", errors, report.error_count);
    let touched = report.touched.iter().map(ToString::to_string);
    note_list(repo, "touched", touched, report.touched_count);
    repo.say(&format!(
        "checked {}, {}, {}, {} in {}",
        counted(report.snapshot_count as u64, "snapshot"),
        counted(report.pack_count as u64, "pack"),
        counted(report.blob_count as u64, "blob"),
        counted(report.tree_count, "tree"),
        duration(start.elapsed())
    ));
    if report.packs_read > 0 {
        repo.say(&format!(
            "read and verified {} in {}",
            bytes(report.bytes_read),
            counted(report.packs_read, "pack")
        ));
    }
    if report.is_ok() {
        repo.say("no errors were found");
    }
}

fn note_list(
    repo: &Repo<'_>,
    mark: &str,
    lines: impl ExactSizeIterator<Item = String>,
    total: u64,
) {
    list(repo.screen.stderr_is_terminal, lines, total, |line| {
        repo.screen.note(&format!("{mark}: {}", printable(line)));
    });
}

fn print_json(repo: &Repo<'_>, report: &CheckReport) {
    for error in &report.errors {
        repo.screen
            .note(&json!({"message_type": "error", "message": chain(error)}).to_string());
    }
    for touched in &report.touched {
        repo.screen.json(&json!({
            "message_type": "touched",
            "snapshot": touched.snapshot.to_hex(),
            "path": String::from_utf8_lossy(&touched.path),
            "with_everything_below": touched.extent == Extent::Folder,
        }));
    }
    repo.screen.json(&json!({
        "message_type": "summary",
        "num_errors": report.errors.len(),
        "touched": report.touched_count,
        "hints": report.hints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "snapshots": report.snapshot_count,
        "packs": report.pack_count,
        "blobs": report.blob_count,
        "trees": report.tree_count,
        "packs_read": report.packs_read,
        "bytes_read": report.bytes_read,
    }));
}

fn read_data(args: &RepoCheckArgs) -> Result<ReadData, Failure> {
    match &args.read_data_subset {
        _ if args.read_data => Ok(ReadData::All),
        None => Ok(ReadData::None),
        Some(text) => subset(text).ok_or_else(|| {
            Failure::usage(
                format!("--read-data-subset {text} is not valid"),
                "write n/t with 1 <= n <= t, a percentage as 2.5%, or a size as 50M, 10G, 1T",
            )
        }),
    }
}

fn subset(text: &str) -> Option<ReadData> {
    if let Some((part, parts)) = text.split_once('/') {
        let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
        return (1 <= part && part <= parts).then_some(ReadData::Part { part, parts });
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().ok()?;
        return (percent > 0.0 && percent <= 100.0).then_some(ReadData::Percent(percent));
    }
    let unit = text.chars().last()?;
    let shift = match unit.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    let bytes = number.checked_mul(1 << shift)?;
    (bytes > 0).then_some(ReadData::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::subset;
    use vault::ReadData;

    #[test]
    fn subsets() {
        for (text, expected) in [
            ("1/5", Some(ReadData::Part { part: 1, parts: 5 })),
            ("5/5", Some(ReadData::Part { part: 5, parts: 5 })),
            ("0/5", None),
            ("6/5", None),
            ("2.5%", Some(ReadData::Percent(2.5))),
            ("0%", None),
            ("101%", None),
            ("10G", Some(ReadData::Bytes(10 << 30))),
            ("50m", Some(ReadData::Bytes(50 << 20))),
            ("10", None),
            ("0K", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(subset(text), expected, "{text}");
        }
    }
}
