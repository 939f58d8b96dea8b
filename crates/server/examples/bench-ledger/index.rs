//! The index alone, fed by the generator: memory, time and answers.

use std::time::Duration;

use catalog::CatalogError;
use catalog::ledger::{JobIds, PartIndex, query};
use model::{
    Filter, FilterKey, JobQuery, JobStatus, Operator, RawFilter, RawJobQuery, SortDirection,
    SourceType, Test,
};

use crate::classes::CLASSES;
use crate::history::{ACCOUNTS, History, mix};
use crate::measure::{quantile, thread_cpu, timed};
use crate::oracle::Oracle;

/// The index of one account: a part for each source type, and the rows behind its numbers.
pub(crate) struct AccountIndex {
    pub(crate) parts: Vec<PartIndex>,
    rows: Vec<Vec<u32>>,
}

pub(crate) struct Built {
    pub(crate) history: History,
    pub(crate) accounts: Vec<AccountIndex>,
    pub(crate) oracle: Option<Oracle>,
}

struct Ids<'a> {
    history: History,
    rows: &'a [u32],
}

impl Ids<'_> {
    fn id(&self, seq: usize) -> String {
        self.history.job_id(u64::from(self.rows[seq]))
    }
}

impl JobIds for Ids<'_> {
    fn job_id(&self, seq: u32) -> Result<Option<String>, CatalogError> {
        Ok(Some(self.id(seq as usize)))
    }

    fn seq(&self, job_id: &str) -> Result<Option<u32>, CatalogError> {
        let (mut low, mut high) = (0, self.rows.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.id(middle).as_str() < job_id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok((low < self.rows.len() && self.id(low) == job_id).then_some(low as u32))
    }

    fn seqs(&self, test: &Test<String>) -> Result<Vec<u32>, CatalogError> {
        let all = 0..self.rows.len() as u32;
        Ok(all
            .filter(|seq| test.holds(|bound| self.id(*seq as usize).as_str().cmp(bound)))
            .collect())
    }
}

/// Builds the indexes and, if wanted, the oracle.
pub(crate) fn build(history: History, with_oracle: bool) -> Built {
    let mut accounts: Vec<AccountIndex> = (0..ACCOUNTS)
        .map(|_| AccountIndex {
            parts: SourceType::ALL
                .iter()
                .map(|source_type| PartIndex::new(*source_type))
                .collect(),
            rows: vec![Vec::new(); SourceType::ALL.len()],
        })
        .collect();
    let mut oracle = with_oracle.then(|| Oracle::new(history));
    let (mut push_time, mut in_batch) = (Duration::ZERO, thread_cpu());
    for row in 0..history.rows {
        let facts = history.facts(row);
        let part = facts.source_type as usize;
        let account = &mut accounts[facts.account];
        let seq = account.rows[part].len() as u32;
        account.rows[part].push(row as u32);
        facts.with_row(history, seq, |index_row| {
            account.parts[part].push(index_row);
            if let Some(oracle) = &mut oracle {
                oracle.push(facts.account, facts.source_type, index_row);
            }
        });
        if row % 65_536 == 0 {
            push_time += thread_cpu() - in_batch;
            in_batch = thread_cpu();
        }
    }
    for account in &mut accounts {
        account.parts.iter_mut().for_each(PartIndex::settle);
    }
    let bytes: usize = accounts
        .iter()
        .flat_map(|account| &account.parts)
        .map(PartIndex::bytes)
        .sum();
    println!(
        "index: {} rows, {:.1} bytes a job in memory ({} MB); generated and fed in {:.1} s of CPU",
        history.rows,
        bytes as f64 / history.rows as f64,
        bytes / 1_000_000,
        (push_time + (thread_cpu() - in_batch)).as_secs_f64()
    );
    let largest = &accounts[0].parts[SourceType::EcsFile as usize];
    let (saved, save_time) = timed(|| largest.to_bytes());
    let (loaded, load_time) = timed(|| PartIndex::from_bytes(&saved));
    assert!(
        loaded.is_some_and(|part| part.len() == largest.len()),
        "a snapshot gives the part back"
    );
    println!(
        "largest part: {} rows, {} MB as bytes, written in {:.2} s, read in {:.2} s of CPU",
        largest.len(),
        saved.len() / 1_000_000,
        save_time.as_secs_f64(),
        load_time.as_secs_f64()
    );
    Built {
        history,
        accounts,
        oracle,
    }
}

impl Built {
    /// The total and the rows of a page.
    fn ask(&self, account: usize, asked: &JobQuery) -> (u64, Vec<u32>, Duration) {
        let index = &self.accounts[account];
        let ids: Vec<Ids<'_>> = index
            .rows
            .iter()
            .map(|rows| Ids {
                history: self.history,
                rows,
            })
            .collect();
        let parts: Vec<(&PartIndex, &dyn JobIds)> = index
            .parts
            .iter()
            .zip(&ids)
            .map(|(part, ids)| (part, ids as &dyn JobIds))
            .collect();
        let (answer, time) = timed(|| query(&parts, asked));
        let answer = answer.expect("generated ids never fail");
        let rows = answer
            .rows
            .iter()
            .map(|(part, seq)| index.rows[*part][*seq as usize])
            .collect();
        (answer.total, rows, time)
    }

    /// CPU time by class, for the largest account.
    pub(crate) fn measure_classes(&self, rounds: u64) {
        println!(
            "\n{:<52} {:>10} {:>10} {:>10}",
            "class (index CPU, microseconds)", "p50", "p99", "matches"
        );
        for class in CLASSES {
            let mut times = Vec::new();
            let mut matches = Vec::new();
            for round in 0..rounds {
                let asked = (class.make)(round);
                let (total, _, time) = self.ask(0, &asked);
                times.push(time);
                matches.push(total);
            }
            matches.sort_unstable();
            println!(
                "{:<52} {:>10.1} {:>10.1} {:>10}",
                class.name,
                quantile(&mut times, 0.5),
                quantile(&mut times, 0.99),
                matches[matches.len() / 2]
            );
        }
    }

    /// Compares with the oracle: every key and operator, several accounts, first, middle, last pages and pages past the
    /// end, both orders. Gives how many answers were compared and how many were wrong.
    pub(crate) fn compare(&self, choices: u64) -> (u64, u64) {
        let Some(oracle) = &self.oracle else {
            return (0, 0);
        };
        let (mut compared, mut wrong) = (0, 0);
        for asked in every_query(oracle, choices) {
            let account = (mix(compared) % 3) as usize;
            let expected = oracle.matching(account, &asked);
            for page_number in pages(expected.len(), asked.page_size) {
                let asked = JobQuery {
                    page_number,
                    ..asked.clone()
                };
                let (total, rows, _) = self.ask(account, &asked);
                let size = asked.page_size as usize;
                let page: Vec<u32> = expected
                    .iter()
                    .skip((page_number as usize - 1) * size)
                    .take(size)
                    .copied()
                    .collect();
                compared += 1;
                if total != expected.len() as u64 || rows != page {
                    wrong += 1;
                    eprintln!(
                        "WRONG: {asked:?}: {total} instead of {}, {rows:?} instead of {page:?}",
                        expected.len()
                    );
                }
            }
        }
        (compared, wrong)
    }

    /// Changes states and deletes jobs, in the index and in the oracle.
    pub(crate) fn disturb(&mut self, count: u64) {
        let Some(oracle) = &mut self.oracle else {
            return;
        };
        for change in 0..count {
            let row = mix(change ^ 0xd15) % self.history.rows;
            let facts = self.history.facts(row);
            let account = &mut self.accounts[facts.account];
            let part = facts.source_type as usize;
            let Ok(seq) = account.rows[part].binary_search(&(row as u32)) else {
                continue;
            };
            if oracle.is_deleted[row as usize] {
                continue;
            }
            if change % 3 == 0 {
                account.parts[part].delete(seq as u32);
                oracle.is_deleted[row as usize] = true;
            } else {
                let status = JobStatus::ALL[(mix(change) % JobStatus::ALL.len() as u64) as usize];
                let completed = (change % 2 == 0).then_some(facts.created + change as i64);
                assert!(
                    account.parts[part].change(seq as u32, status, completed),
                    "the row is there"
                );
                oracle.statuses[row as usize] = status as u8;
                oracle.completed[row as usize] = completed;
            }
        }
    }
}

/// Pages worth asking for.
pub(crate) fn pages(matches: usize, page_size: u32) -> Vec<u32> {
    let last = (matches as u32).div_ceil(page_size).max(1);
    let mut pages = vec![1, 2, last / 2 + 1, last, last + 1, u32::MAX];
    pages.dedup();
    pages
}

/// Each key with each operator, and some pairs.
pub(crate) fn every_query(oracle: &Oracle, choices: u64) -> Vec<JobQuery> {
    let keys = [
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
    ];
    let mut queries = Vec::new();
    let mut seed = 0;
    for key in keys {
        for operator in Operator::ALL {
            for choice in 0..choices {
                seed += 1;
                let Some(first) = filter(oracle, key, *operator, seed) else {
                    continue;
                };
                let mut filters = vec![first];
                if choice % 2 == 1 {
                    let other = keys[(mix(seed) % keys.len() as u64) as usize];
                    let operator =
                        Operator::ALL[(mix(seed ^ 9) % Operator::ALL.len() as u64) as usize];
                    filters.extend(filter(oracle, other, operator, seed ^ 77));
                }
                queries.push(JobQuery {
                    source_type: (seed % 3 != 0)
                        .then(|| SourceType::ALL[(mix(seed ^ 5) % 6) as usize]),
                    filters,
                    sort: SortDirection::ALL[(seed % 2) as usize],
                    page_number: 1,
                    page_size: [7, 10, 50, 100][(seed % 4) as usize],
                });
            }
        }
    }
    queries
}

/// A filter as a caller would write it; `None` for what the API refuses.
fn filter(oracle: &Oracle, key: FilterKey, operator: Operator, seed: u64) -> Option<Filter> {
    let count = match operator {
        Operator::Between => 2,
        Operator::In => 1 + seed % 5,
        _ => 1,
    };
    let mut values: Vec<String> = (0..count)
        .map(|number| oracle.value(key, mix(seed) ^ number))
        .collect();
    if operator == Operator::Between && !seed.is_multiple_of(5) {
        values.sort();
    }
    let raw = RawJobQuery {
        filters: vec![RawFilter {
            number: 1,
            key: Some(key.as_str().to_owned()),
            operator: Some(operator.as_str().to_owned()),
            values,
        }],
        ..RawJobQuery::default()
    };
    JobQuery::parse(&raw).ok()?.filters.pop()
}
