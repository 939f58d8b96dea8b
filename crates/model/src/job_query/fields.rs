//! What filters see of a job.

use super::FilterKey;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// A text.
    Text(&'a str),
    /// A time in UNIX seconds.
    Time(i64),
}

/// The filterable fields of a backup job or restore job; `None` means that the job does not have the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    missing_docs,
    reason = "the names are those of FilterKey, which documents them"
)]
pub struct JobFields<'a> {
    pub region_id: Option<&'a str>,
    pub plan_id: Option<&'a str>,
    pub job_id: Option<&'a str>,
    pub vault_id: Option<&'a str>,
    pub instance_id: Option<&'a str>,
    pub bucket: Option<&'a str>,
    pub file_system_id: Option<&'a str>,
    pub status: Option<&'a str>,
    pub created_time: Option<i64>,
    pub complete_time: Option<i64>,
    pub instance_name: Option<&'a str>,
    pub backup_type: Option<&'a str>,
    pub parent_id: Option<&'a str>,
    pub restore_id: Option<&'a str>,
    pub source_type: Option<&'a str>,
}

impl<'a> JobFields<'a> {
    /// The value of one field.
    #[must_use]
    pub fn get(&self, key: FilterKey) -> Option<FieldValue<'a>> {
        let text = match key {
            FilterKey::CreatedTime => return self.created_time.map(FieldValue::Time),
            FilterKey::CompleteTime => return self.complete_time.map(FieldValue::Time),
            FilterKey::RegionId => self.region_id,
            FilterKey::PlanId => self.plan_id,
            FilterKey::JobId => self.job_id,
            FilterKey::VaultId => self.vault_id,
            FilterKey::InstanceId => self.instance_id,
            FilterKey::Bucket => self.bucket,
            FilterKey::FileSystemId => self.file_system_id,
            FilterKey::Status => self.status,
            FilterKey::InstanceName => self.instance_name,
            FilterKey::BackupType => self.backup_type,
            FilterKey::ParentId => self.parent_id,
            FilterKey::RestoreId => self.restore_id,
            FilterKey::SourceType => self.source_type,
        };
        text.map(FieldValue::Text)
    }
}
