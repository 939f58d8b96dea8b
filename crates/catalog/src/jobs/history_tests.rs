//! Random histories of the whole catalog: creates, transitions, deletions, imports in any order, restarts with and without
//! a snapshot, a second program on the same database. After each step the answers are those of a naive list of the rows.

#![allow(clippy::unwrap_used, clippy::panic)]

use model::{
    Filter, FilterKey, JobId, JobQuery, JobStatus, Operator, PlanId, Predicate, RawFilter,
    RawJobQuery, SortDirection, SourceType, Test, VaultId,
};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use proptest::test_runner::Config;

use super::{
    Body, ImportedJob, Renderer, bodies, cancel, check_index, create, finish, import_all, query,
    remove_ended, remove_hidden, save_index, store, try_bodies,
};
use crate::db::{Catalog, CatalogOptions, Tx};
use crate::plans::RunningJobs;
use crate::records::{Client, Job, Progress};
use crate::tests::proxy::{Cut, Proxy};
use crate::tests::support::{Fixture, again, at, complete};
use crate::work;

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    /// Leases what waits and ends some of it.
    Run(u8),
    Cancel(u16),
    /// Jobs of the past, in any order, as one batch; some twice.
    Import(Vec<(i64, u16, u8)>),
    DeletePlan(usize),
    /// A step of taking away what deleted plans have left.
    RemoveHidden,
    /// What ended this long before now goes.
    Expire(i64),
    Save,
    Restart,
    /// The next steps are done by the other program.
    Switch,
    /// The connection to a server breaks at the commit after so many.
    Cut(usize, Cut),
}

fn any_step() -> impl Strategy<Value = Step> {
    let imported = (0i64..2_000, 0u16..400, any::<u8>());
    prop_oneof![
        6 => (0usize..3).prop_map(Step::Create),
        4 => any::<u8>().prop_map(Step::Run),
        2 => any::<u16>().prop_map(Step::Cancel),
        3 => proptest::collection::vec(imported, 1..60).prop_map(Step::Import),
        1 => (0usize..3).prop_map(Step::DeletePlan),
        2 => Just(Step::RemoveHidden),
        2 => (0i64..2_000).prop_map(Step::Expire),
        1 => Just(Step::Save),
        1 => Just(Step::Restart),
        2 => Just(Step::Switch),
        2 => (0usize..3, select(&Cut::ALL[..])).prop_map(|(count, cut)| Step::Cut(count, cut)),
    ]
}

fn any_query() -> impl Strategy<Value = JobQuery> {
    let values = |key: FilterKey| -> &'static [&'static str] {
        match key {
            FilterKey::Status => &["CREATED", "RUNNING", "COMPLETE", "FAILED", "CANCELED"],
            FilterKey::CreatedTime | FilterKey::CompleteTime => {
                &["1700000300", "1700001000", "1700001900"]
            }
            FilterKey::VaultId => &["v-0", "v-1", "v-2"],
            _ => &["job-h010", "job-h120", "job-h399", "job-0"],
        }
    };
    let keys = [
        FilterKey::Status,
        FilterKey::CreatedTime,
        FilterKey::CompleteTime,
        FilterKey::VaultId,
        FilterKey::JobId,
    ];
    let filter = (
        select(keys.to_vec()),
        select(Operator::ALL),
        any::<[u8; 2]>(),
    )
        .prop_filter("the API refuses it", |(key, operator, _)| {
            *key != FilterKey::CompleteTime || *operator != Operator::In
        })
        .prop_map(move |(key, operator, choice)| {
            let pick = |choice: u8| values(key)[usize::from(choice) % values(key).len()].to_owned();
            let count = if operator == Operator::Between { 2 } else { 1 };
            RawFilter {
                number: 1,
                key: Some(key.as_str().to_owned()),
                operator: Some(operator.as_str().to_owned()),
                values: choice
                    .iter()
                    .take(count)
                    .map(|choice| pick(*choice))
                    .collect(),
            }
        });
    let source_type = prop_oneof![Just(None), select(&SourceType::ALL[..2]).prop_map(Some)];
    (
        proptest::collection::vec(filter, 0..3),
        select(SortDirection::ALL),
        source_type,
        1u32..9,
    )
        .prop_map(|(filters, sort, source_type, page_size)| JobQuery {
            sort,
            source_type,
            page_size,
            ..JobQuery::parse(&RawJobQuery {
                filters,
                ..RawJobQuery::default()
            })
            .unwrap()
        })
}

struct World {
    fixture: Fixture,
    /// On a server, the way to it.
    proxy: Option<Proxy>,
    /// Two programs on one database.
    catalogs: [Catalog; 2],
    present: usize,
    plans: Vec<Option<PlanId>>,
    /// The ids of all plans, of the deleted ones, too.
    plan_ids: Vec<PlanId>,
    client: Client,
    now: i64,
}

impl World {
    fn new() -> Self {
        let fixture = Fixture::new();
        let client = fixture.client("m-1", 0);
        let vault = fixture.vault(0);
        let plan_ids: Vec<PlanId> = (0..3)
            .map(|number| fixture.plan(&vault, &format!("plan {number}")).plan_id)
            .collect();
        let proxy = fixture
            .place
            .is_server()
            .then(|| Proxy::before(&fixture.place));
        let catalogs = [0, 1].map(|number| open(&fixture, proxy.as_ref(), number));
        Self {
            fixture,
            proxy,
            catalogs,
            present: 0,
            plans: plan_ids.iter().cloned().map(Some).collect(),
            plan_ids,
            client,
            now: 1_000,
        }
    }

    fn catalog(&self) -> &Catalog {
        &self.catalogs[self.present]
    }

    fn step(&mut self, step: Step) {
        self.now += 7;
        let (account, now) = (self.fixture.account.clone(), at(self.now));
        match step {
            Step::Create(plan) => {
                if let Some(plan) = &self.plans[plan] {
                    let before = self.truth().len();
                    again(|| create(self.catalog(), &account, plan, now)).unwrap();
                    assert_eq!(self.truth().len(), before + 1);
                }
            }
            Step::Run(choice) => {
                let ttl = crate::tests::support::TTL;
                let (catalog, client_id) = (self.catalog(), &self.client.client_id);
                let leased =
                    again(|| work::lease_next(catalog, &account, client_id, "run", now, ttl, 4))
                        .unwrap();
                for (number, work) in leased.iter().enumerate().skip(usize::from(choice % 3)) {
                    let mut end = complete(work, &format!("{}-{}", work.work_id, number));
                    if choice > 200 {
                        (end.outcome, end.snapshot) = (JobStatus::Failed, None);
                    }
                    let answer = again(|| finish(catalog, &end, now)).unwrap();
                    assert!(answer.is_accepted());
                }
                again(|| work::release_run(catalog, client_id, "next run", now)).unwrap();
            }
            Step::Cancel(pick) => {
                let jobs = self.truth();
                if let Some(job) = jobs.get(usize::from(pick) % jobs.len().max(1)) {
                    // A job that has ended cannot be cancelled, and stays as it is.
                    let _ = again(|| cancel(self.catalog(), &account, &job.job_id, now));
                }
            }
            Step::Import(jobs) => {
                let jobs: Vec<ImportedJob> = jobs
                    .into_iter()
                    .map(|(time, id, choice)| self.imported(time, id, choice))
                    .collect();
                let before = self.truth().len() as u64;
                let import = || import_all(self.catalog(), &account, &jobs);
                let report = again(import).unwrap();
                assert_eq!(report.imported + report.known, jobs.len() as u64);
                assert_eq!(self.truth().len() as u64, before + report.imported);
                assert_eq!(again(import).unwrap().imported, 0, "again");
            }
            Step::DeletePlan(plan) => {
                if let Some(plan) = self.plans[plan].take() {
                    let mut expected = self.truth();
                    expected.retain(|job| job.plan_id.as_ref() != Some(&plan));
                    let catalog = self.catalog();
                    again(|| crate::plans::delete(catalog, &account, &plan, RunningJobs::Drop))
                        .unwrap();
                    assert_eq!(self.truth(), expected);
                }
            }
            Step::RemoveHidden => {
                let before = self.truth();
                again(|| remove_hidden(self.catalog())).unwrap();
                assert_eq!(self.truth(), before, "nobody sees it");
            }
            Step::Expire(seconds) => {
                let before = now.plus_seconds(-seconds);
                let is_over = |job: &Job| {
                    job.status.is_final() && job.complete_time.unwrap_or(job.created_time) < before
                };
                let mut expected = self.truth();
                let count = expected.len();
                expected.retain(|job| !is_over(job));
                let done = remove_ended(self.catalog(), &account, before).unwrap();
                assert_eq!(self.truth(), expected);
                assert_eq!((done.jobs, done.has_more), (count - expected.len(), false));
            }
            Step::Save => {
                again(|| save_index(self.catalog())).unwrap();
            }
            Step::Restart => {
                // A start that is cut off is done again by whoever starts it; this is about what runs.
                self.proxy.as_ref().map(Proxy::has_cut);
                self.catalogs[self.present] =
                    open(&self.fixture, self.proxy.as_ref(), self.present);
            }
            Step::Switch => self.present = 1 - self.present,
            Step::Cut(count, cut) => {
                if let Some(proxy) = &self.proxy {
                    proxy.cut_after(count, cut);
                }
            }
        }
    }

    fn imported(&self, time: i64, id: u16, choice: u8) -> ImportedJob {
        let ended = [JobStatus::Complete, JobStatus::Failed, JobStatus::Canceled];
        let job = Job {
            account_id: self.fixture.account.clone(),
            job_id: JobId::parse(&format!("job-h{id:03}")).unwrap(),
            job_name: String::new(),
            region_id: "cn-hangzhou".to_owned(),
            source_type: SourceType::ALL[usize::from(choice % 2)],
            backup_type: "COMPLETE".to_owned(),
            status: ended[usize::from(choice) % ended.len()],
            vault_id: Some(VaultId::parse(&format!("v-{}", choice % 4)).unwrap()),
            // Also of plans that are deleted already.
            plan_id: self.plan_ids.get(usize::from(choice % 5)).cloned(),
            client_id: None,
            instance_id: None,
            bucket: None,
            file_system_id: None,
            instance_name: None,
            parent_id: None,
            trigger_mode: None,
            paths: Vec::new(),
            include: None,
            exclude: None,
            speed_limit: None,
            options: None,
            retention: None,
            source_fields: crate::records::SourceFields::default(),
            created_time: at(time),
            start_time: None,
            complete_time: (!choice.is_multiple_of(5)).then(|| at(time + i64::from(choice))),
            updated_time: at(time),
            progress: Progress::default(),
            error_message: None,
        };
        ImportedJob { job, body: None }
    }

    /// All rows but those that wait to be removed, as the database has them, in the order of creation.
    fn truth(&self) -> Vec<Job> {
        self.rows(
            "SELECT * FROM jobs WHERE NOT EXISTS (SELECT 1 FROM job_removals \
             WHERE part_id = row_id >> 32 AND end_seq > row_id - (part_id << 32) \
             AND (job_removals.plan_id = jobs.plan_id OR job_removals.vault_id = jobs.vault_id)) \
             ORDER BY created_time, job_id",
        )
    }

    fn rows(&self, sql: &str) -> Vec<Job> {
        let sql = format!("/* whole */ {sql}");
        let read = |tx: &Tx<'_>| crate::conditions::all(tx, "test", &sql, [], store::read);
        self.catalog().read("test", read).unwrap()
    }

    /// Takes all rows away that are hidden: what is left is what was seen.
    fn remove_all_hidden(&self) {
        let seen = self.truth();
        while again(|| remove_hidden(self.catalog())).unwrap().has_more {}
        let rows = self.rows("SELECT * FROM jobs ORDER BY created_time, job_id");
        assert_eq!(rows, seen);
    }

    fn check(&self, asked: &JobQuery) {
        let mut matching: Vec<Job> = self
            .truth()
            .into_iter()
            .filter(|job| asked.matches(&job.fields()))
            .collect();
        if asked.sort == SortDirection::Descend {
            matching.reverse();
        }
        let size = asked.page_size as usize;
        for page_number in [1, 2, (matching.len() / size) as u32 + 1] {
            let found = query(
                self.catalog(),
                &self.fixture.account,
                &JobQuery {
                    page_number,
                    ..asked.clone()
                },
            )
            .unwrap();
            let expected: Vec<Job> = matching
                .iter()
                .skip((page_number as usize - 1) * size)
                .take(size)
                .cloned()
                .collect();
            assert_eq!(found.total, matching.len() as u64, "{asked:?}");
            assert_eq!(found.rows, expected, "page {page_number} of {asked:?}");
            let asked = JobQuery {
                page_number,
                ..asked.clone()
            };
            self.check_bodies(&asked, found.total, &expected);
        }
    }

    /// The JSON of a page, whether it was in memory or not, and with patience or not.
    fn check_bodies(&self, asked: &JobQuery, total: u64, expected: &[Job]) {
        let expected: Vec<Body> = expected
            .iter()
            .map(|job| (RENDERER.render)(job).into())
            .collect();
        let account = &self.fixture.account;
        let catalog = self.catalog();
        let found = bodies(catalog, account, asked).unwrap();
        assert_eq!((found.total, &found.rows), (total, &expected), "{asked:?}");
        let is_slow = asked.filters.iter().any(is_slow);
        let quick = catalog.try_reading(|reading| try_bodies(catalog, reading, account, asked));
        let quick = quick.unwrap().and_then(Result::unwrap);
        let may_fail = is_slow || self.fixture.place.is_server();
        assert!(quick.is_some() || may_fail, "{asked:?}");
        if let Some(quick) = quick {
            assert_eq!((quick.total, quick.rows), (total, expected), "{asked:?}");
        }
    }
}

/// Orders of ids may have to read them all.
fn is_slow(filter: &Filter) -> bool {
    filter.key == FilterKey::JobId
        && !matches!(
            filter.predicate,
            Predicate::Text(Test::Equal(_) | Test::NotEqual(_) | Test::In(_))
        )
}

const RENDERER: Renderer = Renderer {
    version: 9,
    render: |job| format!("{job:?}").into_bytes(),
};

/// Each program has snapshots of its own.
fn open(fixture: &Fixture, proxy: Option<&Proxy>, number: usize) -> Catalog {
    let options = CatalogOptions {
        ledger_dir: Some(fixture.folder.path().join(format!("ledger-{number}"))),
        renderer: Some(RENDERER),
        ..CatalogOptions::default()
    };
    match proxy {
        Some(proxy) => proxy.open(options),
        None => fixture.place.open(options),
    }
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn random_histories_agree_with_a_naive_list(
        steps in proptest::collection::vec((any_step(), any_query()), 1..40)
    ) {
        let mut world = World::new();
        for (step, asked) in steps {
            world.step(step);
            world.check(&asked);
        }
        assert_eq!(check_index(world.catalog()).unwrap(), []);
        world.remove_all_hidden();
        world.check(&JobQuery::default());
        assert_eq!(check_index(world.catalog()).unwrap(), []);
    }
}

/// Whoever pages through all jobs, oldest first, sees each of them once, though others come meanwhile.
#[test]
fn open_pages_show_each_job_once_while_jobs_are_created() {
    let mut world = World::new();
    let mut seen = Vec::new();
    for round in 0..40 {
        world.step(Step::Create(round % 3));
        if round % 5 == 0 {
            world.step(Step::Run(0));
        }
        let asked = JobQuery {
            sort: SortDirection::Ascend,
            page_number: seen.len() as u32 / 4 + 1,
            page_size: 4,
            ..JobQuery::default()
        };
        let page = query(world.catalog(), &world.fixture.account, &asked).unwrap();
        // Whole pages only: the last one is asked for again when it has grown.
        if page.rows.len() == 4 {
            seen.extend(page.rows.into_iter().map(|job| job.job_id));
        }
    }
    let all: Vec<JobId> = world.truth().into_iter().map(|job| job.job_id).collect();
    assert_eq!(seen, all[..seen.len()]);
    assert!(seen.len() >= 36);
}
