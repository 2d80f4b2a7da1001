use super::*;

const ALLOWED: Allowed = Allowed {
    max_window_bits: 15,
    server_takeover: true,
    client_takeover: true,
};

/// The answer to some headers.
fn answer(headers: &[&str], allowed: Allowed) -> Option<String> {
    let headers = headers.iter().map(|header| header.as_bytes());
    negotiate(headers, allowed).map(|agreed| agreed.to_string())
}

#[test]
fn an_offer_is_answered_by_what_it_asks_for() {
    for (offer, expected) in [
        ("permessage-deflate", ""),
        (
            "permessage-deflate; server_no_context_takeover",
            "; server_no_context_takeover",
        ),
        (
            "permessage-deflate;client_no_context_takeover",
            "; client_no_context_takeover",
        ),
        (
            "permessage-deflate; server_max_window_bits=10",
            "; server_max_window_bits=10",
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
        ("permessage-deflate; client_max_window_bits", ""),
        (
            "permessage-deflate; client_max_window_bits=12",
            "; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; client_max_window_bits=15",
            "; client_max_window_bits=15",
        ),
        (
            "permessage-deflate; client_max_window_bits=8",
            "; client_max_window_bits=8",
        ),
        (
            "permessage-deflate; server_max_window_bits=8",
            "; server_max_window_bits=8",
        ),
        // Quotes, spaces and the order mean nothing.
        (
            "permessage-deflate ; server_max_window_bits = \"9\"",
            "; server_max_window_bits=9",
        ),
        (
            "\tpermessage-deflate\t;client_max_window_bits=\"1\\0\" ",
            "; client_max_window_bits=10",
        ),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=11; client_no_context_takeover; server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=9",
        ),
    ] {
        let expected = format!("permessage-deflate{expected}");
        assert_eq!(answer(&[offer], ALLOWED), Some(expected), "{offer}");
    }
}

#[test]
fn an_offer_that_is_not_as_the_rfc_has_it_is_declined() {
    let long = format!(
        "permessage-deflate; server_max_window_bits={}",
        "1".repeat(400)
    );
    for offer in [
        "",
        ",",
        "permessage-bzip2",
        "x-webkit-deflate-frame",
        "permessage-deflate2",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"true\"",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=0",
        "permessage-deflate; server_max_window_bits=-9",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=1e1",
        "permessage-deflate; server_max_window_bits=999999999999",
        long.as_str(),
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=x",
        // The same parameter twice, with the same value too.
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        // No list of extensions at all.
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"",
        "permessage-deflate; server_max_window_bits=\"9",
        "permessage-deflate; server_max_window_bits=\"9 \"",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate;",
        "permessage-deflate; =9",
        "permessage-deflate permessage-deflate",
        "permessage-deflate; é",
        "=permessage-deflate",
    ] {
        assert_eq!(answer(&[offer], ALLOWED), None, "{offer}");
    }
    assert_eq!(negotiate([&b"permessage-deflate; \xff"[..]], ALLOWED), None);
}

#[test]
fn the_first_offer_that_can_be_agreed_on_counts() {
    for (headers, expected) in [
        (
            &["permessage-deflate; server_max_window_bits=9, permessage-deflate"][..],
            "; server_max_window_bits=9",
        ),
        (
            &["permessage-deflate; server_max_window_bits=7, permessage-deflate"],
            "",
        ),
        (
            &["foo; a=\"b, permessage-deflate\", , permessage-deflate; client_max_window_bits=9"],
            "; client_max_window_bits=9",
        ),
        (
            &[
                "foo",
                "permessage-deflate; server_no_context_takeover",
                "permessage-deflate",
            ],
            "; server_no_context_takeover",
        ),
        // What follows in a header that cannot be read is lost, the next header is not.
        (
            &[
                "permessage-deflate; =, permessage-deflate; server_max_window_bits=9",
                "permessage-deflate",
            ],
            "",
        ),
    ] {
        let expected = format!("permessage-deflate{expected}");
        assert_eq!(answer(headers, ALLOWED), Some(expected), "{headers:?}");
    }
    // Ten, of which only the last will do.
    let bad = "permessage-deflate; server_max_window_bits=16, ".repeat(9);
    let ten = format!("{bad}permessage-deflate; server_max_window_bits=8");
    let agreed = negotiate([ten.as_bytes()], ALLOWED).unwrap();
    assert_eq!(agreed.server_window, 8);
}

#[test]
fn every_window_from_8_to_15_can_be_agreed_on() {
    for bits in 8..=15 {
        let offer = format!(
            "permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}"
        );
        let agreed = negotiate([offer.as_bytes()], ALLOWED).unwrap();
        assert_eq!((agreed.server_window, agreed.client_window), (bits, bits));
        assert_eq!(agreed.to_string(), offer);
    }
}

#[test]
fn the_server_s_own_wishes_are_part_of_the_answer() {
    let allowed = Allowed {
        max_window_bits: 11,
        server_takeover: false,
        client_takeover: false,
    };
    let fresh = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits";
    for (offer, expected) in [
        // A client that does not say that it can limit its window is not told to.
        ("permessage-deflate", "=11"),
        (
            "permessage-deflate; client_max_window_bits",
            "=11; client_max_window_bits=11",
        ),
        (
            "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15",
            "=11; client_max_window_bits=11",
        ),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
            "=10; client_max_window_bits=9",
        ),
    ] {
        assert_eq!(
            answer(&[offer], allowed),
            Some(format!("{fresh}{expected}")),
            "{offer}"
        );
    }
    let agreed = negotiate([&b"permessage-deflate"[..]], allowed).unwrap();
    assert_eq!((agreed.server_window, agreed.client_window), (11, 15));
    assert!(!agreed.server_takeover && !agreed.client_takeover);
}
