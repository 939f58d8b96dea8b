//! `cargo xtask bench ledger`: the job ledger at scale, against a brute-force oracle.
//!
//! Owns a deterministic history (`history`), the oracle (`oracle`), the classes of queries (`classes`) and the figures
//! (`index`: the index alone; `stored`: the catalog; `served`: the server; `removed`: a
//! plan with many jobs is deleted). The figures and what they mean are in
//! `docs/performance-ledger.md`. Exits with 1 when an answer was wrong.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a developer's command whose output is its product"
)]

mod classes;
mod history;
mod index;
mod measure;
mod oracle;
mod removed;
mod served;
mod stored;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use catalog::PostgresPlace;
use history::History;
use measure::print_peak_memory;
use stored::Place;

/// Calls of one round of the server's figures.
const CALLS: u64 = 3_000;

const USAGE: &str = "\
usage: cargo xtask bench ledger [--rows N] [--index-only] [--no-oracle] [--postgres] [--dir DIR [--served-only]]
                                [--train FILE]

  --rows N      jobs of the history (1000000)
  --index-only  leave out catalog and server: 10 million jobs take 6 GB of disk
  --no-oracle   leave out the comparison: the oracle takes 100 bytes a job
  --postgres    the catalog is in a PostgreSQL that is made for this run; or, of one that is there:
  --catalog URL an empty database
  --dir DIR     an empty folder for the catalog, which stays there; without it, one that is removed afterwards
  --served-only only the figures of the server, over what an earlier run left in DIR
  --train FILE  only train the dictionary of bodies and write it to FILE
";

struct Arguments {
    rows: u64,
    index_only: bool,
    with_oracle: bool,
    catalog: Option<PostgresPlace>,
    dir: Option<PathBuf>,
    served_only: bool,
    train: Option<PathBuf>,
}

fn parse() -> Result<Arguments, String> {
    let mut arguments = Arguments {
        rows: 1_000_000,
        index_only: false,
        with_oracle: true,
        catalog: None,
        dir: None,
        served_only: false,
        train: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--rows" => {
                arguments.rows = value()?
                    .replace('_', "")
                    .parse()
                    .map_err(|_| "--rows needs a number")?
            }
            "--index-only" => arguments.index_only = true,
            "--no-oracle" => arguments.with_oracle = false,
            "--catalog" => {
                let place = PostgresPlace::parse(&value()?);
                arguments.catalog = Some(place.map_err(|error| error.to_string())?);
            }
            "--dir" => arguments.dir = Some(value()?.into()),
            "--served-only" => arguments.served_only = true,
            "--train" => arguments.train = Some(value()?.into()),
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    if arguments.rows < 10_000 || arguments.rows > u64::from(u32::MAX) {
        return Err("--rows takes 10000 to 4294967295".to_owned());
    }
    if arguments.served_only && arguments.dir.is_none() {
        return Err("--served-only needs --dir".to_owned());
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprint!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} answers were wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the benchmark broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the number of wrong answers.
fn run(arguments: &Arguments) -> Result<u64, Box<dyn Error>> {
    let history = History {
        rows: arguments.rows,
    };
    if let Some(target) = &arguments.train {
        stored::train(history, target)?;
        return Ok(0);
    }
    if let (true, Some(dir)) = (arguments.served_only, &arguments.dir) {
        let place = Place::new(dir.clone(), arguments.catalog.clone());
        served::measure_server(&place, CALLS)?;
        return Ok(0);
    }
    let mut all_wrong = 0;
    let mut built = index::build(history, arguments.with_oracle);
    built.measure_classes(if arguments.rows > 20_000_000 {
        100
    } else {
        300
    });
    if arguments.with_oracle {
        let choices = if arguments.rows > 2_000_000 { 2 } else { 3 };
        let (compared, wrong) = built.compare(choices);
        println!("\noracle: {compared} answers of the index compared, {wrong} wrong");
        built.disturb(5_000);
        let (compared, wrong_after) = built.compare(1);
        println!("oracle: {compared} more after 5000 changes and deletions, {wrong_after} wrong");
        all_wrong += wrong + wrong_after;
    }
    drop(built);
    if arguments.index_only {
        print_peak_memory();
        return Ok(all_wrong);
    }
    let (dir, is_ours) = match &arguments.dir {
        Some(dir) => (dir.clone(), false),
        None => (
            std::env::temp_dir().join(format!("strongroom-bench-{}", std::process::id())),
            true,
        ),
    };
    std::fs::create_dir_all(&dir)?;
    let place = Place::new(dir.clone(), arguments.catalog.clone());
    let result = run_stored(&place, history, arguments);
    if is_ours {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(all_wrong + result?)
}

fn run_stored(
    place: &Place,
    history: History,
    arguments: &Arguments,
) -> Result<u64, Box<dyn Error>> {
    println!();
    let owners = stored::load(place, history)?;
    stored::measure_starts(place)?;
    let mut wrong = 0;
    if arguments.with_oracle {
        let (compared, found) = stored::compare(place, history, &owners, 1)?;
        println!("oracle: {compared} answers of the catalog compared, {found} wrong");
        wrong = found;
    }
    stored::measure_classes(place, &owners[0], 200)?;
    stored::measure_inserts(place, history, &owners[1])?;
    stored::measure_readers_and_writer(place, &owners[1])?;
    served::measure_server(place, CALLS)?;
    removed::measure_removal(place, history, &owners[2])?;
    print_peak_memory();
    Ok(wrong)
}
