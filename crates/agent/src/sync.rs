//! The sync loop: heartbeat, progress, new work, cancellations, losses.
//!
//! While work runs it syncs twice a second; else it holds a long poll. When the server is away it waits longer and
//! longer, and the work goes on meanwhile. Decides nothing about when: it takes what the server gives, as much as it
//! has room for.

use std::sync::Arc;
use std::time::Duration;

use api::agent_protocol::{
    Assignment, DeregisterRequest, FinishRequest, Outcome, Progress, SyncReply, SyncRequest,
    WorkKind,
};

use crate::backoff::{Backoff, jitter};
use crate::execute::{spawn, watch};
use crate::link::{is_key_refused, is_twin_refused};
use crate::outbox;
use crate::work::StopReason;
use crate::{Shared, Uninstall};

/// Between two syncs while work runs: progress is this fresh.
const BUSY_INTERVAL: Duration = Duration::from_millis(500);
/// How often an agent that goes tries to say so.
const GOODBYES: u32 = 10;
/// How long the server may hold a sync of an idle agent.
const LONG_POLL: Duration = Duration::from_secs(20);

/// Runs until the agent stops and no work is left.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut backoff = Backoff::default();
    report_former_run(shared, &mut backoff);
    sync_until_over(shared, &mut backoff);
    if shared.is_leaving() {
        deregister(shared);
    }
}

/// Says that this agent goes. Not repeated for ever: the state is removed whatever the server hears of it.
fn deregister(shared: &Shared) {
    let goodbye = DeregisterRequest {
        client_id: shared.link.identity().client_id,
    };
    for _ in 0..GOODBYES {
        match shared.link.call(&goodbye, Duration::ZERO) {
            Ok(_) => break,
            Err(error) if error.is_transient() => {
                tracing::warn!("{error}");
                std::thread::sleep(BUSY_INTERVAL);
            }
            Err(error) => {
                tracing::warn!("{error}");
                break;
            }
        }
    }
    shared.set_gone();
}

fn sync_until_over(shared: &Arc<Shared>, backoff: &mut Backoff) {
    while !shared.is_over() {
        watch(shared);
        let request = request(shared);
        let wait = Duration::from_millis(request.wait_ms);
        match shared.link.call(&request, wait) {
            Ok(reply) => {
                backoff.reset();
                take(shared, reply);
                pause_while_busy(shared);
            }
            Err(error) => {
                if is_twin_refused(&error) {
                    tracing::error!("{error}; this agent does nothing until that one has stopped");
                    for work in shared.works.all() {
                        work.stop(StopReason::Lost);
                    }
                } else if is_key_refused(&error) && shared.is_leaving() {
                    // The client was deleted meanwhile: nobody waits for a report.
                    for work in shared.works.all() {
                        work.stop(StopReason::Lost);
                    }
                } else if is_key_refused(&error) {
                    tracing::warn!(
                        "the server refuses this agent's key ({error}); registering again"
                    );
                    if let Err(error) = shared.link.register_again() {
                        tracing::warn!("{error}");
                    }
                } else if !shared.is_stopping() {
                    tracing::warn!("sync failed: {error}; running work goes on");
                }
                shared.pause(backoff.next(jitter()));
            }
        }
    }
}

/// Reports what an earlier run of the agent could not, before the first sync frees its leases.
fn report_former_run(shared: &Shared, backoff: &mut Backoff) {
    while !shared.is_stopping() {
        match outbox::report_kept(&shared.link, &shared.state) {
            Ok(true) => break,
            Ok(false) => shared.pause(backoff.next(jitter())),
            Err(error) => {
                tracing::warn!("{error}");
                break;
            }
        }
    }
    backoff.reset();
}

fn request(shared: &Shared) -> SyncRequest {
    let running = shared.works.running();
    let stopping = shared.is_stopping();
    let (backups, any) = if stopping {
        (0, 0)
    } else {
        shared.free_slots()
    };
    let wait = if running.is_empty() && !stopping {
        LONG_POLL
    } else {
        Duration::ZERO
    };
    SyncRequest {
        client_id: shared.link.identity().client_id,
        run_id: shared.run_id.clone(),
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0),
        running,
        can_take: any,
        can_take_backups: Some(backups),
    }
}

fn take(shared: &Arc<Shared>, reply: SyncReply) {
    if reply.uninstall && !shared.is_leaving() {
        asked_to_go(shared);
    }
    for lease in &reply.lost {
        // Of a work that has ended the reporting thread hears by itself whether its report still counts.
        if let Some(work) = shared.works.get(lease).filter(|work| work.end().is_none()) {
            tracing::warn!("the lease of {} is lost; dropping this work", lease.work_id);
            work.stop(StopReason::Lost);
        }
    }
    for lease in &reply.cancel {
        if let Some(work) = shared.works.get(lease) {
            work.stop(StopReason::Canceled);
        }
    }
    for assignment in reply.assignments {
        if shared.is_stopping() || !has_slot(shared, &assignment.kind) {
            give_back(shared, &assignment);
        } else {
            spawn(shared, assignment);
        }
    }
}

fn asked_to_go(shared: &Shared) {
    if shared.uninstall == Uninstall::Go {
        tracing::warn!("the server asks this agent to uninstall itself; it puts down its work");
        shared.leave();
        return;
    }
    tracing::warn!("a server asks this agent to uninstall itself; as a part of a service it stays");
    if let Err(error) = shared.link.register_again() {
        tracing::warn!("{error}");
        shared.pause(LONG_POLL);
    }
}

fn has_slot(shared: &Shared, kind: &WorkKind) -> bool {
    let (backups, others) = shared.works.busy();
    match kind {
        WorkKind::Backup(_) => backups < shared.capacity.backups,
        _ => others < shared.capacity.others,
    }
}

fn give_back(shared: &Shared, assignment: &Assignment) {
    let end = FinishRequest {
        work_id: assignment.work_id.clone(),
        epoch: assignment.epoch,
        outcome: Outcome::Released,
        message: String::new(),
        progress: Progress::default(),
        snapshot: None,
        error_epoch: None,
        upkeep: None,
    };
    if let Err(error) = shared.link.call(&end, Duration::ZERO) {
        tracing::debug!(
            "cannot give {} back: {error}; its lease will end by itself",
            assignment.work_id
        );
    }
}

fn pause_while_busy(shared: &Shared) {
    if !shared.works.all().is_empty() {
        shared.pause(BUSY_INTERVAL);
    }
}
