//! The queues from one worker's registry to the others': in order, one batch under way at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::{MailboxError, Message};

use super::message::PeerMessage;
use super::shards::Shards;

/// From here on sessions of this worker that publish are not read.
const CONGESTED_BYTES: usize = 8 * 1024 * 1024;

/// From here on publishes are refused.
const FULL_BYTES: usize = 2 * CONGESTED_BYTES;

/// Messages for another registry, in the order in which they were made.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PeerBatch {
    /// The worker that sends.
    pub from: usize,
    /// Tells it from others that had its place before.
    pub life: u64,
    /// What it sends.
    pub messages: Vec<PeerMessage>,
}

/// All queues of one worker.
pub struct Peers {
    shard: usize,
    life: u64,
    shards: Arc<Shards>,
    queues: Vec<Queue>,
}

#[derive(Default)]
struct Queue {
    messages: Vec<PeerMessage>,
    bytes: usize,
    under_way: Option<Sending>,
    /// The worker that was sent to last.
    life: Option<u64>,
}

type Sending = Pin<Box<dyn Future<Output = Result<(), MailboxError>>>>;

impl Peers {
    /// Empty queues.
    pub fn new(shard: usize, life: u64, shards: Arc<Shards>) -> Self {
        let mut queues = Vec::new();
        queues.resize_with(shards.count(), Queue::default);
        Self {
            shard,
            life,
            shards,
            queues,
        }
    }

    /// Queues a message. Whoever adds load of its own asks [`Peers::is_full`] first; what follows
    /// from a message that was taken is always queued, since two homes that waited for each other
    /// would wait for good.
    pub fn post(&mut self, to: usize, message: PeerMessage) {
        if let Some(queue) = self.queues.get_mut(to) {
            queue.bytes += message.weight();
            queue.messages.push(message);
            self.shards.count_queued(to, 1);
        }
    }

    /// Whether a publish for that worker would be refused.
    pub fn is_full(&self, to: usize) -> bool {
        self.queues
            .get(to)
            .is_some_and(|queue| queue.bytes > FULL_BYTES)
    }

    /// Whether publishing sessions should not be read.
    pub fn is_congested(&self) -> bool {
        self.queues
            .iter()
            .any(|queue| queue.bytes > CONGESTED_BYTES)
    }

    /// The workers that are gone, or have been replaced, since they were sent to. What is queued for
    /// them is dropped: who comes in their place knows nothing of what it is about.
    pub fn replaced(&mut self) -> Vec<usize> {
        let mut gone = Vec::new();
        for (to, queue) in self.queues.iter_mut().enumerate() {
            let now = self.shards.holder(to).map(|(life, _)| life);
            if queue.life.is_some() && queue.life != now {
                queue.life = None;
                let dropped = std::mem::take(&mut queue.messages).len();
                queue.bytes = 0;
                self.shards
                    .count_queued(to, -(dropped.cast_signed() as i64));
                gone.push(to);
            }
        }
        gone
    }

    /// Sends a batch to every worker that has taken the one before. Returns the workers that are
    /// gone: what was sent to them is lost.
    pub fn pump(&mut self, cx: &mut Context<'_>) -> Vec<usize> {
        let mut gone = Vec::new();
        for (to, queue) in self.queues.iter_mut().enumerate() {
            loop {
                if let Some(sending) = &mut queue.under_way {
                    match sending.as_mut().poll(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(())) => queue.under_way = None,
                        Poll::Ready(Err(_)) => {
                            queue.under_way = None;
                            queue.life = None;
                            gone.push(to);
                        }
                    }
                }
                if queue.messages.is_empty() {
                    break;
                }
                let messages = std::mem::take(&mut queue.messages);
                queue.bytes = 0;
                self.shards
                    .count_queued(to, -(messages.len().cast_signed() as i64));
                let Some((life, address)) = self.shards.holder(to) else {
                    queue.life = None;
                    gone.push(to);
                    break;
                };
                if queue.life.is_some_and(|before| before != life) {
                    // It was for the one before: the one in its place knows nothing of what it is
                    // about.
                    queue.life = None;
                    gone.push(to);
                    break;
                }
                queue.life = Some(life);
                let batch = PeerBatch {
                    from: self.shard,
                    life: self.life,
                    messages,
                };
                queue.under_way = Some(Box::pin(address.send(batch)));
            }
        }
        gone
    }
}

impl Drop for Peers {
    /// What was queued counts for nobody any more.
    fn drop(&mut self) {
        for (to, queue) in self.queues.iter().enumerate() {
            let queued = queue.messages.len().cast_signed() as i64;
            self.shards.count_queued(to, -queued);
        }
    }
}
