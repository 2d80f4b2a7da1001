//! What one session may, for as long as it runs.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Access, Caller};

/// The rights of one session, which may change while it runs: shared by those that decide by them.
#[derive(Debug)]
pub struct Rights(RefCell<Held>);

#[derive(Debug)]
struct Held {
    access: Arc<Access>,
    user: Option<Arc<str>>,
    identity: Identity,
}

/// By what someone was let in: what is asked again when who may is configured anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By nothing: those without credentials are let in too.
    Anonymous,
    /// By nothing yet: credentials are to come.
    Pending,
    /// By being on this machine.
    Local,
    /// By the API key of that SHA-256.
    Key([u8; 32]),
}

impl Rights {
    /// The rights of who was let in.
    pub fn of(caller: &Caller) -> Self {
        Self(RefCell::new(Held::of(caller)))
    }

    /// The rights of someone of whom no more is known.
    #[cfg(test)]
    pub fn to(access: Access) -> std::rc::Rc<Self> {
        std::rc::Rc::new(Self::of(&Caller::that_may(access)))
    }

    /// What may be done now.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.0.borrow().access)
    }

    /// Who it is, where credentials named a user.
    pub fn user(&self) -> Option<Arc<str>> {
        self.0.borrow().user.clone()
    }

    /// By what it came in.
    pub fn identity(&self) -> Identity {
        self.0.borrow().identity
    }

    /// Gives the rights of who it has proved to be.
    pub fn prove(&self, caller: &Caller) {
        self.0.replace(Held::of(caller));
    }

    /// Gives other access to the same one.
    pub fn replace(&self, access: Arc<Access>) {
        self.0.borrow_mut().access = access;
    }
}

impl Held {
    fn of(caller: &Caller) -> Self {
        Self {
            access: Arc::clone(&caller.access),
            user: caller.user.clone(),
            identity: caller.identity,
        }
    }
}
