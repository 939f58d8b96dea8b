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

/// The only API version that is spoken.
pub const VERSION: &str = "2017-09-08";
