//! What a call is about, as policies name it.

use api::params::Params;
use model::AccountId;

/// The parameters that name a resource, the one that decides first.
const NAMED: &[(&str, &str)] = &[
    ("VaultId", "vault"),
    ("PlanId", "plan"),
    ("PolicyId", "policy"),
    ("ClientId", "client"),
];

/// The ARN of the vault, plan, policy or client that the parameters name; `*` for calls that name none of them, such as
/// lists.
pub(super) fn of(region: &str, account: &AccountId, params: &Params) -> String {
    let named = NAMED
        .iter()
        .find_map(|(name, kind)| Some(format!("{kind}/{}", params.text(name)?)));
    let resource = named.as_deref().unwrap_or("*");
    format!("acs:hbr:{region}:{account}:{resource}")
}
