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
    /// What the subscribers speak.
    pub transport: Transport,
    /// The share of the bare loop's deliveries that the broker shall reach at least.
    pub target: Option<f64>,
}

/// What subscribers speak; who publishes has a WebSocket in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// An event stream.
    Events,
}

/// The names of the measurements of memory, which are of another kind.
pub const IDLE: [(&str, Transport); 2] = [
    ("idle", Transport::WebSocket),
    ("idle-sse", Transport::Events),
];
/// The bytes that an idle session may take of the broker's memory at most.
pub const IDLE_TARGET: f64 = 4096.0;

const ONE_TOPIC: Scenario = Scenario {
    name: "1x1000-w1",
    topics: 1,
    subscribers: 1000,
    payload: 128,
    outstanding: 1,
    transport: Transport::WebSocket,
    target: Some(0.85),
};

/// The measurements of speed.
pub const SCENARIOS: [Scenario; 7] = [
    ONE_TOPIC,
    Scenario {
        name: "1x1000-w16",
        outstanding: 16,
        target: Some(0.9),
        ..ONE_TOPIC
    },
    Scenario {
        name: "1x1000-w256",
        outstanding: 256,
        target: None,
        ..ONE_TOPIC
    },
    Scenario {
        name: "1000x10",
        topics: 1000,
        subscribers: 10,
        payload: 128,
        outstanding: 64,
        target: None,
        ..ONE_TOPIC
    },
    Scenario {
        name: "16k",
        payload: 16 * 1024,
        outstanding: 4,
        target: None,
        ..ONE_TOPIC
    },
    Scenario {
        name: "sse",
        transport: Transport::Events,
        target: Some(0.5),
        ..ONE_TOPIC
    },
    Scenario {
        name: "sse-w16",
        outstanding: 16,
        transport: Transport::Events,
        target: None,
        ..ONE_TOPIC
    },
];
