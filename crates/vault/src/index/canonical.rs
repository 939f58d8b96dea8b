//! An index file in the plain form that restic and this crate write; see [`crate::plain_json`].

use std::num::NonZeroU32;

use super::file::IndexedPack;
use crate::blob::BlobKind;
use crate::pack::PackedBlob;
use crate::plain_json::Text;

/// The packs, if the text has the plain form and nothing but packs.
pub(super) fn decode(json: &[u8]) -> Option<Vec<IndexedPack>> {
    let mut text = Text::new(json);
    text.word(b"{\"packs\":")?;
    let packs = text.list(Text::pack)?;
    text.word(b"}")?;
    // restic ends the file with a newline, this crate does not.
    text.has(b"\n");
    text.is_at_end().then_some(packs)
}

impl Text<'_> {
    fn pack(&mut self) -> Option<IndexedPack> {
        self.word(b"{\"id\":")?;
        let id = self.id()?;
        self.word(b",\"blobs\":")?;
        let blobs = self.list(Text::blob)?;
        self.word(b"}")?;
        Some(IndexedPack { id, blobs })
    }

    fn blob(&mut self) -> Option<PackedBlob> {
        self.word(b"{\"id\":")?;
        let id = self.id()?;
        self.word(b",\"type\":\"")?;
        let kind = match self.has(b"data\"") {
            true => BlobKind::Data,
            false => {
                self.word(b"tree\"")?;
                BlobKind::Tree
            }
        };
        self.word(b",\"offset\":")?;
        let offset = self.number_u32()?;
        self.word(b",\"length\":")?;
        let length = self.number_u32()?;
        let uncompressed_length = match self.has(b",\"uncompressed_length\":") {
            true => NonZeroU32::new(self.number_u32()?),
            false => None,
        };
        self.word(b"}")?;
        Some(PackedBlob {
            kind,
            id,
            offset,
            length,
            uncompressed_length,
        })
    }
}
