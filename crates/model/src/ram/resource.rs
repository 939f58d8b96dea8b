//! What a pattern of resources can fit at all. One that is misspelt fits nothing, and a denial of it would deny nothing.
//!
//! A pattern is held against the forms that names have, as another pattern would be: it is right if there is a text that has
//! both forms. Regions and accounts are not compared with those of the service, since documents are shared.

use crate::nearest::{distance, nearest};

/// The code of the service in names of resources.
const SERVICE: &str = "hbr";
/// Services of the cloud whose codes are nearly that of this one.
const NEAR_SERVICES: [&str; 1] = ["hdr"];

/// A kind of thing that the service judges calls by: it has names such as `acs:hbr:REGION:ACCOUNT:vault/v-0001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    /// `vault`.
    pub name: &'static str,
    /// What its ids start with, `v-`.
    pub id_prefix: &'static str,
}

impl ResourceKind {
    /// The last part of the name of one of the kind: `vault/v-0001`.
    #[must_use]
    pub fn of(&self, id: &str) -> String {
        format!("{}/{id}", self.name)
    }
}

/// A part of the form of a name.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// This byte.
    Is(u8),
    /// One byte, no colon.
    One,
    /// Any number of bytes, no colon among them.
    Several,
    /// Any number of bytes.
    Any,
}

impl Part {
    fn may_be_none(self) -> bool {
        matches!(self, Self::Several | Self::Any)
    }

    fn takes(self, letter: u8) -> bool {
        match self {
            Self::Is(own) => own == letter,
            Self::One | Self::Several => letter != b':',
            Self::Any => true,
        }
    }
}

/// `acs:`, a service, a region and an account, as far as they are given, then `last`.
fn form(service: &[Part], scope: &[Part], last: &[Part]) -> Vec<Part> {
    [
        &literal("acs:")[..],
        service,
        &literal(":"),
        scope,
        &literal(":"),
        scope,
        &literal(":"),
        last,
    ]
    .concat()
}

fn literal(text: &str) -> Vec<Part> {
    text.bytes().map(Part::Is).collect()
}

/// Whether the service may have a name that fits.
fn may_fit(pattern: &str, kinds: &[ResourceKind]) -> bool {
    let of_service = |last: &[Part]| {
        let scope = [Part::One, Part::Several];
        meet(pattern, &form(&literal(SERVICE), &scope, last))
    };
    // No colon in ids: a `*` of the pattern may be any text, which else could be a name and a wrong rest.
    let of_kind = |kind: &ResourceKind| {
        let begin = literal(&kind.of(kind.id_prefix));
        of_service(&[&begin[..], &[Part::One, Part::Several]].concat())
    };
    of_service(&literal("*")) || kinds.iter().any(of_kind)
}

/// Whether it is, or may be, about another service, whose kinds are its own.
fn is_of_others(pattern: &str) -> bool {
    let service = [Part::One, Part::Several];
    if !meet(pattern, &form(&service, &[Part::Several], &[Part::Any])) {
        return false;
    }
    let named = pattern.strip_prefix("acs:").unwrap_or_default();
    match named.split_once(':') {
        Some((service, _)) if !service.is_empty() && !service.contains(['*', '?']) => {
            NEAR_SERVICES.contains(&service) || distance(service, SERVICE) > 1
        }
        _ => true,
    }
}

/// Whether there is a text that fits a pattern and has a form: walks through both side by side, each state once.
fn meet(pattern: &str, form: &[Part]) -> bool {
    let pattern = pattern.as_bytes();
    let width = form.len() + 1;
    let mut seen = vec![false; (pattern.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((at, part)) = open.pop() {
        if std::mem::replace(&mut seen[at * width + part], true) {
            continue;
        }
        let (letter, wanted) = (pattern.get(at), form.get(part));
        if letter.is_none() && wanted.is_none() {
            return true;
        }
        if letter == Some(&b'*') {
            open.push((at + 1, part));
        }
        if wanted.is_some_and(|part| part.may_be_none()) {
            open.push((at, part + 1));
        }
        let (Some(&letter), Some(&wanted)) = (letter, wanted) else {
            continue;
        };
        if matches!(letter, b'*' | b'?') || wanted.takes(letter) {
            let next_at = if letter == b'*' { at } else { at + 1 };
            let next_part = if wanted.may_be_none() { part } else { part + 1 };
            open.push((next_at, next_part));
        }
    }
    false
}

/// Whether a pattern can fit something; if not, what was most likely meant.
pub(super) fn check(pattern: &str, kinds: &[ResourceKind]) -> Result<(), Option<String>> {
    if may_fit(pattern, kinds) || is_of_others(pattern) {
        return Ok(());
    }
    Err(meant(pattern, kinds))
}

/// The pattern with the kind that its id has, or the nearest one, and all parts in their places.
fn meant(pattern: &str, kinds: &[ResourceKind]) -> Option<String> {
    let (head, last) = pattern.rsplit_once(':').unwrap_or(("", pattern));
    let scope = match head.split(':').collect::<Vec<_>>()[..] {
        [_, _, region, account] if !region.is_empty() && !account.is_empty() => {
            format!("{region}:{account}")
        }
        _ => "*:*".to_owned(),
    };
    let of_id = |id: &str| kinds.iter().find(|kind| id.starts_with(kind.id_prefix));
    let (kind, id) = match last.split_once('/') {
        Some(both) => both,
        None if of_id(last).is_some() => ("", last),
        None => (last, "*"),
    };
    let of_name = || nearest(kind, kinds.iter().map(|kind| kind.name));
    let what = match of_id(id).map(|kind| kind.name).or_else(of_name) {
        _ if last == "*" => last.to_owned(),
        Some(name) => format!("{name}/{id}"),
        None => return None,
    };
    let meant = format!("acs:{SERVICE}:{scope}:{what}");
    may_fit(&meant, kinds).then_some(meant)
}

/// What may stand behind `acs:hbr:REGION:ACCOUNT:`, for a refusal.
pub(super) fn listed(kinds: &[ResourceKind]) -> String {
    let each = kinds
        .iter()
        .map(|kind| format!("{}…, ", kind.of(kind.id_prefix)));
    each.collect::<String>() + "*"
}
