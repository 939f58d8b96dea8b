//! Random histories and questions against a naive list: every key and operator, several parts, runs out of order,
//! changes, deletions, snapshots.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use model::{
    FilterKey, JobFields, JobQuery, JobStatus, Operator, RawFilter, RawJobQuery, SortDirection,
    SourceType, Test,
};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use proptest::test_runner::Config;

use super::set::CHUNK_ROWS;
use super::*;

#[derive(Debug, Clone)]
struct Naive {
    part: usize,
    seq: u32,
    created_time: i64,
    job_id: String,
    status: JobStatus,
    complete_time: Option<i64>,
    texts: [Option<String>; 9],
}

const TYPES: [SourceType; 3] = [SourceType::EcsFile, SourceType::Oss, SourceType::Nas];

impl Naive {
    fn row(&self) -> IndexRow<'_> {
        IndexRow {
            seq: self.seq,
            created_time: self.created_time,
            job_id: &self.job_id,
            status: self.status,
            complete_time: self.complete_time,
            texts: std::array::from_fn(|key| self.texts[key].as_deref()),
        }
    }

    fn fields(&self) -> JobFields<'_> {
        let text = |key: usize| self.texts[key].as_deref();
        JobFields {
            region_id: text(0),
            plan_id: text(1),
            job_id: Some(&self.job_id),
            vault_id: text(2),
            instance_id: text(3),
            bucket: text(4),
            file_system_id: text(5),
            status: Some(self.status.as_str()),
            created_time: Some(self.created_time),
            complete_time: self.complete_time,
            instance_name: text(6),
            backup_type: text(7),
            parent_id: text(8),
            restore_id: None,
            source_type: Some(TYPES[self.part].as_str()),
        }
    }
}

/// The history as a list, and as the index has it.
#[derive(Debug, Default)]
struct World {
    jobs: Vec<Naive>,
    parts: Vec<PartIndex>,
    next_seq: [u32; TYPES.len()],
}

struct Ids<'a> {
    jobs: &'a [Naive],
    part: usize,
}

impl JobIds for Ids<'_> {
    fn job_id(&self, seq: u32) -> Result<Option<String>, CatalogError> {
        let mut jobs = self.jobs.iter();
        Ok(jobs
            .find(|job| job.part == self.part && job.seq == seq)
            .map(|job| job.job_id.clone()))
    }

    fn seq(&self, job_id: &str) -> Result<Option<u32>, CatalogError> {
        let mut jobs = self.jobs.iter();
        Ok(jobs
            .find(|job| job.part == self.part && job.job_id == job_id)
            .map(|job| job.seq))
    }

    fn seqs(&self, test: &Test<String>) -> Result<Vec<u32>, CatalogError> {
        let jobs = self.jobs.iter().filter(|job| job.part == self.part);
        Ok(jobs
            .filter(|job| test.holds(|bound| job.job_id.cmp(bound)))
            .map(|job| job.seq)
            .collect())
    }
}

/// Values that jobs have and filters ask for: a few frequent ones, some rare, bytes that sort unlike letters.
fn value(key: FilterKey, choice: u16) -> String {
    match key {
        FilterKey::CreatedTime => (1_000 + i64::from(choice) * 3).to_string(),
        FilterKey::CompleteTime => (1_000 + i64::from(choice) * 3 + 40).to_string(),
        FilterKey::Status => {
            JobStatus::ALL[usize::from(choice) % 11 % JobStatus::ALL.len()].to_string()
        }
        FilterKey::JobId => format!("job-{:05}", choice % 2_000),
        FilterKey::RegionId => ["cn-a", "CN-a", "cn-b"][usize::from(choice % 3)].to_owned(),
        FilterKey::PlanId | FilterKey::ParentId => format!("p-{}", choice % 97),
        // Half of them one value, the rest spread.
        _ => format!(
            "v-{}",
            if choice.is_multiple_of(2) {
                0
            } else {
                choice % 23
            }
        ),
    }
}

impl World {
    fn new() -> Self {
        Self {
            parts: TYPES
                .iter()
                .map(|source_type| PartIndex::new(*source_type))
                .collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, part: usize, created_time: i64, job_id: String, choice: [u16; 4]) {
        if self.jobs.iter().any(|job| job.job_id == job_id) {
            return;
        }
        let keys = super::run::TEXT_KEYS;
        let texts = std::array::from_fn(|key| {
            let choice = choice[key % 4].wrapping_mul(key as u16 + 1);
            (!choice.is_multiple_of(7)).then(|| value(keys[key], choice))
        });
        let job = Naive {
            part,
            seq: self.next_seq[part],
            created_time,
            job_id,
            status: value(FilterKey::Status, choice[0]).parse().unwrap(),
            complete_time: (!choice[1].is_multiple_of(5))
                .then(|| created_time + i64::from(choice[2] % 300) - 2),
            texts,
        };
        self.next_seq[part] += 1;
        self.parts[part].push(&job.row());
        self.parts[part].settle();
        self.jobs.push(job);
    }

    fn change(&mut self, pick: u16, choice: u16) {
        if self.jobs.is_empty() {
            return;
        }
        let pick = usize::from(pick) % self.jobs.len();
        let job = &mut self.jobs[pick];
        job.status = value(FilterKey::Status, choice).parse().unwrap();
        job.complete_time =
            (!choice.is_multiple_of(3)).then(|| job.created_time + i64::from(choice) * 3);
        assert!(self.parts[job.part].change(job.seq, job.status, job.complete_time));
    }

    fn delete(&mut self, pick: u16) {
        if !self.jobs.is_empty() {
            let job = self.jobs.remove(usize::from(pick) % self.jobs.len());
            self.parts[job.part].delete(job.seq);
        }
    }

    /// All parts anew, in the order of the list, as the database would give them.
    fn rebuild(&mut self) {
        for (number, part) in self.parts.iter_mut().enumerate() {
            let mut jobs: Vec<&Naive> = self.jobs.iter().filter(|job| job.part == number).collect();
            jobs.sort_by_key(|job| (job.created_time, &job.job_id));
            *part = PartIndex::new(TYPES[number]);
            jobs.iter().for_each(|job| part.push(&job.row()));
            part.settle();
            assert!(part.runs.len() <= 1);
        }
    }

    fn save_and_load(&mut self) {
        for part in &mut self.parts {
            let bytes = part.to_bytes();
            let again = PartIndex::from_bytes(&bytes).unwrap();
            assert!(again.to_bytes() == bytes);
            *part = again;
        }
    }

    fn check(&self, asked: &JobQuery) {
        let mut matching: Vec<&Naive> = self
            .jobs
            .iter()
            .filter(|job| asked.matches(&job.fields()))
            .collect();
        matching.sort_by_key(|job| (job.created_time, &job.job_id));
        if asked.sort == SortDirection::Descend {
            matching.reverse();
        }
        let ids: Vec<Ids<'_>> = (0..TYPES.len())
            .map(|part| Ids {
                jobs: &self.jobs,
                part,
            })
            .collect();
        let parts: Vec<(&PartIndex, &dyn JobIds)> = self
            .parts
            .iter()
            .zip(&ids)
            .map(|(part, ids)| (part, ids as &dyn JobIds))
            .collect();
        let size = asked.page_size as usize;
        let pages = (matching.len() / size) as u32;
        for page_number in [
            1,
            2,
            pages / 2,
            pages.saturating_sub(1),
            pages,
            pages + 1,
            pages + 2,
            u32::MAX,
        ] {
            let page_number = page_number.max(1);
            let found = query(
                &parts,
                &JobQuery {
                    page_number,
                    ..asked.clone()
                },
            )
            .unwrap();
            assert_eq!(found.total, matching.len() as u64, "{asked:?}");
            let offset = (page_number as usize - 1) * size;
            let expected: Vec<(usize, u32)> = matching
                .iter()
                .skip(offset)
                .take(size)
                .map(|job| (job.part, job.seq))
                .collect();
            assert_eq!(found.rows, expected, "page {page_number} of {asked:?}");
        }
    }

    fn counts(&self) {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        self.jobs
            .iter()
            .for_each(|job| *counts.entry(job.part).or_default() += 1);
        for (number, part) in self.parts.iter().enumerate() {
            assert_eq!(part.len(), counts.get(&number).copied().unwrap_or(0));
        }
    }
}

const KEYS: [FilterKey; 15] = [
    FilterKey::RegionId,
    FilterKey::PlanId,
    FilterKey::JobId,
    FilterKey::VaultId,
    FilterKey::InstanceId,
    FilterKey::Bucket,
    FilterKey::FileSystemId,
    FilterKey::Status,
    FilterKey::CreatedTime,
    FilterKey::CompleteTime,
    FilterKey::InstanceName,
    FilterKey::BackupType,
    FilterKey::ParentId,
    FilterKey::SourceType,
    FilterKey::RestoreId,
];

/// A filter by hand: parsing refuses some combinations that the model has a meaning for.
fn filter(key: FilterKey, operator: Operator, choices: [u16; 3]) -> model::Filter {
    let texts = choices.map(|choice| {
        if key == FilterKey::SourceType {
            TYPES[usize::from(choice % 3)].to_string()
        } else {
            value(key, choice)
        }
    });
    fn test<T: Clone + Ord>(operator: Operator, values: &[T; 3]) -> Test<T> {
        let one = values[0].clone();
        match operator {
            Operator::Equal => Test::Equal(one),
            Operator::NotEqual => Test::NotEqual(one),
            Operator::GreaterThan => Test::Greater(one),
            Operator::GreaterThanOrEqual => Test::GreaterOrEqual(one),
            Operator::LessThan => Test::Less(one),
            Operator::LessThanOrEqual => Test::LessOrEqual(one),
            Operator::Between => Test::Between(one, values[1].clone()),
            Operator::In => Test::In(values.to_vec()),
        }
    }
    let predicate = if key.is_time() {
        model::Predicate::Time(test(operator, &texts.map(|text| text.parse().unwrap())))
    } else {
        model::Predicate::Text(test(operator, &texts))
    };
    model::Filter { key, predicate }
}

fn any_query() -> impl Strategy<Value = JobQuery> {
    let filter = (select(&KEYS[..]), select(Operator::ALL), any::<[u16; 3]>()).prop_map(
        |(key, operator, choices)| {
            let near = if key.is_time() {
                choices.map(|choice| choice % 1_400)
            } else {
                choices
            };
            self::filter(key, operator, near)
        },
    );
    let source_type = prop_oneof![2 => Just(None), 1 => select(&TYPES[..]).prop_map(Some)];
    let filters = proptest::collection::vec(filter, 0..4);
    (source_type, filters, select(SortDirection::ALL), 1u32..30).prop_map(
        |(source_type, filters, sort, page_size)| JobQuery {
            source_type,
            filters,
            sort,
            page_number: 1,
            page_size,
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    /// Jobs in order, as they are created.
    Create(u16, u16, [u16; 4]),
    /// A job of the past, with any id.
    Import(u16, i64, u16, [u16; 4]),
    Change(u16, u16),
    Delete(u16),
    Rebuild,
    SaveAndLoad,
    Ask(JobQuery),
}

fn any_step() -> impl Strategy<Value = Step> {
    let choice = any::<[u16; 4]>;
    prop_oneof![
        12 => (1u16..200, any::<u16>(), choice()).prop_map(|(count, part, choice)| Step::Create(count, part, choice)),
        3 => (any::<u16>(), 0i64..3_000, any::<u16>(), choice())
            .prop_map(|(part, time, id, choice)| Step::Import(part, time, id, choice)),
        6 => any::<(u16, u16)>().prop_map(|(pick, choice)| Step::Change(pick, choice)),
        4 => any::<u16>().prop_map(Step::Delete),
        1 => Just(Step::Rebuild),
        1 => Just(Step::SaveAndLoad),
        14 => any_query().prop_map(Step::Ask),
    ]
}

fn mix(choice: [u16; 4], number: u16) -> [u16; 4] {
    choice.map(|part| {
        part.wrapping_mul(31)
            .wrapping_add(number.wrapping_mul(7_919))
    })
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn random_histories_agree_with_a_naive_list(steps in proptest::collection::vec(any_step(), 1..60)) {
        let mut world = World::new();
        let mut now = 1_000;
        for step in steps {
            match step {
                Step::Create(count, part, choice) => {
                    for number in 0..count {
                        now += i64::from(number % 3);
                        let id = format!("job-{:05}", world.jobs.len() + 40);
                        world.add(usize::from(part + number / 50) % TYPES.len(), now, id, mix(choice, number));
                    }
                }
                Step::Import(part, time, id, choice) => {
                    world.add(usize::from(part) % TYPES.len(), 900 + time, value(FilterKey::JobId, id), choice);
                }
                Step::Change(pick, choice) => world.change(pick, choice),
                Step::Delete(pick) => world.delete(pick),
                Step::Rebuild => world.rebuild(),
                Step::SaveAndLoad => world.save_and_load(),
                Step::Ask(asked) => world.check(&asked),
            }
        }
        world.counts();
    }
}

/// A history of several full chunks in each of two parts.
fn large_world() -> World {
    let mut world = World::new();
    for number in 0..(CHUNK_ROWS * 7) as u16 {
        let choice = mix([3, 50, 700, 9_000], number);
        world.add(
            usize::from(number % 5 / 4),
            1_000 + i64::from(number / 3),
            format!("job-{number:05}"),
            choice,
        );
    }
    world
}

#[test]
fn every_key_and_operator_on_full_chunks() {
    let mut world = large_world();
    for number in 0..200 {
        world.change(number * 7, number);
    }
    let check_all = |world: &World| {
        for key in KEYS {
            for operator in Operator::ALL {
                for choices in [[1, 4, 9], [0, 600, 2], [650, 80, 81]] {
                    let mut asked = JobQuery {
                        filters: vec![filter(key, *operator, choices)],
                        page_size: 10,
                        sort: SortDirection::ALL[usize::from(choices[0] % 2)],
                        ..JobQuery::default()
                    };
                    world.check(&asked);
                    asked.source_type = Some(SourceType::EcsFile);
                    world.check(&asked);
                }
            }
        }
    };
    check_all(&world);
    for number in 0..150 {
        world.delete(number * 11);
    }
    check_all(&world);
}

/// What the model knows of the API's own parsing holds here, too.
#[test]
fn a_parsed_query_is_answered() {
    let world = large_world();
    let raw = RawJobQuery {
        filters: vec![RawFilter {
            number: 1,
            key: Some("status".to_owned()),
            operator: None,
            values: vec!["[\"COMPLETE\",\"FAILED\"]".to_owned()],
        }],
        ..RawJobQuery::default()
    };
    world.check(&JobQuery::parse(&raw).unwrap());
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let mut world = large_world();
    world.delete(5);
    let bytes = world.parts[0].to_bytes();
    for cut in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(PartIndex::from_bytes(&bytes[..cut]).is_none());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(PartIndex::from_bytes(&longer).is_none());
    let mut newer = bytes;
    newer[0] += 1;
    assert!(PartIndex::from_bytes(&newer).is_none());
}
