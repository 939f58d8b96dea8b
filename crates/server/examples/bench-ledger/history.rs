//! A history of jobs as a large installation has it after two years, made of nothing but the row's number.
//!
//! Four accounts (the first has 78 % of the jobs), all source types (ECS_FILE has 60 %), 20,000 plans of which few make
//! most of the jobs, up to 7,000 instances, 200 vaults, five regions. Most jobs of a day start in its first hour. Rows are in
//! the order of creation.

use catalog::ledger::IndexRow;
use catalog::{Job, Progress, SourceFields, TriggerMode};
use model::{
    AccountId, ClientId, InstanceId, JobId, JobStatus, PlanId, SourceType, Timestamp, VaultId,
};

/// 2024-01-01 00:00:00 UTC.
pub(crate) const START: i64 = 1_704_067_200;
const DAYS: u64 = 730;
const DAY: u64 = 86_400;
pub(crate) const ACCOUNTS: usize = 4;
const PLANS: u64 = 20_000;
const INSTANCES: u64 = 7_000;
const VAULTS: u64 = 200;
const REGIONS: [&str; 5] = [
    "cn-hangzhou",
    "cn-beijing",
    "cn-shanghai",
    "eu-central-1",
    "us-east-1",
];
const BUCKETS: u64 = 3_000;

/// A fixed mixing of bits (the finalizer of SplitMix64): the same on every machine.
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Per cent of the jobs and plans of each account.
const SHARES: [u64; ACCOUNTS] = [78, 15, 5, 2];

/// Per cent of the jobs and plans of a source type.
const fn type_share(source_type: SourceType) -> u64 {
    match source_type {
        SourceType::EcsFile => 60,
        SourceType::Oss => 10,
        SourceType::Nas => 8,
        SourceType::Ots | SourceType::UdmEcs | SourceType::UdmEcsDisk => 5,
        SourceType::CommonNas => 3,
        SourceType::File => 2,
        SourceType::Sync | SourceType::Container => 1,
    }
}

/// The number of plan `rank` of an account's source type; 0 is the busiest.
pub(crate) const fn plan_number(account: usize, source_type: SourceType, rank: u64) -> u64 {
    (account as u64 * 16 + source_type as u64) * 100_000 + rank
}

/// A history of `rows` jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct History {
    pub(crate) rows: u64,
}

/// The numbers behind a job; texts are made of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) row: u64,
    pub(crate) account: usize,
    pub(crate) source_type: SourceType,
    pub(crate) created: i64,
    pub(crate) completed: Option<i64>,
    pub(crate) status: JobStatus,
    plan: u64,
    instance: u64,
    vault: u64,
}

impl History {
    fn created(self, row: u64) -> i64 {
        let per_day = self.rows as f64 / DAYS as f64;
        let day = (row as f64 / per_day) as u64;
        let within = (row as f64 - day as f64 * per_day) / per_day;
        // Six tenths of a day's jobs in its first hour.
        let second = if within < 0.6 {
            within / 0.6 * 3_600.0
        } else {
            3_600.0 + (within - 0.6) / 0.4 * 82_799.0
        };
        START + (day * DAY + (second as u64).min(DAY - 1)) as i64
    }

    /// The job of a row.
    pub(crate) fn facts(self, row: u64) -> Facts {
        let bits = mix(row);
        // As SHARES and `type_share` say.
        let account = match bits % 100 {
            0..78 => 0,
            78..93 => 1,
            93..98 => 2,
            _ => 3,
        };
        let source_type = match (bits >> 8) % 100 {
            0..60 => SourceType::EcsFile,
            60..70 => SourceType::Oss,
            70..78 => SourceType::Nas,
            78..83 => SourceType::Ots,
            83..88 => SourceType::UdmEcs,
            88..93 => SourceType::UdmEcsDisk,
            93..96 => SourceType::CommonNas,
            96..98 => SourceType::File,
            98 => SourceType::Sync,
            _ => SourceType::Container,
        };
        let created = self.created(row);
        let is_fresh = row + self.rows / 5_000 >= self.rows;
        let status = match (mix(bits) % 1_000, is_fresh) {
            (0..300, true) => JobStatus::Running,
            (300..500, true) => JobStatus::Queued,
            (0..900, _) => JobStatus::Complete,
            (900..940, _) => JobStatus::PartialComplete,
            (940..985, _) => JobStatus::Failed,
            (985..995, _) => JobStatus::Canceled,
            (995..998, _) => JobStatus::Expired,
            _ => JobStatus::Unavailable,
        };
        let length = mix(bits ^ 7);
        let duration = match length % 2_000 {
            0 => (length >> 16) % (3 * DAY),
            _ => (10 << ((length >> 16) % 11)) + (length >> 32) % 10,
        };
        let share = (mix(bits ^ 3) >> 11) as f64 / (1u64 << 53) as f64;
        // A plan belongs to one account and protects one kind of source.
        let plans = PLANS * SHARES[account] * type_share(source_type) / 10_000;
        let plan = plan_number(
            account,
            source_type,
            (plans as f64 * share * share * share) as u64,
        );
        Facts {
            row,
            account,
            source_type,
            created,
            completed: status.is_final().then_some(created + duration as i64),
            status,
            plan,
            instance: mix(plan ^ 0x1000) % INSTANCES,
            vault: mix(plan ^ 0x2000) % VAULTS * (mix(plan ^ 0x2001) % 4) / 4,
        }
    }

    /// The row's id: made of its second and of its place in that second, so that ids rise with rows.
    pub(crate) fn job_id(self, row: u64) -> String {
        let created = self.created(row);
        let mut first = row;
        while first > 0 && self.created(first - 1) == created {
            first -= 1;
        }
        JobId::new(
            created.unsigned_abs() * 1_000_000 + (row - first),
            mix(row ^ 0x55),
        )
        .to_string()
    }
}

pub(crate) fn account_id(account: usize) -> AccountId {
    AccountId::new(account as u64)
}

fn id(prefix: &str, kind: u64, number: u64) -> String {
    model::ids::new_id(
        prefix,
        (START as u64) * 1_000_000 + number * 1_000_000,
        mix(kind ^ number << 8),
    )
}

/// The texts of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) region: &'static str,
    pub(crate) plan: String,
    pub(crate) vault: String,
    pub(crate) instance: Option<String>,
    pub(crate) bucket: Option<String>,
    pub(crate) file_system: Option<String>,
    pub(crate) instance_name: Option<String>,
    pub(crate) parent: Option<String>,
}

pub(crate) fn plan_id(number: u64) -> String {
    id("plan-", 1, number)
}

pub(crate) fn vault_id(number: u64) -> String {
    id("v-", 2, number)
}

pub(crate) fn instance_id(number: u64) -> String {
    id("i-", 3, number)
}

impl Facts {
    pub(crate) fn texts(&self, history: History) -> Texts {
        let kind = self.source_type;
        let has_instance = matches!(
            kind,
            SourceType::EcsFile | SourceType::UdmEcs | SourceType::UdmEcsDisk | SourceType::File
        );
        Texts {
            region: REGIONS[if self.vault % 10 < 6 {
                0
            } else {
                (self.vault % 10 - 5) as usize
            }],
            plan: plan_id(self.plan),
            vault: vault_id(self.vault),
            instance: has_instance.then(|| instance_id(self.instance)),
            bucket: (kind == SourceType::Oss)
                .then(|| format!("bucket-{}", self.instance % BUCKETS)),
            file_system: (kind == SourceType::Nas).then(|| format!("{:06x}", self.instance)),
            instance_name: (kind == SourceType::Ots)
                .then(|| format!("ots-{}", self.instance % 500)),
            // Disks of an instance share the job of the instance.
            parent: (kind == SourceType::UdmEcsDisk).then(|| history.job_id(self.row / 64 * 64)),
        }
    }

    /// What the index sees.
    pub(crate) fn with_row<T>(
        &self,
        history: History,
        seq: u32,
        take: impl FnOnce(&IndexRow<'_>) -> T,
    ) -> T {
        let texts = self.texts(history);
        let job_id = history.job_id(self.row);
        take(&IndexRow {
            seq,
            created_time: self.created,
            job_id: &job_id,
            status: self.status,
            complete_time: self.completed,
            texts: [
                Some(texts.region),
                Some(&texts.plan),
                Some(&texts.vault),
                texts.instance.as_deref(),
                texts.bucket.as_deref(),
                texts.file_system.as_deref(),
                texts.instance_name.as_deref(),
                Some("COMPLETE"),
                texts.parent.as_deref(),
            ],
        })
    }

    /// The whole job. One that has not ended has failed here: only such jobs can be imported.
    pub(crate) fn job(&self, history: History) -> Job {
        let texts = self.texts(history);
        let parsed = |text: Option<String>| {
            text.as_deref()
                .and_then(|text| InstanceId::parse(text).ok())
        };
        let bytes = (mix(self.row ^ 0x77) % (1 << 38)) as i64;
        let files = bytes / 150_000;
        let is_files = matches!(self.source_type, SourceType::EcsFile | SourceType::File);
        Job {
            account_id: account_id(self.account),
            job_id: JobId::parse(&history.job_id(self.row)).expect("ids of ours parse"),
            job_name: format!("plan {}", self.plan),
            region_id: texts.region.to_owned(),
            source_type: self.source_type,
            backup_type: "COMPLETE".to_owned(),
            status: self.imported_status(),
            vault_id: VaultId::parse(&texts.vault).ok(),
            plan_id: PlanId::parse(&texts.plan).ok(),
            client_id: is_files
                .then(|| ClientId::parse(&id("c-", 4, self.instance)).expect("ids of ours parse")),
            instance_id: parsed(texts.instance),
            bucket: texts.bucket,
            file_system_id: texts.file_system,
            instance_name: texts.instance_name,
            parent_id: texts
                .parent
                .as_deref()
                .and_then(|text| JobId::parse(text).ok()),
            trigger_mode: Some(if self.row.is_multiple_of(9) {
                TriggerMode::Manual
            } else {
                TriggerMode::Schedule
            }),
            paths: if is_files {
                vec!["/home".to_owned(), format!("/srv/data-{}", self.plan % 50)]
            } else {
                Vec::new()
            },
            include: None,
            exclude: is_files.then(|| "[\"*.tmp\",\"/home/*/.cache\"]".to_owned()),
            speed_limit: None,
            options: None,
            retention: Some(30),
            source_fields: SourceFields {
                prefix: (self.source_type == SourceType::Oss).then(|| "backup/".to_owned()),
                ..SourceFields::default()
            },
            created_time: Timestamp(self.created),
            start_time: Some(Timestamp(self.created + 2)),
            complete_time: Some(Timestamp(self.completed.unwrap_or(self.created + 60))),
            updated_time: Timestamp(self.completed.unwrap_or(self.created + 60)),
            progress: Progress {
                progress: 10_000,
                speed: bytes / 1_000_000,
                bytes_total: bytes,
                bytes_done: bytes / 3,
                actual_bytes: bytes / 7,
                items_total: files + files / 9,
                items_done: files / 3,
                actual_items: files / 7,
                files_total: files,
                files_done: files / 3,
                actual_files: files / 7,
                error_count: 0,
            },
            error_message: (self.imported_status() == JobStatus::Failed)
                .then(|| "the repository could not be opened: connection timed out".to_owned()),
        }
    }

    /// The state of the job once it was imported.
    pub(crate) fn imported_status(&self) -> JobStatus {
        if self.status.is_final() {
            self.status
        } else {
            JobStatus::Failed
        }
    }

    /// This job as it is once it was imported.
    pub(crate) fn imported(mut self) -> Self {
        self.status = self.imported_status();
        self.completed = Some(self.completed.unwrap_or(self.created + 60));
        self
    }
}
