//! The whole catalog on disk: loading, size, starts, answers.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use catalog::access_keys::NewAccessKey;
use catalog::jobs::{self, ImportedJob};
use catalog::{AccessKeyKind, Catalog, CatalogOptions, PostgresPlace, Sealed, accounts};
use model::{AccountId, JobQuery, SortDirection, Timestamp};
use server::{JOB_RENDERER, ServerOptions};

use crate::classes::CLASSES;
use crate::history::{ACCOUNTS, History, START, account_id};
use crate::index::{every_query, pages};
use crate::measure::{process_cpu, quantile, timed};
use crate::oracle::Oracle;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Jobs of one transaction while the history is loaded.
const BATCH: usize = 5_000;

/// Where the catalog is.
pub(crate) struct Place {
    /// The data directory of a server.
    dir: PathBuf,
    /// The database, if it is not in that directory.
    catalog: Option<PostgresPlace>,
}

impl Place {
    pub(crate) fn new(dir: PathBuf, catalog: Option<PostgresPlace>) -> Self {
        Self { dir, catalog }
    }

    pub(crate) fn open(&self) -> Outcome<Catalog> {
        let options = CatalogOptions {
            ledger_dir: Some(self.dir.join("ledger")),
            renderer: Some(JOB_RENDERER),
            ..CatalogOptions::default()
        };
        Ok(match &self.catalog {
            Some(place) => Catalog::connect(place, options)?,
            None => Catalog::open(&self.dir.join("catalog.sqlite"), options)?,
        })
    }

    /// Of a server that has the catalog.
    pub(crate) fn options(&self) -> ServerOptions {
        let mut options = ServerOptions::new(self.dir.clone());
        options.catalog = self.catalog.clone();
        options.rate_limit = None;
        options.listen = "127.0.0.1:0".to_owned();
        options
    }
}

/// Makes a data directory of a server with the history in it; gives its accounts, the first of them the server's own.
pub(crate) fn load(place: &Place, history: History) -> Outcome<Vec<AccountId>> {
    let server = server::start(place.options())?;
    let own = server.account_id().clone();
    server.join();
    let catalog = place.open()?;
    let mut owners = vec![own];
    for account in 1..ACCOUNTS {
        let key = NewAccessKey {
            access_key_id: format!("bench-{account}"),
            kind: AccessKeyKind::Root,
            client_id: None,
            user_name: None,
            sealed_secret: Sealed(Vec::new()),
        };
        owners.push(account_id(account));
        // Later than the server's own account: the oldest one is the operator's.
        accounts::create(
            &catalog,
            &owners[account],
            "bench",
            &key,
            Timestamp(i64::from(u32::MAX)),
        )?;
    }
    let mut batches: Vec<Vec<ImportedJob>> = vec![Vec::new(); ACCOUNTS];
    // Making the jobs is not part of the figure.
    let (mut cpu, mut wall) = (0.0, 0.0);
    let mut write = |account: usize, batch: &mut Vec<ImportedJob>| -> Outcome<()> {
        let (before, began) = (process_cpu(), Instant::now());
        jobs::import_all(&catalog, &owners[account], batch)?;
        cpu += (process_cpu() - before).as_secs_f64();
        wall += began.elapsed().as_secs_f64();
        batch.clear();
        Ok(())
    };
    for row in 0..history.rows {
        let facts = history.facts(row);
        let mut job = facts.job(history);
        job.account_id = owners[facts.account].clone();
        let batch = &mut batches[facts.account];
        batch.push(ImportedJob { job, body: None });
        if batch.len() == BATCH {
            write(facts.account, batch)?;
        }
    }
    for (account, batch) in batches.iter_mut().enumerate() {
        write(account, batch)?;
    }
    let rows = history.rows as f64;
    println!(
        "loaded: {:.0} jobs a second ({:.0} a CPU second), in transactions of {BATCH}",
        rows / wall,
        rows / cpu
    );
    let bodies = jobs::body_figures(&catalog)?;
    let body = bodies.bytes as f64 / bodies.count as f64;
    match fs::metadata(place.dir.join("catalog.sqlite")) {
        Ok(file) => println!(
            "disk: {:.0} bytes a job in all, {body:.0} of them its packed JSON",
            file.len() as f64 / rows
        ),
        Err(_) => println!("packed JSON: {body:.0} bytes a job"),
    }
    Ok(owners)
}

/// Durable transactions of 100 jobs, after the history.
pub(crate) fn measure_inserts(place: &Place, history: History, owner: &AccountId) -> Outcome<()> {
    let catalog = place.open()?;
    jobs::load_index(&catalog)?;
    let later = History { rows: history.rows };
    let mut jobs: Vec<ImportedJob> = (0..20_000)
        .map(|row| {
            let mut job = later.facts(row).job(later);
            job.account_id = owner.clone();
            job.created_time = Timestamp(START + 800 * 86_400 + row as i64 / 50);
            let id = model::JobId::new(job.created_time.0.unsigned_abs() * 1_000_000 + row, row);
            job.job_id = id;
            ImportedJob { job, body: None }
        })
        .collect();
    let (began, before) = (Instant::now(), process_cpu());
    for group in jobs.chunks(100) {
        jobs::import_all(&catalog, owner, group)?;
    }
    let (wall, cpu) = (
        began.elapsed().as_secs_f64(),
        (process_cpu() - before).as_secs_f64(),
    );
    println!(
        "inserts: {:.0} a second ({:.0} a CPU second), durable, in groups of 100",
        20_000.0 / wall,
        20_000.0 / cpu
    );
    jobs.clear();
    Ok(())
}

/// Starts with and without the snapshot.
pub(crate) fn measure_starts(place: &Place) -> Outcome<()> {
    let start = |what: &str| -> Outcome<()> {
        let catalog = place.open()?;
        let (began, before) = (Instant::now(), process_cpu());
        jobs::load_index(&catalog)?;
        let (wall, cpu) = (
            began.elapsed().as_secs_f64(),
            (process_cpu() - before).as_secs_f64(),
        );
        println!("start {what}: {wall:.2} s ({cpu:.2} s of CPU)");
        jobs::save_index(&catalog)?;
        Ok(())
    };
    let _ = fs::remove_dir_all(place.dir.join("ledger"));
    start("without a snapshot")?;
    start("with a snapshot")
}

/// Compares the stored answers with the oracle; see [`crate::index::Built::compare`].
pub(crate) fn compare(
    place: &Place,
    history: History,
    owners: &[AccountId],
    choices: u64,
) -> Outcome<(u64, u64)> {
    let mut oracle = Oracle::new(history);
    for row in 0..history.rows {
        let facts = history.facts(row).imported();
        facts.with_row(history, 0, |row| {
            oracle.push(facts.account, facts.source_type, row)
        });
    }
    let catalog = place.open()?;
    let (mut compared, mut wrong) = (0, 0);
    for asked in every_query(&oracle, choices) {
        let account = (compared % 3) as usize;
        let expected = oracle.matching(account, &asked);
        for page_number in pages(expected.len(), asked.page_size) {
            let asked = JobQuery {
                page_number,
                ..asked.clone()
            };
            let found = jobs::query(&catalog, &owners[account], &asked)?;
            let size = asked.page_size as usize;
            let page = expected
                .iter()
                .skip((page_number as usize - 1) * size)
                .take(size);
            let is_same = found
                .rows
                .iter()
                .map(|job| job.job_id.to_string())
                .eq(page.map(|row| history.job_id(u64::from(*row))));
            compared += 1;
            if found.total != expected.len() as u64 || !is_same {
                wrong += 1;
                eprintln!(
                    "WRONG: {asked:?}: {} instead of {}",
                    found.total,
                    expected.len()
                );
            }
        }
    }
    Ok((compared, wrong))
}

/// CPU time of whole answers, bodies included.
pub(crate) fn measure_classes(place: &Place, owner: &AccountId, rounds: u64) -> Outcome<()> {
    let catalog = place.open()?;
    jobs::load_index(&catalog)?;
    println!(
        "\n{:<52} {:>10} {:>10} {:>10} {:>10}",
        "class (catalog with bodies, microseconds)", "CPU p50", "p99", "wall p50", "p99"
    );
    for class in CLASSES {
        let (mut times, mut walls) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let asked = (class.make)(round);
            let began = Instant::now();
            let (page, time) = timed(|| jobs::bodies(&catalog, owner, &asked));
            walls.push(began.elapsed());
            page?;
            times.push(time);
        }
        println!(
            "{:<52} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
            class.name,
            quantile(&mut times, 0.5),
            quantile(&mut times, 0.99),
            quantile(&mut walls, 0.5),
            quantile(&mut walls, 0.99)
        );
    }
    Ok(())
}

/// A history's JSON as samples, and the dictionary trained on them.
pub(crate) fn train(history: History, target: &Path) -> Outcome<()> {
    let step = (history.rows / 20_000).max(1);
    let samples: Vec<Vec<u8>> = (0..history.rows)
        .step_by(step as usize)
        .map(|row| (JOB_RENDERER.render)(&history.facts(row).job(history)))
        .collect();
    let dictionary = zstd::dict::from_samples(&samples, 16 << 10)?;
    fs::write(target, &dictionary)?;
    println!(
        "trained on {} bodies: {} bytes",
        samples.len(),
        dictionary.len()
    );
    Ok(())
}

/// A writer that goes on while queries are asked; both are exact.
pub(crate) fn measure_readers_and_writer(place: &Place, owner: &AccountId) -> Outcome<()> {
    let catalog = place.open()?;
    jobs::load_index(&catalog)?;
    let asked = JobQuery {
        sort: SortDirection::Descend,
        ..JobQuery::default()
    };
    let before = jobs::query(&catalog, owner, &asked)?.total;
    let groups = 100;
    let mut times = Vec::new();
    std::thread::scope(|scope| -> Outcome<()> {
        let writer = scope.spawn(|| -> Result<(), catalog::CatalogError> {
            for group in 0..groups {
                let now = Timestamp(START + 900 * 86_400 + group);
                let jobs: Vec<ImportedJob> = (0..10)
                    .map(|number| {
                        let history = History { rows: 1_000_000 };
                        let mut job = history.facts(number).job(history);
                        job.account_id = owner.clone();
                        job.created_time = now;
                        job.job_id =
                            model::JobId::new(now.0.unsigned_abs() * 1_000_000 + number, number);
                        ImportedJob { job, body: None }
                    })
                    .collect();
                jobs::import_all(&catalog, owner, &jobs)?;
            }
            Ok(())
        });
        let mut last = before;
        while !writer.is_finished() {
            let (page, time) = timed(|| jobs::query(&catalog, owner, &asked));
            let page = page?;
            assert!(
                page.total >= last && (page.total - before).is_multiple_of(10),
                "groups are seen whole and in order"
            );
            last = page.total;
            times.push(time);
        }
        Ok(writer.join().map_err(|_| "the writer broke off")??)
    })?;
    let after = jobs::query(&catalog, owner, &asked)?.total;
    assert_eq!(after, before + 10 * groups as u64, "every group is there");
    println!(
        "\nreader beside a writer: {} queries, p50 {:.0}, p99 {:.0} microseconds of CPU",
        times.len(),
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99)
    );
    Ok(())
}
