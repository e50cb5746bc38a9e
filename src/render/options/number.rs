//! Numbers in option strings: one plain spelling each, and no rounding.

use std::fmt;

/// A whole number spelt the one plain way: no sign, no leading zero, no spaces.
pub(super) fn whole(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    // Five digits hold every bound here, and keep the sums that follow far from overflow.
    (plain && (1..=5).contains(&text.len())).then(|| text.parse().ok()).flatten()
}

/// A number with at most four decimals, held as ten-thousandths so that equal values are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(u32);

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal(0);
    /// The least above zero.
    pub(in crate::render) const LEAST: Decimal = Decimal(1);
    /// One quarter.
    pub const QUARTER: Decimal = Decimal(Decimal::UNIT / 4);
    /// One half.
    pub const HALF: Decimal = Decimal(Decimal::UNIT / 2);
    /// One.
    pub const ONE: Decimal = Decimal(Decimal::UNIT);

    const UNIT: u32 = 10_000;
    const DECIMALS: usize = 4;

    /// So many tenths.
    pub(in crate::render) const fn tenths(tenths: u32) -> Decimal {
        Decimal(tenths * (Decimal::UNIT / 10))
    }

    /// Reads a number: digits, and after a point one to four more.
    pub(in crate::render) fn parse(text: &str) -> Option<Decimal> {
        let (ones, decimals) = match text.split_once('.') {
            Some((ones, decimals)) => (ones, (!decimals.is_empty()).then_some(decimals)?),
            None => (text, ""),
        };
        if decimals.len() > Decimal::DECIMALS || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let padded = format!("{decimals:0<width$}", width = Decimal::DECIMALS);
        Some(Decimal(whole(ones)? * Decimal::UNIT + padded.parse::<u32>().ok()?))
    }

    /// This many times `n`, rounding half up.
    pub(in crate::render) fn times(self, n: u32) -> u32 {
        let scaled = u64::from(n) * u64::from(self.0) + u64::from(Decimal::UNIT) / 2;
        u32::try_from(scaled / u64::from(Decimal::UNIT)).unwrap_or(u32::MAX)
    }

    /// The number itself.
    pub(in crate::render) fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Decimal::UNIT)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ones, fraction) = (self.0 / Decimal::UNIT, self.0 % Decimal::UNIT);
        if fraction == 0 {
            return write!(f, "{ones}");
        }
        let decimals = format!("{fraction:0width$}", width = Decimal::DECIMALS);
        write!(f, "{ones}.{}", decimals.trim_end_matches('0'))
    }
}
