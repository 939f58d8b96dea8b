//! Who there is: accounts, their keys, and the clients on their hosts.

use model::{AccountId, ClientId, ClientStatus, InstanceId, Timestamp};

use super::Sealed;
use crate::words::{AccessKeyKind, AccessKeyStatus, ClientType, IdentityStatus};

/// The owner of everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub account_id: AccountId,
    /// Its name, for people.
    pub account_name: String,
    /// The order that opened the service, once OpenHbrService was called.
    pub order_id: Option<String>,
    /// Whether its keys are accepted.
    pub status: IdentityStatus,
    /// When it was created.
    pub created_time: Timestamp,
}

/// An id and a secret that sign requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub access_key_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it may do.
    pub kind: AccessKeyKind,
    /// The client that it belongs to, for an agent's key.
    pub client_id: Option<ClientId>,
    /// The user that it belongs to, for a user's key.
    pub user_name: Option<String>,
    /// The secret, sealed.
    pub sealed_secret: Sealed,
    /// Whether it may be used.
    pub status: AccessKeyStatus,
    /// When it was created.
    pub created_time: Timestamp,
}

/// Somebody in an account who has keys of his own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Whose it is.
    pub account_id: AccountId,
    /// Its name, unique in the account.
    pub user_name: String,
    /// Its id, which no later user of the same name gets.
    pub user_id: String,
    /// Whether its keys are accepted.
    pub status: IdentityStatus,
    /// A policy document; without one it may do nothing.
    pub policy: Option<String>,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
}

/// What users of this or another account can take on for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Whose it is.
    pub account_id: AccountId,
    /// Its name, unique in the account.
    pub role_name: String,
    /// Its id, which no later role of the same name gets.
    pub role_id: String,
    /// Who may take it on: a policy document.
    pub trust: String,
    /// What it may do: a policy document; without one, nothing.
    pub policy: Option<String>,
    /// Longest session, in seconds.
    pub max_session_seconds: i64,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
}

/// An agent on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub client_id: ClientId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The machine as callers name it.
    pub instance_id: InstanceId,
    /// The machine as it names itself.
    pub machine_id: String,
    /// What kind of client.
    pub client_type: ClientType,
    /// The host's name; also its `InstanceName`.
    pub hostname: String,
    /// `linux`, …
    pub os_type: String,
    /// `x86_64`, …
    pub arch_type: String,
    /// The agent's version.
    pub client_version: String,
    /// The address it called from, when known.
    pub private_ipv4: Option<String>,
    /// Its state.
    pub status: ClientStatus,
    /// When it was first registered.
    pub created_time: Timestamp,
    /// When it was last changed.
    pub updated_time: Timestamp,
    /// When it was last heard of.
    pub last_heart_beat_time: Timestamp,
    /// Whether a plan that is not disabled protects its instance.
    pub is_protected: bool,
}
