//! The cache folder of the peers: one folder per kind and content of its pins, built once.
//!
//! Owns the rule that a folder is used only when its building was finished, and that two runs at once do not
//! build the same folder. Never removes a finished folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Written last into a folder: without it the folder is built anew.
const FINISHED: &str = ".finished";

pub(crate) struct Cache {
    root: PathBuf,
    // Held for the life of the run, so that a second run waits instead of building the same folder.
    _lock: File,
}

impl Cache {
    /// `$XDG_CACHE_HOME/strongroom-peers`, or `~/.cache/strongroom-peers`.
    pub(crate) fn open() -> Result<Self> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME names a folder for the test clients")?;
        Self::at(base.join("strongroom-peers"))
    }

    fn at(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let lock = File::create(root.join("lock"))
            .with_context(|| format!("cannot lock {}", root.display()))?;
        lock.lock()
            .with_context(|| format!("cannot lock {}", root.display()))?;
        Ok(Self { root, _lock: lock })
    }

    /// The finished folder for `kind` and these pins; `build` fills it when there is none.
    pub(crate) fn folder(
        &self,
        kind: &str,
        pins: &[u8],
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.root.join(format!("{kind}-{:016x}", fingerprint(pins)));
        if folder.join(FINISHED).is_file() {
            println!("{kind}: {}", folder.display());
            return Ok(folder);
        }
        println!("{kind}: building {}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        build(&folder).with_context(|| format!("cannot install the test client '{kind}'"))?;
        fs::write(folder.join(FINISHED), pins)
            .with_context(|| format!("cannot finish {}", folder.display()))?;
        Ok(folder)
    }
}

/// 64-bit FNV-1a: stable across versions and machines, and names folders only.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn fingerprints_are_those_of_fnv_1a() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_folder_is_built_once_and_again_after_a_failure() {
        let root = std::env::temp_dir().join(format!("xtask-cache-{}", std::process::id()));
        let cache = Cache::at(root.clone()).unwrap();
        let half = cache.folder("kind", b"pins", |folder| {
            fs::write(folder.join("rest"), "half").unwrap();
            anyhow::bail!("interrupted")
        });
        assert!(format!("{:#}", half.unwrap_err()).contains("interrupted"));
        let folder = cache
            .folder("kind", b"pins", |folder| {
                assert!(
                    !folder.join("rest").exists(),
                    "a half-built folder is used again"
                );
                Ok(())
            })
            .unwrap();
        assert_eq!(
            cache
                .folder("kind", b"pins", |_| anyhow::bail!("built twice"))
                .unwrap(),
            folder
        );
        assert_ne!(cache.folder("kind", b"other", |_| Ok(())).unwrap(), folder);
        fs::remove_dir_all(root).unwrap();
    }
}
