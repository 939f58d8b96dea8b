//! The way from the planner to the writers: batches are written by a thread of their own while the walk plans the next.
//!
//! The hand-over is a meeting, not a queue: a small batch goes as soon as the writer waits for one, so that writing
//! begins at once, and while it is busy the batch grows until it is full, so that each pack is read in few pieces. So at
//! most two batches are in memory.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::Session;
use super::batch::Batch;
use crate::error::RunError;

/// A waiting writer gets a batch of this size: some thousand files, so that starting the workers costs little beside it.
const SMALL_BATCH_BYTES: usize = 1 << 20;
/// The walk waits when a batch takes so much memory.
const FULL_BATCH_BYTES: usize = 6 << 20;

/// The planner's end.
pub(super) struct BatchSender {
    sender: SyncSender<Batch>,
}

/// The end of the writer ended first; its error says why.
pub(super) struct WriterGone;

/// Both ends.
pub(super) fn meeting() -> (BatchSender, Receiver<Batch>) {
    let (sender, receiver) = sync_channel(0);
    (BatchSender { sender }, receiver)
}

impl BatchSender {
    /// Hands the batch over, leaving an empty one, when the time has come.
    pub(super) fn offer(&self, batch: &mut Batch) -> Result<(), WriterGone> {
        let held_bytes = batch.held_bytes();
        if held_bytes >= FULL_BATCH_BYTES {
            return self.hand_over(std::mem::take(batch));
        }
        if held_bytes < SMALL_BATCH_BYTES {
            return Ok(());
        }
        match self.sender.try_send(std::mem::take(batch)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(back)) => {
                *batch = back;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(WriterGone),
        }
    }

    /// Waits for the writer and hands over the last batch.
    pub(super) fn finish(self, batch: Batch) -> Result<(), WriterGone> {
        self.hand_over(batch)
    }

    fn hand_over(&self, batch: Batch) -> Result<(), WriterGone> {
        self.sender.send(batch).map_err(|_| WriterGone)
    }
}

/// The loop of the writing thread: ends with the planner, or with the first error.
pub(super) fn write_all(session: &Session<'_>, batches: &Receiver<Batch>) -> Result<(), RunError> {
    batches.iter().try_for_each(|batch| session.write(batch))
}
