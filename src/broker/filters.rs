//! The filters that are subscribed to, found by the names they match.

mod node;

use smallvec::SmallVec;

use crate::model::{Filter, TopicName};
use node::{Node, Rest, after_levels, first_level, shared_levels};

/// Filters, each with a value, asked for those that match a name.
///
/// A tree by levels in which a run of levels that no two filters part at is one node. So it has at
/// most two nodes a filter, however many levels clients give their filters, and matching visits no
/// node twice: no name costs more than asking about every filter in turn, and most cost far less.
/// A removed filter leaves no node behind. Nothing here recurses by the levels of a name.
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

/// A node whose levels the name has, and what is left of the name below it.
type Reached<'a, 'n, T> = (&'a Node<T>, Rest<'n>);

impl<T> FilterTrie<T> {
    /// A trie without filters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a filter in; returns the value it had before.
    pub fn insert(&mut self, filter: &Filter, value: T) -> Option<T> {
        self.generation += 1;
        let mut node = &mut self.root;
        let mut rest = Some(filter.as_str());
        while let Some(text) = rest {
            node = node
                .children
                .entry(first_level(text).into())
                .or_insert_with(|| Node::new(text));
            let shared = shared_levels(&node.label, text);
            node.split(shared);
            rest = text.get(shared + 1..);
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
        let mut rest = Some(filter.as_str());
        while let Some(text) = rest {
            node = node.children.get(first_level(text))?;
            rest = after_levels(text, &node.label)?;
        }
        node.here().map(|(_, value)| value)
    }

    /// The value of that very filter, to be changed. Does not change the generation: what names
    /// the filter matches stays the same.
    pub fn get_mut(&mut self, filter: &Filter) -> Option<&mut T> {
        let mut node = &mut self.root;
        let mut rest = Some(filter.as_str());
        while let Some(text) = rest {
            node = node.children.get_mut(first_level(text))?;
            rest = after_levels(text, &node.label)?;
        }
        node.entry.as_mut().map(|(_, value)| value)
    }

    /// Takes a filter out; returns its value.
    pub fn remove(&mut self, filter: &Filter) -> Option<T> {
        let mut parent = &mut self.root;
        let mut parent_is_root = true;
        let mut text = filter.as_str();
        while let Some(rest) = {
            let child = parent.children.get(first_level(text))?;
            after_levels(text, &child.label)?
        } {
            parent = parent.children.get_mut(first_level(text))?;
            parent_is_root = false;
            text = rest;
        }
        let node = parent.children.get_mut(first_level(text))?;
        let (_, value) = node.entry.take()?;
        if node.children.is_empty() {
            parent.children.remove(first_level(text));
            parent.shrink();
            if !parent_is_root {
                parent.join_only_child();
            }
        } else {
            node.join_only_child();
        }
        self.generation += 1;
        self.len -= 1;
        Some(value)
    }

    /// All values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// All filters with their values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Filter, &T)> {
        let mut left: Vec<&Node<T>> = vec![&self.root];
        std::iter::from_fn(move || {
            let node = left.pop()?;
            left.extend(node.children.values());
            Some(node.here())
        })
        .flatten()
    }

    /// The filters that match that name, each once, with their values.
    pub fn matching(&self, name: &TopicName) -> Matches<'_, T> {
        let mut matches = Matches::new();
        let mut reached: SmallVec<[Reached<'_, '_, T>; 8]> = SmallVec::new();
        let text = name.as_str();
        reached.extend(self.root.step(first_level(text), Some(text)));
        if !name.is_reserved() {
            // A leading wildcard does not cover the broker's own names.
            reached.extend(self.root.step("+", Some(text)));
            reached.extend(self.root.step("#", Some(text)));
        }
        while let Some((node, rest)) = reached.pop() {
            reached.extend(node.step("#", rest));
            if let Some(text) = rest {
                reached.extend(node.step(first_level(text), rest));
                reached.extend(node.step("+", rest));
            } else {
                matches.extend(node.here());
            }
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
            root: Node::new(""),
            len: 0,
            generation: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    fn trie(filters: &[&str]) -> FilterTrie<usize> {
        let mut trie = FilterTrie::new();
        for (index, text) in filters.iter().enumerate() {
            trie.insert(&filter(text), index);
        }
        trie
    }

    fn matched(trie: &FilterTrie<usize>, name: &str) -> Vec<String> {
        let name = TopicName::new(name).unwrap();
        let found = trie.matching(&name);
        let mut found: Vec<_> = found.iter().map(|(f, _)| f.to_string()).collect();
        found.sort();
        found
    }

    /// How many nodes there are below this one, each of which has to be of use.
    fn useful_nodes<T>(node: &Node<T>) -> usize {
        let below = node.children.iter().map(|(level, child)| {
            assert_eq!(first_level(&child.label), &**level);
            assert!(child.entry.is_some() || child.children.len() > 1);
            1 + useful_nodes(child)
        });
        below.sum()
    }

    #[test]
    fn a_name_finds_the_filters_that_match_it() {
        let all = [
            "#", "+", "a", "a/#", "a/+", "a/b", "a/b/#", "a/b/c", "+/b", "+/+", "/#", "a/", "a//+",
        ];
        let trie = trie(&all);
        for (name, found) in [
            ("a", vec!["#", "+", "a", "a/#"]),
            ("a/b", vec!["#", "+/+", "+/b", "a/#", "a/+", "a/b", "a/b/#"]),
            ("a/b/c", vec!["#", "a/#", "a/b/#", "a/b/c"]),
            ("a/b/c/d", vec!["#", "a/#", "a/b/#"]),
            ("ab", vec!["#", "+"]),
            ("/b", vec!["#", "+/+", "+/b", "/#"]),
            ("a/", vec!["#", "+/+", "a/", "a/#", "a/+"]),
            ("a//c", vec!["#", "a/#", "a//+"]),
        ] {
            assert_eq!(matched(&trie, name), found, "{name}");
        }
    }

    #[test]
    fn a_leading_wildcard_does_not_cover_the_brokers_own_names() {
        let trie = trie(&["#", "+/x", "+", "$sys/#", "$sys/+", "$sys/x/#"]);
        assert_eq!(matched(&trie, "$sys/x"), ["$sys/#", "$sys/+", "$sys/x/#"]);
        assert_eq!(matched(&trie, "$sys"), ["$sys/#"]);
    }

    #[test]
    fn a_filter_has_one_value_at_a_time() {
        let mut trie = FilterTrie::new();
        assert_eq!(trie.insert(&filter("a/+"), 1), None);
        assert_eq!(trie.insert(&filter("a/+"), 2), Some(1));
        *trie.get_mut(&filter("a/+")).unwrap() += 1;
        assert_eq!(trie.get(&filter("a/+")), Some(&3));
        assert_eq!(
            (trie.get(&filter("a")), trie.get(&filter("a/b"))),
            (None, None)
        );
        assert_eq!(trie.len(), 1);
        assert_eq!(trie.remove(&filter("a/+")), Some(3));
        assert_eq!(trie.remove(&filter("a/+")), None);
        assert!(trie.is_empty());
    }

    #[test]
    fn the_generation_rises_when_matches_may_have_changed_and_only_then() {
        let mut trie = trie(&["a/+"]);
        let mut last = trie.generation();
        trie.get_mut(&filter("a/+"));
        trie.remove(&filter("a/b"));
        assert_eq!(trie.generation(), last);
        for text in ["a/b", "a/b", "#"] {
            trie.insert(&filter(text), 0);
            assert!(trie.generation() > last);
            last = trie.generation();
        }
        trie.remove(&filter("a/b"));
        assert!(trie.generation() > last);
    }

    #[test]
    fn a_filter_of_many_levels_costs_two_nodes_at_most() {
        let mut trie = FilterTrie::new();
        let deep = "/".repeat(250);
        for end in ["a", "b", "+", "#", "a/b"] {
            trie.insert(&filter(&format!("{deep}{end}")), ());
        }
        assert_eq!(useful_nodes(&trie.root), 6);
        let name = TopicName::new(&format!("{deep}a")).unwrap();
        assert_eq!(trie.matching(&name).len(), 3);
    }

    #[test]
    fn every_mixture_of_wildcards_is_found_once() {
        let mut trie = FilterTrie::new();
        for mixture in 0..1 << 10 {
            let level = |bit: u32| if mixture >> bit & 1 == 1 { "+" } else { "a" };
            let levels: Vec<_> = (0..10).map(level).collect();
            trie.insert(&filter(&levels.join("/")), ());
        }
        let name = TopicName::new(&["a"; 10].join("/")).unwrap();
        assert_eq!(trie.matching(&name).len(), 1 << 10);
    }

    #[test]
    fn filters_that_are_prefixes_of_each_other_come_and_go_at_any_depth() {
        let mut trie = FilterTrie::new();
        let texts: Vec<_> = (0..127).map(|n| "a/".repeat(n) + "a").collect();
        for text in &texts {
            trie.insert(&filter(text), ());
        }
        let name = TopicName::new(&texts[126]).unwrap();
        assert_eq!(trie.matching(&name).len(), 1);
        for text in texts
            .iter()
            .step_by(2)
            .chain(texts.iter().skip(1).step_by(2))
        {
            assert!(trie.remove(&filter(text)).is_some());
        }
        assert_eq!(useful_nodes(&trie.root), 0);
    }

    fn names() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["", "a", "b", "ab", "$s"]);
        prop::collection::vec(level, 1..6)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a name has a character", |text| !text.is_empty())
    }

    fn filters() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["", "a", "b", "ab", "$s", "+", "+"]);
        (prop::collection::vec(level, 0..6), any::<bool>())
            .prop_map(|(mut levels, all_below)| {
                levels.extend(all_below.then_some("#"));
                levels.join("/")
            })
            .prop_filter("a filter has a character", |text| !text.is_empty())
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(String),
        Remove(String),
        Match(String),
    }

    fn ops() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => filters().prop_map(Op::Insert),
            2 => filters().prop_map(Op::Remove),
            2 => names().prop_map(Op::Match),
        ]
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_asking_every_filter_finds(
            ops in prop::collection::vec(ops(), 1..120),
        ) {
            let mut trie = FilterTrie::new();
            let mut plain: BTreeMap<Filter, usize> = BTreeMap::new();
            for (step, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(text) => {
                        let filter = filter(&text);
                        prop_assert_eq!(trie.insert(&filter, step), plain.insert(filter, step));
                    }
                    Op::Remove(text) => {
                        // Mostly one that is there.
                        let near = plain.range(filter(&text)..).next().map(|(f, _)| f.clone());
                        let filter = near.unwrap_or_else(|| filter(&text));
                        prop_assert_eq!(trie.remove(&filter), plain.remove(&filter));
                    }
                    Op::Match(name) => {
                        let name = TopicName::new(&name).unwrap();
                        let mut found: Vec<_> = trie.matching(&name).into_iter().collect();
                        found.sort();
                        let all = plain.iter().filter(|(filter, _)| filter.matches(&name));
                        prop_assert_eq!(found, all.collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(trie.len(), plain.len());
                prop_assert!(useful_nodes(&trie.root) <= 2 * plain.len());
            }
            for (filter, value) in &plain {
                prop_assert_eq!(trie.get(filter), Some(value));
                prop_assert_eq!(trie.remove(filter), Some(*value));
            }
            prop_assert!(trie.is_empty() && trie.root.children.is_empty());
        }
    }
}
