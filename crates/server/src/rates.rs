//! How many calls a second each access key may make: a bucket of tokens per key, filled at a steady rate.
//!
//! Only calls with a right signature are counted, so nobody can use up the tokens of another's key. A full bucket says
//! nothing and is dropped: what is kept is bounded by the calls of the last moments, and by [`MAX_BUCKETS`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Buckets at once; far more keys than one server answers in a second.
const MAX_BUCKETS: usize = 10_000;

/// What each key may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Calls a second, lasting.
    pub per_second: f64,
    /// Calls at once, after a pause.
    pub burst: f64,
}

impl RateLimit {
    /// Twice as many calls at once as a second may have.
    #[must_use]
    pub fn per_second(calls: u32) -> Self {
        let per_second = f64::from(calls.max(1));
        Self {
            per_second,
            burst: 2.0 * per_second,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, limit: RateLimit, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + seconds * limit.per_second).min(limit.burst);
        self.filled = now;
    }
}

/// The buckets of all keys.
#[derive(Debug)]
pub(crate) struct Rates {
    limit: Option<RateLimit>,
    // Held for a look-up only, except for the rare sweep.
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    /// Without a limit nothing is counted.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            limit,
            buckets: Mutex::default(),
        }
    }

    /// Takes a token of `key`, or says when there will be one.
    pub(crate) fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(key) {
            make_room(&mut buckets, limit, now);
            let full = Bucket {
                tokens: limit.burst,
                filled: now,
            };
            buckets.insert(key.to_owned(), full);
        }
        let Some(bucket) = buckets.get_mut(key) else {
            return Ok(());
        };
        bucket.fill(limit, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(
            (1.0 - bucket.tokens) / limit.per_second,
        ))
    }
}

/// Drops full buckets when there are too many, and the fullest one if all are in use.
fn make_room(buckets: &mut HashMap<String, Bucket>, limit: RateLimit, now: Instant) {
    if buckets.len() < MAX_BUCKETS {
        return;
    }
    buckets.retain(|_, bucket| {
        bucket.fill(limit, now);
        bucket.tokens < limit.burst
    });
    if buckets.len() >= MAX_BUCKETS {
        let fullest = buckets
            .iter()
            .max_by(|(_, one), (_, other)| one.tokens.total_cmp(&other.tokens))
            .map(|(key, _)| key.clone());
        fullest.map(|key| buckets.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::{Duration, Instant};

    use super::{MAX_BUCKETS, RateLimit, Rates};

    #[test]
    fn a_burst_then_the_steady_rate_each_key_for_itself() {
        let rates = Rates::new(Some(RateLimit::per_second(10)));
        let start = Instant::now();
        let taken = |key: &str, now: Instant| {
            (0..1_000)
                .take_while(|_| rates.take(key, now).is_ok())
                .count()
        };
        assert_eq!(taken("a", start), 20);
        let wait = rates.take("a", start).unwrap_err();
        assert!(
            wait > Duration::from_millis(99) && wait < Duration::from_millis(101),
            "{wait:?}"
        );
        assert_eq!(taken("b", start), 20, "another key has tokens of its own");
        assert_eq!(taken("a", start + wait + Duration::from_millis(1)), 1);
        assert_eq!(taken("a", start + Duration::from_secs(1)), 9);
        assert_eq!(taken("a", start + Duration::from_secs(3_600)), 20);
        // A clock that stands still or steps back gives nothing.
        assert_eq!(taken("a", start), 0);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let rates = Rates::new(None);
        let now = Instant::now();
        assert!((0..10_000).all(|_| rates.take("a", now).is_ok()));
        assert!(rates.buckets.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_a_busy_key_is_not_forgotten() {
        let rates = Rates::new(Some(RateLimit::per_second(1)));
        let now = Instant::now();
        while rates.take("busy", now).is_ok() {}
        for number in 0..MAX_BUCKETS + 100 {
            rates.take(&number.to_string(), now).unwrap();
        }
        assert!(rates.buckets.lock().len() <= MAX_BUCKETS);
        assert!(rates.take("busy", now).is_err());
        // Later all are full, and a sweep drops them.
        let later = now + Duration::from_secs(10);
        rates.take("new", later).unwrap();
        assert_eq!(rates.buckets.lock().len(), 1);
    }
}
