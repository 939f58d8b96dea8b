//! The known name that a misspelt one most likely stands for: what a refusal proposes. Names are compared without regard to
//! the case of ASCII letters; it decides nothing.

/// Longest name that is compared, in characters: no known one is nearly as long.
const MAX_CHARS: usize = 128;

/// The known name with the fewest edits from `given` (a letter more, less or another one, or two that changed places), if
/// those are few beside its length; of equally near ones the first.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = lower(given);
    if letters.len() > MAX_CHARS {
        return None;
    }
    let most = 1 + letters.len() / 3;
    known
        .into_iter()
        .map(|name| (edits(&letters, &lower(name)), name))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// How many edits one name is from another, without regard to case.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    edits(&lower(one), &lower(other))
}

fn lower(name: &str) -> Vec<char> {
    name.chars().map(|c| c.to_ascii_lowercase()).collect()
}

/// The optimal string alignment distance, row by row.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let changed = last[j] + usize::from(letter != other);
            let mut fewest = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == to[j - 1] && from[i - 1] == *other {
                fewest = fewest.min(before[j - 1] + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, lower, nearest};

    #[test]
    fn misspelt_names_find_theirs() {
        let known = [
            "Path",
            "PlanName",
            "Prefix",
            "Retention",
            "VaultId",
            "InstanceId",
        ];
        for (given, expected) in [
            ("Paths", Some("Path")),
            ("path", Some("Path")),
            ("Pahts", Some("Path")),
            ("PlanNmae", Some("PlanName")),
            ("Retentoin", Some("Retention")),
            ("RetentionDays", Some("Retention")),
            ("VualtId", Some("VaultId")),
            ("Vault", Some("VaultId")),
            ("Colour", None),
            ("", None),
            ("X", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"Path".repeat(1_000), known), None);
        assert_eq!(nearest("Path", []), None);
    }

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "abx", 1),
            ("abcd", "bcd", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(&lower(from), &lower(to)), expected, "{from} {to}");
            assert_eq!(edits(&lower(to), &lower(from)), expected, "{to} {from}");
        }
    }
}
