//! CACHEDIR.TAG (<https://bford.info/cachedir/>): a program's own word that a folder can be made again.

use super::dir::Dir;
use super::reader::FileReader;

/// The name of the tag.
pub(crate) const TAG_NAME: &[u8] = b"CACHEDIR.TAG";

/// The bytes that a real tag starts with; a file of the same name without them means nothing.
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether the folder's tag is a real one. A tag that cannot be read is none: better to keep too much.
pub(crate) fn is_tagged(dir: &Dir) -> bool {
    let mut head = [0u8; SIGNATURE.len()];
    FileReader::open(dir, TAG_NAME)
        .and_then(|reader| reader.read_at(0, &mut head))
        .is_ok_and(|length_bytes| length_bytes == head.len() && head == *SIGNATURE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::file::dir::DirBudget;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::Arc;

    #[test]
    fn only_a_real_signature_counts() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open_path(
            temp.path().as_os_str().as_bytes(),
            &Arc::new(DirBudget::default()),
        )
        .unwrap();
        assert!(!is_tagged(&dir));
        let tag = temp.path().join("CACHEDIR.TAG");
        std::fs::write(&tag, "Signature: nothing of the kind, but long enough").unwrap();
        assert!(!is_tagged(&dir));
        std::fs::write(&tag, "Signature: 8a477f597d28d172789f06886806bc5").unwrap();
        assert!(!is_tagged(&dir));
        std::fs::write(
            &tag,
            "Signature: 8a477f597d28d172789f06886806bc55\n# comment",
        )
        .unwrap();
        assert!(is_tagged(&dir));
    }
}
