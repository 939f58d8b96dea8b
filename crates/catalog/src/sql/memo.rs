//! What a connection has read of one state of the database, for as long as the database is in that state.
//!
//! Each transaction says which state it sees; when that is another one than before, everything is forgotten. So a fact
//! that is found here is what the transaction itself would read.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

/// Facts of one kind; when there are more, all of them are dropped.
const MAX_FACTS: usize = 1_000;

type Fact = Arc<dyn Any + Send + Sync>;

/// The facts of a connection. Cells, not locks: whoever has it took it from a pool.
#[derive(Default)]
pub(crate) struct Memo {
    state: Cell<Option<i64>>,
    /// Whether the present transaction was told a fact.
    has_told: Cell<bool>,
    facts: RefCell<HashMap<&'static str, HashMap<String, Fact>>>,
}

impl Memo {
    /// A transaction that sees `state` begins.
    pub(super) fn enter(&self, state: i64) {
        self.has_told.set(false);
        if self.state.replace(Some(state)) != Some(state) {
            self.facts.borrow_mut().clear();
        }
    }

    /// The transaction, which has asked no statement yet, sees `state`: whether that is the state of all that it was told.
    pub(super) fn goes_on(&self, state: i64) -> bool {
        let is_same = self.state.get() == Some(state) || !self.has_told.get();
        self.enter(state);
        is_same
    }

    /// The fact of a kind about `key`, if it was put here in this state.
    pub(crate) fn get<T: Send + Sync + 'static>(
        &self,
        kind: &'static str,
        key: &str,
    ) -> Option<Arc<T>> {
        let fact = self.facts.borrow().get(kind)?.get(key)?.clone();
        self.has_told.set(true);
        fact.downcast().ok()
    }

    /// Keeps a fact. Facts of one kind are of one type.
    pub(crate) fn put<T: Send + Sync + 'static>(
        &self,
        kind: &'static str,
        key: &str,
        fact: Arc<T>,
    ) {
        let mut facts = self.facts.borrow_mut();
        let of_kind = facts.entry(kind).or_default();
        if of_kind.len() >= MAX_FACTS {
            of_kind.clear();
        }
        of_kind.insert(key.to_owned(), fact);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAX_FACTS, Memo};

    #[test]
    fn facts_last_as_long_as_the_state() {
        let memo = Memo::default();
        memo.enter(1);
        memo.put("a", "x", Arc::new(7));
        memo.enter(1);
        assert_eq!(memo.get("a", "x"), Some(Arc::new(7)));
        assert_eq!(memo.get::<i32>("a", "y"), None);
        assert_eq!(memo.get::<i32>("b", "x"), None);
        for state in [2, 1] {
            memo.enter(state);
            assert_eq!(memo.get::<i32>("a", "x"), None, "state {state}");
        }
    }

    #[test]
    fn a_state_that_has_passed_shows_when_it_was_told_of() {
        let memo = Memo::default();
        memo.enter(1);
        memo.put("a", "x", Arc::new(7));
        memo.enter(1);
        assert!(memo.goes_on(2), "nothing was told");
        memo.put("a", "x", Arc::new(8));
        for (state, goes_on) in [(2, true), (3, false)] {
            memo.enter(2);
            memo.put("a", "x", Arc::new(8));
            assert_eq!(memo.get("a", "x"), Some(Arc::new(8)));
            assert_eq!(memo.goes_on(state), goes_on);
        }
        assert_eq!(memo.get::<i32>("a", "x"), None);
    }

    #[test]
    fn there_are_never_many() {
        let memo = Memo::default();
        memo.enter(1);
        for number in 0..=MAX_FACTS {
            memo.put("a", &number.to_string(), Arc::new(number));
        }
        assert_eq!(memo.get::<usize>("a", "0"), None);
        assert_eq!(
            memo.get("a", &MAX_FACTS.to_string()),
            Some(Arc::new(MAX_FACTS))
        );
    }
}
