//! Who may do what: credentials, keys, grants, and where a request comes from.
//!
//! Everything here is a plain function of what it is given: no request types and no clock. Only the
//! [`Door`] knows the configuration, which it is made from.

mod access;
mod authority;
mod credentials;
mod door;
mod facts;
mod forwarded;
mod keys;
mod live;
mod loopback;
mod origin;
mod rights;
mod secret;

pub use access::{Access, Grant, Standing};
pub use credentials::{Malformed, find_credential, is_credential_offer};
pub use door::{Caller, Denied, Door};
pub use facts::Facts;
pub use forwarded::TrustedProxies;
pub use keys::{ApiKeys, KeyEntry, Scope, sha256};
pub use live::LiveDoor;
pub use loopback::{Circumstances, is_forwarding_header, is_local};
pub use origin::{AllowedOrigin, OriginError, only_origin, origin_allowed};
pub use rights::{Identity, Rights};
pub use secret::Secret;
