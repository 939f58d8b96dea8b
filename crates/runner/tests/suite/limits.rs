//! Speed limits, and progress while a run goes on.

use std::time::{Duration, Instant};

use runner::{Phase, StopToken, backup};

use crate::support::{Ear, back_up, memory_repository, request, run, temp};

#[test]
fn reading_stays_below_the_limit() {
    let temp = temp();
    for number in 0..10 {
        testkit::content::write_random_file(&temp.path().join(number.to_string()), 200_000, number)
            .unwrap();
    }
    testkit::content::write_random_file(&temp.path().join("large"), 1_000_000, 99).unwrap();
    let repository = memory_repository();
    let mut request = request(&repository, temp.path());
    request.speed_limit = Some(model::SpeedLimit::parse("0:24:1500").unwrap());
    let start = Instant::now();
    let ear = Ear::default();
    backup(&request, &ear, &StopToken::new()).unwrap();
    // 3,000,000 bytes at 1,536,000 a second, but for the credit at the start.
    assert!(
        start.elapsed() > Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    let progress = ear.progress.lock().unwrap();
    assert!(progress.len() > 3, "it is told on the way");
    assert!(
        progress
            .windows(2)
            .all(|pair| pair[0].bytes_done <= pair[1].bytes_done)
    );
    assert!(
        progress
            .iter()
            .all(|progress| progress.bytes_done <= progress.bytes_total)
    );
    assert!(
        progress
            .iter()
            .any(|progress| progress.bytes_total == 3_000_000 && progress.bytes_done < 3_000_000)
    );
    assert!(progress.iter().any(|progress| !progress.current.is_empty()));
    assert_eq!(progress.last().unwrap().phase, Phase::Finishing);
    assert_eq!(progress.last().unwrap().files_done, 11);
}

#[test]
fn the_parent_tells_the_totals() {
    let temp = temp();
    for number in 0..10 {
        testkit::content::write_random_file(&temp.path().join(number.to_string()), 20_000, number)
            .unwrap();
    }
    let repository = memory_repository();
    back_up(&repository, temp.path());
    let (result, ear) = run(&request(&repository, temp.path()));
    let report = result.unwrap();
    assert_eq!(
        (report.progress.files_total, report.progress.bytes_total),
        (10, 200_000)
    );
    let last = ear.progress.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.files_done, last.bytes_total), (10, 200_000));
}
