//! The audit log: what an entry says, how entries are chained by hashes, and whether a chain is whole.
//!
//! Each hash covers the hash before, the number of the entry and its text, so that no entry can be changed, removed or put
//! in without changing all hashes that follow. Whoever has noted one number with its hash can prove later that everything
//! up to there is as it was; whoever rewrites the whole log cannot keep that hash.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What comes before the first entry.
pub const FIRST_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// When an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Before the call may change anything.
    Begin,
    /// When its result is known.
    End,
}

/// A call that may change something: who did what to what, from where, and what came of it. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AuditEntry {
    /// Unix seconds.
    pub time: i64,
    /// Begin or end.
    pub phase: Phase,
    /// The same in both entries of a call, in the reply and in the server's log.
    pub request_id: String,
    /// The account in which it happens.
    pub account_id: String,
    /// `acs:ram::…` of the caller.
    pub principal: String,
    /// The key that signed.
    pub access_key_id: String,
    /// The address that the call came from.
    pub source_ip: String,
    /// `hbr:DeleteVault`.
    pub action: String,
    /// Ids and names that the call named, and at its end those that it made.
    pub target: serde_json::Map<String, serde_json::Value>,
    /// At the end: `200`, or the code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// The hash of an entry, in hex. `text` is the entry as it is stored.
#[must_use]
pub fn chain(previous_hash: &str, seq: i64, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(previous_hash.as_bytes());
    hash.update(format!("\n{seq}\n"));
    hash.update(text.as_bytes());
    hex::encode(hash.finalize())
}

/// A place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the entry; 0 is before the first.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    /// Before the first entry.
    #[must_use]
    pub fn start() -> Self {
        Self {
            seq: 0,
            hash: FIRST_HASH.to_owned(),
        }
    }

    /// `SEQ:HASH`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.split_once(':')?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Self {
            seq: seq.parse().ok().filter(|seq| *seq >= 0 && is_hash)?,
            hash: hash.to_ascii_lowercase(),
        })
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// An entry is missing, or there is one too many.
    #[error("entry {expected} is expected, and {found} comes")]
    Gap {
        /// The number that should come.
        expected: i64,
        /// The number that comes.
        found: i64,
    },
    /// An entry, or one before it, was changed.
    #[error("entry {seq} is not what was written, or what came before it is not")]
    Changed {
        /// The first such entry.
        seq: i64,
    },
}

/// Follows a chain, entry by entry.
#[derive(Debug, Clone)]
pub struct Verifier {
    head: Head,
}

impl Verifier {
    /// From a place that is known to be right.
    #[must_use]
    pub const fn from(head: Head) -> Self {
        Self { head }
    }

    /// The last place that was found right.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// It does not follow; everything up to [`Verifier::head`] does.
    pub fn follow(&mut self, seq: i64, text: &str, hash: &str) -> Result<(), ChainError> {
        let expected = self.head.seq + 1;
        if seq != expected {
            return Err(ChainError::Gap {
                expected,
                found: seq,
            });
        }
        if chain(&self.head.hash, seq, text) != hash {
            return Err(ChainError::Changed { seq });
        }
        self.head = Head {
            seq,
            hash: hash.to_owned(),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{Strategy, any, proptest};

    use super::{ChainError, Head, Verifier, chain};

    type Row = (i64, String, String);

    fn log(texts: &[String]) -> Vec<Row> {
        let mut head = Head::start();
        (1..)
            .zip(texts)
            .map(|(seq, text)| {
                head.hash = chain(&head.hash, seq, text);
                (seq, text.clone(), head.hash.clone())
            })
            .collect()
    }

    fn check(rows: &[Row]) -> Result<Head, ChainError> {
        let mut verifier = Verifier::from(Head::start());
        for (seq, text, hash) in rows {
            verifier.follow(*seq, text, hash)?;
        }
        Ok(verifier.head().clone())
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(any::<String>(), 2..20)
    }

    proptest! {
        #[test]
        fn a_log_as_it_was_written_is_whole(texts in texts()) {
            let rows = log(&texts);
            let head = check(&rows).unwrap();
            assert_eq!(head.seq, i64::try_from(texts.len()).unwrap());
            assert_eq!(Head::parse(&head.to_string()), Some(head));
        }

        #[test]
        fn every_change_shows(texts in texts(), at in any::<proptest::sample::Index>(), what in 0..6u8) {
            let rows = log(&texts);
            let (mut changed, at) = (rows.clone(), at.index(rows.len()));
            match what {
                0 => changed[at].1.push('x'),
                1 => changed[at].0 += 1,
                2 => changed[at].2 = chain("", 1, ""),
                3 if at + 1 < rows.len() => { changed.remove(at); }
                4 if at + 1 < rows.len() => changed.swap(at, at + 1),
                _ => changed.insert(at, rows[at].clone()),
            }
            assert!(check(&changed).is_err());
        }

        #[test]
        fn a_rewritten_or_shorter_log_does_not_reach_a_noted_head(texts in texts(), at in any::<proptest::sample::Index>()) {
            let noted = check(&log(&texts)).unwrap();
            let mut other = texts.clone();
            other[at.index(texts.len())].push('x');
            assert_ne!(check(&log(&other)).unwrap(), noted);
            other = texts[..texts.len() - 1].to_vec();
            assert_ne!(check(&log(&other)).unwrap(), noted);
        }
    }

    #[test]
    fn heads() {
        for text in ["", "1", "1:", "-1:00", "x:00", "1:zz"] {
            assert_eq!(Head::parse(text), None, "{text}");
        }
        assert_eq!(
            Head::parse(&format!("0:{}", super::FIRST_HASH)),
            Some(Head::start())
        );
    }
}
