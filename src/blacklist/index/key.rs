//! Which map a jti is in. Two that differ in a single letter's case are two.

const ONES: u64 = 0x0101_0101_0101_0101;
/// Where the hyphens of a UUID are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// A jti, as the index looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// 32 lower-case hex digits.
    Plain(u128),
    /// The same with hyphens, where a UUID has them.
    Hyphenated(u128),
    /// Anything else.
    Text,
}

impl Key {
    #[inline]
    pub(super) fn of(jti: &str) -> Self {
        let bytes = jti.as_bytes();
        if let Ok(digits) = bytes.try_into() {
            return number(digits).map_or(Self::Text, Self::Plain);
        }
        Self::with_hyphens(bytes).unwrap_or(Self::Text)
    }

    /// How it is written, where it says that.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Self::Plain(key) => Some(format!("{key:032x}")),
            Self::Hyphenated(key) => Some(uuid::Uuid::from_u128(key).hyphenated().to_string()),
            Self::Text => None,
        }
    }

    fn with_hyphens(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 36 || HYPHENS.iter().any(|at| bytes[*at] != b'-') {
            return None;
        }
        let mut digits = [0; 32];
        let found = (0..).zip(bytes).filter(|(at, _)| !HYPHENS.contains(at));
        for (digit, (_, byte)) in digits.iter_mut().zip(found) {
            *digit = *byte;
        }
        number(&digits).map(Self::Hyphenated)
    }
}

/// The number that 32 lower-case hex digits are.
#[inline]
fn number(digits: &[u8; 32]) -> Option<u128> {
    let (parts, _) = digits.as_chunks::<8>();
    parts.iter().try_fold(0, |number, part| Some(number << 32 | u128::from(eight(*part)?)))
}

/// The number that eight of them are, each of the steps done to all eight at once.
#[inline]
fn eight(digits: [u8; 8]) -> Option<u32> {
    let text = u64::from_be_bytes(digits);
    // A letter is nine more than its low half. A sum above fifteen comes from no hex digit.
    let letters = text >> 6 & ONES;
    let values = (text & (ONES * 0x0f)) + letters * 9;
    // Only the digits that are written like this have these values.
    let written = values + ONES * 0x30 + ((values + ONES * 6) >> 4 & ONES) * 0x27;
    if values & (ONES * 0xf0) != 0 || written != text {
        return None;
    }
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    u32::try_from((fours | fours >> 16) & 0xffff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_but_a_hex_digit_is_noticed_wherever_it_is() {
        let good = *b"0123456789abcdef0123456789abcdef";
        assert_eq!(number(&good), Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        for at in 0..32 {
            for byte in 0..=255u8 {
                let mut digits = good;
                digits[at] = byte;
                let expected = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                assert_eq!(number(&digits).is_some(), expected, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn one_uuid_written_in_four_ways_is_four_tokens() {
        let plain = "8f14e45fceea467a9d4f2f6a0c3f5d11";
        let hyphenated = "8f14e45f-ceea-467a-9d4f-2f6a0c3f5d11";
        let number = 0x8f14_e45f_ceea_467a_9d4f_2f6a_0c3f_5d11;
        assert_eq!(Key::of(plain), Key::Plain(number));
        assert_eq!(Key::of(hyphenated), Key::Hyphenated(number));
        assert_eq!(Key::of(&plain.to_uppercase()), Key::Text);
        assert_eq!(Key::of(&hyphenated.to_uppercase()), Key::Text);
        for other in ["", "a", &plain[1..], &hyphenated[1..], "8f14e45fc-eea-467a-9d4f-2f6a0c3f5d11", &"-".repeat(36)] {
            assert_eq!(Key::of(other), Key::Text, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_the_number_that_is_written(number: u128) {
            prop_assert_eq!(Key::of(&format!("{number:032x}")), Key::Plain(number));
            prop_assert_eq!(Key::of(&uuid::Uuid::from_u128(number).to_string()), Key::Hyphenated(number));
        }
    }
}
