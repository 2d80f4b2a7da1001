//! What `fanfare bench` can put a broker through.

use clap::ValueEnum;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Each message of one topic to every session.
    FanOut,
    /// Many topics with ten sessions each.
    ManyTopics,
    /// As many topics as sessions.
    PointToPoint,
    /// Publishes over HTTP, one at a time on each connection.
    Http,
    /// Sessions that are only there.
    Idle,
    /// Sessions that come and go among others that stay.
    Churn,
    /// A few sessions that read nothing, among others that do.
    SlowReaders,
    /// All sessions are cut off at once, come back at once, and get what they missed.
    Reconnect,
}

/// How many sessions, topics and messages a scenario has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The topics.
    pub topics: usize,
    /// The subscribers of each.
    pub subscribers: usize,
    /// The sessions or connections that publish.
    pub publishers: usize,
    /// The bytes of a message's data.
    pub size: usize,
    /// The publishes that are outstanding at a time at most.
    pub outstanding: usize,
    /// How many are sent in a second, where they are not sent as fast as they are done.
    pub rate: Option<f64>,
}

/// What of a shape was asked for; what was not is the scenario's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The subscribers in all.
    pub sessions: Option<usize>,
    /// The topics.
    pub topics: Option<usize>,
    /// The bytes of a message's data.
    pub size: Option<usize>,
    /// The publishes that are outstanding at a time at most.
    pub outstanding: Option<usize>,
    /// How many are sent in a second.
    pub rate: Option<f64>,
}

impl Scenario {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 8] = [
        Self::FanOut,
        Self::ManyTopics,
        Self::PointToPoint,
        Self::Http,
        Self::Idle,
        Self::Churn,
        Self::SlowReaders,
        Self::Reconnect,
    ];

    /// How it is called on the command line, and the last part of its topics' prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::FanOut => "fan-out",
            Self::ManyTopics => "many-topics",
            Self::PointToPoint => "point-to-point",
            Self::Http => "http",
            Self::Idle => "idle",
            Self::Churn => "churn",
            Self::SlowReaders => "slow-readers",
            Self::Reconnect => "reconnect",
        }
    }

    /// Whether its topics must keep a history.
    pub fn needs_history(self) -> bool {
        self == Self::Reconnect
    }

    /// Its shape. Every topic has as many subscribers as the others, so there may be a few sessions
    /// less than were asked for.
    pub fn shape(self, asked: Asked) -> Shape {
        let sessions = match self {
            Self::Http => 64,
            Self::Churn | Self::SlowReaders => 500,
            _ => 1000,
        };
        let sessions = asked.sessions.unwrap_or(sessions).max(1);
        let topics = match self {
            Self::FanOut | Self::Idle | Self::SlowReaders => 1,
            Self::ManyTopics | Self::Churn | Self::Reconnect => sessions.div_ceil(10),
            Self::PointToPoint | Self::Http => sessions,
        };
        let topics = asked.topics.unwrap_or(topics).clamp(1, sessions);
        let outstanding = match self {
            Self::FanOut => 16,
            Self::ManyTopics | Self::PointToPoint => 64,
            Self::Http | Self::Idle => topics,
            Self::SlowReaders => 4,
            // Paced: enough that nothing but the rate holds it back.
            Self::Churn | Self::Reconnect => 4096,
        };
        let rate = match self {
            Self::Churn => Some(200.0),
            Self::Reconnect => Some(topics as f64),
            _ => None,
        };
        Shape {
            topics,
            subscribers: sessions / topics,
            publishers: if self == Self::Http { topics } else { 1 },
            size: asked.size.unwrap_or(match self {
                // Large, so that a queue is full within seconds.
                Self::SlowReaders => 16 * 1024,
                _ => 128,
            }),
            outstanding: asked.outstanding.unwrap_or(outstanding),
            rate: asked.rate.or(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_called_as_the_command_line_calls_it() {
        for scenario in Scenario::ALL {
            let value = scenario.to_possible_value().unwrap();
            assert_eq!(value.get_name(), scenario.name());
        }
        assert_eq!(Scenario::ALL.len(), Scenario::value_variants().len());
    }

    #[test]
    fn every_shape_has_topics_that_somebody_subscribes_to() {
        for scenario in Scenario::ALL {
            for (sessions, topics) in [
                (None, None),
                (Some(0), Some(0)),
                (Some(1), None),
                (Some(7), Some(3)),
                (Some(3), Some(7)),
            ] {
                let asked = Asked {
                    sessions,
                    topics,
                    ..Asked::default()
                };
                let shape = scenario.shape(asked);
                assert!(shape.topics >= 1 && shape.subscribers >= 1, "{shape:?}");
                let all = shape.topics * shape.subscribers;
                assert!(sessions.is_none_or(|sessions| all <= sessions.max(1)));
            }
        }
    }
}
