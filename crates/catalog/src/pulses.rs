//! What agents say of themselves between changes of state: that they live, that they hold their leases, how far they are.
//!
//! Many agents' words are noted in one transaction, a little later than they were said; what an agent is told is read at
//! once. That is safe because noting changes only what the same lease still holds, and counts from when it was said.

use std::time::Duration;

use model::{ClientId, Timestamp};

use crate::conditions::change;
use crate::db::{Catalog, Tx};
use crate::error::CatalogError;
use crate::progress::write_progress;
use crate::records::Progress;
use crate::sql::params;
use crate::words::WorkState;
use crate::{clients, work};

/// A work that an agent says it is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldWork {
    /// Its id.
    pub work_id: String,
    /// The epoch of the agent's lease.
    pub epoch: i64,
    /// How far it is; `None` changes nothing.
    pub progress: Option<Progress>,
}

/// What a process of an agent said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Its client.
    pub client_id: ClientId,
    /// Which process.
    pub run_id: String,
    /// What it is running.
    pub held: Vec<HeldWork>,
    /// When it said so.
    pub heard: Timestamp,
}

/// What an agent is told about a work that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Go on; the lease lasts longer now.
    Held,
    /// Stop and report; the lease lasts longer until then.
    CancelRequested,
    /// The lease is gone: drop the work, report nothing.
    Lost,
}

/// What the present leases say to an agent's process about the works that it says it is running; one answer for each, in
/// order. Extends nothing: that is [`note_pulses`], which may come a little later and for many agents at once.
pub fn lease_answers(
    catalog: &Catalog,
    client_id: &ClientId,
    run_id: &str,
    held: &[HeldWork],
) -> Result<Vec<LeaseAnswer>, CatalogError> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    catalog.read("look at leases", |tx| {
        let answers = held
            .iter()
            .map(|held| lease_answer(tx, client_id, run_id, held));
        answers.collect()
    })
}

fn lease_answer(
    tx: &Tx<'_>,
    client_id: &ClientId,
    run_id: &str,
    held: &HeldWork,
) -> Result<LeaseAnswer, CatalogError> {
    let found = work::find(tx, &held.work_id)?.filter(|work| {
        work.state == WorkState::Leased
            && work.epoch == held.epoch
            && work.holder_client_id.as_ref() == Some(client_id)
            && work.run_id.as_deref() == Some(run_id)
    });
    Ok(match found {
        None => LeaseAnswer::Lost,
        Some(work) if work.cancel_requested => LeaseAnswer::CancelRequested,
        Some(_) => LeaseAnswer::Held,
    })
}

/// Notes in one transaction what any number of agents said of themselves: that they live, that they hold their leases, and
/// how far their works are. What is no longer theirs stays as it is. Not synced: what is lost only makes a lease end early.
pub fn note_pulses(catalog: &Catalog, pulses: &[Pulse], ttl: Duration) -> Result<(), CatalogError> {
    if pulses.is_empty() {
        return Ok(());
    }
    let operation = "note what agents said";
    catalog.write_relaxed(operation, |tx| {
        for pulse in pulses {
            clients::note_heard(tx, &pulse.client_id, pulse.heard)?;
            for held in &pulse.held {
                let until = pulse.heard.plus(ttl).0;
                let sql = "UPDATE work SET lease_until = ? WHERE work_id = ? AND epoch = ? AND state = 'LEASED' \
                           AND holder_client_id = ? AND run_id = ?";
                let values = params![until, held.work_id, held.epoch, pulse.client_id.as_str(), pulse.run_id];
                if change(tx, operation, sql, values)? == 0 {
                    continue;
                }
                if let (Some(progress), Some(work)) = (&held.progress, work::find(tx, &held.work_id)?) {
                    write_progress(tx, &work, progress, pulse.heard)?;
                }
            }
        }
        Ok(())
    })
}
