//! What is measured.

/// Sessions, topics and messages of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How it is called on the command line.
    pub name: &'static str,
    /// Its topics.
    pub topics: usize,
    /// The subscribers of each topic.
    pub subscribers: usize,
    /// The bytes of a message's data.
    pub payload: usize,
    /// How many publishes are outstanding.
    pub outstanding: usize,
    /// How many are sent in a second; without it, as many as may be outstanding.
    pub rate: Option<f64>,
    /// What the subscribers speak.
    pub transport: Transport,
    /// What is asked of the broker.
    pub goal: Option<Goal>,
}

/// What is asked of the broker, as a ratio to the bare loop.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Of its deliveries in a second, at least.
    Deliveries(f64),
    /// Of the time within which 99 % of its deliveries come, at most: where the rate is given, it
    /// is all that a server can do better.
    P99(f64),
}

/// What subscribers speak; who publishes has a WebSocket in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// An event stream.
    Events,
}

/// The measurements of memory, which are of another kind: their names, and the bytes that an idle session may take of
/// the broker's memory at most.
pub const IDLE: [(&str, Transport, f64); 2] = [
    ("idle", Transport::WebSocket, IDLE_TARGET),
    ("idle-sse", Transport::Events, 4096.0),
];
/// That of a WebSocket.
pub const IDLE_TARGET: f64 = 2560.0;

/// A topic with a thousand subscribers, one message after the other.
pub const ONE_TOPIC: Scenario = Scenario {
    name: "1x1000-w1",
    topics: 1,
    subscribers: 1000,
    payload: 128,
    outstanding: 1,
    rate: None,
    transport: Transport::WebSocket,
    goal: Some(Goal::Deliveries(0.97)),
};

/// The measurements of speed.
pub const SCENARIOS: [Scenario; 11] = [
    ONE_TOPIC,
    Scenario {
        name: "1x1000-w16",
        outstanding: 16,
        goal: Some(Goal::Deliveries(1.0)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "1x1000-w256",
        outstanding: 256,
        goal: Some(Goal::Deliveries(0.9)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "1x10000-w1",
        subscribers: 10_000,
        goal: Some(Goal::Deliveries(0.97)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "1x10000-w16",
        subscribers: 10_000,
        outstanding: 16,
        goal: Some(Goal::Deliveries(0.95)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "1000x10",
        topics: 1000,
        subscribers: 10,
        outstanding: 64,
        goal: Some(Goal::Deliveries(0.97)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "1000x1",
        topics: 1000,
        subscribers: 1,
        outstanding: 256,
        goal: Some(Goal::Deliveries(0.95)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "16k",
        subscribers: 100,
        payload: 16 * 1024,
        outstanding: 4,
        goal: Some(Goal::Deliveries(1.0)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "20-a-second",
        rate: Some(20.0),
        outstanding: 16,
        goal: Some(Goal::P99(1.15)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "sse",
        transport: Transport::Events,
        goal: Some(Goal::Deliveries(0.5)),
        ..ONE_TOPIC
    },
    Scenario {
        name: "sse-w16",
        outstanding: 16,
        transport: Transport::Events,
        goal: None,
        ..ONE_TOPIC
    },
];
