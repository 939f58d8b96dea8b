//! Leases against a naive model under random operations, and by several threads at once.

pub(super) mod world;

use std::collections::HashMap;

use model::{JobId, JobStatus};
use proptest::prelude::proptest;
use proptest::sample::select;
use proptest::test_runner::Config;

use self::world::{Step, World, any_step};
use super::places::VARIABLE;
use super::proxy::{Cut, Proxy};
use super::support::{Fixture, TTL, at, complete, new_vault};
use crate::work::{self, LeaseLimit};
use crate::{CatalogOptions, Progress, WorkKind, WorkState, jobs, pulses, vaults};

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    #[test]
    fn leases_agree_with_the_model(steps in proptest::collection::vec(any_step(), 1..50)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check();
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 8, ..Config::default() })]

    /// The connection to the database breaks at any commits; whoever was told of a failure asks again.
    #[test]
    fn leases_agree_with_the_model_although_commits_are_cut(
        steps in proptest::collection::vec((any_step(), proptest::option::weighted(0.3, select(&Cut::ALL[..]))), 1..40)
    ) {
        if std::env::var(VARIABLE).is_ok() {
            let mut world = World::new();
            let proxy = Proxy::before(&world.fixture.place);
            world.fixture.catalog = proxy.open(CatalogOptions::default());
            for (step, cut) in &steps {
                if let Some(cut) = cut {
                    proxy.cut_after(0, *cut);
                }
                world.step(step);
                world.check();
            }
        }
    }
}

#[test]
fn a_silent_agent_loses_its_job_and_the_job_goes_on() {
    let mut world = World::new();
    world.step(&Step::Create { plan: 0 });
    world.step(&Step::Lease {
        client: 0,
        run: 0,
        limit: 1,
    });
    world.step(&Step::Wait { seconds: 30 });
    world.step(&Step::Expire);
    assert_eq!(
        world.seen[0].state,
        WorkState::Leased,
        "a lease holds to its last second"
    );
    world.step(&Step::Wait { seconds: 1 });
    world.step(&Step::Expire);
    assert_eq!(world.seen[0].status, JobStatus::Queued);
    world.step(&Step::Lease {
        client: 1,
        run: 0,
        limit: 1,
    });
    assert_eq!(world.seen[0].epoch, 2);
    world.step(&Step::Finish {
        job: 0,
        old: true,
        outcome: JobStatus::Failed,
    });
    world.step(&Step::Finish {
        job: 0,
        old: false,
        outcome: JobStatus::Complete,
    });
    world.step(&Step::Finish {
        job: 0,
        old: false,
        outcome: JobStatus::Failed,
    });
    world.check();
    assert_eq!(world.seen[0].status, JobStatus::Complete);
    let job = jobs::get(
        &world.fixture.catalog,
        &world.fixture.account,
        &world.jobs[0].job_id,
    )
    .unwrap();
    assert_eq!(
        job.start_time,
        Some(at(0)),
        "it started when it was first taken"
    );
}

#[test]
fn leases_outlive_a_stop_of_the_server() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let plan = fixture.plan(&fixture.vault(0), "plan");
    fixture.job(&plan, 1);
    let leased = fixture.lease(&client, "run", 2, 1);
    // Long after, a server starts: the agent still runs the job, and gets time to say so.
    let start = at(10_000);
    work::renew_leases(&fixture.catalog, start, TTL).unwrap();
    assert_eq!(work::expire_leases(&fixture.catalog, start).unwrap(), []);
    let held = pulses::HeldWork {
        work_id: leased[0].work_id.clone(),
        epoch: leased[0].epoch,
        progress: None,
    };
    let answer = fixture.pulse(&client.client_id, "run", held, 10_000);
    assert_eq!(answer, pulses::LeaseAnswer::Held);
    let late = start.plus(TTL).plus_seconds(1);
    assert_eq!(
        work::expire_leases(&fixture.catalog, late).unwrap().len(),
        1
    );
}

#[test]
fn what_any_number_of_agents_say_is_one_transaction() {
    let fixture = Fixture::new();
    let vault = fixture.vault(0);
    let pulses: Vec<pulses::Pulse> = (0..60)
        .map(|number| {
            let client = fixture.client(&format!("m-{number}"), 0);
            let plan = fixture.plan_with(&vault, &format!("plan {number}"), |spec| {
                spec.client_id = Some(client.client_id.clone());
            });
            fixture.job(&plan, 1);
            let leased = fixture.lease(&client, "run", 2, 1);
            pulses::Pulse {
                client_id: client.client_id,
                run_id: "run".to_owned(),
                held: vec![pulses::HeldWork {
                    work_id: leased[0].work_id.clone(),
                    epoch: 1,
                    progress: Some(Progress {
                        progress: 100 + number,
                        ..Progress::default()
                    }),
                }],
                heard: at(20),
            }
        })
        .collect();
    // One has ended meanwhile, and one has another lease: what was said of them before is no longer true.
    let id = |number: usize| pulses[number].held[0].work_id.as_str();
    let job = |number: usize| {
        let job_id = JobId::parse(id(number)).unwrap();
        jobs::get(&fixture.catalog, &fixture.account, &job_id).unwrap()
    };
    let ended = work::get(&fixture.catalog, id(7)).unwrap().unwrap();
    jobs::finish(&fixture.catalog, &complete(&ended, "hash"), at(19)).unwrap();
    work::release(&fixture.catalog, id(8), 1, None, at(19)).unwrap();
    let before = fixture.catalog.commit_count();
    pulses::note_pulses(&fixture.catalog, &pulses, TTL).unwrap();
    assert_eq!(fixture.catalog.commit_count() - before, 1);
    for number in (0..60).filter(|number| ![7, 8].contains(number)) {
        assert_eq!(job(number).progress.progress, 100 + number as i64);
        let work = work::get(&fixture.catalog, id(number)).unwrap().unwrap();
        assert_eq!(work.lease_until, Some(at(20).plus(TTL)));
    }
    assert_eq!(
        (job(7).status, job(7).progress.progress),
        (JobStatus::Complete, 10_000)
    );
    assert_eq!(
        (job(8).status, job(8).progress.progress),
        (JobStatus::Queued, 0)
    );
    assert_eq!(
        work::get(&fixture.catalog, id(8))
            .unwrap()
            .unwrap()
            .lease_until,
        None
    );
    pulses::note_pulses(&fixture.catalog, &[], TTL).unwrap();
    assert_eq!(fixture.catalog.commit_count() - before, 1);
}

#[test]
fn a_canceled_job_takes_no_late_report() {
    let fixture = Fixture::new();
    let client = fixture.client("m-1", 0);
    let job = fixture.job(&fixture.plan(&fixture.vault(0), "plan"), 1);
    let leased = fixture.lease(&client, "run", 2, 1);
    let late = at(2).plus(TTL).plus_seconds(1);
    work::expire_leases(&fixture.catalog, late).unwrap();
    jobs::cancel(&fixture.catalog, &fixture.account, &job.job_id, late).unwrap();
    let answer = jobs::finish(&fixture.catalog, &complete(&leased[0], "a"), late).unwrap();
    assert_eq!(answer, work::FinishAnswer::Stale);
}

#[test]
fn two_jobs_of_a_plan_run_one_after_the_other() {
    let mut world = World::new();
    for _ in 0..3 {
        world.step(&Step::Create { plan: 0 });
    }
    world.step(&Step::Create { plan: 1 });
    world.step(&Step::Lease {
        client: 0,
        run: 0,
        limit: 8,
    });
    let states: Vec<WorkState> = world.seen.iter().map(|seen| seen.state).collect();
    assert_eq!(
        states,
        [
            WorkState::Leased,
            WorkState::Queued,
            WorkState::Queued,
            WorkState::Leased
        ]
    );
    world.check();
}

/// An agent that has no room for another backup still gets what else there is.
#[test]
fn backups_are_limited_apart() {
    let world = World::new();
    let (fixture, client) = (&world.fixture, &world.clients[0]);
    for plan in &world.plans[..2] {
        fixture.job(plan, 1);
    }
    let new = new_vault(&fixture.catalog, "second", 2);
    let (_, task_id) =
        vaults::create(&fixture.catalog, &fixture.account, &new, None, at(2)).unwrap();
    let lease = |works, backups| {
        let limit = LeaseLimit { works, backups };
        let (account, client_id) = (&fixture.account, &client.client_id);
        work::lease_next(
            &fixture.catalog,
            account,
            client_id,
            "run",
            at(3),
            TTL,
            limit,
        )
        .unwrap()
    };
    assert_eq!(lease(0, 5), []);
    let kinds = |leased: &[crate::Work]| leased.iter().map(|work| work.kind).collect::<Vec<_>>();
    let first = lease(1, 0);
    assert_eq!(
        (kinds(&first), first[0].work_id.as_str()),
        (vec![WorkKind::CreateVault], task_id.as_str())
    );
    assert_eq!(kinds(&lease(5, 1)), [WorkKind::Backup]);
    assert_eq!(lease(5, 0), []);
    assert_eq!(kinds(&lease(5, 5)), [WorkKind::Backup]);
}

#[test]
fn a_canceled_job_whose_agent_died_is_canceled() {
    let mut world = World::new();
    world.step(&Step::Create { plan: 0 });
    world.step(&Step::Lease {
        client: 0,
        run: 0,
        limit: 1,
    });
    world.step(&Step::Cancel { job: 0 });
    assert_eq!(world.seen[0].status, JobStatus::Canceling);
    world.step(&Step::StartRun { client: 0, run: 1 });
    assert_eq!(world.seen[0].status, JobStatus::Canceled);
    world.check();
}

/// Threads of two programs on one file, all asking at once: each work goes to one of them.
#[test]
fn no_work_is_leased_twice() {
    let fixture = Fixture::new();
    let client = fixture.client("m-0", 0);
    let vault = fixture.vault(0);
    let count = 40;
    for number in 0..count {
        fixture.job(&fixture.plan(&vault, &format!("plan {number}")), 1);
    }
    let second = fixture.open_again();
    let taken: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let catalog = if number % 2 == 0 {
                    &fixture.catalog
                } else {
                    &second
                };
                let (account, client_id) = (&fixture.account, &client.client_id);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    loop {
                        let run = format!("run-{number}");
                        let leased =
                            work::lease_next(catalog, account, client_id, &run, at(2), TTL, 3)
                                .unwrap();
                        if leased.is_empty() {
                            return mine;
                        }
                        assert!(leased.iter().all(|work| work.epoch == 1));
                        mine.extend(leased.into_iter().map(|work| work.work_id));
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut times: HashMap<&String, usize> = HashMap::new();
    for id in &taken {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!((taken.len(), times.len()), (count, count));
}
