//! ExportVaultKey, an extension of this server: where a vault is and what opens it, so that its owner can leave with
//! stock restic. Every export is logged.

use api::error::Code;
use catalog::vaults;
use model::VaultId;
use serde::Serialize;

use super::{Answer, Call, lists};
use crate::failure;
use crate::seal::Record;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExportReply<'a> {
    vault_id: &'a str,
    storage_url: &'a str,
    /// Password of the repository.
    password: &'a str,
}

/// The storage and password of one vault.
pub(crate) fn export_vault_key(call: &Call<'_>) -> Answer {
    let service = call.service;
    let vault_id: VaultId = lists::id(&call.params, "VaultId", Code::VaultNotExist)?;
    let vault =
        vaults::get(&service.catalog, &call.account, &vault_id).map_err(failure::of_catalog)?;
    let password = service
        .master_key
        .unseal(Record::Vault(vault_id.as_str()), &vault.sealed_password)
        .map_err(failure::of_unseal)?;
    tracing::warn!(vault_id = %vault_id, account_id = %call.account, request_id = call.request_id, "the key of a vault was exported");
    call.reply(ExportReply {
        vault_id: vault_id.as_str(),
        storage_url: &vault.storage_url,
        password: password.expose(),
    })
}
