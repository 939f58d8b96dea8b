//! Definitions of `account`, `user`, `key` and `role`: who may do what.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::confirmed::Confirmed;

/// `strongroom account`
#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    #[command(subcommand)]
    pub(crate) command: AccountCommand,
}

/// Verbs of `account`.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account and print its root key, once
    Create {
        /// Name, 1 to 64 letters, digits, or . @ - _
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the accounts
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Refuse all keys of an account; its plans go on
    Disable {
        /// Account id (16 digits)
        account: String,
    },
    /// Accept the keys of an account again
    Enable {
        /// Account id (16 digits)
        account: String,
    },
}

const USER_HELP: &str = "\
Example:
  strongroom user create reader --policy reader.json
  strongroom key create --user reader

where reader.json holds a policy document of RAM:
  {\"Version\": \"1\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": [\"hbr:Describe*\"], \"Resource\": \"*\",
    \"Condition\": {\"IpAddress\": {\"acs:SourceIp\": [\"10.0.0.0/8\"]}}}]}

Without a policy a user may do nothing; a statement that denies wins. Actions are hbr:NAME as in the API, ram:NAME for
users, keys and roles, sts:AssumeRole. A resource is acs:hbr:REGION:ACCOUNT:vault/ID (or plan/, policy/, client/) when
the call names one, and acs:hbr:REGION:ACCOUNT:* when it does not.";

/// `strongroom user`
#[derive(Debug, Args)]
#[command(after_help = USER_HELP)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// Verbs of `user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user
    Create {
        /// Name, 1 to 64 letters, digits, or . @ - _
        name: String,
        /// File with a policy document
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// List the users
    List {
        /// Print one JSON object a line, with the policies
        #[arg(long)]
        json: bool,
    },
    /// Replace what a user may do
    Policy {
        /// Its name
        name: String,
        /// File with a policy document
        #[arg(long, value_name = "FILE", required_unless_present = "none")]
        policy: Option<PathBuf>,
        /// No policy: the user may do nothing
        #[arg(long, conflicts_with = "policy")]
        none: bool,
    },
    /// Refuse the keys of a user
    Disable {
        /// Its name
        name: String,
    },
    /// Accept the keys of a user again
    Enable {
        /// Its name
        name: String,
    },
    /// Delete a user with its keys
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
}

/// `strongroom key`
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: AccessKeyCommand,
}

/// Verbs of `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessKeyCommand {
    /// Make a key and print its secret, once
    Create {
        /// For this user
        #[arg(long, value_name = "NAME", conflicts_with_all = ["register", "root"])]
        user: Option<String>,
        /// A key that may register agents, and nothing else
        #[arg(long, conflicts_with = "root")]
        register: bool,
        /// A further root key of the account
        #[arg(long)]
        root: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the keys; never their secrets
    List {
        /// Of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Make a new key for the owner of an old one, which stays until it is disabled
    Rotate {
        /// The old access key id
        key: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Refuse a key
    Disable {
        /// Access key id
        key: String,
    },
    /// Accept a key again
    Enable {
        /// Access key id
        key: String,
    },
    /// Delete a key
    Delete {
        /// Access key id
        key: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
}

const ROLE_HELP: &str = "\
Example:
  strongroom role create restore --trust trust.json --policy restore.json

where trust.json says who may take the role on, with `strongroom role assume` or AssumeRole of STS (2015-04-01, same
endpoint):
  {\"Version\": \"1\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"sts:AssumeRole\",
    \"Principal\": {\"RAM\": [\"acs:ram::1234567890123456:user/ops\"]}}]}";

const ASSUME_HELP: &str = "\
Examples:
  strongroom role assume restore                          show the key, its token and when they end
  eval \"$(strongroom role assume restore --export)\"      use them in this shell, also for other programs
  strongroom role assume restore --json > session.json

A user takes a role on, with the sts:AssumeRole of its own policy and named by the role's; a root key cannot. The key \
works with its token alone: commands take both from the variables that --export prints.

When the role cannot be taken on, --export prints `false`: eval fails, and the variables of the shell stay as they were. \
So in a script:
  eval \"$(strongroom role assume restore --export)\" || exit";

/// `strongroom role assume`
#[derive(Debug, Args)]
#[command(after_help = ASSUME_HELP)]
pub(crate) struct AssumeRoleArgs {
    /// Name of a role of this account, or acs:ram::ACCOUNT:role/NAME
    #[arg(value_name = "ROLE")]
    pub(crate) role: String,
    /// Name of the session, as the audit log shows it: 2 to 64 letters, digits, or . @ - _
    #[arg(long, value_name = "NAME", default_value = "strongroom")]
    pub(crate) session: String,
    /// Seconds until it ends, 900 to the role's longest session [default: 3600, or that]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) duration: Option<i64>,
    /// File with a policy document that cuts down what the role may do
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Print lines for a shell, which make this and other programs use the key
    #[arg(long, conflicts_with = "json")]
    pub(crate) export: bool,
    /// Print one JSON object, as AssumeRole answers
    #[arg(long)]
    pub(crate) json: bool,
}

/// `strongroom role`
#[derive(Debug, Args)]
#[command(after_help = ROLE_HELP)]
pub(crate) struct RoleArgs {
    #[command(subcommand)]
    pub(crate) command: RoleCommand,
}

/// Verbs of `role`.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a role
    Create {
        /// Name, 1 to 64 letters, digits, or . @ - _
        name: String,
        /// File with the policy document that says who may take it on
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        /// File with the policy document of what it may do
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Longest session in seconds, 900 to 43200
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        max_session: u32,
    },
    /// List the roles
    List {
        /// Print one JSON object a line, with the policies
        #[arg(long)]
        json: bool,
    },
    /// Take a role on for a while: print the temporary access key
    Assume(AssumeRoleArgs),
    /// Delete a role; its sessions end at once
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        confirmed: Confirmed,
    },
}
