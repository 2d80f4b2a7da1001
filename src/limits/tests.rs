//! What is held back, with a clock that is given.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{ApiRate, Limits, Rate, Rates};
use crate::metrics::{Metrics, RateLimit};

fn throttle(rates: Rates) -> (Arc<Throttle>, Metrics) {
    let metrics = Metrics::new("0", "test").unwrap();
    (
        Arc::new(Throttle::new(&limits(rates), metrics.clone())),
        metrics,
    )
}

fn limits(rates: Rates) -> Limits {
    Limits {
        rates,
        ..Limits::default()
    }
}

fn off() -> Rates {
    Rates {
        auth_failures: None,
        ..Rates::default()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as a request has it")]
fn from(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn counted(metrics: &Metrics, limit: &str) -> u64 {
    let series = format!("fanfare_rate_limited_total{{limit=\"{limit}\"}} ");
    let text = metrics.render().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap().parse().unwrap()
}

fn excess(verdict: Verdict) -> Option<(RateLimit, Duration)> {
    match verdict {
        Verdict::Admitted => None,
        Verdict::Refused(excess) | Verdict::TooLong(excess) => Some((excess.limit, excess.wait)),
    }
}

#[test]
fn what_is_off_admits_everything_and_keeps_nothing() {
    let (throttle, _) = throttle(off());
    let now = Instant::now();
    let mut meter = Meter::default();
    assert!(!meter.is_on(&throttle));
    let user: Arc<str> = "u".into();
    let mut entries = Vec::new();
    for _ in 0..10_000 {
        assert_eq!(throttle.handshake(from("192.0.2.1"), now), Ok(()));
        throttle.failed_to_authenticate(from("192.0.2.1"), now);
        assert_eq!(throttle.may_authenticate(from("192.0.2.1"), now), Ok(()));
        assert_eq!(
            throttle.publish(|| unreachable!("nobody asks who"), now),
            Ok(())
        );
        assert_eq!(meter.frame(1 << 20, now), Verdict::Admitted);
        assert_eq!(meter.publish(now), Verdict::Admitted);
        entries.push(throttle.enter(from("192.0.2.1"), Some(&user)).unwrap());
    }
    assert_eq!(throttle.known(), 0);
}

#[test]
fn handshakes_are_counted_by_address_and_forgotten() {
    let (throttle, metrics) = throttle(Rates {
        handshakes: Rate::with_burst(2, 3),
        ..off()
    });
    let start = Instant::now();
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        for _ in 0..3 {
            throttle.handshake(from(address), start).unwrap();
        }
        let refused = throttle.handshake(from(address), start).unwrap_err();
        assert_eq!(refused.limit, RateLimit::Handshakes);
        assert_eq!(refused.wait, Duration::from_millis(500));
    }
    // Another address of the same network is no way around it.
    assert!(throttle.handshake(from("2001:db8::2"), start).is_err());
    assert_eq!(counted(&metrics, "handshakes"), 4);
    let later = start + Duration::from_millis(500);
    throttle.handshake(from("192.0.2.1"), later).unwrap();
    assert_eq!(throttle.known(), 3);
    throttle.sweep(start + Duration::from_secs(10));
    assert_eq!(throttle.known(), 0);
}

#[test]
fn who_guesses_learns_nothing_for_a_while() {
    let (throttle, metrics) = throttle(Rates {
        auth_failures: Rate::with_burst(10, 2),
        ..off()
    });
    let (start, here) = (Instant::now(), from("192.0.2.1"));
    for _ in 0..2 {
        throttle.may_authenticate(here, start).unwrap();
        throttle.failed_to_authenticate(here, start);
    }
    let refused = throttle.may_authenticate(here, start).unwrap_err();
    assert_eq!(refused.limit, RateLimit::AuthFailures);
    assert_eq!(refused.wait, Duration::from_millis(100));
    assert_eq!(counted(&metrics, "auth_failures"), 1);
    // Others are not held back, nor is this one for good; who is right is not counted.
    throttle.may_authenticate(from("192.0.2.2"), start).unwrap();
    let later = start + Duration::from_millis(100);
    for _ in 0..100 {
        throttle.may_authenticate(here, later).unwrap();
    }
    throttle.failed_to_authenticate(here, later);
    assert!(throttle.may_authenticate(here, later).is_err());
}

#[test]
fn sessions_are_counted_with_their_address_and_their_user_until_they_end() {
    let (throttle, metrics) = throttle(Rates {
        connections_per_ip: 2,
        connections_per_user: 1,
        ..off()
    });
    let here = from("192.0.2.1");
    let (ada, bob): (Arc<str>, Arc<str>) = ("ada".into(), "bob".into());
    let mut first = throttle.enter(here, None).unwrap();
    let second = throttle.enter(here, Some(&ada)).unwrap();
    let refused = throttle.enter(here, None).err().unwrap();
    assert_eq!(refused.limit, RateLimit::ConnectionsPerIp);
    let elsewhere = from("192.0.2.2");
    let refused = throttle.enter(elsewhere, Some(&ada)).err().unwrap();
    assert_eq!(refused.limit, RateLimit::ConnectionsPerUser);
    // One that says later who it is counts then.
    assert!(first.identify(&throttle, &ada).is_err());
    first.identify(&throttle, &bob).unwrap();
    first.identify(&throttle, &bob).unwrap();
    assert!(throttle.enter(elsewhere, Some(&bob)).is_err());
    assert_eq!(counted(&metrics, "connections_per_ip"), 1);
    assert_eq!(counted(&metrics, "connections_per_user"), 3);
    drop(second);
    let third = throttle.enter(here, Some(&ada)).unwrap();
    drop((first, third));
    assert_eq!(
        throttle.known(),
        0,
        "what was refused half way holds nothing"
    );
}

#[test]
fn publishers_over_http_are_their_keys_or_their_addresses() {
    let by_key = |name: &str| Publisher::Key(name.into());
    let by_address = |text| Publisher::Address(Source::of(from(text)));
    let start = Instant::now();
    let all = [by_key("a"), by_key("b"), by_address("192.0.2.1")];
    for (rates, burst) in [
        (
            Rates {
                publishes: Rate::with_burst(1, 2),
                ..off()
            },
            2,
        ),
        (
            Rates {
                publishes: Rate::with_burst(1, 2),
                api_publishes: ApiRate::Own(Rate::with_burst(1, 5)),
                ..off()
            },
            5,
        ),
    ] {
        let (throttle, _) = throttle(rates);
        for publisher in &all {
            for _ in 0..burst {
                throttle.publish(|| publisher.clone(), start).unwrap();
            }
            let refused = throttle.publish(|| publisher.clone(), start).unwrap_err();
            assert_eq!(refused.limit, RateLimit::Publishes);
        }
    }
    let (unlimited, _) = throttle(Rates {
        publishes: Rate::with_burst(1, 1),
        api_publishes: ApiRate::Own(None),
        ..off()
    });
    for _ in 0..100 {
        unlimited.publish(|| by_key("a"), start).unwrap();
    }
}

#[test]
fn a_session_is_measured_by_frames_bytes_and_publishes() {
    let (throttle, _) = throttle(Rates {
        frames: Rate::with_burst(10, 4),
        bytes: Rate::with_burst(1000, 3000),
        publishes: Rate::with_burst(1, 2),
        ..off()
    });
    let mut meter = Meter::default();
    assert!(meter.is_on(&throttle));
    let now = Instant::now();
    assert_eq!(meter.frame(2500, now), Verdict::Admitted);
    let (limit, wait) = excess(meter.frame(1000, now)).unwrap();
    assert_eq!(
        (limit, wait),
        (RateLimit::Bytes, Duration::from_millis(500))
    );
    // What was refused for its bytes took no frame, and one without bytes takes none.
    for _ in 0..3 {
        assert_eq!(meter.frame(0, now), Verdict::Admitted);
    }
    let (limit, wait) = excess(meter.frame(0, now)).unwrap();
    assert_eq!(
        (limit, wait),
        (RateLimit::Frames, Duration::from_millis(100))
    );
    assert_eq!(meter.publish(now), Verdict::Admitted);
    assert_eq!(meter.publish(now), Verdict::Admitted);
    let (limit, wait) = excess(meter.publish(now)).unwrap();
    assert_eq!(
        (limit, wait),
        (RateLimit::Publishes, Duration::from_secs(1))
    );
}

#[test]
fn only_who_goes_on_and_on_is_closed() {
    let (throttle, _) = throttle(Rates {
        publishes: Rate::with_burst(10, 10),
        ..off()
    });
    let mut meter = Meter::default();
    assert!(meter.is_on(&throttle));
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    // A burst, however large, is refused and no more.
    for _ in 0..100_000 {
        assert!(!matches!(meter.publish(start), Verdict::TooLong(_)));
    }
    // A pause ends it.
    for ms in (2000..6900).step_by(50) {
        assert!(
            !matches!(meter.publish(at(ms)), Verdict::TooLong(_)),
            "{ms}"
        );
    }
    for ms in (8000..).step_by(50) {
        let verdict = meter.publish(at(ms));
        if matches!(verdict, Verdict::TooLong(_)) {
            assert!((13_000..14_500).contains(&ms), "{ms}");
            break;
        }
        assert!(ms < 20_000, "it never ends");
    }
}

#[test]
fn an_open_session_takes_up_new_rates() {
    let (throttle, _) = throttle(off());
    let mut meter = Meter::default();
    assert!(!meter.is_on(&throttle));
    let limited = Rates {
        frames: Rate::per_second(1),
        handshakes: Rate::per_second(1),
        ..off()
    };
    throttle.replace(&limits(limited.clone()));
    assert!(meter.is_on(&throttle));
    let now = Instant::now() + Duration::from_secs(1);
    assert_eq!(meter.frame(1, now), Verdict::Admitted);
    assert!(excess(meter.frame(1, now)).is_some());
    throttle.handshake(None, now).unwrap();
    // The same again changes nothing.
    throttle.replace(&limits(limited));
    assert!(meter.is_on(&throttle));
    assert!(excess(meter.frame(1, now)).is_some());
    assert!(throttle.handshake(None, now).is_err());
    throttle.replace(&limits(off()));
    assert!(!meter.is_on(&throttle));
    assert_eq!(meter.frame(1, now), Verdict::Admitted);
    assert_eq!(throttle.known(), 0);
}
