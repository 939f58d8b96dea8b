//! `--filter KEY OP VALUE...`, repeatable: each occurrence stays a group of its own.
//!
//! clap flattens the values of a repeated flag, so the groups are read from the matches here.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// The groups as typed, each at least a key, an operator and a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FilterRows {
    pub(crate) rows: Vec<Vec<String>>,
}

const ID: &str = "filter";

impl FromArgMatches for FilterRows {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rows = Self::default();
        rows.update_from_arg_matches(matches)?;
        Ok(rows)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(groups) = matches.get_occurrences::<String>(ID) {
            self.rows = groups.map(|group| group.cloned().collect()).collect();
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
