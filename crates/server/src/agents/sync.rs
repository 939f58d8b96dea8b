//! Sync: heartbeat, progress, cancellations, losses, new work.
//!
//! The order inside one exchange: leases of earlier runs are freed, the leases of what runs are looked at and kept for
//! extension with their progress (`pulses`), then new work is leased. When nothing came of it the request waits for the bell. The wait starts to listen
//! before it looks, so no ring between looking and waiting is missed.

use std::time::Duration;

use api::agent_protocol::{
    AgentRequest, Lease, MAX_WAIT_MS, Progress as WireProgress, SyncReply, SyncRequest,
};
use api::error::{ApiError, Code};
use catalog::pulses::{HeldWork, LeaseAnswer, Pulse};
use catalog::work::LeaseLimit;
use catalog::{Progress, clients, pulses, work};
use model::ClientStatus;
use tokio::time::{Instant, timeout_at};

use super::{Agent, assignments, check_agent, encode, parse, signed};
use crate::failure;
use crate::http::Border;
use crate::service::Service;
use crate::wire::Wire;

/// Most work items of one agent.
const MAX_RUNNING: usize = 256;
/// Most assignments of one reply.
const MAX_TAKE: u32 = 16;
/// How often a waiting request looks without a ring: work may become due by time alone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn sync(border: &Border, wire: Wire) -> Result<Vec<u8>, ApiError> {
    let request_id = wire.request_id.clone();
    let started = Instant::now();
    let mut stopping = border.service.stopping.clone();
    // Listens from before the first look.
    let mut ring = Box::pin(border.service.bell.notified());
    ring.as_mut().enable();
    let (agent, request, mut reply) = border
        .blocking(&request_id, move |service| {
            let agent = check_agent(service, &wire, SyncRequest::METHOD)?;
            let request: SyncRequest = parse(&wire)?;
            let reply = first_exchange(service, &agent, &request)?;
            Ok((agent, request, reply))
        })
        .await?;
    let deadline = started + longest_wait(&border.service, &request);
    while is_empty(&reply) && Instant::now() < deadline && !*stopping.borrow() {
        let look_again = deadline.min(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            // Time that passes without a ring is no error: look again.
            _ = timeout_at(look_again, &mut ring) => {}
            _ = stopping.changed() => break,
        }
        ring.set(border.service.bell.notified());
        ring.as_mut().enable();
        let (agent, request) = (agent.clone(), request.clone());
        reply = border
            .blocking(&request_id, move |service| {
                exchange(service, &agent, &request, Report::Lease)
            })
            .await?;
    }
    encode(&reply)
}

/// Never so long that a lease ends while its agent waits.
fn longest_wait(service: &Service, request: &SyncRequest) -> Duration {
    let asked = Duration::from_millis(request.wait_ms.min(MAX_WAIT_MS));
    if request.running.is_empty() {
        asked
    } else {
        asked.min(service.lease_ttl / 3)
    }
}

fn is_empty(reply: &SyncReply) -> bool {
    let has_news = !reply.assignments.is_empty()
        || !reply.cancel.is_empty()
        || !reply.lost.is_empty()
        || reply.uninstall;
    !has_news
}

fn first_exchange(
    service: &Service,
    agent: &Agent,
    request: &SyncRequest,
) -> Result<SyncReply, ApiError> {
    if request.client_id != agent.client.as_str() {
        return Err(ApiError::invalid(
            "client_id",
            "the agent's key belongs to another client",
        ));
    }
    if request.run_id.is_empty() || request.run_id.len() > 64 {
        return Err(ApiError::invalid(
            "run_id",
            "it must have 1 to 64 characters",
        ));
    }
    if request.running.len() > MAX_RUNNING {
        return Err(ApiError::invalid(
            "running",
            format!("an agent has at most {MAX_RUNNING} works"),
        ));
    }
    let now = service.now();
    let is_present =
        service
            .runs
            .lock()
            .hear(&agent.client, &request.run_id, now, clients::LIVE_TIME);
    if !is_present {
        return Err(ApiError::of(Code::ClientConflict));
    }
    let client = clients::get(&service.catalog, &agent.account, &agent.client)
        .map_err(failure::of_catalog)?;
    if client.status != ClientStatus::Activated {
        clients::heartbeat(&service.catalog, &agent.account, &agent.client, now)
            .map_err(failure::of_catalog)?;
    }
    let freed = work::release_run(&service.catalog, &agent.client, &request.run_id, now)
        .map_err(failure::of_catalog)?;
    for item in &freed {
        tracing::info!(work_id = item.work_id, state = %item.state, "a new run of the agent freed the work");
    }
    if !freed.is_empty() {
        service.ring();
    }
    exchange(service, agent, request, Report::Progress)
}

/// Whether an exchange carries progress, or only keeps the leases while the agent waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Progress,
    Lease,
}

fn exchange(
    service: &Service,
    agent: &Agent,
    request: &SyncRequest,
    report: Report,
) -> Result<SyncReply, ApiError> {
    let now = service.now();
    let held: Vec<HeldWork> = request
        .running
        .iter()
        .map(|running| HeldWork {
            work_id: running.work_id.clone(),
            epoch: signed(running.epoch),
            progress: (report == Report::Progress).then(|| progress(&running.progress)),
        })
        .collect();
    let answers = pulses::lease_answers(&service.catalog, &agent.client, &request.run_id, &held)
        .map_err(failure::of_catalog)?;
    // An agent that waits with nothing to do was heard when it began to.
    if report == Report::Progress || !held.is_empty() {
        service.pulses.add(Pulse {
            client_id: agent.client.clone(),
            run_id: request.run_id.clone(),
            held: held.clone(),
            heard: now,
        });
    }
    let mut reply = SyncReply {
        server_time: now.0,
        ..SyncReply::default()
    };
    for (item, answer) in held.into_iter().zip(answers) {
        match answer {
            LeaseAnswer::Held => {}
            LeaseAnswer::CancelRequested => reply.cancel.push(lease(item)),
            LeaseAnswer::Lost => reply.lost.push(lease(item)),
        }
    }
    if clients::is_leaving(&service.catalog, &agent.client).map_err(failure::of_catalog)? {
        reply.uninstall = true;
        return Ok(reply);
    }
    let leased = work::lease_next(
        &service.catalog,
        &agent.account,
        &agent.client,
        &request.run_id,
        now,
        service.lease_ttl,
        LeaseLimit {
            works: request.can_take.min(MAX_TAKE),
            backups: request.can_take_backups.unwrap_or(MAX_TAKE),
        },
    )
    .map_err(failure::of_catalog)?;
    reply.assignments = assignments::assign(service, leased)?;
    Ok(reply)
}

fn lease(held: HeldWork) -> Lease {
    Lease {
        work_id: held.work_id,
        epoch: held.epoch.unsigned_abs(),
    }
}

/// The agent's counters as the API's: progress of 10000 and KB/s. 10000 is kept for the end.
pub(super) fn progress(wire: &WireProgress) -> Progress {
    let share = |done: u64, total: u64| {
        let part = u128::from(done.min(total)) * 10_000 / u128::from(total.max(1));
        i64::try_from(part.min(9_999)).unwrap_or(9_999)
    };
    // Empty files have no bytes: then items say how far it is.
    let done = if wire.bytes_total > 0 {
        share(wire.bytes_done, wire.bytes_total)
    } else {
        share(wire.items_done, wire.items_total)
    };
    let speed = u128::from(wire.bytes_done) * 1_000 / 1_024 / u128::from(wire.elapsed_ms.max(1));
    Progress {
        progress: done,
        speed: i64::try_from(speed).unwrap_or(i64::MAX),
        bytes_total: signed(wire.bytes_total),
        bytes_done: signed(wire.bytes_changed),
        actual_bytes: signed(wire.actual_bytes),
        items_total: signed(wire.items_total),
        items_done: signed(wire.items_done),
        actual_items: signed(wire.actual_items),
        files_total: signed(wire.files_total),
        files_done: signed(wire.files_done),
        actual_files: signed(wire.actual_files),
        error_count: signed(wire.errors),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::{Duration, Instant};

    use api::agent_protocol::{Progress, RunningWork, SyncRequest};
    use catalog::clients::Registration;
    use catalog::plans::PlanSwitch;
    use catalog::vaults::NewVault;
    use catalog::{ClientType, PlanSpec, Sealed, clients, jobs, plans, vaults};
    use model::{AccountId, JobQuery, VaultId};

    use super::{Agent, first_exchange, progress};
    use crate::options::ServerOptions;
    use crate::service::Service;

    /// Agents of a test.
    const AGENTS: u64 = 30;

    fn vault(service: &Service, account: &AccountId) -> VaultId {
        let now = service.now();
        let vault_id = vaults::new_id(&service.catalog, now);
        let record = crate::seal::Record::Vault(vault_id.as_str());
        let sealed_password = service.master_key.seal(record, "password");
        let vault = NewVault {
            vault_id,
            vault_name: "vault".to_owned(),
            description: String::new(),
            vault_region_id: "cn-hangzhou".to_owned(),
            vault_type: "STANDARD".to_owned(),
            vault_storage_class: "STANDARD".to_owned(),
            encrypt_type: "HBR_PRIVATE".to_owned(),
            kms_key_id: None,
            worm_enabled: false,
            storage_url: "/nowhere".to_owned(),
            sealed_password,
            kept_by: None,
        };
        let made = vaults::adopt(&service.catalog, account, &vault, now);
        made.unwrap().vault_id
    }

    /// An agent with a job that waits for it.
    fn agent(service: &Service, account: &AccountId, vault: &VaultId, number: u64) -> Agent {
        let now = service.now();
        let registration = Registration {
            client_id: None,
            machine_id: format!("machine {number}"),
            client_type: ClientType::Ecs,
            hostname: "host".to_owned(),
            os_type: "linux".to_owned(),
            arch_type: "x86_64".to_owned(),
            client_version: "0".to_owned(),
            private_ipv4: None,
            agent_key_id: format!("key-{number}"),
            sealed_agent_secret: Sealed(vec![1]),
        };
        let client = clients::register(&service.catalog, account, &registration, now).unwrap();
        let mut spec = PlanSpec::files("cn-hangzhou", &format!("{number}"), vault.clone(), vec![]);
        spec.client_id = Some(client.client_id.clone());
        let plan =
            plans::create(&service.catalog, account, &spec, PlanSwitch::Enabled, now).unwrap();
        jobs::create(&service.catalog, account, &plan.plan_id, now).unwrap();
        Agent {
            account: account.clone(),
            client: client.client_id,
        }
    }

    /// Two hundred reports and more, and a commit a second: what an agent is told does not wait for it.
    #[test]
    fn progress_of_many_agents_is_one_commit_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = ServerOptions::new(folder.path().join("data"));
        options.listen = "127.0.0.1:0".to_owned();
        options.tick_interval = None;
        let server = crate::start(options).unwrap();
        let (service, account) = (server.service(), server.account_id());
        let catalog = &service.catalog;
        let vault = vault(service, account);
        let agents: Vec<Agent> = (0..AGENTS)
            .map(|number| agent(service, account, &vault, number))
            .collect();
        let request = |agent: &Agent, running: Vec<RunningWork>| SyncRequest {
            client_id: agent.client.to_string(),
            run_id: "run".to_owned(),
            can_take: u32::from(running.is_empty()),
            running,
            wait_ms: 0,
            can_take_backups: None,
        };
        let mut running: Vec<RunningWork> = Vec::new();
        for agent in &agents {
            // The work of a lease is a state: it is in the catalog before it is given out.
            let before = catalog.commit_count();
            let reply = first_exchange(service, agent, &request(agent, Vec::new())).unwrap();
            assert!(catalog.commit_count() > before);
            running.push(RunningWork {
                work_id: reply.assignments[0].work_id.clone(),
                epoch: reply.assignments[0].epoch,
                progress: Progress::default(),
            });
        }
        service.note_pulses().unwrap();
        let (start, before) = (Instant::now(), catalog.commit_count());
        for done in 1..=8 {
            for (agent, running) in agents.iter().zip(&mut running) {
                (running.progress.bytes_done, running.progress.bytes_total) = (done, 10);
                let asked = request(agent, vec![running.clone()]);
                let reply = first_exchange(service, agent, &asked).unwrap();
                assert!(reply.lost.is_empty() && reply.cancel.is_empty());
            }
        }
        service.note_pulses().unwrap();
        let commits = catalog.commit_count() - before;
        let seconds = start.elapsed().div_duration_f64(Duration::from_secs(1));
        // One more for the end, one for the second that had begun.
        assert!(commits as f64 <= seconds + 2.0, "{commits} in {seconds} s");
        let asked = JobQuery {
            page_size: 100,
            ..JobQuery::default()
        };
        let found = jobs::query(catalog, account, &asked).unwrap();
        assert_eq!(found.total, AGENTS);
        assert!(found.rows.iter().all(|job| job.progress.progress == 8_000));
        server.join();
    }

    #[test]
    fn counters_become_progress_and_speed() {
        let at = |bytes_done, bytes_total, items_done, items_total, elapsed_ms| {
            let wire = Progress {
                bytes_done,
                bytes_total,
                items_done,
                items_total,
                elapsed_ms,
                ..Progress::default()
            };
            let seen = progress(&wire);
            (seen.progress, seen.speed)
        };
        assert_eq!(at(0, 0, 0, 0, 0), (0, 0));
        assert_eq!(at(512_000, 1_024_000, 0, 0, 1_000), (5_000, 500));
        assert_eq!(at(1_024_000, 1_024_000, 0, 0, 1_000), (9_999, 1_000));
        assert_eq!(at(0, 0, 1, 4, 10), (2_500, 0));
        assert_eq!(at(u64::MAX, 1, 0, 0, 0), (9_999, i64::MAX));
    }
}
