//! The filters that are subscribed to, found by the names they match.

use std::collections::HashMap;
use std::str::Split;

use smallvec::SmallVec;

use crate::model::{Filter, TopicName};

/// Filters, each with a value, asked for those that match a name.
///
/// A tree by levels. Matching walks it level by level and visits only nodes that some filter in it
/// made, each at most once: its cost is bounded by the number of filters that agree with the name
/// so far, whatever the name. Memory is bounded by the filters held: a removed filter leaves no
/// node behind.
///
/// Plain names are filters too and may be inserted, though the table of topics finds them faster.
#[derive(Debug)]
pub struct FilterTrie<T> {
    root: Node<T>,
    len: usize,
    generation: u64,
}

/// The filters that match a name, in no particular order.
pub type Matches<'a, T> = SmallVec<[(&'a Filter, &'a T); 4]>;

impl<T> FilterTrie<T> {
    /// A trie without filters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a filter in; returns the value it had before.
    pub fn insert(&mut self, filter: &Filter, value: T) -> Option<T> {
        self.generation += 1;
        let mut node = &mut self.root;
        for level in filter.as_str().split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        let before = node.entry.replace((filter.clone(), value));
        if before.is_none() {
            self.len += 1;
        }
        before.map(|(_, value)| value)
    }

    /// The value of that very filter.
    pub fn get(&self, filter: &Filter) -> Option<&T> {
        let mut node = &self.root;
        for level in filter.as_str().split('/') {
            node = node.children.get(level)?;
        }
        node.entry.as_ref().map(|(_, value)| value)
    }

    /// The value of that very filter, to be changed. Does not change the generation: what names
    /// the filter matches stays the same.
    pub fn get_mut(&mut self, filter: &Filter) -> Option<&mut T> {
        let mut node = &mut self.root;
        for level in filter.as_str().split('/') {
            node = node.children.get_mut(level)?;
        }
        node.entry.as_mut().map(|(_, value)| value)
    }

    /// Takes a filter out; returns its value.
    pub fn remove(&mut self, filter: &Filter) -> Option<T> {
        let value = self.root.remove(&mut filter.as_str().split('/'))?;
        self.generation += 1;
        self.len -= 1;
        Some(value)
    }

    /// The filters that match that name, each once, with their values.
    pub fn matching(&self, name: &TopicName) -> Matches<'_, T> {
        let mut matches = Matches::new();
        // A name of the broker's own is not covered by a leading wildcard.
        let mut wildcards = !name.is_reserved();
        let mut reached: SmallVec<[&Node<T>; 8]> = SmallVec::new();
        let mut next: SmallVec<[&Node<T>; 8]> = SmallVec::new();
        reached.push(&self.root);
        for level in name.as_str().split('/') {
            for node in reached.drain(..) {
                if wildcards {
                    matches.extend(node.rest());
                    next.extend(node.children.get("+"));
                }
                next.extend(node.children.get(level));
            }
            wildcards = true;
            std::mem::swap(&mut reached, &mut next);
            if reached.is_empty() {
                break;
            }
        }
        for node in reached {
            matches.extend(node.here());
            // "a/#" matches "a" too.
            matches.extend(node.rest());
        }
        matches
    }

    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many filters there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Rises with every insertion and removal. What was found in one generation stays right for as
    /// long as it lasts, so a topic asks for its matches again only when this has changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl<T> Default for FilterTrie<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            len: 0,
            generation: 0,
        }
    }
}

/// What follows after the same levels. `+` and `#` are children like others: no level of a name is
/// written so.
#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, Node<T>>,
    /// The filter that ends here.
    entry: Option<(Filter, T)>,
}

impl<T> Node<T> {
    fn here(&self) -> Option<(&Filter, &T)> {
        self.entry.as_ref().map(|(filter, value)| (filter, value))
    }

    /// The filter that goes on with `#`.
    fn rest(&self) -> Option<(&Filter, &T)> {
        self.children.get("#")?.here()
    }

    /// Goes down to where the filter ends, and frees on the way back what has become empty. As deep
    /// as the filter has levels, which is 256 at the most.
    fn remove(&mut self, levels: &mut Split<'_, char>) -> Option<T> {
        let Some(level) = levels.next() else {
            return self.entry.take().map(|(_, value)| value);
        };
        let child = self.children.get_mut(level)?;
        let value = child.remove(levels)?;
        if child.entry.is_none() && child.children.is_empty() {
            self.children.remove(level);
        }
        Some(value)
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            children: HashMap::new(),
            entry: None,
        }
    }
}
