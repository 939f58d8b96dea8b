//! `repo find`: in which snapshots a name is.

use std::collections::HashSet;
use std::sync::Arc;

use runner::{Choice, Filter};
use vault::{Id, Node, Reader, Repository, Snapshot};

use super::listing::{all, long_line};
use super::shapes::node_json;
use super::walk::{Lines, Next, Visitor, path_text, walk};
use super::{Repo, vault_failure};
use crate::args::RepoFindArgs;
use crate::exit::{Exit, Failure, chain};
use crate::output::{clock, printable};

/// Folders that are known to hold nothing that is looked for; more are looked into again.
const MOST_KNOWN: usize = 1 << 20;

/// Looks through snapshots, the newest first.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoFindArgs) -> Result<Exit, Failure> {
    let wanted = Wanted::new(args)?;
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let _lock = repo.lock_to_read(&opened)?;
    let snapshots = snapshots(repo, &opened, args)?;
    let index = opened
        .load_tree_index()
        .map_err(|error| vault_failure(&error))?;
    let reader = Reader::new(opened, Arc::new(index));
    let mut search = Search {
        repo,
        wanted,
        long: args.long,
        text: Lines::new(repo.screen),
        barren: HashSet::new(),
        snapshot: Id::default(),
        time: 0,
        way: Vec::new(),
        hits: 0,
        is_later: false,
    };
    if repo.options.json {
        search.text.push_part("[");
    }
    let looked = snapshots
        .iter()
        .rev()
        .try_for_each(|snapshot| search.look_through(&reader, snapshot));
    if repo.options.json && looked.is_ok() {
        search.text.push("]");
    }
    search.text.flush();
    looked.map(|()| Exit::Done)
}

/// Those that were named, or all that the filter lets pass; oldest first.
fn snapshots(
    repo: &Repo<'_>,
    opened: &Repository,
    args: &RepoFindArgs,
) -> Result<Vec<(Id, Snapshot)>, Failure> {
    let filter = args.filter.filter(repo.settings.host.as_deref());
    if args.snapshot.is_empty() {
        let mut found = all(repo, opened)?;
        found.retain(|(_, snapshot)| filter.matches(snapshot));
        return Ok(found);
    }
    args.snapshot
        .iter()
        .map(|pattern| repo.find_snapshot(opened, pattern, &filter))
        .collect()
}

/// What is looked for.
struct Wanted {
    filter: Filter,
    ignores_case: bool,
    /// Whether a match is about one name and not about where it lies: then what a folder holds decides alone.
    is_of_names: bool,
}

impl Wanted {
    fn new(args: &RepoFindArgs) -> Result<Self, Failure> {
        let patterns: Vec<String> = args
            .patterns
            .iter()
            .map(|pattern| match args.ignore_case {
                true => pattern.to_lowercase(),
                false => pattern.clone(),
            })
            .collect();
        let filter = Filter::new(&patterns, &[])
            .map_err(|error| Failure::usage(chain(&error), "correct the pattern"))?;
        Ok(Self {
            filter,
            ignores_case: args.ignore_case,
            is_of_names: patterns.iter().all(|pattern| !pattern.contains(['/', '!'])),
        })
    }

    /// As a backup chooses by its include patterns: what lies below a match matches too.
    fn choose(&self, path: &[Vec<u8>], is_dir: bool, parent_matches: bool) -> Choice {
        if self.ignores_case {
            let path = path_text(path).to_lowercase();
            return self.filter.choose(path.as_bytes(), is_dir, parent_matches);
        }
        let mut whole = Vec::new();
        for name in path {
            whole.push(b'/');
            whole.extend_from_slice(name);
        }
        self.filter.choose(&whole, is_dir, parent_matches)
    }
}

/// A folder on the way to where the search is.
struct Folder {
    matches: bool,
    /// Matches that there were before it.
    hits: u64,
}

struct Search<'a> {
    repo: &'a Repo<'a>,
    wanted: Wanted,
    long: bool,
    text: Lines<'a>,
    /// Trees in which nothing was found, in any snapshot.
    barren: HashSet<Id>,
    snapshot: Id,
    time: i64,
    way: Vec<Folder>,
    /// Matches in this snapshot.
    hits: u64,
    /// Whether a snapshot before this one had matches.
    is_later: bool,
}

impl Search<'_> {
    /// Looks through another snapshot.
    fn look_through(
        &mut self,
        reader: &Reader,
        (id, snapshot): &(Id, Snapshot),
    ) -> Result<(), Failure> {
        self.is_later |= self.hits > 0;
        self.hits = 0;
        self.way.clear();
        self.snapshot = *id;
        self.time = snapshot.time.seconds;
        walk(self.repo, reader, &snapshot.tree, Vec::new(), self)?;
        if self.hits > 0 && self.repo.options.json {
            self.text.push_part(&format!(
                r#"],"hits":{},"snapshot":"{}"}}"#,
                self.hits,
                self.snapshot.to_hex()
            ));
        } else if self.hits > 0 {
            self.text.push("");
        }
        Ok(())
    }

    fn tell(&mut self, node: &Node, path: &[Vec<u8>]) {
        let is_first = self.hits == 0;
        self.hits += 1;
        let name = path_text(path);
        if self.repo.options.json {
            self.text.push_part(match (is_first, self.is_later) {
                (true, true) => r#",{"matches":["#,
                (true, false) => r#"{"matches":["#,
                (false, _) => ",",
            });
            self.text.push_part(&node_json(node, &name).to_string());
            return;
        }
        if is_first {
            self.text.push(&format!(
                "Found matching entries in snapshot {} from {}",
                self.snapshot.short(),
                clock(self.time)
            ));
        }
        let line = match self.long {
            true => long_line(node, &name),
            false => printable(&name),
        };
        self.text.push(&line);
    }
}

impl Visitor for Search<'_> {
    fn visit(&mut self, node: &Node, path: &[Vec<u8>]) -> Result<Next, Failure> {
        if self.repo.screen.reader_is_gone() {
            return Ok(Next::End);
        }
        let parent_matches = self.way.last().is_some_and(|folder| folder.matches);
        let choice = self
            .wanted
            .choose(path, node.subtree.is_some(), parent_matches);
        if choice == Choice::Take {
            self.tell(node, path);
        }
        let Some(subtree) = node.subtree.filter(|_| choice != Choice::Leave) else {
            return Ok(Next::Beside);
        };
        if choice == Choice::Pass && self.barren.contains(&subtree) {
            return Ok(Next::Beside);
        }
        self.way.push(Folder {
            matches: choice == Choice::Take,
            hits: self.hits,
        });
        Ok(Next::Below)
    }

    fn leave(&mut self, subtree: &Id) {
        let folder = self.way.pop();
        let has_none = folder.is_some_and(|folder| folder.hits == self.hits);
        if has_none && self.wanted.is_of_names && self.barren.len() < MOST_KNOWN {
            self.barren.insert(*subtree);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Wanted;
    use crate::args::{FilterArgs, RepoFindArgs};
    use runner::Choice;

    #[test]
    fn patterns_are_about_names_or_paths() {
        let wanted = |pattern: &str, ignore_case| {
            let args = RepoFindArgs {
                patterns: vec![pattern.to_owned()],
                ignore_case,
                long: false,
                snapshot: vec![],
                filter: FilterArgs::default(),
            };
            Wanted::new(&args).unwrap()
        };
        let path = |text: &str| -> Vec<Vec<u8>> {
            text.split('/')
                .map(|name| name.as_bytes().to_vec())
                .collect()
        };
        let by_name = wanted("*.LOG", false);
        assert!(by_name.is_of_names && !wanted("a/b", false).is_of_names);
        assert_eq!(
            by_name.choose(&path("var/x.LOG"), false, false),
            Choice::Take
        );
        assert_eq!(
            by_name.choose(&path("var/x.log"), false, false),
            Choice::Leave
        );
        assert_eq!(by_name.choose(&path("var"), true, false), Choice::Pass);
        assert_eq!(by_name.choose(&path("x.LOG/y"), false, true), Choice::Take);
        let any_case = wanted("*.LOG", true);
        assert_eq!(any_case.choose(&path("x.Log"), false, false), Choice::Take);
        let anchored = wanted("/etc/*.conf", false);
        assert_eq!(anchored.choose(&path("srv"), true, false), Choice::Leave);
    }
}
