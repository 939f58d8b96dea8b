//! `vault export` without a running server: where the vaults of a data directory are and what opens them.
//!
//! The way out must not depend on a service that starts. Only reads: catalog and master key stay as they are. While a
//! server runs the action ExportVaultKey gives the same.

use std::path::Path;

use api::secret::SecretText;
use catalog::vaults::{self, VaultFilter};
use catalog::{Catalog, CatalogOptions, PageRequest, accounts};

use crate::bootstrap;
use crate::data_dir::DataDir;
use crate::error::ServerError;
use crate::seal::Record;

/// Where a vault is and what opens it.
#[derive(Debug, Clone)]
pub struct ExportedVault {
    /// `v-…`
    pub vault_id: String,
    /// Its name.
    pub vault_name: String,
    /// Path or URL of its repository.
    pub storage_url: String,
    /// Password of the repository.
    pub password: SecretText,
}

/// All vaults of a data directory.
///
/// # Errors
/// There is no data directory, a server runs on it, or its master key is lost.
pub fn export_vaults(data_dir: &Path) -> Result<Vec<ExportedVault>, ServerError> {
    // Opening would make a new data directory, and there is nothing to export from that.
    std::fs::metadata(data_dir.join("catalog.sqlite"))
        .map_err(ServerError::file("find the catalog in", data_dir))?;
    let dir = DataDir::open(data_dir)?;
    let _lock = dir.lock()?;
    dir.refuse_catalog_elsewhere()?;
    let catalog = Catalog::open(&dir.catalog(), CatalogOptions::default())?;
    let master_key = bootstrap::existing_master_key(&dir)?;
    let mut exported = Vec::new();
    for account in accounts::list(&catalog)? {
        let page = PageRequest::first(vaults::MAX_VAULTS);
        for vault in
            vaults::list(&catalog, &account.account_id, &VaultFilter::default(), page)?.rows
        {
            let record = Record::Vault(vault.vault_id.as_str());
            let password = master_key
                .unseal(record, &vault.sealed_password)
                .map_err(|_| ServerError::MasterKeyWrong {
                    path: dir.master_key(),
                    why: "it does not open the catalog's secrets",
                })?;
            exported.push(ExportedVault {
                vault_id: vault.vault_id.to_string(),
                vault_name: vault.vault_name,
                storage_url: vault.storage_url,
                password,
            });
        }
    }
    Ok(exported)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::export_vaults;
    use crate::error::ServerError;

    #[test]
    fn nothing_is_made_where_nothing_is() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("none");
        assert!(matches!(
            export_vaults(&path),
            Err(ServerError::File { .. })
        ));
        assert!(!path.exists());
    }
}
