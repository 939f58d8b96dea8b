//! The answer by brute force: every row is looked at, each filter by the meaning that the model gives it.
//!
//! So that ten million rows can be looked at a thousand times, each field is a column of codes, and a filter is asked once
//! for each code; that is all this has in common with an index.

use std::collections::HashMap;

use catalog::ledger::IndexRow;
use model::{FilterKey, JobFields, JobQuery, JobStatus, SortDirection, SourceType};

use crate::history::{History, mix};

/// The text fields, in the order of [`IndexRow::texts`].
const KEYS: [FilterKey; 9] = [
    FilterKey::RegionId,
    FilterKey::PlanId,
    FilterKey::VaultId,
    FilterKey::InstanceId,
    FilterKey::Bucket,
    FilterKey::FileSystemId,
    FilterKey::InstanceName,
    FilterKey::BackupType,
    FilterKey::ParentId,
];

#[derive(Debug, Default)]
struct Column {
    texts: Vec<Option<String>>,
    codes: HashMap<Option<String>, u32>,
    rows: Vec<u32>,
}

impl Column {
    fn push(&mut self, text: Option<&str>) {
        let text = text.map(str::to_owned);
        let next = self.texts.len() as u32;
        let code = *self.codes.entry(text.clone()).or_insert(next);
        if code == next {
            self.texts.push(text);
        }
        self.rows.push(code);
    }
}

/// All jobs, in the order of creation.
#[derive(Debug)]
pub(crate) struct Oracle {
    history: History,
    columns: [Column; KEYS.len()],
    accounts: Vec<u8>,
    types: Vec<u8>,
    pub(crate) statuses: Vec<u8>,
    created: Vec<i64>,
    pub(crate) completed: Vec<Option<i64>>,
    pub(crate) is_deleted: Vec<bool>,
}

impl Oracle {
    pub(crate) fn new(history: History) -> Self {
        Self {
            history,
            columns: Default::default(),
            accounts: Vec::new(),
            types: Vec::new(),
            statuses: Vec::new(),
            created: Vec::new(),
            completed: Vec::new(),
            is_deleted: Vec::new(),
        }
    }

    /// The next row.
    pub(crate) fn push(&mut self, account: usize, source_type: SourceType, row: &IndexRow<'_>) {
        for (column, text) in self.columns.iter_mut().zip(row.texts) {
            column.push(text);
        }
        self.accounts.push(account as u8);
        self.types.push(source_type as u8);
        self.statuses.push(row.status as u8);
        self.created.push(row.created_time);
        self.completed.push(row.complete_time);
        self.is_deleted.push(false);
    }

    pub(crate) fn len(&self) -> usize {
        self.created.len()
    }

    /// Some value that rows have.
    pub(crate) fn value(&self, key: FilterKey, choice: u64) -> String {
        let row = (mix(choice) % self.len() as u64) as usize;
        match key {
            FilterKey::JobId => self.history.job_id(row as u64),
            FilterKey::CreatedTime => self.created[row].to_string(),
            FilterKey::CompleteTime => self.completed[row].unwrap_or(self.created[row]).to_string(),
            FilterKey::Status => JobStatus::ALL[usize::from(self.statuses[row])].to_string(),
            FilterKey::SourceType => SourceType::ALL[usize::from(self.types[row])].to_string(),
            key => {
                let column = KEYS.iter().position(|other| *other == key);
                let column = column.map(|column| &self.columns[column]);
                // By value rather than by row, so that rare ones are asked for, too.
                let text = column.and_then(|column| {
                    column.texts[(mix(choice) % column.texts.len() as u64) as usize].clone()
                });
                text.unwrap_or_else(|| "none".to_owned())
            }
        }
    }

    /// The rows of an account that match, in the order that is asked for.
    pub(crate) fn matching(&self, account: usize, query: &JobQuery) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.len() as u32)
            .filter(|row| {
                let row = *row as usize;
                let kind = SourceType::ALL[usize::from(self.types[row])];
                usize::from(self.accounts[row]) == account
                    && !self.is_deleted[row]
                    && query.source_type.is_none_or(|wanted| wanted == kind)
            })
            .collect();
        for filter in &query.filters {
            let holds = |fields: &JobFields<'_>| filter.matches(fields);
            let none = JobFields::default();
            match KEYS.iter().position(|key| *key == filter.key) {
                Some(number) => {
                    let column = &self.columns[number];
                    let is_wanted: Vec<bool> = column
                        .texts
                        .iter()
                        .map(|text| {
                            let mut fields = none;
                            *text_field(&mut fields, filter.key) = text.as_deref();
                            holds(&fields)
                        })
                        .collect();
                    rows.retain(|row| is_wanted[column.rows[*row as usize] as usize]);
                }
                None => rows.retain(|row| {
                    let row = *row as usize;
                    match filter.key {
                        FilterKey::CreatedTime => holds(&JobFields {
                            created_time: Some(self.created[row]),
                            ..none
                        }),
                        FilterKey::CompleteTime => holds(&JobFields {
                            complete_time: self.completed[row],
                            ..none
                        }),
                        FilterKey::Status => {
                            let status = JobStatus::ALL[usize::from(self.statuses[row])];
                            holds(&JobFields {
                                status: Some(status.as_str()),
                                ..none
                            })
                        }
                        FilterKey::JobId => holds(&JobFields {
                            job_id: Some(&self.history.job_id(row as u64)),
                            ..none
                        }),
                        _ => {
                            let kind = SourceType::ALL[usize::from(self.types[row])];
                            holds(&JobFields {
                                source_type: Some(kind.as_str()),
                                ..none
                            })
                        }
                    }
                }),
            }
        }
        if query.sort == SortDirection::Descend {
            rows.reverse();
        }
        rows
    }
}

fn text_field<'f, 'a>(fields: &'f mut JobFields<'a>, key: FilterKey) -> &'f mut Option<&'a str> {
    match key {
        FilterKey::RegionId => &mut fields.region_id,
        FilterKey::PlanId => &mut fields.plan_id,
        FilterKey::VaultId => &mut fields.vault_id,
        FilterKey::InstanceId => &mut fields.instance_id,
        FilterKey::Bucket => &mut fields.bucket,
        FilterKey::FileSystemId => &mut fields.file_system_id,
        FilterKey::InstanceName => &mut fields.instance_name,
        FilterKey::BackupType => &mut fields.backup_type,
        _ => &mut fields.parent_id,
    }
}
