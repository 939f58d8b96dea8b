//! The rules themselves, applied to one group.

use super::calendar::{Period, before, number};
use super::has_tags;
use super::span::Span;
use crate::snapshot::Snapshot;
use crate::time::{DAY_SECONDS, Time};

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The newest so many; 0 means that the rule is not there.
    Newest(u32),
    /// All.
    All,
}

impl Default for Keep {
    fn default() -> Self {
        Self::Newest(0)
    }
}

impl std::str::FromStr for Keep {
    type Err = String;

    /// A number, or `unlimited`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Newest)
                .map_err(|_| "write a number, or 'unlimited'".to_owned()),
        }
    }
}

/// Which snapshots of a group are kept. The default is the empty policy, which keeps all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The newest.
    pub last: Keep,
    /// The newest of each hour that has any.
    pub hourly: Keep,
    /// The newest of each day that has any.
    pub daily: Keep,
    /// The newest of each ISO week that has any.
    pub weekly: Keep,
    /// The newest of each month that has any.
    pub monthly: Keep,
    /// The newest of each year that has any.
    pub yearly: Keep,
    /// All within this span before the newest.
    pub within: Span,
    /// Of those within this span the newest of each hour.
    pub within_hourly: Span,
    /// Of those within this span the newest of each day.
    pub within_daily: Span,
    /// Of those within this span the newest of each ISO week.
    pub within_weekly: Span,
    /// Of those within this span the newest of each month.
    pub within_monthly: Span,
    /// Of those within this span the newest of each year.
    pub within_yearly: Span,
    /// Those with all tags of one of these lists.
    pub tags: Vec<Vec<String>>,
}

impl RetentionPolicy {
    /// Whether it has no rule at all, which keeps everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A rule that counts, on its way through a group.
struct Counting {
    keep: Keep,
    period: Option<Period>,
    last: Option<i64>,
    reason: &'static str,
}

impl Counting {
    fn has_room(&self) -> bool {
        self.keep != Keep::Newest(0)
    }

    /// Why this snapshot is kept, if it is.
    fn visit(&mut self, snapshot: &Snapshot, is_oldest: bool) -> Option<String> {
        if !self.has_room() {
            return None;
        }
        let value = self
            .period
            .map(|period| number(period, snapshot.time, snapshot.utc_offset_seconds));
        let is_new = value.is_none() || value != self.last;
        if !is_new && !is_oldest {
            return None;
        }
        self.last = value;
        if let Keep::Newest(left) = &mut self.keep {
            *left -= 1;
        }
        let oldest = if is_new { "" } else { "oldest " };
        Some(format!("{oldest}{}", self.reason))
    }
}

/// A rule that looks back for a span, on its way through a group.
struct Within {
    span: Span,
    after: Time,
    period: Option<Period>,
    last: Option<i64>,
    reason: &'static str,
}

impl Within {
    fn visit(&mut self, snapshot: &Snapshot, is_oldest: bool) -> Option<String> {
        if snapshot.time <= self.after {
            return None;
        }
        let value = self
            .period
            .map(|period| number(period, snapshot.time, snapshot.utc_offset_seconds));
        let is_new = value.is_none() || value != self.last;
        if !is_new && !is_oldest {
            return None;
        }
        self.last = value;
        let oldest = if is_new { "" } else { "oldest " };
        Some(format!("{oldest}{} {}", self.reason, self.span))
    }
}

/// Why each snapshot of a group, sorted newest first, is kept; an empty list means that it is not.
pub(super) fn apply(list: &[&Snapshot], policy: &RetentionPolicy, now: Time) -> Vec<Vec<String>> {
    if policy.is_empty() {
        return vec![vec!["policy is empty".to_owned()]; list.len()];
    }
    let mut counting = counting_rules(policy);
    let mut within = within_rules(list, policy, now);
    let mut reasons = Vec::with_capacity(list.len());
    for (position, snapshot) in list.iter().enumerate() {
        if is_ahead(snapshot, now) {
            reasons.push(vec!["its time is in the future".to_owned()]);
            continue;
        }
        let is_oldest = position + 1 == list.len();
        let mut why: Vec<String> = policy
            .tags
            .iter()
            .filter(|tags| has_tags(snapshot, tags))
            .map(|tags| format!("has tags [{}]", tags.join(", ")))
            .collect();
        // The plain span comes before the rules that count, the others after them: restic's order of reasons.
        let (plain, by_period): (Vec<_>, Vec<_>) =
            within.iter_mut().partition(|rule| rule.period.is_none());
        why.extend(
            plain
                .into_iter()
                .filter_map(|rule| rule.visit(snapshot, is_oldest)),
        );
        why.extend(
            counting
                .iter_mut()
                .filter_map(|rule| rule.visit(snapshot, is_oldest)),
        );
        why.extend(
            by_period
                .into_iter()
                .filter_map(|rule| rule.visit(snapshot, is_oldest)),
        );
        reasons.push(why);
    }
    reasons
}

/// Whether its time lies more than a day ahead: within a day it may be a clock of another zone that was set wrong.
fn is_ahead(snapshot: &Snapshot, now: Time) -> bool {
    snapshot.time.seconds > now.seconds.saturating_add(DAY_SECONDS)
}

fn counting_rules(policy: &RetentionPolicy) -> Vec<Counting> {
    let rule = |keep, period, reason| Counting {
        keep,
        period,
        last: None,
        reason,
    };
    vec![
        rule(policy.last, None, "last snapshot"),
        rule(policy.hourly, Some(Period::Hour), "hourly snapshot"),
        rule(policy.daily, Some(Period::Day), "daily snapshot"),
        rule(policy.weekly, Some(Period::Week), "weekly snapshot"),
        rule(policy.monthly, Some(Period::Month), "monthly snapshot"),
        rule(policy.yearly, Some(Period::Year), "yearly snapshot"),
    ]
}

fn within_rules(list: &[&Snapshot], policy: &RetentionPolicy, now: Time) -> Vec<Within> {
    // Spans are counted from the newest snapshot that is not of the future. Without one everything is within.
    let newest = list.iter().find(|snapshot| snapshot.time < now);
    let rule = |span: Span, period, reason| {
        (!span.is_zero()).then(|| Within {
            span,
            after: newest.map_or(Time::new(i64::MIN, 0), |newest| {
                before(newest.time, newest.utc_offset_seconds, span)
            }),
            period,
            last: None,
            reason,
        })
    };
    [
        rule(policy.within, None, "within"),
        rule(policy.within_hourly, Some(Period::Hour), "hourly within"),
        rule(policy.within_daily, Some(Period::Day), "daily within"),
        rule(policy.within_weekly, Some(Period::Week), "weekly within"),
        rule(policy.within_monthly, Some(Period::Month), "monthly within"),
        rule(policy.within_yearly, Some(Period::Year), "yearly within"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
