use super::*;
use crate::model::{Epoch, Position, TopicName};

const NOW: Timestamp = Timestamp(1_000_000);

fn filters(texts: &[&str]) -> Vec<Filter> {
    texts
        .iter()
        .map(|text| Filter::new(text).unwrap())
        .collect()
}

fn resume(last: &str, texts: &[&str]) -> Resume {
    let last = LastEvent::read(std::iter::empty(), Some(last));
    Resume::new(last, &filters(texts), NOW)
}

/// How a subscription stands: with history at that offset, after such a recovery.
fn stood(topic: &str, newest: Option<u64>, recovered: Option<bool>, replayed: u64) -> SubscribeOk {
    SubscribeOk {
        topic: Filter::new(topic).unwrap(),
        time: NOW,
        position: newest.map(|offset| Position {
            epoch: Epoch::parse("abc").unwrap(),
            offset,
        }),
        recovered,
        replayed: Some(replayed),
        gaps: Vec::new(),
    }
}

/// What a stream opens with, without its `retry`, and gaps as `topic count from to`.
fn opening(resume: &Resume, stands: &[SubscribeOk], keeps_all: bool) -> Vec<String> {
    let behind = stands.iter().any(|stand| stand.replayed != Some(0));
    let from = resume.catches_up_from().filter(|_| behind);
    let bytes = resume.opening(2000, stands, from, |_| keeps_all);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let rest = text.strip_prefix("retry: 2000\n\n").unwrap();
    rest.split_terminator("\n\n")
        .map(|block| match block.strip_prefix("event: gap\ndata: ") {
            Some(data) => {
                let gap: serde_json::Value = serde_json::from_str(data).unwrap();
                let field = |name: &str| gap[name].to_string();
                let fields = ["topic", "count", "from", "to"].map(field);
                fields.join(" ").replace(['"'], "")
            }
            None => block.to_owned(),
        })
        .collect()
}

#[test]
fn the_header_counts_before_the_query_and_only_once() {
    let read = |headers: &[&str], query| {
        let headers = headers.iter().map(|text| text.as_bytes());
        LastEvent::read(headers, query)
    };
    let id = |text: &str| LastEvent::Id(EventId::parse(text.as_bytes()).unwrap());
    for (headers, query, last) in [
        (&[][..], None, LastEvent::Unsaid),
        (&[], Some(""), LastEvent::Unsaid),
        (&[""], Some("a:1:2"), LastEvent::Unsaid),
        (&[], Some("a:1:2"), id("a:1:2")),
        (&["a:3:4"], Some("a:1:2"), id("a:3:4")),
        (&["a:3:4", "a:3:4"], None, LastEvent::Foreign),
        (&["\0"], Some("a:1:2"), LastEvent::Foreign),
    ] {
        assert_eq!(read(headers, query), last, "{headers:?} {query:?}");
    }
    assert!(read(&["closed:4500"], None).is_closed());
}

#[test]
fn one_name_goes_on_from_its_position_and_all_else_by_time() {
    let (alone, several, filter) = (&["a"][..], &["a", "b"][..], &["a/#"][..]);
    let position = |cursor| Some(Since::Position(cursor));
    let cursor = Cursor {
        epoch: Epoch::parse("abc"),
        offset: 7,
    };
    let nowhere = Cursor {
        epoch: None,
        offset: 0,
    };
    let by_time = |from| {
        let positions = Vec::new();
        Some(Since::Positions { positions, from })
    };
    let then = Some(Timestamp(900));
    for (last, of, since) in [
        ("", alone, (None, None)),
        ("rubbish", alone, (None, None)),
        ("abc:7:900", alone, (position(cursor), then)),
        ("abc:7:1000001", alone, (position(cursor), None)),
        ("-:0:900", alone, (position(nowhere), then)),
        ("abc:7:900", several, (position(cursor), then)),
        ("-:0:900", several, (position(nowhere), then)),
        ("abc:7:900", filter, (by_time(then), None)),
        // Of a clock that is ahead of ours.
        ("abc:7:1000001", several, (position(cursor), None)),
        ("abc:7:1000001", filter, (by_time(None), None)),
    ] {
        let filter = Filter::new(of[0]).unwrap();
        assert_eq!(resume(last, of).since(&filter), since, "{last} of {of:?}");
    }
}

#[test]
fn who_comes_for_the_first_time_misses_nothing_and_is_told_where_it_begins() {
    let first = resume("", &["a"]);
    for (stand, id) in [
        (stood("a", Some(9), None, 0), "id: abc:9:1000000"),
        (stood("a", Some(9), None, 4), "id: abc:5:1000000"),
        (stood("a", Some(0), None, 0), "id: abc:0:1000000"),
        (stood("a", None, None, 0), "id: -:0:1000000"),
    ] {
        assert_eq!(opening(&first, &[stand], false), [id]);
    }
    let several = resume("", &["a", "b/#"]);
    let stands = [stood("a", Some(9), None, 2), stood("b/#", None, None, 0)];
    assert_eq!(opening(&several, &stands, false), ["id: -:0:1000000"]);
}

#[test]
fn of_several_topics_one_that_comes_again_catches_up() {
    let (alone, several, filter) = (&["a"][..], &["a", "b"][..], &["a/#"][..]);
    let then = Some(Timestamp(900));
    for (last, of, from) in [
        ("abc:7:900", alone, None),
        ("", several, None),
        ("rubbish", filter, None),
        ("abc:7:900", several, then),
        ("-:0:900", filter, then),
        // Of a clock that is ahead of ours.
        ("abc:7:1000001", several, Some(NOW)),
    ] {
        let resume = resume(last, of);
        assert_eq!(resume.catches_up_from(), from, "{last} of {of:?}");
    }
}

#[test]
fn one_name_is_told_exactly_what_it_misses() {
    for (last, stand, told) in [
        (
            "abc:5:900",
            stood("a", Some(9), Some(true), 4),
            &["id: abc:5:1000000"][..],
        ),
        (
            "abc:5:900",
            stood("a", Some(9), Some(false), 0),
            &["a 4 6 9", "id: abc:9:1000000"],
        ),
        (
            "abc:5:900",
            stood("a", Some(9), Some(false), 2),
            &["a 2 6 7", "id: abc:7:1000000"],
        ),
        (
            "abc:99:900",
            stood("a", Some(9), Some(false), 0),
            &["a 9 1 9", "id: abc:9:1000000"],
        ),
        (
            "other:5:900",
            stood("a", Some(9), Some(false), 0),
            &["a 9 1 9", "id: abc:9:1000000"],
        ),
        (
            "rubbish",
            stood("a", Some(9), None, 0),
            &["a 9 1 9", "id: abc:9:1000000"],
        ),
        (
            "other:5:900",
            stood("a", Some(0), Some(false), 0),
            &["a 0 1 0", "id: abc:0:1000000"],
        ),
        // Without history nobody knows.
        (
            "-:0:900",
            stood("a", None, Some(false), 0),
            &["a 0 null null", "id: -:0:1000000"],
        ),
    ] {
        let resume = resume(last, &["a"]);
        assert_eq!(opening(&resume, &[stand], false), told, "{last}");
    }
}

#[test]
fn of_filters_each_topic_that_is_known_to_miss_something_is_told_else_the_filter() {
    let back = resume("abc:5:900", &["a/#"]);
    let failed = |gaps: usize| SubscribeOk {
        gaps: (0..gaps)
            .map(|n| TopicName::new(&format!("a/{n}")).unwrap())
            .collect(),
        ..stood("a/#", None, Some(false), 0)
    };
    let whole = stood("a/#", None, Some(true), 3);
    let id = "id: -:0:1000000";
    assert_eq!(
        opening(&back, std::slice::from_ref(&whole), true),
        ["id: -:0:900"]
    );
    assert_eq!(
        opening(&back, &[whole], false),
        ["a/# 0 null null", "id: -:0:900"],
        "some topics keep nothing"
    );
    assert_eq!(opening(&back, &[failed(0)], true), ["a/# 0 null null", id]);
    assert_eq!(
        opening(&back, &[failed(2)], true),
        ["a/0 0 null null", "a/1 0 null null", id]
    );
    assert_eq!(
        opening(&back, &[failed(101)], true),
        ["a/# 0 null null", id],
        "too many to tell"
    );
    let foreign = resume("rubbish", &["a/#"]);
    let stand = stood("a/#", None, None, 0);
    assert_eq!(opening(&foreign, &[stand], true), ["a/# 0 null null", id]);
}
