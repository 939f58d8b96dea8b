//! Which process of a client is the present one: two agents with one identity (a copied machine) are told apart.
//!
//! A process names itself by a random run id. A new run takes the client over, as after a restart; a former run that
//! speaks again while the present one is alive is a second machine, and is refused. In memory only: after a restart of
//! the server the first to speak is the present one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use model::{ClientId, Timestamp};

/// Former runs that are remembered of each client.
const MAX_FORMER: usize = 8;

/// Of all clients.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    of_client: HashMap<ClientId, Client>,
}

#[derive(Debug)]
struct Client {
    present: String,
    last_heard: Timestamp,
    former: VecDeque<String>,
}

impl Runs {
    /// Notes that a run spoke. False if it is a former one and the present one was heard of less than `live` ago.
    pub(super) fn hear(
        &mut self,
        client: &ClientId,
        run_id: &str,
        now: Timestamp,
        live: Duration,
    ) -> bool {
        let Some(known) = self.of_client.get_mut(client) else {
            let first = Client {
                present: run_id.to_owned(),
                last_heard: now,
                former: VecDeque::new(),
            };
            self.of_client.insert(client.clone(), first);
            return true;
        };
        if known.present != run_id {
            let is_former = known.former.iter().any(|former| former == run_id);
            if is_former && now < known.last_heard.plus(live) {
                return false;
            }
            let before = std::mem::replace(&mut known.present, run_id.to_owned());
            known.former.retain(|former| former != run_id);
            known.former.push_back(before);
            if known.former.len() > MAX_FORMER {
                known.former.pop_front();
            }
        }
        known.last_heard = now;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::Duration;

    use model::{ClientId, Timestamp};

    use super::Runs;

    #[test]
    fn a_restart_takes_over_and_a_twin_is_refused() {
        let mut runs = Runs::default();
        let (one, other) = (ClientId::new(1, 1), ClientId::new(2, 2));
        let mut hear = |client, run, second| {
            runs.hear(client, run, Timestamp(second), Duration::from_secs(30))
        };
        assert!(hear(&one, "a", 0) && hear(&other, "a", 0));
        assert!(hear(&one, "b", 1), "a restart");
        assert!(!hear(&one, "a", 2), "the twin");
        assert!(hear(&one, "b", 3) && !hear(&one, "a", 32));
        assert!(hear(&one, "a", 33), "the present one has fallen silent");
        assert!(!hear(&one, "b", 34));
        assert!(hear(&other, "a", 35));
    }
}
