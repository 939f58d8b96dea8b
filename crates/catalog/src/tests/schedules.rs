//! The scheduler's side of plans: each run once, none twice, none beside another.

use model::schedule::SkipReason;
use model::{JobQuery, JobStatus};

use super::support::{Fixture, at, complete};
use crate::jobs::Scheduled;
use crate::plans::PlanSwitch;
use crate::{CatalogOptions, Plan, jobs, plans};

fn daily(fixture: &Fixture, start: i64) -> Plan {
    let vault = fixture.vault(0);
    fixture.plan_with(&vault, "daily", |spec| {
        spec.schedule = Some(format!("I|{}|P1D", at(start).0))
    })
}

/// What the scheduler does at each tick.
fn tick(fixture: &Fixture, now: i64) -> Vec<Scheduled> {
    let due = plans::due(&fixture.catalog, at(now), 100).unwrap();
    due.iter()
        .map(|due| {
            jobs::create_scheduled(
                &fixture.catalog,
                &due.account_id,
                &due.plan_id,
                due.planned,
                at(now),
            )
            .unwrap()
        })
        .collect()
}

const DAY: i64 = 86_400;

#[test]
fn the_first_run_is_at_the_start_then_every_interval() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let plan = daily(&fixture, 100);
    assert_eq!(plan.next_run_time, Some(at(100)));
    assert_eq!(fixture.next_due(), Some(at(100)));
    assert_eq!(tick(&fixture, 99), []);
    let started = tick(&fixture, 101);
    assert!(
        matches!(&started[..], [Scheduled::Started(job)] if job.trigger_mode == Some(crate::TriggerMode::Schedule))
    );
    assert_eq!(tick(&fixture, 102), [], "once");
    assert_eq!(fixture.next_due(), Some(at(100 + DAY)));
    // The job still goes on a day later: that run is skipped, and not made up when the job ends.
    assert_eq!(
        tick(&fixture, 100 + DAY),
        [Scheduled::Skipped(SkipReason::StillRunning)]
    );
    let leased = fixture.lease(&client, "run", 100 + DAY, 1);
    jobs::finish(&fixture.catalog, &complete(&leased[0], "a"), at(200 + DAY)).unwrap();
    assert_eq!(tick(&fixture, 300 + DAY), []);
    assert!(matches!(
        &tick(&fixture, 100 + 2 * DAY)[..],
        [Scheduled::Started(_)]
    ));
}

#[test]
fn a_start_long_past_does_not_run_at_once() {
    let fixture = Fixture::new();
    let plan = daily(&fixture, -10 * DAY - 50);
    assert_eq!(plan.next_run_time, Some(at(DAY - 50)));
}

#[test]
fn missed_runs_are_not_made_up() {
    let fixture = Fixture::new();
    let plan = daily(&fixture, 100);
    assert_eq!(
        tick(&fixture, 100 + 5 * DAY + 3600),
        [Scheduled::Skipped(SkipReason::Missed)]
    );
    assert_eq!(tick(&fixture, 100 + 5 * DAY + 3601), []);
    let plan = plans::get(&fixture.catalog, &fixture.account, &plan.plan_id).unwrap();
    assert_eq!(plan.next_run_time, Some(at(100 + 6 * DAY)));
    assert_eq!(
        jobs::query(&fixture.catalog, &fixture.account, &JobQuery::default())
            .unwrap()
            .total,
        0
    );
}

#[test]
fn a_disabled_plan_rests_and_goes_on_from_now() {
    let fixture = Fixture::new();
    let plan = daily(&fixture, 100);
    let switch = |switch, now| {
        plans::switch(
            &fixture.catalog,
            &fixture.account,
            &plan.plan_id,
            switch,
            at(now),
        )
        .unwrap()
    };
    assert_eq!(switch(PlanSwitch::Disabled, 50).next_run_time, None);
    assert_eq!(tick(&fixture, 100), []);
    let planned = at(100);
    let create = || {
        jobs::create_scheduled(
            &fixture.catalog,
            &fixture.account,
            &plan.plan_id,
            planned,
            at(100),
        )
        .unwrap()
    };
    assert_eq!(create(), Scheduled::NotDue);
    assert_eq!(
        switch(PlanSwitch::Enabled, 3 * DAY).next_run_time,
        Some(at(100 + 3 * DAY))
    );
    assert_eq!(
        create(),
        Scheduled::NotDue,
        "that run is no longer the next one"
    );
    // A job at a caller's wish is possible all the same.
    switch(PlanSwitch::Disabled, 3 * DAY);
    assert_eq!(fixture.job(&plan, 3 * DAY).status, JobStatus::Created);
}

#[test]
fn a_changed_schedule_counts_from_now() {
    let fixture = Fixture::new();
    let plan = daily(&fixture, 100);
    let hourly = |spec: &mut crate::PlanSpec| spec.schedule = Some(format!("I|{}|PT1H", at(0).0));
    let changed = plans::update(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        hourly,
        at(4000),
    )
    .unwrap();
    assert_eq!(changed.next_run_time, Some(at(7200)));
    let none = |spec: &mut crate::PlanSpec| spec.schedule = None;
    let changed = plans::update(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        none,
        at(4000),
    )
    .unwrap();
    assert_eq!(changed.next_run_time, None);
    assert_eq!(fixture.next_due(), None);
}

#[test]
fn many_schedulers_start_a_run_once() {
    let fixture = Fixture::new();
    let plan = daily(&fixture, 100);
    let second = fixture.open_again();
    let started: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let catalog = if number % 2 == 0 {
                    &fixture.catalog
                } else {
                    &second
                };
                let (account, plan) = (&fixture.account, &plan);
                scope.spawn(move || {
                    let outcome =
                        jobs::create_scheduled(catalog, account, &plan.plan_id, at(100), at(101))
                            .unwrap();
                    usize::from(matches!(outcome, Scheduled::Started(_)))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(started, 1);
    let all = jobs::query(
        &fixture.catalog,
        &fixture.account,
        &model::JobQuery::default(),
    );
    assert_eq!(all.unwrap().total, 1);
}

#[test]
fn jitter_delays_the_work_and_not_the_job() {
    let fixture = Fixture::with(CatalogOptions {
        jitter_seconds: 3_600,
        ..CatalogOptions::default()
    });
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let mut starts = Vec::new();
    for number in 0..8 {
        let plan = fixture.plan_with(&vault, &format!("plan {number}"), |spec| {
            spec.schedule = Some(format!("I|{}|P1D", at(100).0));
        });
        let late = model::schedule::jitter_seconds(plan.plan_id.as_str(), at(100), 3_600);
        starts.push(late);
    }
    assert_eq!(tick(&fixture, 100).len(), 8, "each is a job at its time");
    let mut leased = 0;
    for now in [100, 1000, 2000, 3700] {
        // Each is given out once: leases are neither lost nor ended here.
        leased += fixture.lease(&client, "run", now, 100).len();
        let expected = starts.iter().filter(|late| 100 + **late <= now).count();
        assert_eq!(leased, expected, "at {now}");
    }
    assert_eq!(leased, 8);
}

#[test]
fn another_time_zone_moves_the_next_runs() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let plan = fixture.plan_with(&vault, "nightly", |spec| {
        spec.schedule = Some("C|0|0 0 2 * * ?".to_owned());
    });
    let read = |catalog: &crate::Catalog| {
        plans::get(catalog, &fixture.account, &plan.plan_id)
            .unwrap()
            .next_run_time
            .unwrap()
    };
    let in_utc = read(&fixture.catalog);
    assert_eq!(in_utc.0 % DAY, 2 * 3_600);
    let elsewhere = fixture.place.open(CatalogOptions {
        zone: model::Zone::parse("Asia/Shanghai").unwrap(),
        ..CatalogOptions::default()
    });
    assert_eq!(crate::zone::follow(&elsewhere, at(0)).unwrap(), 1);
    assert_eq!(crate::zone::follow(&elsewhere, at(0)).unwrap(), 0, "once");
    let moved = read(&elsewhere);
    assert_eq!(moved.0 % DAY, 18 * 3_600, "two o'clock in Shanghai");
}
