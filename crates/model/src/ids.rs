//! Ids of the control side: a prefix that tells the kind, then twenty base-36 characters that rise with time.
//!
//! Form: `<prefix>000<shard><ten characters of microseconds since 2020><six characters of entropy>`, for example
//! `job-0000042fgxnuvj00v3o8`. The time part makes ids of one kind sort by creation; the entropy part keeps ids made in
//! the same microsecond apart. Ids that come in from outside are accepted more widely than they are made (see
//! [`IdError`]): histories imported from the cloud service keep theirs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// 2020-01-01 00:00:00 UTC in microseconds since 1970: where the time part of an id starts to count.
const EPOCH_2020_MICROS: u64 = 1_577_836_800_000_000;
const TIME_CHARS: u32 = 10;
const ENTROPY_CHARS: u32 = 6;
/// Characters of an id behind its prefix.
const BODY_CHARS: usize = 20;
/// The fixed start of every id's body, the shard character included; there is one shard for now.
const BODY_START: &str = "0000";
/// What ids of policies start with.
pub const POLICY_PREFIX: &str = "po-";
/// Longest id that is accepted from outside, prefix included.
pub const MAX_ID_CHARS: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text does not start with the kind's prefix.
    #[error("\"{text}\" is not a {what}: it must start with \"{prefix}\"")]
    Prefix {
        /// The kind of id that was expected.
        what: &'static str,
        /// The prefix of that kind.
        prefix: &'static str,
        /// The text as it came in.
        text: String,
    },
    /// The rest is empty, too long, or holds something else than ASCII letters, digits, `-` and `_`.
    #[error(
        "\"{text}\" is not a {what}: after the prefix come 1 to {MAX_ID_CHARS} letters and digits"
    )]
    Body {
        /// The kind of id that was expected.
        what: &'static str,
        /// The text as it came in.
        text: String,
    },
    /// An account id is not sixteen decimal digits.
    #[error("\"{text}\" is not an account id: it must be 16 decimal digits")]
    Account {
        /// The text as it came in.
        text: String,
    },
}

fn push_base36(out: &mut String, value: u64, chars: u32) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    for position in (0..chars).rev() {
        let digit = (value / 36u64.pow(position)) % 36;
        out.push(char::from(DIGITS[digit as usize]));
    }
}

/// A new id: `prefix`, then twenty characters made of `now_micros` (microseconds since 1970; before 2020 counts as
/// 2020, ids stay in order for 115 years) and of the low bits of `entropy`.
#[must_use]
pub fn new_id(prefix: &str, now_micros: u64, entropy: u64) -> String {
    let mut id = String::with_capacity(prefix.len() + BODY_CHARS);
    id.push_str(prefix);
    id.push_str(BODY_START);
    let time = now_micros
        .saturating_sub(EPOCH_2020_MICROS)
        .min(36u64.pow(TIME_CHARS) - 1);
    push_base36(&mut id, time, TIME_CHARS);
    push_base36(&mut id, entropy % 36u64.pow(ENTROPY_CHARS), ENTROPY_CHARS);
    id
}

/// Whether a text has the form of the ids that are made of a kind: the prefix and twenty base-36 characters. A name that had
/// it could be taken for the id of another thing.
#[must_use]
pub fn has_made_form(prefix: &str, text: &str) -> bool {
    let is_base36 = |c: u8| c.is_ascii_digit() || c.is_ascii_lowercase();
    text.strip_prefix(prefix)
        .is_some_and(|body| body.len() == BODY_CHARS && body.bytes().all(is_base36))
}

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident, $what:literal, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; see [`new_id`].
            #[must_use]
            pub fn new(now_micros: u64, entropy: u64) -> Self {
                Self(new_id($prefix, now_micros, entropy))
            }

            /// Checks a text from outside.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let Some(body) = text.strip_prefix($prefix) else {
                    return Err(IdError::Prefix { what: $what, prefix: $prefix, text: text.to_owned() });
                };
                let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
                if body.is_empty() || text.len() > MAX_ID_CHARS || !body.bytes().all(is_plain) {
                    return Err(IdError::Body { what: $what, text: text.to_owned() });
                }
                Ok(Self(text.to_owned()))
            }
        }

        id_text!($name);
    };
}

macro_rules! id_text {
    ($name:ident) => {
        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id_type!(
    /// A vault, `v-…`.
    VaultId, "vault id", "v-"
);
id_type!(
    /// A client: an agent on a host, `c-…`.
    ClientId, "client id", "c-"
);
id_type!(
    /// The machine that a client runs on, `i-…`.
    InstanceId, "instance id", "i-"
);
id_type!(
    /// A backup plan, `plan-…`.
    PlanId, "plan id", "plan-"
);
id_type!(
    /// A backup job, `job-…`.
    JobId, "job id", "job-"
);
id_type!(
    /// A restore job, `r-…`.
    RestoreId, "restore id", "r-"
);
id_type!(
    /// A snapshot, `s-…`.
    SnapshotId, "snapshot id", "s-"
);
id_type!(
    /// A task of the service itself, `t-…`.
    TaskId, "task id", "t-"
);

/// An account: sixteen decimal digits, the first not zero.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// An account id made of `entropy`.
    #[must_use]
    pub fn new(entropy: u64) -> Self {
        const FIRST: u64 = 1_000_000_000_000_000;
        Self((FIRST + entropy % (9 * FIRST)).to_string())
    }

    /// Checks a text from outside.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let is_id =
            text.len() == 16 && text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Account {
                text: text.to_owned(),
            })
        }
    }

    /// The id as the number that some response fields want (`VaultOwnerId`).
    #[must_use]
    pub fn as_number(&self) -> i64 {
        self.0.parse().unwrap_or_default()
    }
}

id_text!(AccountId);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// 2024-03-01 00:00:00 UTC.
    const NOW: u64 = 1_709_251_200_000_000;

    #[test]
    fn ids_have_the_documented_form() {
        assert_eq!(
            new_id("job-", EPOCH_2020_MICROS, 0),
            "job-00000000000000000000"
        );
        assert_eq!(
            new_id("v-", EPOCH_2020_MICROS + 35, 36),
            "v-0000000000000z000010"
        );
        assert_eq!(
            new_id("v-", 0, 0),
            "v-00000000000000000000",
            "before 2020 counts as 2020"
        );
        assert_eq!(new_id("v-", u64::MAX, u64::MAX).len(), 22);
    }

    proptest! {
        #[test]
        fn ids_rise_with_time(a in 0u64..1 << 50, b in 0u64..1 << 50, x in any::<u64>(), y in any::<u64>()) {
            let (earlier, later) = (a.min(b), a.max(b));
            if earlier < later {
                let (low, high) = (NOW + earlier, NOW + later);
                prop_assert!(new_id("s-", low, x) < new_id("s-", high, y));
            }
        }

        #[test]
        fn new_ids_parse(micros in any::<u64>(), entropy in any::<u64>()) {
            let id = PlanId::new(micros, entropy);
            prop_assert_eq!(id.as_str().len(), PlanId::PREFIX.len() + 20);
            prop_assert_eq!(PlanId::parse(id.as_str()).unwrap(), id);
            let account = AccountId::new(entropy);
            prop_assert_eq!(AccountId::parse(account.as_str()).unwrap(), account);
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = (VaultId::parse(&text), AccountId::parse(&text));
        }
    }

    #[test]
    fn ids_of_the_cloud_service_are_accepted_and_others_refused() {
        for good in ["v-0003rf9m17pap3ltpqx5", "v-1", "v-000_A-z"] {
            assert_eq!(VaultId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "v-",
            "x-1",
            "V-1",
            "v-a b",
            "v-ä",
            "v-1\n",
            &format!("v-{}", "1".repeat(63)),
        ] {
            assert!(VaultId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "123456789012345",
            "0123456789012345",
            "12345678901234567",
            "123456789012345x",
        ] {
            assert!(AccountId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            AccountId::parse("1234567890123456").unwrap().as_number(),
            1_234_567_890_123_456
        );
    }

    #[test]
    fn serde_checks_ids() {
        let id: JobId = serde_json::from_str("\"job-1\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"job-1\"");
        assert!(serde_json::from_str::<JobId>("\"v-1\"").is_err());
    }
}
