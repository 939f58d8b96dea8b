//! What callers set about a client: kept, shown, and where it limits work, given to the agent with each job.

use catalog::kept_records::{self, Kind};
use catalog::{Catalog, CatalogError};
use model::AccountId;
use serde::{Deserialize, Serialize};

/// What is kept of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) data_network_type: Option<String>,
    pub(crate) max_cpu_core: Option<i64>,
    pub(crate) max_worker: Option<i64>,
    pub(crate) max_memory: Option<i64>,
    pub(crate) use_https: Option<bool>,
    pub(crate) alert_on_partial_complete: Option<bool>,
    pub(crate) resource_group_id: Option<String>,
}

impl Settings {
    /// The settings of a client; defaults when nobody set any.
    pub(crate) fn of(
        catalog: &Catalog,
        account_id: &AccountId,
        client_id: &str,
    ) -> Result<Self, CatalogError> {
        match kept_records::get(catalog, account_id, Kind::ClientSettings, client_id) {
            Ok(record) => Ok(record.body),
            Err(CatalogError::NotFound { .. }) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Most workers of a job of the client; 0: no limit. `MaxWorker` says so, and as each worker keeps a core busy,
    /// `MaxCpuCore` too: the smaller counts.
    pub(crate) fn max_workers(&self) -> u32 {
        let limits = [self.max_worker, self.max_cpu_core];
        let smallest = limits
            .into_iter()
            .flatten()
            .filter(|limit| *limit > 0)
            .min();
        smallest.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn the_smaller_limit_counts() {
        for (max_worker, max_cpu_core, expected) in [
            (None, None, 0),
            (Some(0), Some(0), 0),
            (Some(3), None, 3),
            (Some(0), Some(2), 2),
            (Some(4), Some(2), 2),
            (Some(1), Some(8), 1),
        ] {
            let settings = Settings {
                max_worker,
                max_cpu_core,
                ..Settings::default()
            };
            assert_eq!(
                settings.max_workers(),
                expected,
                "{max_worker:?} {max_cpu_core:?}"
            );
        }
    }
}
