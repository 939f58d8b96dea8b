//! Works as a naive model sees them, beside the catalog that is tested.

use std::collections::HashSet;

use model::{JobQuery, JobStatus, Timestamp};
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;

use crate::pulses::{HeldWork, LeaseAnswer};
use crate::tests::support::{Fixture, again, at, complete, report};
use crate::work::{self, FinishAnswer};
use crate::{
    CatalogError, Client, Job, PageRequest, Plan, Progress, WorkKind, WorkState, job_events, jobs,
    snapshots,
};

/// What may happen; numbers choose among what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Create {
        plan: usize,
    },
    Lease {
        client: usize,
        run: usize,
        limit: u32,
    },
    Extend {
        client: usize,
        run: usize,
        job: usize,
        old: bool,
    },
    Wait {
        seconds: i64,
    },
    Expire,
    StartRun {
        client: usize,
        run: usize,
    },
    Release {
        job: usize,
        old: bool,
    },
    Finish {
        job: usize,
        old: bool,
        outcome: JobStatus,
    },
    Cancel {
        job: usize,
    },
}

pub(crate) fn any_step() -> impl Strategy<Value = Step> {
    let outcome = select(vec![
        JobStatus::Complete,
        JobStatus::PartialComplete,
        JobStatus::Failed,
        JobStatus::Canceled,
    ]);
    let old = prop_oneof![4 => Just(false), 1 => Just(true)];
    prop_oneof![
        3 => (0..3usize).prop_map(|plan| Step::Create { plan }),
        5 => (0..2usize, 0..2usize, 1..3u32).prop_map(|(client, run, limit)| Step::Lease { client, run, limit }),
        2 => (0..2usize, 0..2usize, 0..8usize, old.clone())
            .prop_map(|(client, run, job, old)| Step::Extend { client, run, job, old }),
        2 => (1..40i64).prop_map(|seconds| Step::Wait { seconds }),
        2 => Just(Step::Expire),
        1 => (0..2usize, 0..2usize).prop_map(|(client, run)| Step::StartRun { client, run }),
        1 => (0..8usize, old.clone()).prop_map(|(job, old)| Step::Release { job, old }),
        3 => (0..8usize, old, outcome).prop_map(|(job, old, outcome)| Step::Finish { job, old, outcome }),
        2 => (0..8usize).prop_map(|job| Step::Cancel { job }),
    ]
}

/// A job as the naive model sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) status: JobStatus,
    pub(super) state: WorkState,
    pub(super) epoch: i64,
    pub(super) holder: Option<(usize, usize)>,
    pub(super) until: i64,
    pub(super) cancel: bool,
    pub(super) started: bool,
    pub(super) progress: i64,
    pub(super) plan: usize,
    pub(super) has_snapshot: bool,
}

impl Seen {
    pub(super) fn give_back(&mut self) {
        (self.holder, self.state, self.status) = if self.cancel {
            self.epoch += 1;
            (None, WorkState::Done, JobStatus::Canceled)
        } else {
            (None, WorkState::Queued, JobStatus::Queued)
        };
    }

    pub(super) fn is_held(&self, epoch: i64) -> bool {
        self.state == WorkState::Leased && self.epoch == epoch
    }
}

pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(super) clients: Vec<Client>,
    pub(super) plans: Vec<Plan>,
    pub(super) jobs: Vec<Job>,
    pub(super) seen: Vec<Seen>,
    pub(super) now: i64,
}

pub(super) const RUNS: [&str; 2] = ["run-a", "run-b"];

impl World {
    pub(crate) fn new() -> Self {
        let fixture = Fixture::new();
        let clients: Vec<Client> = vec![fixture.client("m-0", 0), fixture.client("m-1", 0)];
        let vault = fixture.vault(0);
        // Plan 2 is for client 1 alone, the others are for any client.
        let plans = (0..3)
            .map(|number| {
                let client_id = (number == 2).then(|| clients[1].client_id.clone());
                fixture.plan_with(&vault, &format!("plan {number}"), |spec| {
                    spec.client_id = client_id
                })
            })
            .collect();
        Self {
            fixture,
            clients,
            plans,
            jobs: Vec::new(),
            seen: Vec::new(),
            now: 0,
        }
    }

    pub(super) fn at(&self) -> Timestamp {
        at(self.now)
    }

    /// The job that a number chooses, and the epoch to report under.
    pub(super) fn choose(&self, job: usize, old: bool) -> Option<(usize, i64)> {
        let index = job.checked_rem(self.jobs.len())?;
        Some((index, self.seen[index].epoch - i64::from(old)))
    }

    pub(super) fn lease(&mut self, client: usize, run: usize, limit: u32) {
        let mut expected = Vec::new();
        let busy: HashSet<usize> = self
            .seen
            .iter()
            .filter(|seen| seen.state == WorkState::Leased)
            .map(|seen| seen.plan)
            .collect();
        let waiting: Vec<usize> = (0..self.seen.len())
            .filter(|index| {
                let seen = &self.seen[*index];
                seen.state == WorkState::Queued
                    && !busy.contains(&seen.plan)
                    && (seen.plan != 2 || client == 1)
            })
            .take(limit as usize)
            .collect();
        let mut plans = HashSet::new();
        for index in waiting {
            let seen = &mut self.seen[index];
            if plans.insert(seen.plan) {
                (seen.state, seen.status, seen.started) =
                    (WorkState::Leased, JobStatus::Running, true);
                (seen.holder, seen.epoch, seen.until) =
                    (Some((client, run)), seen.epoch + 1, self.now + 30);
                expected.push((self.jobs[index].job_id.to_string(), seen.epoch));
            }
        }
        let leased = self
            .fixture
            .lease(&self.clients[client], RUNS[run], self.now, limit);
        let found: Vec<(String, i64)> = leased
            .into_iter()
            .map(|work| (work.work_id, work.epoch))
            .collect();
        assert_eq!(found, expected);
    }

    pub(super) fn extend(&mut self, client: usize, run: usize, index: usize, epoch: i64) {
        let now = self.now;
        let seen = &mut self.seen[index];
        let expected = if seen.is_held(epoch) && seen.holder == Some((client, run)) {
            seen.until = now + 30;
            seen.progress = now;
            if seen.cancel {
                LeaseAnswer::CancelRequested
            } else {
                LeaseAnswer::Held
            }
        } else {
            LeaseAnswer::Lost
        };
        let progress = Progress {
            progress: now,
            ..Progress::default()
        };
        let held = HeldWork {
            work_id: self.jobs[index].job_id.to_string(),
            epoch,
            progress: Some(progress),
        };
        let client_id = &self.clients[client].client_id;
        let answer = self.fixture.pulse(client_id, RUNS[run], held, self.now);
        assert_eq!(answer, expected);
    }

    pub(super) fn finish(&mut self, index: usize, epoch: i64, outcome: JobStatus) {
        let hash = format!("{index}");
        let leased = crate::Work {
            epoch,
            ..self.work(index)
        };
        let end = if outcome.has_result() {
            complete(&leased, &hash)
        } else {
            report(&leased, outcome)
        };
        let end = jobs::FinishJob { outcome, ..end };
        let answer = again(|| jobs::finish(&self.fixture.catalog, &end, self.at())).unwrap();
        let seen = &mut self.seen[index];
        let expected = if seen.is_held(epoch) {
            (seen.state, seen.status) = (WorkState::Done, outcome);
            seen.has_snapshot = outcome.has_result();
            seen.progress = if outcome.has_result() { 10_000 } else { 0 };
            FinishAnswer::Accepted
        } else if seen.state == WorkState::Done && seen.epoch == epoch {
            FinishAnswer::Repeated
        } else {
            FinishAnswer::Stale
        };
        assert_eq!(answer, expected);
    }

    pub(super) fn cancel(&mut self, index: usize) {
        let (fixture, job_id) = (&self.fixture, &self.jobs[index].job_id);
        let result = again(|| jobs::cancel(&fixture.catalog, &fixture.account, job_id, self.at()));
        let seen = &mut self.seen[index];
        match seen.status {
            status if status.is_final() => {
                assert!(
                    matches!(result, Err(CatalogError::Transition { from, .. }) if from == status),
                    "{result:?}"
                );
                return;
            }
            JobStatus::Running | JobStatus::Canceling => seen.status = JobStatus::Canceling,
            _ => {
                (seen.status, seen.state) = (JobStatus::Canceled, WorkState::Done);
                seen.epoch += 1;
            }
        }
        seen.cancel = true;
        assert_eq!(result.unwrap(), seen.status);
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Create { plan } => {
                self.jobs
                    .push(self.fixture.job(&self.plans[plan], self.now));
                self.seen.push(Seen {
                    status: JobStatus::Created,
                    state: WorkState::Queued,
                    epoch: 0,
                    holder: None,
                    until: 0,
                    cancel: false,
                    started: false,
                    progress: 0,
                    plan,
                    has_snapshot: false,
                });
            }
            Step::Lease { client, run, limit } => self.lease(client, run, limit),
            Step::Wait { seconds } => self.now += seconds,
            Step::Expire => {
                let now = self.now;
                let lost = |seen: &&mut Seen| seen.state == WorkState::Leased && seen.until < now;
                let count = self
                    .seen
                    .iter_mut()
                    .filter(lost)
                    .map(Seen::give_back)
                    .count();
                let expired = again(|| work::expire_leases(&self.fixture.catalog, self.at()));
                assert_eq!(expired.unwrap().len(), count);
            }
            Step::StartRun { client, run } => {
                let lost = |seen: &&mut Seen| {
                    seen.state == WorkState::Leased
                        && seen
                            .holder
                            .is_some_and(|held| held.0 == client && held.1 != run)
                };
                let count = self
                    .seen
                    .iter_mut()
                    .filter(lost)
                    .map(Seen::give_back)
                    .count();
                let client_id = &self.clients[client].client_id;
                let catalog = &self.fixture.catalog;
                let released =
                    again(|| work::release_run(catalog, client_id, RUNS[run], self.at()));
                assert_eq!(released.unwrap().len(), count);
            }
            Step::Extend {
                client,
                run,
                job,
                old,
            } => {
                if let Some((index, epoch)) = self.choose(job, old) {
                    self.extend(client, run, index, epoch);
                }
            }
            Step::Release { job, old } => {
                if let Some((index, epoch)) = self.choose(job, old) {
                    let id = self.jobs[index].job_id.as_str();
                    let catalog = &self.fixture.catalog;
                    let answer =
                        again(|| work::release(catalog, id, epoch, None, self.at())).unwrap();
                    assert_eq!(
                        answer == FinishAnswer::Accepted,
                        self.seen[index].is_held(epoch)
                    );
                    if answer == FinishAnswer::Accepted {
                        self.seen[index].give_back();
                    }
                }
            }
            Step::Finish { job, old, outcome } => {
                if let Some((index, epoch)) = self.choose(job, old) {
                    self.finish(index, epoch, outcome);
                }
            }
            Step::Cancel { job } => {
                if let Some((index, _)) = self.choose(job, false) {
                    self.cancel(index);
                }
            }
        }
    }

    pub(super) fn work(&self, index: usize) -> crate::Work {
        work::get(&self.fixture.catalog, self.jobs[index].job_id.as_str())
            .unwrap()
            .unwrap()
    }

    /// Compares every job with the model, and how many there are.
    pub(crate) fn check(&self) {
        let all = JobQuery::default();
        let found = jobs::query(&self.fixture.catalog, &self.fixture.account, &all).unwrap();
        assert_eq!(found.total, self.jobs.len() as u64);
        for (index, expected) in self.seen.iter().enumerate() {
            let job = jobs::get(
                &self.fixture.catalog,
                &self.fixture.account,
                &self.jobs[index].job_id,
            )
            .unwrap();
            let work = self.work(index);
            let vault_id = job.vault_id.clone().unwrap();
            let snapshot = snapshots::get_by_hash(
                &self.fixture.catalog,
                &self.fixture.account,
                &vault_id,
                &format!("{index}"),
            );
            let found = Seen {
                status: job.status,
                state: work.state,
                epoch: work.epoch,
                // The model forgets neither holder nor end of a lease that is over.
                holder: expected.holder,
                until: expected.until,
                cancel: work.cancel_requested,
                started: job.start_time.is_some(),
                progress: job.progress.progress,
                plan: expected.plan,
                has_snapshot: snapshot.is_ok(),
            };
            assert_eq!(&found, expected, "job {index}");
            assert_eq!(
                job.complete_time.is_some(),
                job.status.is_final(),
                "job {index}"
            );
            assert_eq!(
                work.state == WorkState::Done,
                job.status.is_final(),
                "job {index}"
            );
            self.check_events(&job);
            if work.state == WorkState::Leased {
                assert_eq!(work.lease_until, Some(at(expected.until)));
                let (client, run) = expected.holder.unwrap();
                assert_eq!(
                    work.holder_client_id.as_ref(),
                    Some(&self.clients[client].client_id)
                );
                assert_eq!(work.run_id.as_deref(), Some(RUNS[run]));
            }
        }
    }

    /// A job's events are its history: each may follow the one before, the last is what the job is.
    fn check_events(&self, job: &Job) {
        let found = job_events::list(
            &self.fixture.catalog,
            &self.fixture.account,
            WorkKind::Backup,
            job.job_id.as_str(),
            PageRequest::first(1_000),
        );
        let events = found.unwrap().rows;
        assert_eq!(events[0].status, JobStatus::Created);
        for (number, pair) in events.windows(2).enumerate() {
            let [before, after] = pair else {
                unreachable!()
            };
            assert!(before.status.can_become(after.status), "{events:?}");
            assert_eq!(after.number, number as i64 + 2);
            assert_eq!(after.attempt, after.epoch, "each lease is an attempt");
            assert_eq!(
                after.attempt - before.attempt,
                i64::from(after.status == JobStatus::Running)
            );
            assert!(after.time >= before.time);
        }
        assert_eq!(events.last().unwrap().status, job.status);
    }
}
