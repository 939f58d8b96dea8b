//! Throttle windows of a plan: `{start hour}:{end hour}:{KB/s}`, several joined by `|`, as `0:24:5120` or
//! `0:8:20480|8:20:1024`. Hours are whole, half-open `[start, end)`, UTC unless the agent's host says otherwise; KB is 1024
//! bytes. Hours that no window names are not limited.

use serde::{Deserialize, Serialize};

/// Longest text accepted.
const MAX_CHARS: usize = 1024;
/// Largest limit accepted in KB/s: 1 TiB/s, far above any disk, far below overflow.
const MAX_KILOBYTES_PER_SECOND: u64 = 1 << 30;

/// Why a text is not a speed limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpeedLimitError {
    /// A window is not three numbers joined by `:`.
    #[error(
        "\"{window}\" is not a throttle window; write START_HOUR:END_HOUR:KB_PER_SECOND, such as 0:24:5120"
    )]
    Form {
        /// The window as it came in.
        window: String,
    },
    /// Hours out of order or out of 0..=24.
    #[error("throttle window \"{window}\": hours must satisfy 0 <= start < end <= 24")]
    Hours {
        /// The window as it came in.
        window: String,
    },
    /// Zero or absurdly large.
    #[error(
        "throttle window \"{window}\": the bandwidth must be 1 to {MAX_KILOBYTES_PER_SECOND} KB/s"
    )]
    Bandwidth {
        /// The window as it came in.
        window: String,
    },
    /// Two windows share an hour.
    #[error("throttle windows overlap at hour {hour}")]
    Overlap {
        /// The first hour that two windows name.
        hour: u32,
    },
    /// The text is too long.
    #[error("a speed limit may have at most {MAX_CHARS} characters")]
    Length,
}

/// Parsed throttle windows, with the text they came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpeedLimit {
    text: String,
    kilobytes_per_second: [Option<u64>; 24],
}

impl SpeedLimit {
    /// Parses the windows; blanks around numbers are ignored, the text is kept as it came.
    pub fn parse(text: &str) -> Result<Self, SpeedLimitError> {
        if text.len() > MAX_CHARS {
            return Err(SpeedLimitError::Length);
        }
        let mut kilobytes_per_second = [None; 24];
        for window in text.split('|') {
            let (start, end, limit) = parse_window(window)?;
            for hour in start..end {
                let slot = &mut kilobytes_per_second[hour as usize];
                if slot.is_some() {
                    return Err(SpeedLimitError::Overlap { hour });
                }
                *slot = Some(limit);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            kilobytes_per_second,
        })
    }

    /// The text as it came in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The limit during `hour` (0..=23) in bytes per second; `None` means no limit.
    #[must_use]
    pub fn bytes_per_second_at(&self, hour: u32) -> Option<u64> {
        self.kilobytes_per_second
            .get(hour as usize)
            .copied()
            .flatten()
            .map(|limit| limit * 1024)
    }
}

fn parse_window(window: &str) -> Result<(u32, u32, u64), SpeedLimitError> {
    let form = || SpeedLimitError::Form {
        window: window.to_owned(),
    };
    let number = |text: &str| {
        let text = text.trim();
        let is_plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if is_plain {
            text.parse::<u64>().map_err(|_| form())
        } else {
            Err(form())
        }
    };
    let mut parts = window.split(':');
    let (Some(start), Some(end), Some(limit), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(form());
    };
    let (start, end, limit) = (number(start)?, number(end)?, number(limit)?);
    if start >= end || end > 24 {
        return Err(SpeedLimitError::Hours {
            window: window.to_owned(),
        });
    }
    if limit == 0 || limit > MAX_KILOBYTES_PER_SECOND {
        return Err(SpeedLimitError::Bandwidth {
            window: window.to_owned(),
        });
    }
    Ok((start as u32, end as u32, limit))
}

impl TryFrom<String> for SpeedLimit {
    type Error = SpeedLimitError;

    fn try_from(text: String) -> Result<Self, SpeedLimitError> {
        Self::parse(&text)
    }
}

impl From<SpeedLimit> for String {
    fn from(limit: SpeedLimit) -> Self {
        limit.text
    }
}

impl std::fmt::Display for SpeedLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn check(text: &str, expected: Result<&[(u32, Option<u64>)], &str>) {
        match (SpeedLimit::parse(text), expected) {
            (Ok(limit), Ok(hours)) => {
                assert_eq!(limit.as_str(), text);
                for (hour, kilobytes) in hours {
                    assert_eq!(
                        limit.bytes_per_second_at(*hour),
                        kilobytes.map(|k| k * 1024),
                        "{text} at {hour}"
                    );
                }
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn windows() {
        check(
            "0:24:5120",
            Ok(&[(0, Some(5120)), (23, Some(5120)), (24, None), (99, None)]),
        );
        check(
            "8:20:1024",
            Ok(&[(7, None), (8, Some(1024)), (19, Some(1024)), (20, None)]),
        );
        check(
            "8:20:1024|20:24:2048",
            Ok(&[(19, Some(1024)), (20, Some(2048)), (0, None)]),
        );
        check(
            "20:24:2|0:8:1",
            Ok(&[(0, Some(1)), (8, None), (23, Some(2))]),
        );
        check(" 0 : 24 : 5120 ", Ok(&[(12, Some(5120))]));
    }

    #[test]
    fn refused() {
        for form in [
            "",
            "0:24",
            "0:24:5:6",
            "a:24:5",
            "0:24:",
            "-1:24:5",
            "+1:24:5",
            "0:24:5120|",
            "0|24|5120",
            "0:24:1.5",
        ] {
            check(form, Err("is not a throttle window"));
        }
        for hours in ["24:24:5", "5:5:5", "9:8:5", "0:25:5"] {
            check(hours, Err("0 <= start < end <= 24"));
        }
        check("0:24:0", Err("must be 1 to"));
        check("0:24:99999999999", Err("must be 1 to"));
        check(
            "0:24:99999999999999999999999",
            Err("is not a throttle window"),
        );
        check("0:9:5|8:10:5", Err("overlap at hour 8"));
        check(&"0".repeat(2000), Err("at most"));
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_the_text(text in "[0-9:| ]{0,40}") {
            if let Ok(limit) = SpeedLimit::parse(&text) {
                prop_assert_eq!(limit.as_str(), &text);
            }
        }

        #[test]
        fn one_window_holds_exactly_its_hours(start in 0u32..24, length in 1u32..=24, kilobytes in 1u64..1 << 30) {
            let end = (start + length).min(24);
            let limit = SpeedLimit::parse(&format!("{start}:{end}:{kilobytes}")).unwrap();
            for hour in 0..24 {
                let expected = (start..end).contains(&hour).then_some(kilobytes * 1024);
                prop_assert_eq!(limit.bytes_per_second_at(hour), expected);
            }
        }

        #[test]
        fn any_text_is_safe(text in any::<String>()) {
            prop_assert!(SpeedLimit::parse(&text).is_err() || text.contains(':'));
        }
    }
}
