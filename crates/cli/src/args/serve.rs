//! Definitions of `serve` and `agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

const SERVE_HELP: &str = "\
Examples:
  strongroom serve --protect ~/Documents            protect one folder, now and every day
  strongroom serve --protect /etc /home --once      back both up and end; exit status 0, 3 (partial), 1 or 130
  strongroom serve --listen 0.0.0.0:8710            only the service, also for agents on other hosts

The first start makes the data directory with an account, an access key (credentials.json) and a recovery file. Keep a copy \
of the recovery file elsewhere: with it and a vault's storage everything can be restored.
A running job is not lost by a stop or a crash: the next start goes on with it under the same job id.
Send SIGUSR1 to print the progress. Ctrl-C or SIGTERM stop cleanly.";

/// `strongroom serve`
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// Protect these files or folders: a daily plan for each, and a first backup at once
    #[arg(long, value_name = "PATH", num_args = 1.., action = clap::ArgAction::Append)]
    pub(crate) protect: Vec<PathBuf>,
    /// Address and port of the API; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8710")]
    pub(crate) listen: SocketAddr,
    /// Region that this service says it is
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    pub(crate) region: String,
    /// End after the first job of each path
    #[arg(long, requires = "protect")]
    pub(crate) once: bool,
    /// Print each first job as a JSON line once it has ended, with the names of the API, and nothing else
    #[arg(long, requires = "protect")]
    pub(crate) json: bool,
}

const AGENT_HELP: &str = "\
Examples:
  STRONGROOM_ENDPOINT=http://backup:8710 ALIBABA_CLOUD_ACCESS_KEY_ID=… \\
  ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE=/etc/strongroom/secret strongroom agent

The agent dials out to the service, runs the jobs that the service has for this host, and must be able to reach the storage \
of the vaults by the same path.";

/// `strongroom agent`
#[derive(Debug, Args)]
#[command(after_help = AGENT_HELP)]
pub(crate) struct AgentArgs {
    /// Where the agent keeps its identity [default: agent in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}
