//! `--filter KEY OP VALUE...`, repeatable: each occurrence stays a group of its own; and the words of the API.
//!
//! clap flattens the values of a repeated flag, so the groups are read from the matches here. The service takes a state
//! that there is not for one that no job is in: a person who misspells a word is told before anything is sent.

use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use model::job_query::{FilterKey, FilterScope, Operator};
use model::{JobStatus, UnknownWord, nearest};

/// The groups, each at least a key, an operator and a value; keys, operators and states as the API writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FilterRows {
    pub(crate) rows: Vec<Vec<String>>,
}

const ID: &str = "filter";

/// A word of the API, whatever the case of its letters.
pub(crate) fn word<T: FromStr<Err = UnknownWord>>(text: &str) -> Result<T, String> {
    text.parse().or_else(|unknown: UnknownWord| {
        let valid = unknown.valid;
        match valid.iter().find(|word| word.eq_ignore_ascii_case(text)) {
            Some(word) => word.parse().map_err(|_| not_valid(text, valid)),
            None => Err(not_valid(text, valid)),
        }
    })
}

fn not_valid(text: &str, valid: &[&str]) -> String {
    let proposal = nearest(text, valid.iter().copied())
        .map_or_else(String::new, |word| format!("did you mean {word}? "));
    format!("{proposal}valid are {}", valid.join(", "))
}

/// The group in the words of the API.
fn checked(group: &[String]) -> Result<Vec<String>, String> {
    let [key, operator, values @ ..] = group else {
        return Ok(group.to_vec());
    };
    let scope = FilterScope::BackupJobs;
    let valid: Vec<&str> = FilterKey::WORDS
        .iter()
        .copied()
        .filter(|name| scope.key(name).is_some())
        .collect();
    let key = scope
        .key(key)
        .ok_or_else(|| format!("there is no key {key:?}: {}", not_valid(key, &valid)))?;
    let operator: Operator =
        word(operator).map_err(|why| format!("there is no operator {operator:?}: {why}"))?;
    let mut row = vec![key.to_string(), operator.to_string()];
    for value in values {
        row.push(match key {
            // One text may hold a list, as on the wire.
            FilterKey::Status if !value.trim_start().starts_with('[') => word::<JobStatus>(value)
                .map_err(|why| format!("there is no state {value:?}: {why}"))?
                .to_string(),
            _ => value.clone(),
        });
    }
    Ok(row)
}

impl FromArgMatches for FilterRows {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rows = Self::default();
        rows.update_from_arg_matches(matches)?;
        Ok(rows)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(groups) = matches.get_occurrences::<String>(ID) {
            self.rows = groups
                .map(|group| checked(&group.cloned().collect::<Vec<String>>()))
                .collect::<Result<_, _>>()
                .map_err(|why| {
                    let told = format!("--{ID}: {why}");
                    clap::Error::raw(ErrorKind::InvalidValue, told)
                })?;
        }
        Ok(())
    }
}

impl Args for FilterRows {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new(ID)
                .long(ID)
                .action(ArgAction::Append)
                .num_args(3..)
                .value_names(["KEY", "OP", "VALUE"])
                .help("Only jobs that match, as --filter Status IN COMPLETE FAILED; repeat to narrow down")
                .long_help(
                    "Only jobs that match; repeat to narrow down. Keys: RegionId, PlanId, JobId, VaultId, InstanceId, \
                     Bucket, FileSystemId, Status, CreatedTime, CompleteTime, InstanceName, BackupType, ParentId. \
                     Operators: EQUAL, NOT_EQUAL, GREATER_THAN, GREATER_THAN_OR_EQUAL, LESS_THAN, LESS_THAN_OR_EQUAL, \
                     BETWEEN (two values), IN (any number of values). Times are UNIX seconds.",
                ),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{checked, word};
    use model::{JobStatus, SourceType};

    #[test]
    fn words_are_known_or_refused_with_the_nearest() {
        assert_eq!(word("failed"), Ok(JobStatus::Failed));
        assert_eq!(word("FILE"), Ok(SourceType::File));
        let refused = word::<JobStatus>("COMPELTE").unwrap_err();
        assert!(refused.contains("did you mean COMPLETE?"), "{refused}");
        let refused = word::<SourceType>("XYZ").unwrap_err();
        assert!(
            refused.contains("ECS_FILE") && !refused.contains("did you mean"),
            "{refused}"
        );
    }

    #[test]
    fn filters_are_in_the_words_of_the_api() {
        let check = |words: &str| {
            let group: Vec<String> = words.split(' ').map(str::to_owned).collect();
            checked(&group).map(|row| row.join(" "))
        };
        let passes = check("status in complete FAILED").unwrap();
        assert_eq!(passes, "Status IN COMPLETE FAILED");
        // Ids and names are the service's to know.
        assert_eq!(check("VaultId EQUAL v-x").unwrap(), "VaultId EQUAL v-x");
        for (wrong, meant) in [
            ("Status EQUAL COMPELTE", "did you mean COMPLETE?"),
            ("Status EQAUL COMPLETE", "did you mean EQUAL?"),
            ("Sttaus EQUAL COMPLETE", "did you mean Status?"),
            ("RestoreId EQUAL r-1", "PlanId"),
        ] {
            let refused = check(wrong).unwrap_err();
            assert!(refused.contains(meant), "{wrong}: {refused}");
        }
    }
}
