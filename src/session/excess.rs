//! What becomes of a step for which there is no room.

use super::Step;
use crate::protocol::Refusal;

impl Step {
    /// The same asked of a broker that refuses: whoever gave an `id` is answered by it, and what ends the
    /// session still does.
    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Self {
        match self {
            Self::Publish(id, _) | Self::RefusePublish(id, _) => Self::RefusePublish(id, refusal),
            Self::Subscribe(id, _)
            | Self::Unsubscribe(id, _)
            | Self::History(id, _)
            | Self::Presence(id, _)
            | Self::Authenticate(id, _)
            | Self::Pong(id)
            | Self::Refuse(id, _) => Self::Refuse(id, refusal),
            Self::RefuseAndClose(..) | Self::Close(_) => self,
        }
    }
}
