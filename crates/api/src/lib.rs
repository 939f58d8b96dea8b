//! The wire of Strongroom: what a request and a reply look like, and nothing of what they do.
//!
//! Owns the HBR shapes, parameters, error codes, both request signatures, the agent protocol and a small blocking
//! client. Never holds behaviour or state: everything here is a value or a pure function, except [`client`], which
//! speaks HTTP.
//!
//! Reading order: [`pairs`] (decoding of query and body), [`signature`] (who asks), [`params`] (what is asked),
//! [`contract`] (what may be asked), [`error`] and [`shapes`] (what is answered), [`agent_protocol`] and [`client`].

pub mod agent_protocol;
pub mod client;
pub mod contract;
pub mod error;
pub mod pairs;
pub mod params;
pub mod secret;
pub mod shapes;
pub mod signature;

/// The version of the Cloud Backup API.
pub const VERSION: &str = "2017-09-08";

/// The version of STS, of which two actions are served on the same endpoint.
pub const STS_VERSION: &str = "2015-04-01";

/// The version that a call of this action must name. No action of one of them is called as one of the other.
#[must_use]
pub fn version_of(action: &str) -> &'static str {
    match action {
        "AssumeRole" | "GetCallerIdentity" => STS_VERSION,
        _ => VERSION,
    }
}
