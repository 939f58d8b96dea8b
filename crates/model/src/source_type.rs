//! What can be protected, and what a restore can write back, in the words of the API.

use crate::text::word_enum;

word_enum! {
    /// The kind of what a plan protects (`SourceType`).
    pub enum SourceType, "source type" {
        /// Files of a host with an agent.
        EcsFile = "ECS_FILE",
        /// An object storage bucket.
        Oss = "OSS",
        /// A NAS file system of the cloud.
        Nas = "NAS",
        /// A Tablestore instance.
        Ots = "OTS",
        /// A whole instance.
        UdmEcs = "UDM_ECS",
        /// One disk of an instance; a child job of [`SourceType::UdmEcs`].
        UdmEcsDisk = "UDM_ECS_DISK",
        /// A NAS share anywhere.
        CommonNas = "COMMON_NAS",
        /// Files of an on-premises host.
        File = "File",
        /// Synchronisation between data sources.
        Sync = "SYNC",
        /// A container cluster.
        Container = "CONTAINER",
    }
}

word_enum! {
    /// The kind of a restore (`RestoreType`).
    pub enum RestoreType, "restore type" {
        /// Files to a host with an agent.
        EcsFile = "ECS_FILE",
        /// Objects to a bucket.
        Oss = "OSS",
        /// Files to a NAS file system.
        Nas = "NAS",
        /// Rows to a table.
        OtsTable = "OTS_TABLE",
        /// A new instance.
        UdmEcs = "UDM_ECS",
        /// A whole instance, in place.
        UdmEcsRollback = "UDM_ECS_ROLLBACK",
        /// A new disk.
        UdmEcsDisk = "UDM_ECS_DISK",
        /// A disk, in place.
        UdmEcsDiskRollback = "UDM_ECS_DISK_ROLLBACK",
        /// Files to a parallel file system.
        CommonFileSystem = "COMMON_FILE_SYSTEM",
        /// Files to a NAS share anywhere.
        CommonNas = "COMMON_NAS",
        /// Files to an on-premises host.
        File = "File",
        /// Into a container cluster.
        Container = "CONTAINER",
    }
}

impl RestoreType {
    /// Whether snapshots of `source` can be restored this way.
    #[must_use]
    pub const fn accepts(self, source: SourceType) -> bool {
        match self {
            Self::EcsFile => matches!(source, SourceType::EcsFile),
            Self::Oss => matches!(source, SourceType::Oss),
            Self::Nas => matches!(source, SourceType::Nas),
            Self::OtsTable => matches!(source, SourceType::Ots),
            Self::UdmEcs | Self::UdmEcsRollback => matches!(source, SourceType::UdmEcs),
            Self::UdmEcsDisk | Self::UdmEcsDiskRollback => {
                matches!(source, SourceType::UdmEcs | SourceType::UdmEcsDisk)
            }
            Self::CommonNas | Self::CommonFileSystem => matches!(source, SourceType::CommonNas),
            Self::File => matches!(source, SourceType::File),
            Self::Container => matches!(source, SourceType::Container),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn words_are_those_of_the_api() {
        assert_eq!(
            SourceType::WORDS,
            [
                "ECS_FILE",
                "OSS",
                "NAS",
                "OTS",
                "UDM_ECS",
                "UDM_ECS_DISK",
                "COMMON_NAS",
                "File",
                "SYNC",
                "CONTAINER"
            ]
        );
        assert_eq!("File".parse::<SourceType>().unwrap(), SourceType::File);
        assert!("FILE".parse::<SourceType>().is_err());
    }

    #[test]
    fn a_restore_fits_its_source() {
        for source in SourceType::ALL {
            assert_eq!(
                RestoreType::EcsFile.accepts(*source),
                *source == SourceType::EcsFile,
                "{source}"
            );
            let fits = RestoreType::ALL
                .iter()
                .any(|restore| restore.accepts(*source));
            assert_eq!(fits, *source != SourceType::Sync, "{source}");
        }
    }
}
