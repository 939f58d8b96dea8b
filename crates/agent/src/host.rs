//! Facts about this host: name, system, processor, machine id.

use std::path::Path;

/// Files that hold the machine id on Linux, the usual one first.
const MACHINE_ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Name of the host as the kernel knows it.
pub(crate) fn hostname() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// What stays the same on this machine across reinstalls of the agent; none where the system has no such thing.
pub(crate) fn machine_id() -> Option<String> {
    MACHINE_ID_FILES
        .iter()
        .find_map(|file| read_machine_id(Path::new(file)))
}

fn read_machine_id(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let id = text.trim();
    let valid = id.len() == 32
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && id.bytes().any(|byte| byte != b'0');
    valid.then(|| id.to_ascii_lowercase())
}

/// A random machine id for a system without one.
pub(crate) fn random_id() -> std::io::Result<String> {
    let mut bytes = [0u8; 16];
    let mut random = std::fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{hostname, random_id, read_machine_id};

    #[test]
    fn machine_ids_are_32_hex_digits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        for (text, expected) in [
            (
                "0123456789abcdef0123456789ABCDEF\n",
                Some("0123456789abcdef0123456789abcdef"),
            ),
            ("uninitialized\n", None),
            ("00000000000000000000000000000000\n", None),
            ("", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_machine_id(&file).as_deref(), expected, "{text}");
        }
        assert_eq!(read_machine_id(&folder.path().join("none")), None);
    }

    #[test]
    fn random_ids_differ_and_hosts_have_names() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
        assert!(!hostname().is_empty());
    }
}
