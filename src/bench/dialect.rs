//! What a server speaks, as far as a load has to know it.

use crate::model::Position;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It subscribes to one topic.
    Subscriber,
    /// It publishes to any.
    Publisher,
}

/// A session that is about to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What it is for.
    pub role: Role,
    /// The topic it subscribes to, or the first of those that it publishes to; empty where there is none.
    pub topic: &'a str,
    /// Where the topic's messages go on for it, if it was there before.
    pub since: Option<&'a Position>,
}

/// A message as it stands in what was read.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What was read, from the beginning of the message's data on.
    pub data: &'a [u8],
    /// Whether the data ends where it should: nothing was cut or added.
    pub is_whole: bool,
    /// The bytes of the frame that brought it, without a header of the transport's.
    pub size: usize,
    /// Its offset in the topic's history, where the dialect was asked to look.
    pub offset: Option<u64>,
}

/// Anything but a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// Nothing that matters.
    Nothing,
    /// The session's subscription stands.
    Stands(Standing),
    /// This wants to be answered, with these bytes.
    Answer(Vec<u8>),
    /// A publish of this session was accepted.
    Accepted,
    /// The subscriber is told that it misses messages.
    Gap(Gap),
    /// The server says why it will end the session.
    Closing(&'a [u8]),
    /// What should not have come.
    Unexpected(&'a [u8]),
}

/// How a subscription began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The position of the newest message, where the topic keeps a history.
    pub newest: Option<Position>,
    /// Whether nothing was missed since the position that was asked for; none where none was.
    pub recovered: Option<bool>,
}

/// Messages that a subscriber is told it misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub count: u64,
    /// The first and the last of their offsets, where the topic keeps a history.
    pub offsets: Option<(u64, u64)>,
}

/// Who is told what was read.
pub trait Sink {
    /// A message.
    fn message(&mut self, message: Message<'_>);
    /// Anything else.
    fn notice(&mut self, notice: Notice<'_>);
}

/// What a server speaks: how sessions are opened, how one publishes, and where the messages are in what comes.
pub trait Dialect {
    /// What it keeps of each session from one read to the next.
    type Carry: Default;

    /// What it keeps of a session that is about to be opened.
    fn carry(&self, _opening: Opening<'_>) -> Self::Carry {
        Self::Carry::default()
    }

    /// The HTTP request that opens the session; empty where nothing is asked before the session begins.
    fn request(&self, opening: Opening<'_>) -> Vec<u8>;

    /// Whether the head of the answer, status line and headers, opens the session.
    fn is_open(&self, role: Role, head: &str) -> bool;

    /// Appends what the session sends first. True: it stands once [`Notice::Stands`] was read; false: it does already.
    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool;

    /// Appends what publishes this data.
    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]);

    /// Goes through what was read, tells the sink of all that is whole, and returns where that ends.
    ///
    /// # Errors
    /// What was read is not of this dialect.
    fn read(
        &self,
        carry: &mut Self::Carry,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str>;
}
