//! The nodes of the tree of filters, and the arithmetic of levels.

use std::collections::HashMap;

use crate::model::Filter;

/// What is left of a text that is read level by level: `None` once it is used up, since an empty
/// text is still a level (the last one of "a/").
pub(super) type Rest<'t> = Option<&'t str>;

/// A place that filters end at or part at. Below the root, a node has an entry or at least two
/// children; with neither it would be of no use.
#[derive(Debug)]
pub(super) struct Node<T> {
    /// The levels between the parent and this, at least one.
    pub(super) label: Box<str>,
    /// By the first level of their labels. `+` and `#` are levels like others: no level of a name
    /// is written so.
    pub(super) children: HashMap<Box<str>, Node<T>>,
    /// The filter that ends here.
    pub(super) entry: Option<(Filter, T)>,
}

impl<T> Node<T> {
    pub(super) fn new(label: &str) -> Self {
        Self {
            label: label.into(),
            children: HashMap::new(),
            entry: None,
        }
    }

    pub(super) fn here(&self) -> Option<(&Filter, &T)> {
        self.entry.as_ref().map(|(filter, value)| (filter, value))
    }

    /// The child under that level, if all of its label matches the beginning of `rest`; and what is
    /// left of `rest` then.
    pub(super) fn step<'a, 'n>(
        &'a self,
        level: &str,
        rest: Rest<'n>,
    ) -> Option<(&'a Self, Rest<'n>)> {
        let child = self.children.get(level)?;
        Some((child, rest_below(&child.label, rest)?))
    }

    /// Makes the first `at` bytes of the label, whole levels, a node of their own.
    pub(super) fn split(&mut self, at: usize) {
        if let (Some(upper), Some(lower)) = (self.label.get(..at), self.label.get(at + 1..)) {
            let mut node = Node::new(upper);
            let level = first_level(lower).into();
            self.label = lower.into();
            std::mem::swap(self, &mut node);
            self.children.insert(level, node);
        }
    }

    /// Undoes a [`split`](Node::split) that no filter needs any more.
    pub(super) fn join_only_child(&mut self) {
        if self.entry.is_some() || self.children.len() != 1 {
            return;
        }
        for (_, mut child) in std::mem::take(&mut self.children) {
            child.label = format!("{}/{}", self.label, child.label).into();
            *self = child;
        }
    }

    /// Gives back the room of children that are gone.
    pub(super) fn shrink(&mut self) {
        const SMALL: usize = 16;
        let (len, capacity) = (self.children.len(), self.children.capacity());
        if capacity > SMALL && len < capacity / 4 {
            self.children.shrink_to(len * 2);
        }
    }
}

pub(super) fn first_level(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

/// How many bytes the levels take that both texts begin with, the `/` after them aside.
pub(super) fn shared_levels(one: &str, other: &str) -> usize {
    let levels = one.split('/').zip(other.split('/'));
    let shared: usize = levels
        .take_while(|(a, b)| a == b)
        .map(|(level, _)| level.len() + 1)
        .sum();
    shared.saturating_sub(1)
}

/// What is left of `text` after the levels it is to begin with: `Some(None)` if nothing is, `None`
/// if it does not begin with them.
pub(super) fn after_levels<'t>(text: &'t str, levels: &str) -> Option<Rest<'t>> {
    let rest = text.strip_prefix(levels)?;
    if rest.is_empty() {
        return Some(None);
    }
    rest.strip_prefix('/').map(Some)
}

/// What is left of a part of a name below the levels of a filter; `None` if these do not match.
fn rest_below<'n>(levels: &str, mut rest: Rest<'n>) -> Option<Rest<'n>> {
    for level in levels.split('/') {
        // Asked first: "a/#" matches "a" too.
        if level == "#" {
            return Some(None);
        }
        let text = rest?;
        let (first, below) = match text.split_once('/') {
            Some((first, below)) => (first, Some(below)),
            None => (text, None),
        };
        if level != "+" && level != first {
            return None;
        }
        rest = below;
    }
    Some(rest)
}
