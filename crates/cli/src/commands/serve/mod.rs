//! `serve`: a server and an agent for this host in one process, joined by loopback HTTP and the same protocol as any
//! other agent; then an ordinary client of the API that protects folders and follows their first jobs.
//!
//! Order of a start: check the paths, server, agent, vault, plans, jobs. Order of a stop: agent (suspends its work and
//! gives it back), then server. Nothing here touches the catalog or a vault.

mod first_jobs;
mod protect;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::{AgentHandle, AgentOptions, Uninstall};
use model::upkeep::UpkeepRule;
use server::{CatalogBackupRule, PostgresPlace, RateLimit, ServerHandle, ServerOptions, Transport};

use self::first_jobs::FirstJob;
use self::protect::Protected;
use self::words::GoesOn;
use super::Context;
use super::agent::STATE_FOLDER;
use super::follow::{End, Followed, JobKind, exit_of, follow, tell};
use crate::args::{ServeArgs, TlsArg};
use crate::environment::variable;
use crate::exit::{Exit, Failure, chain};
use crate::session::{Access, Session};
use crate::signals::Interrupts;

/// Between two looks at the signals while nothing else is to do.
const IDLE: Duration = Duration::from_secs(3600);

/// Runs the service.
pub(crate) fn run(context: &Context, args: ServeArgs) -> Result<Exit, Failure> {
    let data_dir = context.data_dir()?;
    let paths = protect::check(&args.protect, &data_dir)?;
    let interrupts = Interrupts::listen()?;
    let mut options = ServerOptions::new(data_dir.clone());
    options.catalog = catalog(args.catalog, args.catalog_file, &variable)?;
    let key_file = || variable("STRONGROOM_MASTER_KEY_FILE").map(PathBuf::from);
    options.master_key_file = args.master_key_file.or_else(key_file);
    options.listen = args.listen.to_string();
    options.transport = match (args.tls, args.tls_cert, args.tls_key) {
        (Some(TlsArg::Auto), ..) => Transport::OwnCertificate {
            names: args.tls_name,
        },
        (None, Some(cert), Some(key)) => Transport::Certificate { cert, key },
        _ if args.insecure => Transport::PlainAnywhere,
        _ => Transport::Plain,
    };
    options.region = args.region;
    options.zone = args.timezone;
    options.schedule_jitter_seconds =
        u32::try_from(args.schedule_jitter.as_secs()).unwrap_or(u32::MAX);
    options.trash = args.trash;
    options.job_retention = args.job_retention.0;
    options.rate_limit = args.rate_limit.0.map(RateLimit::per_second);
    options.vault_delete_grace = args.vault_delete_grace;
    options.upkeep = UpkeepRule {
        check_every: args.check_every.0,
        read_all_within: args.read_all_within,
        prune_every: args.prune_every.0,
    };
    options.prune_grace = Some(args.prune_grace);
    options.catalog_backup = CatalogBackupRule {
        every: args.catalog_backup_every.0,
        vault: args.catalog_backup_vault,
    };
    let server = server::start(options).map_err(|error| server_failure(&error))?;
    words::started(context, &server);
    let started = start_agent(&data_dir).and_then(|(access, agent)| {
        server
            .set_local_client(&agent.client_id())
            .map_err(|error| server_failure(&error))?;
        Ok((access, agent))
    });
    let service = match started {
        Ok((access, agent)) => Service {
            context,
            interrupts,
            data_dir,
            access,
            agent,
            server,
        },
        Err(failure) => {
            stop_server(server);
            return Err(failure);
        }
    };
    let done = service.work(&paths, args.once, args.json);
    if done.is_ok() && !args.once {
        service.idle();
    }
    service.stop();
    done
}

/// The PostgreSQL database of the flags, or else of the environment.
fn catalog(
    url: Option<String>,
    file: Option<PathBuf>,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<PostgresPlace>, Failure> {
    if url.is_some() || file.is_some() {
        return catalog_place(url.as_deref(), file.as_deref());
    }
    let (url, file) = (
        variable("STRONGROOM_CATALOG"),
        variable("STRONGROOM_CATALOG_FILE"),
    );
    if url.is_some() && file.is_some() {
        return Err(Failure::usage(
            "STRONGROOM_CATALOG and STRONGROOM_CATALOG_FILE are both set",
            "keep one",
        ));
    }
    let url = url
        .map(|url| url.into_string())
        .transpose()
        .map_err(|_| Failure::usage("STRONGROOM_CATALOG is not UTF-8", ""))?;
    catalog_place(url.as_deref(), file.as_deref().map(Path::new))
}

/// The PostgreSQL database that is to be the catalog, if any.
pub(crate) fn catalog_place(
    url: Option<&str>,
    file: Option<&Path>,
) -> Result<Option<PostgresPlace>, Failure> {
    let place = match (url, file) {
        (Some(url), _) => PostgresPlace::parse(url).map(Some),
        (None, Some(file)) => PostgresPlace::read(file).map(Some),
        (None, None) => Ok(None),
    };
    place.map_err(|error| Failure::usage(chain(&error), "strongroom serve --help"))
}

fn start_agent(data_dir: &Path) -> Result<(Access, AgentHandle), Failure> {
    let access = Access::from_file(data_dir)?;
    let options = AgentOptions {
        uninstall: Uninstall::Stay,
        ..super::agent::options(
            &access,
            data_dir.join(STATE_FOLDER),
            vec![data_dir.to_owned()],
        )
    };
    let agent = agent::start(options).map_err(|error| super::agent::failure(&error))?;
    Ok((access, agent))
}

/// Server and agent, running.
struct Service<'a> {
    context: &'a Context,
    interrupts: Interrupts,
    data_dir: PathBuf,
    access: Access,
    agent: AgentHandle,
    server: ServerHandle,
}

impl Service<'_> {
    /// Protects the paths and follows their first jobs. The exit status is that of the jobs for `--once`; a service
    /// that goes on has done its work whatever became of them.
    fn work(&self, paths: &[Protected], once: bool, json: bool) -> Result<Exit, Failure> {
        if paths.is_empty() {
            words::next_steps(
                self.context,
                &self.server,
                &self.data_dir,
                GoesOn::Serving(paths),
            );
            return Ok(Exit::Done);
        }
        let session = Session::new(self.access.clone(), &self.context.screen)?;
        let Some(vault_id) =
            first_jobs::default_vault(&self.context.screen, &session, &self.interrupts)?
        else {
            return Ok(if once { Exit::Interrupted } else { Exit::Done });
        };
        let jobs = first_jobs::start_all(&session, &vault_id, &self.agent.instance_id(), paths)?;
        let (end, followed) = self.follow_all(&session, &jobs, json)?;
        if end == End::Interrupted {
            words::interrupted(self.context, &followed);
            return Ok(if once { Exit::Interrupted } else { Exit::Done });
        }
        let goes_on = if once {
            GoesOn::Ending
        } else {
            GoesOn::Serving(paths)
        };
        if !json {
            words::next_steps(self.context, &self.server, &self.data_dir, goes_on);
        }
        Ok(if once {
            exit_of(&followed, Exit::Failed)
        } else {
            Exit::Done
        })
    }

    fn follow_all(
        &self,
        session: &Session,
        jobs: &[FirstJob],
        json: bool,
    ) -> Result<(End, Vec<Followed>), Failure> {
        let screen = &self.context.screen;
        for job in jobs {
            words::job_started(self.context, job);
        }
        let mut followed: Vec<Followed> = jobs
            .iter()
            .map(|job| Followed::new(&job.job_id, &job.path))
            .collect();
        let end = follow(
            screen,
            session,
            &self.interrupts,
            JobKind::Backup,
            &mut followed,
            &|job| {
                tell(screen, JobKind::Backup, job, json);
            },
        )?;
        Ok((end, followed))
    }

    /// Keeps serving until a signal.
    fn idle(&self) {
        while !self.interrupts.wait(IDLE) {
            if self.interrupts.take_report_wish() {
                words::idle(self.context, &self.server);
            }
        }
    }

    fn stop(self) {
        if self.interrupts.interrupted() {
            self.context
                .screen
                .note("stopping: a running job is put down and goes on with the next start");
        }
        self.agent.stop();
        self.agent.join();
        stop_server(self.server);
    }
}

fn stop_server(server: ServerHandle) {
    server.stop();
    server.join();
}

/// Why the server does not start, for a person. Its own messages say what to do where it is special.
pub(crate) fn server_failure(error: &server::ServerError) -> Failure {
    let next = match error {
        server::ServerError::Listen { .. } => {
            "choose another address, as --listen 127.0.0.1:0 for a free port"
        }
        server::ServerError::InUse { .. } => {
            "strongroom jobs, vault list and so on talk to the one that runs"
        }
        _ => "mend what the message names, then start again",
    };
    let exit = if matches!(error, server::ServerError::InUse { .. }) {
        Exit::Conflict
    } else {
        Exit::Failed
    };
    Failure::with(exit, chain(error), next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::ffi::OsString;

    use super::catalog;
    use crate::exit::Exit;

    #[test]
    fn the_catalog_is_that_of_the_flags_or_else_of_the_environment() {
        let url = "postgres://me@127.0.0.1/name";
        let found = |flag: Option<&str>, variables: &[(&str, &str)]| {
            let get = |name: &str| {
                let mut known = variables.iter();
                known
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| OsString::from(value))
            };
            let place = catalog(flag.map(str::to_owned), None, &get);
            place.map(|place| place.map(|place| place.to_string()))
        };
        assert_eq!(found(None, &[]).unwrap(), None);
        let of_flag = found(Some(url), &[]).unwrap();
        assert!(of_flag.is_some());
        assert_eq!(
            found(None, &[("STRONGROOM_CATALOG", url)]).unwrap(),
            of_flag
        );
        // A flag needs no variable to be taken away.
        let other = [("STRONGROOM_CATALOG_FILE", "/no/such/file")];
        assert_eq!(found(Some(url), &other).unwrap(), of_flag);
        let both = [other[0], ("STRONGROOM_CATALOG", url)];
        assert_eq!(found(None, &both).unwrap_err().exit, Exit::Usage);
    }
}
