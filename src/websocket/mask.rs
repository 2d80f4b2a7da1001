//! Masking (RFC 6455 §5.3): eight bytes at a time, in a form that compilers turn into vectors.

/// Applies a key to data, in place: masks what is plain, and the other way round.
pub(super) fn apply(data: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key for what follows so many bytes.
pub(super) fn key_after(mut key: [u8; 4], bytes: usize) -> [u8; 4] {
    key.rotate_left(bytes % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_byte_meets_its_byte_of_the_key_wherever_the_data_is_cut(
            data in proptest::collection::vec(any::<u8>(), 0..100),
            key in any::<[u8; 4]>(),
            cut in any::<proptest::sample::Index>(),
        ) {
            let expected: Vec<u8> = data
                .iter()
                .enumerate()
                .map(|(place, byte)| byte ^ key[place % 4])
                .collect();
            let mut cut_up = data;
            let cut = cut.index(cut_up.len() + 1);
            let (before, behind) = cut_up.split_at_mut(cut);
            apply(before, key);
            apply(behind, key_after(key, cut));
            prop_assert_eq!(cut_up, expected);
        }
    }
}
