//! The `Options` JSON texts: of a backup `{"UseVSS":false}`, of a restore
//! `{"includes":[],"excludes":[],"conflictPolicy":"OVERWRITE_EXISTING"}`. Unknown members are refused: ignored, `excludes` of a
//! backup would protect what was to be left out, and `ConflictPolicy` overwrite what was to be skipped. Those that begin with
//! `UI_` are a console's own notes, and stay unread. The text itself is kept by whoever stores it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::nearest;
use crate::patterns::{self, PatternsError};
use crate::text::{UnknownWord, word_enum};

/// Most bytes of an options text.
const MAX_BYTES: usize = 64 * 1024;
/// Most characters of a member's name that a refusal repeats.
const MAX_SHOWN_CHARS: usize = 64;
/// What members begin with that a console notes for itself.
const CONSOLE_PREFIX: &str = "UI_";

word_enum! {
    /// What a restore does with a file that is already there.
    pub enum ConflictPolicy, "conflict policy" {
        /// Replace it.
        OverwriteExisting = "OVERWRITE_EXISTING",
        /// Leave it.
        SkipExisting = "SKIP_EXISTING",
        /// Replace it only when the snapshot's is newer.
        OverwriteOlder = "OVERWRITE_OLDER",
    }
}

/// Why an options text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Not a JSON object, or a member of the wrong type.
    #[error("Options must be a JSON object such as {example}: {detail}")]
    Form {
        /// A valid text.
        example: &'static str,
        /// What the parser says.
        detail: String,
    },
    /// A member that there is not.
    #[error("Options.{found} is not known; {proposal}")]
    Member {
        /// As it came.
        found: String,
        /// What may be meant, or what there is.
        proposal: String,
    },
    /// More than 64 KiB.
    #[error("Options may have at most {MAX_BYTES} bytes")]
    Length,
    /// An unknown conflict policy.
    #[error("Options.conflictPolicy is not valid")]
    Conflict(#[source] UnknownWord),
    /// A bad pattern in `includes` or `excludes`.
    #[error("Options.{member} is not valid")]
    Patterns {
        /// `includes` or `excludes`.
        member: &'static str,
        /// What is wrong.
        #[source]
        source: PatternsError,
    },
}

/// Options of a backup plan of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupOptions {
    /// Whether Windows shadow copies are asked for.
    pub use_vss: bool,
}

impl BackupOptions {
    /// Parses the JSON text; blank text is the defaults.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(rename = "UseVSS", default)]
            use_vss: Option<bool>,
        }
        let Some(wire) = read::<Wire>(text, &["UseVSS"], "{\"UseVSS\":false}")? else {
            return Ok(Self::default());
        };
        Ok(Self {
            use_vss: wire.use_vss.unwrap_or(false),
        })
    }
}

/// Options of a restore of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Only these paths; empty means all.
    pub includes: Vec<String>,
    /// Not these paths.
    pub excludes: Vec<String>,
    /// What to do with files that are there.
    pub conflict_policy: ConflictPolicy,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            includes: Vec::new(),
            excludes: Vec::new(),
            conflict_policy: ConflictPolicy::OverwriteExisting,
        }
    }
}

impl RestoreOptions {
    /// Parses the JSON text; blank text is the defaults, as is an absent or blank member.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            includes: Option<Vec<String>>,
            #[serde(default)]
            excludes: Option<Vec<String>>,
            #[serde(rename = "conflictPolicy", default)]
            conflict_policy: Option<String>,
        }
        const EXAMPLE: &str =
            "{\"includes\":[],\"excludes\":[],\"conflictPolicy\":\"OVERWRITE_EXISTING\"}";
        let known = ["includes", "excludes", "conflictPolicy"];
        let Some(wire) = read::<Wire>(text, &known, EXAMPLE)? else {
            return Ok(Self::default());
        };
        let includes = wire.includes.unwrap_or_default();
        let excludes = wire.excludes.unwrap_or_default();
        for (member, list) in [("includes", &includes), ("excludes", &excludes)] {
            patterns::check(list).map_err(|source| OptionsError::Patterns { member, source })?;
        }
        let conflict_policy = match wire.conflict_policy.as_deref() {
            None | Some("") => ConflictPolicy::OverwriteExisting,
            Some(word) => word.parse().map_err(OptionsError::Conflict)?,
        };
        Ok(Self {
            includes,
            excludes,
            conflict_policy,
        })
    }
}

/// The members of a JSON object; a list is refused, though serde would take one for a struct.
fn read<T: DeserializeOwned>(
    text: &str,
    known: &[&'static str],
    example: &'static str,
) -> Result<Option<T>, OptionsError> {
    if text.len() > MAX_BYTES {
        return Err(OptionsError::Length);
    }
    if text.trim().is_empty() {
        return Ok(None);
    }
    let wrong = |error: serde_json::Error| OptionsError::Form {
        example,
        detail: error.to_string(),
    };
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(wrong)?;
    let unknown = members
        .keys()
        .find(|name| !known.contains(&name.as_str()) && !name.starts_with(CONSOLE_PREFIX));
    if let Some(found) = unknown {
        let proposal = match nearest(found, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("there is {}", known.join(", ")),
        };
        return Err(OptionsError::Member {
            found: found.chars().take(MAX_SHOWN_CHARS).collect(),
            proposal,
        });
    }
    serde_json::from_value(members.into())
        .map(Some)
        .map_err(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn backup_options() {
        for (text, use_vss) in [
            ("", false),
            ("{}", false),
            ("{\"UseVSS\":false}", false),
            ("{\"UseVSS\": true}", true),
            ("{\"UseVSS\":null,\"UI_other\":1}", false),
        ] {
            assert_eq!(
                BackupOptions::parse(text).unwrap(),
                BackupOptions { use_vss },
                "{text}"
            );
        }
        for bad in [
            "[]",
            "true",
            "{\"UseVSS\":\"yes\"}",
            "{",
            "[\"UseVSS\":true]",
            "{\"useVSS\":true}",
            "{\"UseVSS\":false,\"excludes\":[\"/tmp\"]}",
            "{\"UseVVS\":true}",
        ] {
            let error = BackupOptions::parse(bad).unwrap_err().to_string();
            assert!(error.contains("UseVSS"), "{bad}: {error}");
        }
    }

    #[test]
    fn restore_options() {
        assert_eq!(
            RestoreOptions::parse("").unwrap(),
            RestoreOptions::default()
        );
        assert_eq!(
            RestoreOptions::parse("{\"conflictPolicy\":\"\"}").unwrap(),
            RestoreOptions::default()
        );
        let text = r#"{"includes":["/a"],"excludes":["/a/b"],"conflictPolicy":"SKIP_EXISTING"}"#;
        let expected = RestoreOptions {
            includes: vec!["/a".to_owned()],
            excludes: vec!["/a/b".to_owned()],
            conflict_policy: ConflictPolicy::SkipExisting,
        };
        assert_eq!(RestoreOptions::parse(text).unwrap(), expected);
        assert!(matches!(
            RestoreOptions::parse("{\"conflictPolicy\":\"KEEP\"}"),
            Err(OptionsError::Conflict(error)) if error.valid.contains(&"OVERWRITE_OLDER")
        ));
        assert!(matches!(
            RestoreOptions::parse("{\"includes\":[\"\"]}"),
            Err(OptionsError::Patterns {
                member: "includes",
                ..
            })
        ));
        assert!(matches!(
            RestoreOptions::parse("{\"includes\":\"/a\"}"),
            Err(OptionsError::Form { .. })
        ));
        let other = RestoreOptions::parse("{\"ConflictPolicy\":\"SKIP_EXISTING\",\"UI_x\":1}");
        assert_eq!(
            other.unwrap_err().to_string(),
            "Options.ConflictPolicy is not known; did you mean conflictPolicy?"
        );
        let other = RestoreOptions::parse("{\"includes\":[],\"colour\":1}");
        assert_eq!(
            other.unwrap_err().to_string(),
            "Options.colour is not known; there is includes, excludes, conflictPolicy"
        );
        let other = RestoreOptions::parse("{\"exclude\":[\"/a\"]}");
        assert!(matches!(other, Err(OptionsError::Member { found, .. }) if found == "exclude"));
        assert!(RestoreOptions::parse("{\"UI_TargetTime\":1650032529018}").is_ok());
        assert!(matches!(
            RestoreOptions::parse(&" ".repeat(70_000)),
            Err(OptionsError::Length)
        ));
    }
}
