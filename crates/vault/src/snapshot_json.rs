//! Snapshots as the JSON that is stored, for what changes a few fields and must keep all others, those of other programs
//! included.

use serde_json::{Map, Value};
use storage::ErrorKind;

use crate::error::VaultError;
use crate::id::Id;
use crate::layout::FileKind;
use crate::repository::Repository;

/// The fields of a snapshot file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SnapshotFields(Map<String, Value>);

impl SnapshotFields {
    /// Reads the JSON of snapshot `id`.
    pub(crate) fn read(id: &Id, json: &[u8]) -> Result<Self, VaultError> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(VaultError::damaged(
                FileKind::Snapshot,
                id,
                "it is no object",
            )),
            Err(error) => Err(VaultError::damaged(FileKind::Snapshot, id, error)),
        }
    }

    /// Another root tree.
    pub(crate) fn set_tree(&mut self, tree: &Id) {
        self.0.insert("tree".to_owned(), Value::from(tree.to_hex()));
    }

    /// No parent: it is not in this repository.
    pub(crate) fn remove_parent(&mut self) {
        self.0.shift_remove("parent");
    }

    /// Notes what it was made from, unless it was made from something else before.
    pub(crate) fn set_original(&mut self, original: &Id) {
        self.0
            .entry("original")
            .or_insert_with(|| Value::from(original.to_hex()));
    }

    /// All tags.
    pub(crate) fn tags(&self) -> Vec<String> {
        let tags = self.0.get("tags").and_then(Value::as_array);
        let texts = tags.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// These tags and no others.
    pub(crate) fn set_tags(&mut self, tags: &[String]) {
        if tags.is_empty() {
            self.0.shift_remove("tags");
        } else {
            self.0.insert("tags".to_owned(), Value::from(tags));
        }
    }

    /// Adds a tag.
    pub(crate) fn add_tag(&mut self, tag: &str) {
        let tags = self.0.entry("tags").or_insert(Value::Null);
        if tags.is_null() {
            *tags = Value::Array(Vec::new());
        }
        if let Value::Array(tags) = tags
            && !tags.iter().any(|known| known == tag)
        {
            tags.push(Value::from(tag));
        }
    }

    /// Stores it, unless one of these snapshots has just these fields: whoever was killed before has written it then. One of
    /// them that is gone was replaced a moment ago.
    pub(crate) fn put_once<'a>(
        &self,
        repository: &Repository,
        candidates: impl IntoIterator<Item = &'a Id>,
    ) -> Result<Id, VaultError> {
        for id in candidates {
            let json = match repository.load_json(FileKind::Snapshot, id) {
                Err(error) if error.storage_kind() == Some(ErrorKind::NotFound) => continue,
                read => read?,
            };
            if Self::read(id, &json)? == *self {
                return Ok(*id);
            }
        }
        repository.save_json(FileKind::Snapshot, &self.to_json()?)
    }

    /// Whether both are the same backup, wherever they came from.
    pub(crate) fn is_same_backup(&self, other: &Self) -> bool {
        let without_origin = |fields: &Map<String, Value>| {
            let mut fields = fields.clone();
            for name in ["original", "parent"] {
                fields.remove(name);
            }
            fields
        };
        without_origin(&self.0) == without_origin(&other.0)
    }

    /// The JSON.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, VaultError> {
        serde_json::to_vec(&self.0)
            .map_err(|error| VaultError::damaged(FileKind::Snapshot, "(new)", error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::SnapshotFields;
    use crate::id::Id;

    #[test]
    fn unknown_fields_and_their_order_stay() {
        let id = Id::hash(b"x");
        let text = format!(
            r#"{{"time":"2024-01-01T00:00:00.5+01:00","parent":"{id}","tree":"{id}","label":"theirs","tags":["a"]}}"#
        );
        let before = SnapshotFields::read(&id, text.as_bytes()).unwrap();
        let mut fields = before.clone();
        fields.remove_parent();
        fields.set_original(&id);
        fields.set_original(&Id::hash(b"y"));
        assert!(fields.is_same_backup(&before));
        fields.set_tree(&Id::hash(b"t"));
        fields.add_tag("a");
        fields.add_tag("repaired");
        assert!(!fields.is_same_backup(&before));
        assert_eq!(
            String::from_utf8(fields.to_json().unwrap()).unwrap(),
            format!(
                r#"{{"time":"2024-01-01T00:00:00.5+01:00","tree":"{}","label":"theirs","tags":["a","repaired"],"original":"{id}"}}"#,
                Id::hash(b"t")
            )
        );
        assert_eq!(fields.tags(), ["a", "repaired"]);
        fields.set_tags(&["b".to_owned()]);
        assert_eq!(fields.tags(), ["b"]);
        fields.set_tags(&[]);
        let text = String::from_utf8(fields.to_json().unwrap()).unwrap();
        assert!(fields.tags().is_empty() && !text.contains("tags"), "{text}");
        assert!(SnapshotFields::read(&id, b"[]").is_err());
        assert!(SnapshotFields::read(&id, b"").is_err());
    }
}
