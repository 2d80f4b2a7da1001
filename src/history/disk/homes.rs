//! The homes that are to hear of their histories.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::queue::{Item, STORE};
use crate::history::{HistoryError, News, Ticket, Told};
use crate::model::Durability;

#[derive(Debug)]
struct Home {
    news: Weak<News>,
    generation: u64,
}

/// All homes that ever opened a topic: a few, and what is on its way outlives the home it comes from.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<HashMap<u64, Home>>);

impl Homes {
    /// Makes a home known.
    pub(super) fn know(&self, news: &Arc<News>) {
        self.lock().entry(news.home()).or_insert_with(|| Home {
            news: Arc::downgrade(news),
            generation: news.generation(),
        });
    }

    /// Whether its home still stands on that item.
    pub(super) fn stands(&self, item: &Item) -> bool {
        let homes = self.lock();
        let home = homes.get(&item.home);
        item.home == STORE || home.is_some_and(|home| home.generation <= item.generation)
    }

    /// Tells each home of the last of its tickets among these.
    pub(super) fn settled<'a>(&self, items: impl Iterator<Item = &'a Item>) {
        let mut last: HashMap<(u64, Durability), Ticket> = HashMap::new();
        for item in items {
            if let Some(ticket) = item.ticket {
                let last = last.entry((item.home, ticket.durability)).or_insert(ticket);
                *last = ticket.max(*last);
            }
        }
        for ((home, _), ticket) in last {
            let news = self.lock().get(&home).and_then(|home| home.news.upgrade());
            if let Some(news) = news {
                news.tell([Told::Settled(ticket)]);
            }
        }
    }

    /// Tells all homes that nothing is kept of what was not settled.
    pub(super) fn failed(&self, error: &HistoryError) {
        let mut homes = self.lock();
        for home in homes.values_mut() {
            home.generation += 1;
            if let Some(news) = home.news.upgrade() {
                news.tell([Told::Failed {
                    generation: home.generation,
                    error: error.clone(),
                }]);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Home>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
