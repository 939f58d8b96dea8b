//! When a vault is due for a check or a prune, and the catalog for a backup.
//!
//! A check always looks at the structure of the whole vault and reads one part of its data, another part each time, so that
//! all of it has been read once in [`UpkeepRule::read_all_within`]. A prune runs when there is something to free: snapshots
//! were removed, a former run has marked packs that wait for their removal, or so much time has passed that failed
//! backups may have left something behind. It waits for backup jobs that have not ended, as long as that is no week: what a
//! job has stored when it is interrupted, no snapshot needs yet, and a prune would take for garbage what the next attempt
//! goes on from.

use std::time::Duration;

use crate::Timestamp;

/// After this long a vault is pruned though nobody removed anything.
const PRUNE_ANYWAY_SECONDS: i64 = 30 * 86_400;
/// A prune waits no longer for backup jobs to end.
const PRUNE_WAITS_AT_MOST: Duration = Duration::from_secs(7 * 86_400);
/// Most parts that the data of a vault is read in: packs are divided by the first byte of their id.
const MOST_PARTS: u64 = 256;

/// How often vaults are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpkeepRule {
    /// Between two checks; `None`: never.
    pub check_every: Option<Duration>,
    /// All data of a vault is read once in this time.
    pub read_all_within: Duration,
    /// Between two prunes, if there is something to free; `None`: never.
    pub prune_every: Option<Duration>,
}

impl Default for UpkeepRule {
    /// A check a day, all data in four weeks, a prune a day.
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self {
            check_every: Some(day),
            read_all_within: day * 28,
            prune_every: Some(day),
        }
    }
}

/// What has happened to a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpkeepHistory {
    /// When the vault was made: its first check and prune are due one interval later.
    pub created: Timestamp,
    /// When the last check began, whatever became of it.
    pub checked: Option<Timestamp>,
    /// The part of the data that it read, from 1; 0 if none.
    pub part: u32,
    /// When the last prune began, whatever became of it.
    pub pruned: Option<Timestamp>,
    /// Whether something is to be freed.
    pub wants_prune: bool,
    /// A check or prune of the vault waits or runs.
    pub is_busy: bool,
    /// A backup job of the vault has not ended: it waits, runs, or waits to be gone on with.
    pub has_unfinished_backup: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A check that reads part `part` (from 1) of `parts`.
    Check {
        /// Which part.
        part: u32,
        /// How many parts there are.
        parts: u32,
    },
    /// A prune.
    Prune,
}

impl UpkeepRule {
    /// In how many parts the data is read.
    #[must_use]
    pub fn parts(&self) -> u32 {
        let Some(every) = self.check_every.filter(|every| !every.is_zero()) else {
            return 1;
        };
        let parts = self.read_all_within.as_secs() / every.as_secs().max(1);
        u32::try_from(parts.clamp(1, MOST_PARTS)).unwrap_or(1)
    }

    /// What the vault is due for, a prune before a check: what is checked then is what stays. One thing at a time.
    #[must_use]
    pub fn due(&self, history: &UpkeepHistory, now: Timestamp) -> Option<Due> {
        if history.is_busy {
            return None;
        }
        let is_over = |since: Option<Timestamp>, every: Duration| {
            let since = since.unwrap_or(history.created);
            // A clock that was set back must not stop the upkeep for good.
            now >= since.plus(every) || now.plus(every) < since
        };
        if let Some(mut every) = self.prune_every {
            let since = history.pruned.unwrap_or(history.created);
            let is_wanted = history.wants_prune || now.seconds_since(since) >= PRUNE_ANYWAY_SECONDS;
            if history.has_unfinished_backup {
                every = every.saturating_add(PRUNE_WAITS_AT_MOST);
            }
            if is_wanted && is_over(history.pruned, every) {
                return Some(Due::Prune);
            }
        }
        let every = self.check_every?;
        let parts = self.parts();
        is_over(history.checked, every).then(|| Due::Check {
            part: if history.part >= parts {
                1
            } else {
                history.part + 1
            },
            parts,
        })
    }
}

/// A backup of the catalog that failed is tried again after this time, if the next one does not come sooner.
const RETRY_CATALOG_BACKUP: Duration = Duration::from_secs(4 * 3_600);

/// What has happened to the backups of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatalogBackupHistory {
    /// When the last one began, whatever became of it.
    pub begun: Option<Timestamp>,
    /// When the last one that got through ended.
    pub ended: Option<Timestamp>,
    /// Whether the last one did not get through.
    pub has_failed: bool,
    /// One runs.
    pub is_busy: bool,
}

impl CatalogBackupHistory {
    /// Whether a backup of the catalog is due that is made every so often into a vault that was made then. The first one
    /// comes one interval after the vault, as its first check does.
    #[must_use]
    pub fn is_due(&self, every: Duration, vault_created: Timestamp, now: Timestamp) -> bool {
        let wait = if self.has_failed {
            every.min(RETRY_CATALOG_BACKUP)
        } else {
            every
        };
        let since = self.begun.unwrap_or(vault_created);
        // A clock that was set back must not stop it for good.
        !self.is_busy && (now >= since.plus(wait) || now.plus(wait) < since)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{CatalogBackupHistory, Due, UpkeepHistory, UpkeepRule};
    use crate::Timestamp;

    const DAY: i64 = 86_400;

    fn fresh() -> UpkeepHistory {
        UpkeepHistory {
            created: Timestamp(1_000_000),
            checked: None,
            part: 0,
            pruned: None,
            wants_prune: false,
            is_busy: false,
            has_unfinished_backup: false,
        }
    }

    #[test]
    fn all_data_is_read_once_in_the_time_that_was_promised() {
        let rule = UpkeepRule::default();
        let mut history = fresh();
        let mut seen = BTreeSet::new();
        let mut prune_days = Vec::new();
        for hour in 0..24 * 62 {
            let now = history.created.plus_seconds(hour * 3_600);
            match rule.due(&history, now) {
                Some(Due::Check { part, parts }) => {
                    assert_eq!(parts, 28);
                    (history.checked, history.part) = (Some(now), part);
                    seen.insert(part);
                    if hour == 24 * 28 {
                        assert_eq!(seen.len(), 28, "each part once");
                    }
                }
                Some(Due::Prune) => {
                    history.pruned = Some(now);
                    prune_days.push(hour / 24);
                }
                None => {}
            }
        }
        assert_eq!(prune_days, [30, 60], "what failed backups left");
    }

    #[test]
    fn a_prune_waits_for_something_to_free_and_goes_first() {
        let rule = UpkeepRule::default();
        let mut history = fresh();
        let after = |days: i64| history.created.plus_seconds(days * DAY);
        let (one, three) = (after(1), after(3));
        assert_eq!(rule.due(&history, one.plus_seconds(-1)), None);
        history.wants_prune = true;
        assert_eq!(rule.due(&history, one), Some(Due::Prune));
        history.pruned = Some(one);
        assert_eq!(
            rule.due(&history, one),
            Some(Due::Check { part: 1, parts: 28 })
        );
        history.is_busy = true;
        assert_eq!(rule.due(&history, three), None);
    }

    /// A first backup of several days beside daily prunes: none comes while it has not ended, and one a week if that takes
    /// for ever, or if there is always another one. Checks come every day.
    #[test]
    fn a_prune_waits_a_week_for_backups_to_end() {
        let rule = UpkeepRule::default();
        for backup_hours in [0, 1, 30, 100, 24 * 7, 24 * 40] {
            let mut history = UpkeepHistory {
                pruned: Some(fresh().created),
                wants_prune: true,
                ..fresh()
            };
            let (mut prune_hours, mut check_count) = (Vec::new(), 0);
            for hour in 0..24 * 40 {
                let now = history.created.plus_seconds(hour * 3_600);
                history.has_unfinished_backup = hour < backup_hours;
                match rule.due(&history, now) {
                    Some(Due::Prune) => {
                        history.pruned = Some(now);
                        prune_hours.push(hour);
                    }
                    Some(Due::Check { .. }) => {
                        history.checked = Some(now);
                        check_count += 1;
                    }
                    None => {}
                }
            }
            let first = backup_hours.clamp(24, 24 * 8);
            assert_eq!(prune_hours.first(), Some(&first), "{backup_hours}");
            let gaps = prune_hours.windows(2).map(|pair| pair[1] - pair[0]);
            let allowed = match backup_hours {
                960 => [24 * 8].as_slice(),
                _ => &[24],
            };
            assert!(
                gaps.into_iter().all(|gap| allowed.contains(&gap)),
                "{prune_hours:?}"
            );
            assert!(check_count >= 38, "{check_count}");
        }
    }

    #[test]
    fn what_is_switched_off_never_comes() {
        let rule = UpkeepRule {
            check_every: None,
            prune_every: None,
            ..UpkeepRule::default()
        };
        let history = UpkeepHistory {
            wants_prune: true,
            ..fresh()
        };
        assert_eq!(rule.due(&history, Timestamp(i64::MAX / 2)), None);
    }

    #[test]
    fn parts_follow_from_the_times() {
        let rule = |check: u64, all: u64| UpkeepRule {
            check_every: Some(Duration::from_secs(check)),
            read_all_within: Duration::from_secs(all),
            prune_every: None,
        };
        assert_eq!(rule(3_600, 86_400).parts(), 24);
        assert_eq!(rule(86_400, 3_600).parts(), 1, "all of it each time");
        assert_eq!(rule(1, 1_000_000).parts(), 256);
        assert_eq!(rule(0, 10).parts(), 1);
        // Fewer parts than before: the round begins anew.
        let history = UpkeepHistory {
            part: 200,
            ..fresh()
        };
        assert_eq!(
            rule(3_600, 86_400).due(&history, history.created.plus_seconds(3_600)),
            Some(Due::Check { part: 1, parts: 24 })
        );
    }

    #[test]
    fn the_catalog_is_backed_up_once_a_day_and_sooner_after_a_failure() {
        let day = Duration::from_secs(86_400);
        let made = Timestamp(10_000 * DAY);
        let mut history = CatalogBackupHistory::default();
        assert!(!history.is_due(day, made, made.plus_seconds(DAY - 1)));
        assert!(history.is_due(day, made, made.plus_seconds(DAY)));
        history.begun = Some(made.plus_seconds(DAY));
        assert!(!history.is_due(day, made, made.plus_seconds(2 * DAY - 1)));
        history.has_failed = true;
        assert!(!history.is_due(day, made, made.plus_seconds(DAY + 4 * 3_600 - 1)));
        assert!(history.is_due(day, made, made.plus_seconds(DAY + 4 * 3_600)));
        assert!(
            history.is_due(day, made, made.plus_seconds(-DAY)),
            "set back"
        );
        history.is_busy = true;
        assert!(!history.is_due(day, made, made.plus_seconds(9 * DAY)));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let rule = UpkeepRule::default();
        let history = UpkeepHistory {
            checked: Some(Timestamp(10_000 * DAY)),
            pruned: Some(Timestamp(10_000 * DAY)),
            ..fresh()
        };
        assert!(rule.due(&history, Timestamp(9_000 * DAY)).is_some());
        assert_eq!(rule.due(&history, Timestamp(10_000 * DAY - 60)), None);
    }
}
