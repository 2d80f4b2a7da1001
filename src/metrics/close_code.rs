//! The `code` label of `fanfare_disconnects_total`.

/// The codes that have a series of their own: those the protocol names, and the two that stand for
/// an end without a close frame (1006) and for a close frame without a code (1005).
pub(super) const CODES: [(u16, &str); 20] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1003, "1003"),
    (1005, "1005"),
    (1006, "1006"),
    (1007, "1007"),
    (1008, "1008"),
    (1009, "1009"),
    (1011, "1011"),
    (1013, "1013"),
    (4001, "4001"),
    (4008, "4008"),
    (4009, "4009"),
    (4029, "4029"),
    (4100, "4100"),
    (4500, "4500"),
    (4501, "4501"),
    (4503, "4503"),
    // What a client sends of its own making.
    (0, "other"),
];

/// The label of an application's own codes.
pub(super) const APP: &str = "app";

/// The label of any code at all.
pub(super) fn label(code: u16) -> &'static str {
    if matches!(code, 4200..=4399 | 4700..=4899) {
        return APP;
    }
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or("other", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_code_ends_a_session_its_label_is_one_of_the_list() {
        let mut seen = std::collections::BTreeSet::new();
        for code in 0..=u16::MAX {
            seen.insert(label(code));
        }
        let listed = CODES.iter().map(|(_, label)| *label).chain([APP]).collect();
        assert_eq!(seen, listed);
    }

    #[test]
    fn an_applications_codes_share_one_label() {
        for (code, expected) in [
            (4199, "other"),
            (4200, "app"),
            (4399, "app"),
            (4400, "other"),
            (4699, "other"),
            (4700, "app"),
            (4899, "app"),
            (4900, "other"),
            (4008, "4008"),
            (3000, "other"),
            (1006, "1006"),
        ] {
            assert_eq!(label(code), expected, "{code}");
        }
    }
}
