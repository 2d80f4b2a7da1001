use super::*;

fn rates(text: &str) -> Rates {
    Place::local(text).config().limits.rates
}

fn fault(text: &str) -> (String, String) {
    let faults = Place::local(text).faults();
    let [fault] = faults.as_slice() else {
        panic!("{text}: {faults:?}");
    };
    (fault.key.clone(), fault.to_string())
}

#[test]
fn a_rate_is_a_number_or_says_its_burst_too() {
    let read = rates(
        r#"
[limits]
publishes_per_second = 5
api_publishes_per_second = 0
frames_per_second = { rate = 10, burst = 100 }
bytes_per_second = { rate = "1KiB", burst = "64KiB" }
handshakes_per_second = 1
auth_failures_per_second = 0
connections_per_ip = 3
connections_per_user = 2
"#,
    );
    let expected = Rates {
        publishes: Rate::with_burst(5, 5),
        api_publishes: ApiRate::Own(None),
        frames: Rate::with_burst(10, 100),
        bytes: Rate::with_burst(1024, 65536),
        handshakes: Rate::with_burst(1, 1),
        auth_failures: None,
        connections_per_ip: 3,
        connections_per_user: 2,
    };
    assert_eq!(read, expected);
    assert_eq!(read.over_http(), None);
}

#[test]
fn a_rate_is_set_by_the_environment_and_the_command_line_as_well() {
    let place = Place::empty()
        .with_env(
            "FANFARE__LIMITS__FRAMES_PER_SECOND",
            "{ rate = 10, burst = 20 }",
        )
        .with_env("FANFARE__LIMITS__PUBLISHES_PER_SECOND", "7")
        .with_set("limits.bytes_per_second", "1MiB")
        .with_set("server.trusted_proxies", "10.0.0.1, fd00::/8");
    let config = place.config();
    let rates = config.limits.rates;
    assert_eq!(rates.frames, Rate::with_burst(10, 20));
    assert_eq!(rates.publishes, Rate::per_second(7));
    assert_eq!(rates.over_http(), rates.publishes);
    assert_eq!(rates.bytes, Rate::per_second(1 << 20));
    let networks: Vec<String> = config
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.1/32", "fd00::/8"]);
}

#[test]
fn a_burst_of_bytes_has_room_for_the_longest_frame() {
    let small = rates("limits.bytes_per_second = 1000");
    assert_eq!(small.bytes, Rate::with_burst(1000, 65536));
    let smaller = "limits.bytes_per_second = { rate = 1000, burst = 2000 }";
    rates(&format!("{smaller}\nwebsocket.max_frame = 2000"));
    rates(&format!("{smaller}\nwebsocket.max_message = 2000"));
    let (key, told) = fault(smaller);
    assert_eq!(key, "limits.bytes_per_second");
    assert!(
        told.contains("a burst of 2000B; a frame may have 64KiB"),
        "{told}"
    );
}

#[test]
fn what_is_no_rate_is_refused_with_what_would_do() {
    for (line, key, remedy) in [
        ("frames_per_second = -1", "", "from 0 to 1000000"),
        ("frames_per_second = 1000001", "", "from 0 to 1000000"),
        ("frames_per_second = 1.5", "", "a whole number"),
        ("frames_per_second = 'many'", "", "a whole number"),
        ("frames_per_second = [1]", "", "a whole number"),
        (
            "frames_per_second = { rate = 1 }",
            ".burst",
            "rate = 10, burst = 50",
        ),
        (
            "frames_per_second = { burst = 1 }",
            ".rate",
            "rate = 10, burst = 50",
        ),
        (
            "frames_per_second = { rate = 0, burst = 1 }",
            ".rate",
            "from 1 to",
        ),
        (
            "frames_per_second = { rate = 1, burst = 0 }",
            ".burst",
            "from 1 to",
        ),
        (
            "frames_per_second = { rate = 1, burst = 1, per = 'm' }",
            ".per",
            "leave it out",
        ),
        ("bytes_per_second = '1MB'", "", "a size is a whole number"),
        ("bytes_per_second = '1GiB'", "", "would do"),
        (
            "connections_per_ip = { rate = 1, burst = 1 }",
            "",
            "a whole number",
        ),
    ] {
        let (found, told) = fault(&format!("[limits]\n{line}"));
        let name = line.split(' ').next().unwrap();
        assert_eq!(found, format!("limits.{name}{key}"), "{told}");
        assert!(told.contains(remedy), "{told}");
    }
}

#[test]
fn a_proxy_is_an_address_or_a_network() {
    for bad in [
        "'proxy.example'",
        "'10.0.0.0/33'",
        "'10.0.0.1:80'",
        "'*'",
        "''",
        "7",
    ] {
        let (key, told) = fault(&format!("server.trusted_proxies = ['10.0.0.1', {bad}]"));
        assert_eq!(key, "server.trusted_proxies[1]", "{told}");
        assert!(told.contains("an address or a network is needed"), "{told}");
    }
}
