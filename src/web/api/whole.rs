//! Whole numbers of JSON, however they are written: `300.0` and `3e2` are 300 (JSON Schema 2020-12, validation §6.1.1,
//! by which `integer` is any number without a fractional part).

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

/// The first number that a double cannot tell from the next one, 2^53 (RFC 8259 §6).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number from 0 to the last of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole<T>(pub(super) T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(WholeVisitor(PhantomData))
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for WholeVisitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {}", u64::MAX >> (64 - 8 * size_of::<T>()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole<T>, E> {
        let fits = T::try_from(number).map(Whole);
        fits.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, and within bounds"
    )]
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole<T>, E> {
        if number.fract() == 0.0 && (0.0..EXACT).contains(&number) {
            return self.visit_u64(number as u64);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let read = |text: &str| serde_json::from_str::<Whole<u64>>(text).ok().map(|Whole(number)| number);
        for (text, number) in [("0", 0), ("300", 300), ("300.0", 300), ("3e2", 300), ("0.0", 0), ("-0.0", 0)]
        {
            assert_eq!(read(text), Some(number), "{text}");
        }
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
        for text in
            ["-1", "-1.0", "0.5", "1e300", "9007199254740992.0", "18446744073709551616", "\"1\"", "null"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(serde_json::from_str::<Whole<u32>>("4294967295.0").unwrap(), Whole(u32::MAX));
        let too_large = serde_json::from_str::<Whole<u32>>("4294967296").unwrap_err().to_string();
        assert!(too_large.contains("expected a whole number from 0 to 4294967295"), "{too_large}");
    }
}
