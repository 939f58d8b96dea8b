//! `repo tag`: other tags for snapshots, which get other ids by that.

use serde_json::json;
use vault::{Id, TagChange, change_tags};

use super::listing::all;
use super::{Repo, vault_failure};
use crate::args::RepoTagArgs;
use crate::exit::{Exit, Failure};
use crate::output::counted;

/// Changes the tags of the snapshots that were named, or of all that the filter lets pass.
pub(crate) fn run(repo: &Repo<'_>, args: &RepoTagArgs) -> Result<Exit, Failure> {
    let change = change(args)?;
    let opened = repo.open()?;
    repo.unlock_on_interrupt(&opened);
    let mut ids: Vec<Id> = Vec::new();
    for pattern in &args.snapshots {
        let (id, _) = opened
            .find_snapshot(pattern)
            .map_err(|error| vault_failure(&error))?;
        ids.push(id);
    }
    if args.snapshots.is_empty() {
        let filter = args.filter.filter(repo.settings.host.as_deref());
        let found = all(repo, &opened)?;
        let matching = found
            .iter()
            .filter(|(_, snapshot)| filter.matches(snapshot));
        ids.extend(matching.map(|(id, _)| *id));
    }
    ids.sort_unstable();
    ids.dedup();
    let changed = change_tags(&opened, &ids, &change).map_err(|error| vault_failure(&error))?;
    for (old, new) in &changed {
        if repo.options.json {
            repo.screen.json(&json!({
                "message_type": "changed", "old_snapshot_id": old.to_hex(), "new_snapshot_id": new.to_hex()
            }));
        } else {
            repo.say(&format!("snapshot {} is {} now", old.short(), new.short()));
        }
    }
    if repo.options.json {
        repo.screen
            .json(&json!({"message_type": "summary", "changed_snapshots": changed.len()}));
    } else {
        repo.say(&format!(
            "tags of {} changed",
            counted(changed.len() as u64, "snapshot")
        ));
    }
    Ok(Exit::Done)
}

fn change(args: &RepoTagArgs) -> Result<TagChange, Failure> {
    // The empty tag stands for none, as restic has it.
    let list = |tags: &[String]| -> Vec<String> {
        let tags = tags.iter().filter(|tag| !tag.is_empty());
        tags.cloned().collect()
    };
    if !args.set.is_empty() {
        return Ok(TagChange::Set(list(&args.set)));
    }
    let (add, remove) = (list(&args.add), list(&args.remove));
    if add.is_empty() && remove.is_empty() {
        return Err(Failure::usage(
            "no change is named",
            "use --set, or --add and --remove",
        ));
    }
    Ok(TagChange::Edit { add, remove })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::change;
    use crate::args::{FilterArgs, RepoTagArgs};
    use vault::TagChange;

    #[test]
    fn a_change_is_set_or_edited() {
        let of = |set: &[&str], add: &[&str], remove: &[&str]| {
            let texts = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
            change(&RepoTagArgs {
                set: texts(set),
                add: texts(add),
                remove: texts(remove),
                snapshots: vec![],
                filter: FilterArgs::default(),
            })
        };
        assert_eq!(of(&[""], &[], &[]).unwrap(), TagChange::Set(vec![]));
        let edit = TagChange::Edit {
            add: vec!["a".to_owned()],
            remove: vec!["b".to_owned()],
        };
        assert_eq!(of(&[], &["a"], &["b"]).unwrap(), edit);
        assert_eq!(of(&[], &[], &[]).unwrap_err().exit.code(), 2);
    }
}
