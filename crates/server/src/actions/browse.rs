//! BrowseFiles: the folders of a snapshot, read from the vault.

use std::sync::Arc;

use api::error::{ApiError, Code};
use api::params::Params;
use api::shapes::snapshots::{Node as NodeShape, Nodes, NodesReply};
use catalog::{Vault, snapshots, vaults};
use model::VaultId;
use vault::{Id, Node, NodeKind, Tree, VaultError};

use super::repositories::OpenVault;
use super::{Answer, Call, lists};
use crate::failure;
use crate::seal::Record;
use crate::service::Service;

const MAX_RESULTS: i64 = 100;
const DEFAULT_RESULTS: i64 = 10;
/// What a `NextToken` starts with; a number follows. A folder of a snapshot never changes, so a position in it is
/// stable.
const TOKEN_PREFIX: &str = "1.";

/// Which part of a folder is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// `MaxResults`, `NextToken`.
    From { offset: usize, count: usize },
    /// `PageNumber`, `PageSize`, which are older.
    Page { number: usize, size: usize },
}

/// Lists one folder: by its absolute path in the snapshot, or by the hash that a listing gave as `Subtree`.
pub(crate) fn browse_files(call: &Call<'_>) -> Answer {
    let params = &call.params;
    let window = window(params)?;
    let vault_id: VaultId = lists::id(params, "VaultId", Code::VaultNotExist)?;
    let hash = params.required("SnapshotHash")?;
    let service = call.service;
    let vault =
        vaults::get(&service.catalog, &call.account, &vault_id).map_err(failure::of_catalog)?;
    let snapshot = snapshots::get_by_hash(&service.catalog, &call.account, &vault_id, hash)
        .map_err(failure::of_catalog)?;
    let open = open(service, &vault)?;
    let tree = match params.text("Path") {
        Some(subtree) => by_hash(&open, subtree)?,
        None => by_path(
            &open,
            &snapshot.snapshot_hash,
            params.text("AbsolutePath").unwrap_or("/"),
        )?,
    };
    call.reply(shape(&tree, window))
}

/// A vault, opened to be read.
pub(crate) fn open(service: &Service, vault: &Vault) -> Result<Arc<OpenVault>, ApiError> {
    let vault_id = &vault.vault_id;
    let password = service
        .master_key
        .unseal(Record::Vault(vault_id.as_str()), &vault.sealed_password)
        .map_err(failure::of_unseal)?;
    service
        .repositories
        .open(vault_id, &vault.storage_url, password.expose())
        .map_err(|error| of_vault(&error))
}

fn window(params: &Params) -> Result<Window, ApiError> {
    let number = params.int_in("PageNumber", 1..=i64::from(i32::MAX))?;
    let size = params.int_in("PageSize", 1..=MAX_RESULTS)?;
    let count = params.int_in("MaxResults", 1..=MAX_RESULTS)?;
    let token = params.text("NextToken");
    let small = |value: i64| usize::try_from(value).unwrap_or_default();
    if (number.is_some() || size.is_some()) && count.is_none() && token.is_none() {
        return Ok(Window::Page {
            number: small(number.unwrap_or(1)),
            size: small(size.unwrap_or(DEFAULT_RESULTS)),
        });
    }
    let offset = match token {
        None => 0,
        Some(token) => token
            .strip_prefix(TOKEN_PREFIX)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| ApiError::invalid("NextToken", "it was not given out by this action"))?,
    };
    Ok(Window::From {
        offset,
        count: small(count.unwrap_or(DEFAULT_RESULTS)),
    })
}

fn by_hash(open: &OpenVault, text: &str) -> Result<Tree, ApiError> {
    let id: Id = text.parse().map_err(|_| {
        ApiError::invalid("Path", "it must be the Subtree of a folder, 64 hex digits")
    })?;
    match open.tree(&id) {
        Err(VaultError::BlobMissing { .. }) => Err(ApiError::of(Code::PathNotExist)),
        other => other.map_err(|error| of_vault(&error)),
    }
}

fn by_path(open: &OpenVault, snapshot_hash: &str, path: &str) -> Result<Tree, ApiError> {
    if !path.starts_with('/') {
        return Err(ApiError::invalid("AbsolutePath", "it must start with /"));
    }
    let root = open.root(snapshot_hash).map_err(|error| of_vault(&error))?;
    let mut tree = open.tree(&root).map_err(|error| of_vault(&error))?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let missing = || ApiError::of(Code::PathNotExist);
        let node = tree.find(name.as_bytes()).ok_or_else(missing)?;
        let subtree = node.subtree.ok_or_else(missing)?;
        tree = open.tree(&subtree).map_err(|error| of_vault(&error))?;
    }
    Ok(tree)
}

/// Why a vault cannot be read, for a caller.
pub(crate) fn of_vault(error: &VaultError) -> ApiError {
    match error {
        VaultError::SnapshotNotFound { .. } => ApiError::of(Code::SnapshotNotExist),
        other => {
            let text = super::plan_fields::failure_text(other);
            tracing::warn!(error = text, "a vault cannot be browsed");
            ApiError::new(
                Code::VaultUnreadable,
                format!("{} ({text})", Code::VaultUnreadable.message()),
            )
        }
    }
}

fn shape(tree: &Tree, window: Window) -> NodesReply {
    let total = tree.nodes.len();
    let (offset, count) = match window {
        Window::From { offset, count } => (offset, count),
        Window::Page { number, size } => ((number - 1).saturating_mul(size), size),
    };
    let nodes = tree
        .nodes
        .iter()
        .skip(offset)
        .take(count)
        .map(shape_node)
        .collect();
    let end = offset.saturating_add(count);
    let number = |value: usize| Some(i32::try_from(value).unwrap_or(i32::MAX));
    let mut reply = NodesReply {
        total_count: number(total),
        nodes: Some(Nodes { node: Some(nodes) }),
        ..NodesReply::default()
    };
    match window {
        Window::From { .. } => {
            reply.max_results = number(count);
            reply.next_token = Some(if end < total {
                format!("{TOKEN_PREFIX}{end}")
            } else {
                String::new()
            });
        }
        Window::Page { number: page, size } => {
            reply.page_number = number(page);
            reply.page_size = number(size);
        }
    }
    reply
}

fn shape_node(node: &Node) -> NodeShape {
    NodeShape {
        name: Some(String::from_utf8_lossy(&node.name).into_owned()),
        kind: Some(node.kind.as_str().to_owned()),
        size: (node.kind == NodeKind::File).then(|| i64::try_from(node.size).unwrap_or(i64::MAX)),
        subtree: node.subtree.map(|id| id.to_string()),
    }
}
