//! Where each blob is: all index files of a repository, merged in memory.
//!
//! An entry takes 48 bytes, 10 million blobs therefore 480 MB, with one small table of starting points beside it
//! (below 1 byte per entry) that makes a look-up touch one or two cache lines. A blob that several packs hold is there
//! several times: which copies exist matters to check, repair and prune.
//!
//! Few ask for all of that, so what is kept of data blobs can be less; trees have whole entries always.
//! - A backup asks only whether a blob is there ([`IndexBuilder::for_backup`]): 12 to 15 bytes for each ([`tags`]).
//! - A restore asks for the places of some ([`IndexBuilder::for_restore`]): 8 bytes for each ([`homes`]), and the entries
//!   of the index files that it needs.
//! - Who walks trees asks for none ([`IndexBuilder::for_trees`]).
//!
//! Packs that a prune marked for deletion are kept apart, an index in the index: their blobs do not count as stored, but
//! until the packs are gone they can be read where no other pack has them. A snapshot that was written after the mark may
//! need them, and the next prune puts them back. Only a backup has no use for them.

mod canonical;
pub(crate) mod file;
pub(crate) mod homes;
pub(crate) mod journal;
mod table;
pub(crate) mod tags;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;

use parking_lot::Mutex;

use crate::blob::BlobKind;
use crate::id::Id;
use crate::pack::PackedBlob;

use file::IndexFile;
use homes::{Homes, HomesBuilder};
use table::{Entry, Table};
use tags::{Tags, TagsBuilder};

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLocation {
    /// The pack that holds it.
    pub pack: Id,
    /// Where it begins in the pack.
    pub offset: u32,
    /// Its stored length.
    pub length: u32,
    /// Its length before compression; `None` when it is not compressed.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl BlobLocation {
    /// The length of the plaintext.
    #[must_use]
    pub fn plaintext_length(&self) -> u64 {
        self.with_id(BlobKind::Data, Id::default())
            .plaintext_length()
    }

    /// The same as an entry of the pack.
    pub(crate) fn with_id(&self, kind: BlobKind, id: Id) -> PackedBlob {
        PackedBlob {
            kind,
            id,
            offset: self.offset,
            length: self.length,
            uncompressed_length: self.uncompressed_length,
        }
    }
}

/// Data blobs of a restore whose places are kept from the beginning, 12 MB: what a small vault has at most, and then no
/// index file is read twice.
const RESIDENT_COUNT: usize = 1 << 18;

/// All that the index files of a repository say, or what a backup, a restore or a walk has to know of it. An index for a
/// backup answers [`Index::contains`] for all blobs and everything else as if there were only trees. Through an index for a
/// restore [`crate::Reader`] finds every blob; on its own it answers for trees and for some data blobs.
#[derive(Debug, Default)]
pub struct Index {
    data: Table,
    /// Data blobs of which nothing is known but that they are stored.
    data_tags: Option<Tags>,
    /// Data blobs of which only the index file is known.
    data_homes: Option<Homes>,
    trees: Table,
    packs: Vec<Id>,
    marked_packs: Vec<Id>,
    /// What marked packs hold. Data blobs without a place are among `data_homes`.
    marked: Option<Box<Index>>,
}

impl Index {
    /// Where the blob is, in any one of the packs that hold it; see [`Index::all`].
    #[must_use]
    pub fn get(&self, kind: BlobKind, id: &Id) -> Option<BlobLocation> {
        self.all(kind, id).next()
    }

    /// Every place the blob is in; those in packs that are marked for deletion come last.
    pub fn all(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = BlobLocation> {
        let marked = self.marked().into_iter();
        self.stored(kind, id)
            .chain(marked.flat_map(move |marked| marked.stored(kind, id)))
    }

    /// Every place the blob is in, but for marked packs.
    pub(crate) fn stored(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = BlobLocation> {
        let entries = self.table(kind).find(id).iter();
        entries.map(|entry| self.location(entry))
    }

    /// Whether only marked packs hold the blob, as far as places are known.
    pub(crate) fn is_only_marked(&self, kind: BlobKind, id: &Id) -> bool {
        let is_in = |index: &Self| !index.table(kind).find(id).is_empty();
        self.marked().is_some_and(is_in) && !is_in(self)
    }

    /// Adds the marked packs of a blob that no other pack holds.
    pub(crate) fn note_only_marked(&self, kind: BlobKind, id: &Id, found: &Mutex<BTreeSet<Id>>) {
        if self.is_only_marked(kind, id) {
            found
                .lock()
                .extend(self.all(kind, id).map(|place| place.pack));
        }
    }

    /// What marked packs hold.
    pub(crate) fn marked(&self) -> Option<&Self> {
        self.marked.as_deref()
    }

    /// Whether some pack holds the blob. One that only marked packs hold does not count as stored.
    #[must_use]
    pub fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        match (&self.data_tags, kind) {
            (Some(tags), BlobKind::Data) => tags.contains(id),
            _ => !self.table(kind).find(id).is_empty(),
        }
    }

    /// Entries of both kinds, copies counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() + self.trees.len()
    }

    /// How many data blobs it knows without their places.
    #[must_use]
    pub fn placeless_count(&self) -> usize {
        let tagged = self.data_tags.as_ref().map_or(0, Tags::len);
        tagged + self.data_homes.as_ref().map_or(0, Homes::len)
    }

    pub(crate) fn homes(&self) -> Option<&Homes> {
        self.data_homes.as_ref()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packs that index files name, sorted.
    #[must_use]
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// Packs that a prune of any program marked for deletion (`packs_to_delete`), sorted.
    #[must_use]
    pub fn marked_packs(&self) -> &[Id] {
        &self.marked_packs
    }

    /// Every entry with its place, sorted by id within a kind.
    pub fn iter(&self) -> impl Iterator<Item = (BlobKind, Id, BlobLocation)> {
        let of_kind = |kind| {
            self.table(kind)
                .entries()
                .iter()
                .map(move |entry| (kind, entry.id, self.location(entry)))
        };
        of_kind(BlobKind::Data).chain(of_kind(BlobKind::Tree))
    }

    /// The entries in the order of the packs.
    #[must_use]
    pub fn by_pack(&self) -> ByPack<'_> {
        let mut ends = vec![0_u32; self.packs.len() + 1];
        let entries = || self.data.entries().iter().chain(self.trees.entries());
        for entry in entries() {
            ends[entry.pack as usize + 1] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        let mut order = vec![0_u32; self.len()];
        let mut next = ends.clone();
        for (number, entry) in entries().enumerate() {
            let slot = &mut next[entry.pack as usize];
            order[*slot as usize] = number as u32;
            *slot += 1;
        }
        ByPack {
            index: self,
            order,
            ends,
        }
    }

    fn table(&self, kind: BlobKind) -> &Table {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn location(&self, entry: &Entry) -> BlobLocation {
        BlobLocation {
            pack: self.packs[entry.pack as usize],
            offset: entry.offset,
            length: entry.length,
            uncompressed_length: entry.uncompressed_length,
        }
    }
}

/// The entries of an index by pack, for 4 more bytes each.
#[derive(Debug)]
pub struct ByPack<'a> {
    index: &'a Index,
    order: Vec<u32>,
    ends: Vec<u32>,
}

impl ByPack<'_> {
    /// Number of packs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.packs.len()
    }

    /// Whether there is no pack.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.packs.is_empty()
    }

    /// The pack with this number in [`Index::packs`].
    pub(crate) fn id(&self, number: usize) -> Id {
        self.index.packs[number]
    }

    /// The pack with this number in [`Index::packs`] and its blobs in order of offset.
    #[must_use]
    pub fn get(&self, number: usize) -> (Id, Vec<PackedBlob>) {
        let numbers = &self.order[self.ends[number] as usize..self.ends[number + 1] as usize];
        let data = self.index.data.entries();
        let mut blobs: Vec<PackedBlob> = numbers
            .iter()
            .map(|&number| {
                let number = number as usize;
                let (kind, entry) = match data.get(number) {
                    Some(entry) => (BlobKind::Data, entry),
                    None => (
                        BlobKind::Tree,
                        &self.index.trees.entries()[number - data.len()],
                    ),
                };
                self.index.location(entry).with_id(kind, entry.id)
            })
            .collect();
        blobs.sort_unstable_by_key(|blob| blob.offset);
        (self.id(number), blobs)
    }
}

/// What is kept of data blobs.
#[derive(Debug, Default)]
enum Keep {
    #[default]
    Places,
    Tags(Box<TagsBuilder>),
    Homes {
        builder: HomesBuilder,
        resident_count: usize,
    },
    Nothing,
}

impl Keep {
    /// Whether that is all to be kept of the blob; else its place is.
    fn takes(&mut self, id: &Id, known_count: usize) -> bool {
        match self {
            Self::Places => false,
            Self::Tags(tags) => {
                tags.insert(id);
                true
            }
            Self::Homes {
                builder,
                resident_count,
            } => known_count >= *resident_count && builder.insert(id),
            Self::Nothing => true,
        }
    }
}

/// Collects index files, in any order, into an [`Index`].
#[derive(Debug, Default)]
pub struct IndexBuilder {
    data: Vec<Entry>,
    keep: Keep,
    trees: Vec<Entry>,
    packs: Vec<Id>,
    numbers: HashMap<Id, u32>,
    marked_packs: Vec<Id>,
    /// What marked packs hold, with places.
    marked: Option<Box<IndexBuilder>>,
}

impl IndexBuilder {
    /// A builder whose index knows of data blobs only that they are stored.
    #[must_use]
    pub fn for_backup() -> Self {
        Self {
            keep: Keep::Tags(Box::default()),
            ..Self::default()
        }
    }

    /// A builder whose index knows for most data blobs of a large vault only which index file names them.
    #[must_use]
    pub fn for_restore() -> Self {
        Self::keeping_homes(RESIDENT_COUNT)
    }

    pub(crate) fn keeping_homes(resident_count: usize) -> Self {
        Self {
            keep: Keep::Homes {
                builder: HomesBuilder::default(),
                resident_count,
            },
            ..Self::default()
        }
    }

    /// A builder whose index knows trees alone.
    #[must_use]
    pub fn for_trees() -> Self {
        Self {
            keep: Keep::Nothing,
            ..Self::default()
        }
    }

    /// Says of which index file the packs are that come next.
    pub(crate) fn begin_file(&mut self, file: Id) {
        if let Keep::Homes { builder, .. } = &mut self.keep {
            builder.begin_file(file);
        }
    }

    /// Adds the blobs of one pack. The same pack may come several times, whole or in parts.
    pub fn add_pack(&mut self, pack: Id, blobs: impl IntoIterator<Item = PackedBlob>) {
        let next = self.packs.len() as u32;
        let number = *self.numbers.entry(pack).or_insert(next);
        if number == next {
            self.packs.push(pack);
        }
        for blob in blobs {
            let entries = match blob.kind {
                BlobKind::Data if self.keep.takes(&blob.id, self.data.len()) => continue,
                BlobKind::Data => &mut self.data,
                BlobKind::Tree => &mut self.trees,
            };
            entries.push(Entry {
                id: blob.id,
                pack: number,
                offset: blob.offset,
                length: blob.length,
                uncompressed_length: blob.uncompressed_length,
            });
        }
    }

    /// Adds all that an index file says.
    pub(crate) fn add_file(&mut self, id: &Id, file: IndexFile) {
        self.begin_file(*id);
        for pack in file.packs {
            self.add_pack(pack.id, pack.blobs);
        }
        for pack in file.marked_packs {
            self.add_marked_pack(pack.id, pack.blobs);
        }
    }

    /// Adds a pack that is marked for deletion, and its blobs.
    pub fn add_marked_pack(&mut self, pack: Id, blobs: impl IntoIterator<Item = PackedBlob>) {
        self.marked_packs.push(pack);
        if matches!(self.keep, Keep::Tags(_)) {
            return;
        }
        let marked = self.marked.get_or_insert_default();
        let known_count = marked.data.len();
        let keep = &mut self.keep;
        let has_place =
            |blob: &PackedBlob| blob.kind == BlobKind::Tree || !keep.takes(&blob.id, known_count);
        marked.add_pack(pack, blobs.into_iter().filter(has_place));
    }

    /// Sorts, and drops entries that say the same twice.
    #[must_use]
    pub fn build(mut self) -> Index {
        let mut order: Vec<u32> = (0..self.packs.len() as u32).collect();
        order.sort_unstable_by_key(|&number| self.packs[number as usize]);
        let mut renumbered = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            renumbered[old as usize] = new as u32;
        }
        for entry in self.data.iter_mut().chain(&mut self.trees) {
            entry.pack = renumbered[entry.pack as usize];
        }
        self.packs.sort_unstable();
        self.marked_packs.sort_unstable();
        self.marked_packs.dedup();
        let (data_tags, data_homes) = match self.keep {
            Keep::Tags(builder) => (Some(builder.build()), None),
            Keep::Homes { builder, .. } => (None, Some(builder.build())),
            Keep::Places | Keep::Nothing => (None, None),
        };
        Index {
            data: Table::build(self.data),
            data_tags,
            data_homes,
            trees: Table::build(self.trees),
            packs: self.packs,
            marked_packs: self.marked_packs,
            marked: self.marked.map(|marked| Box::new(marked.build())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::IndexBuilder;
    use crate::blob::BlobKind;
    use crate::id::Id;
    use crate::pack::PackedBlob;

    fn blob(number: u8, kind: BlobKind, offset: u32) -> PackedBlob {
        PackedBlob {
            kind,
            id: Id::hash(&[number]),
            offset,
            length: 40,
            uncompressed_length: None,
        }
    }

    #[test]
    fn an_index_for_a_backup_knows_all_blobs_and_the_places_of_trees() {
        let mut builder = IndexBuilder::for_backup();
        let pack = Id::hash(b"p");
        let blobs = [blob(1, BlobKind::Data, 0), blob(2, BlobKind::Tree, 40)];
        builder.add_pack(pack, blobs);
        builder.add_pack(pack, blobs);
        let index = builder.build();
        let id = |number: u8| Id::hash(&[number]);
        assert!(index.contains(BlobKind::Data, &id(1)) && index.contains(BlobKind::Tree, &id(2)));
        assert!(!index.contains(BlobKind::Data, &id(2)) && !index.contains(BlobKind::Tree, &id(1)));
        assert_eq!(index.get(BlobKind::Data, &id(1)), None);
        assert_eq!(index.get(BlobKind::Tree, &id(2)).unwrap().pack, pack);
        assert_eq!((index.len(), index.placeless_count()), (1, 1));
        assert_eq!(index.packs(), [pack]);
    }

    /// A blob of a marked pack is found where no other pack has it, and never counts as stored; a backup does not see it.
    #[test]
    fn marked_packs_are_the_last_resort() {
        let id = |number: u8| Id::hash(&[number]);
        let (live, marked) = (Id::hash(b"p"), Id::hash(b"q"));
        for kind in [BlobKind::Data, BlobKind::Tree] {
            for (new_builder, knows_places) in [
                (IndexBuilder::default as fn() -> IndexBuilder, true),
                (IndexBuilder::for_restore, true),
                (IndexBuilder::for_trees, kind == BlobKind::Tree),
                (IndexBuilder::for_backup, false),
            ] {
                let mut builder = new_builder();
                builder.begin_file(id(0));
                builder.add_marked_pack(marked, [blob(1, kind, 0), blob(2, kind, 40)]);
                builder.add_pack(live, [blob(2, kind, 0), blob(3, kind, 40)]);
                let index = builder.build();
                let packs = |number: u8| -> Vec<Id> {
                    let id = id(number);
                    index.all(kind, &id).map(|place| place.pack).collect()
                };
                let in_marked = if knows_places { vec![marked] } else { vec![] };
                assert_eq!(packs(1), in_marked);
                assert!(packs(2).is_empty() || packs(2).ends_with(&in_marked));
                assert!(packs(2).first() != Some(&marked));
                assert!(!index.contains(kind, &id(1)));
                assert_eq!(index.is_only_marked(kind, &id(1)), knows_places);
                assert!(!index.is_only_marked(kind, &id(2)) && !index.is_only_marked(kind, &id(4)));
                assert_eq!(
                    (index.packs(), index.marked_packs()),
                    (&[live][..], &[marked][..])
                );
                assert!(index.iter().all(|(_, _, place)| place.pack == live));
            }
        }
    }

    #[test]
    fn kinds_are_apart() {
        let mut builder = IndexBuilder::default();
        builder.add_pack(Id::hash(b"p"), [blob(1, BlobKind::Data, 0)]);
        let index = builder.build();
        assert!(index.contains(BlobKind::Data, &Id::hash(&[1])));
        assert!(!index.contains(BlobKind::Tree, &Id::hash(&[1])));
        assert_eq!(
            index.get(BlobKind::Data, &Id::hash(&[1])).unwrap().pack,
            Id::hash(b"p")
        );
    }

    proptest! {
        /// T22 and T5 of the history of failures: against a naive model, whatever comes twice or in parts.
        #[test]
        fn t05_t22_agrees_with_a_naive_map(
            entries in proptest::collection::vec((any::<u8>(), 0_u8..4, any::<bool>(), 0_u32..3), 0..400),
        ) {
            let mut builder = IndexBuilder::default();
            let mut model: BTreeMap<(BlobKind, Id), BTreeSet<(Id, u32)>> = BTreeMap::new();
            for (number, pack, is_tree, offset) in entries {
                let kind = if is_tree { BlobKind::Tree } else { BlobKind::Data };
                let (pack, blob) = (Id::hash(&[b'p', pack]), blob(number, kind, offset));
                builder.add_pack(pack, [blob]);
                model.entry((kind, blob.id)).or_default().insert((pack, offset));
            }
            let index = builder.build();
            for number in 0..=255 {
                for kind in [BlobKind::Data, BlobKind::Tree] {
                    let id = Id::hash(&[number]);
                    let found: BTreeSet<(Id, u32)> =
                        index.all(kind, &id).map(|place| (place.pack, place.offset)).collect();
                    prop_assert_eq!(found, model.get(&(kind, id)).cloned().unwrap_or_default());
                }
            }
            prop_assert_eq!(index.len(), model.values().map(BTreeSet::len).sum::<usize>());
            let by_pack = index.by_pack();
            for number in 0..by_pack.len() {
                let (pack, blobs) = by_pack.get(number);
                for blob in &blobs {
                    prop_assert!(model[&(blob.kind, blob.id)].contains(&(pack, blob.offset)));
                }
            }
            let grouped: usize = (0..by_pack.len()).map(|number| by_pack.get(number).1.len()).sum();
            prop_assert_eq!(grouped, index.len());
        }
    }
}
