//! What becomes of messages that a session does not take in time.

/// What becomes of a subscription's messages while its session does not take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The session is ended once its queue is full: it recovers on coming back.
    #[default]
    Disconnect,
    /// The oldest go once the queue is full, and the session is told which.
    DropOldest,
    /// Only the newest of each key waits, and tells how many it stands for.
    Conflate,
}

impl Overflow {
    /// All of them, by the names that frames and the configuration have for them.
    pub const NAMES: &[(&str, Self)] = &[
        ("disconnect", Self::Disconnect),
        ("drop_oldest", Self::DropOldest),
        ("conflate", Self::Conflate),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DropOldest => "drop_oldest",
            Self::Conflate => "conflate",
        }
    }
}

/// What a topic's rule lets its subscriptions ask for; the first is what they get who ask for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflows {
    first: Overflow,
    others: [Option<Overflow>; 2],
}

impl Default for Overflows {
    fn default() -> Self {
        Self::only(Overflow::Disconnect)
    }
}

impl Overflows {
    /// Nothing but this one.
    pub const fn only(first: Overflow) -> Self {
        Self {
            first,
            others: [None, None],
        }
    }

    /// These, in their order; `None` where there is none, or one of them stands twice.
    pub fn new(list: &[Overflow]) -> Option<Self> {
        let (first, others) = list.split_first()?;
        let mut all = Self::only(*first);
        for other in others {
            if all.allows(*other) {
                return None;
            }
            *all.others.iter_mut().find(|place| place.is_none())? = Some(*other);
        }
        Some(all)
    }

    /// What a subscription gets that asks for nothing.
    pub fn first(self) -> Overflow {
        self.first
    }

    /// Whether a subscription may ask for it.
    pub fn allows(self, overflow: Overflow) -> bool {
        self.first == overflow || self.others.contains(&Some(overflow))
    }

    /// All of them, in their order.
    pub fn iter(self) -> impl Iterator<Item = Overflow> {
        std::iter::once(self.first).chain(self.others.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_names_nothing_twice() {
        use Overflow::{Conflate, Disconnect, DropOldest};
        for list in [
            &[DropOldest][..],
            &[Conflate, Disconnect],
            &[DropOldest, Conflate, Disconnect],
        ] {
            let overflows = Overflows::new(list).unwrap();
            assert_eq!(overflows.iter().collect::<Vec<_>>(), list);
            assert_eq!(overflows.first(), list[0]);
            for (_, one) in Overflow::NAMES {
                assert_eq!(overflows.allows(*one), list.contains(one), "{one:?}");
            }
        }
        assert_eq!(Overflows::new(&[]), None);
        assert_eq!(Overflows::new(&[Conflate, Disconnect, Conflate]), None);
        assert_eq!(Overflows::new(&[Disconnect, Disconnect]), None);
        assert_eq!(Overflows::default(), Overflows::only(Disconnect));
    }

    #[test]
    fn each_has_the_name_by_which_it_is_known() {
        for (name, overflow) in Overflow::NAMES {
            assert_eq!(overflow.as_str(), *name);
        }
    }
}
