//! Who may do what: credentials, keys, grants, and where a request comes from.
//!
//! Everything here is a plain function of what it is given: no request types and no clock. Only the
//! [`Door`] knows the configuration, which it is made from.

mod access;
mod authority;
mod credentials;
mod door;
mod forwarded;
mod keys;
mod loopback;
mod origin;
mod secret;

pub use access::{Access, Grant};
pub use credentials::{Malformed, find_credential, is_credential_offer};
pub use door::{Caller, Denied, Door, Facts};
pub use forwarded::TrustedProxies;
pub use keys::{ApiKeys, KeyEntry, Scope, sha256};
pub use loopback::{Circumstances, is_forwarding_header, is_local};
pub use origin::{AllowedOrigin, OriginError, only_origin, origin_allowed};
pub use secret::Secret;
