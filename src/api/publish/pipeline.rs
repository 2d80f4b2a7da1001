//! Messages on their way to their topics' homes, answered in their order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::{MaybeDone, maybe_done};

use super::envelope::{Asked, Item};
use super::outcome::Outcome;
use super::publisher::Publisher;
use crate::protocol::Refusal;

/// Messages of one request that are on their way at a time, where an item is not more by itself.
const MOST: usize = 256;

/// Items that were begun, each answered after those before it. What was begun first reaches its
/// topic's home first.
pub struct Pipeline {
    publisher: Rc<Publisher>,
    under_way: VecDeque<UnderWay>,
    messages: usize,
}

struct UnderWay {
    outcome: MaybeDone<Pin<Box<dyn Future<Output = Outcome>>>>,
    messages: usize,
}

impl Pipeline {
    /// Nothing on its way.
    pub fn new(publisher: Rc<Publisher>) -> Self {
        Self {
            publisher,
            under_way: VecDeque::new(),
            messages: 0,
        }
    }

    /// Whether as much is on its way as may be.
    pub fn is_full(&self) -> bool {
        self.messages >= MOST
    }

    /// Hands in what an item asks for.
    pub fn begin(&mut self, asked: Asked, cx: &mut Context<'_>) {
        let messages = asked.several().unwrap_or(1);
        let publisher = Rc::clone(&self.publisher);
        let outcome: Pin<Box<dyn Future<Output = Outcome>>> = match asked {
            Asked::One(item) => Box::pin(publish(publisher, item)),
            Asked::Several(items) => Box::pin(async move {
                let each = items.into_iter();
                let each = each.map(|item| publish(Rc::clone(&publisher), item));
                let results = in_order(each).await;
                Outcome::Several { results }
            }),
        };
        let mut outcome = maybe_done(outcome);
        // From here on it is on its way. Whether it is answered is looked at in its turn.
        let _ = Pin::new(&mut outcome).poll(cx);
        self.messages += messages;
        self.under_way.push_back(UnderWay { outcome, messages });
    }

    /// Answers an item that was not handed in.
    pub fn answer(&mut self, outcome: impl Into<Outcome>) {
        self.under_way.push_back(UnderWay {
            outcome: MaybeDone::Done(outcome.into()),
            messages: 0,
        });
    }

    /// What came of the next item; `None` where nothing is on its way.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let Some(first) = self.under_way.front_mut() else {
            return Poll::Ready(None);
        };
        if Pin::new(&mut first.outcome).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut first.outcome).take_output();
        self.messages -= first.messages;
        self.under_way.pop_front();
        Poll::Ready(outcome)
    }
}

/// Publishes all of them, and answers in their order.
pub async fn publish_all(publisher: &Rc<Publisher>, asked: Vec<Asked>) -> Vec<Outcome> {
    let mut pipeline = Pipeline::new(Rc::clone(publisher));
    let mut outcomes = Vec::with_capacity(asked.len());
    let mut asked = asked.into_iter();
    loop {
        let room = publisher.room().await;
        while !pipeline.is_full()
            && let Some(next) = asked.next()
        {
            let next = match &room {
                Ok(()) => next,
                Err(refusal) => next.refused(refusal),
            };
            let mut next = Some(next);
            poll_fn(|cx| {
                if let Some(next) = next.take() {
                    pipeline.begin(next, cx);
                }
                Poll::Ready(())
            })
            .await;
        }
        match poll_fn(|cx| pipeline.poll_next(cx)).await {
            Some(outcome) => outcomes.push(outcome),
            None => return outcomes,
        }
    }
}

async fn publish(publisher: Rc<Publisher>, item: Result<Item, Refusal>) -> Outcome {
    let published = match item {
        Ok(item) => publisher.hand_in(item).await,
        Err(refusal) => Err(publisher.counted(refusal)),
    };
    published.into()
}

/// Awaits all of them, begun in their order.
async fn in_order<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<Pin<Box<MaybeDone<F>>>> = all.map(|f| Box::pin(maybe_done(f))).collect();
    poll_fn(|cx| {
        let mut is_done = true;
        for each in &mut all {
            is_done &= each.as_mut().poll(cx).is_ready();
        }
        if is_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    all.iter_mut()
        .filter_map(|each| each.as_mut().take_output())
        .collect()
}
