//! What a new configuration changes in a broker that runs.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::{Door, LiveDoor};
use crate::broker::{Broker, Rules};
use crate::config::{Config, LiveConfig};
use crate::limits::Throttle;

/// The doors of the addresses that are listened on.
#[derive(Clone)]
pub struct Doors {
    /// Where sessions come in.
    pub server: Arc<LiveDoor>,
    /// Where the HTTP API is called, if that has an address of its own; else nobody uses it.
    pub admin: Arc<LiveDoor>,
    admin_address: IpAddr,
}

impl Doors {
    /// The doors that the configuration describes.
    pub fn new(config: &Config, admin: Option<IpAddr>) -> Self {
        let admin_address = admin.unwrap_or(config.server.listen.ip());
        let door = Door::from_config(config);
        Self {
            admin: LiveDoor::new(door.for_operators(admin_address)),
            server: LiveDoor::new(door),
            admin_address,
        }
    }

    fn replace(&self, config: &Config) {
        let door = Door::from_config(config);
        self.admin.replace(door.for_operators(self.admin_address));
        self.server.replace(door);
    }
}

/// Carries every change of the configuration to whatever holds a part of it.
pub async fn follow(config: LiveConfig, broker: Broker, throttle: Arc<Throttle>, doors: Doors) {
    let mut changes = config.changes();
    while changes.changed().await.is_ok() {
        let now = config.now();
        broker.reconfigure(
            Rules::from_config(&now.topics),
            now.limits.topics,
            now.limits.replay_messages as u64,
        );
        throttle.replace(&now.limits);
        // Last: it makes the workers look at their sessions again, by the rules that hold then.
        doors.replace(&now);
    }
}
