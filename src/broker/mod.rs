//! The broker: who subscribes to what, and how a message gets to them.

pub mod filters;
