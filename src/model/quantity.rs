//! Kubernetes quantities, exactly: `10Gi`, `0.5`, `1e3`, `800E`.
//!
//! A quantity is a decimal number, kept in billionths (the API's finest unit,
//! rounded up), with the notation it was written in. Comparison is by value.

use std::cmp::Ordering;
use std::fmt;

/// Billionths in one unit.
const NANO: i128 = 1_000_000_000;

/// The family of suffixes a quantity was written with; its canonical form
/// keeps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notation {
    /// `Ki`, `Mi`, … `Ei`.
    Binary,
    /// `n`, `u`, `m`, none, `k`, `M`, … `E`.
    Decimal,
    /// `e3`, `E-6`.
    Exponent,
}

/// An amount, such as `10Gi` of storage.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

/// Text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    /// The API server's own words.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Form,
    #[error("unable to parse quantity's suffix")]
    Suffix,
    #[error("is larger than any quantity here can be")]
    TooLarge,
}

const BINARY: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
/// Suffix and power of ten.
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

impl Quantity {
    pub const ZERO: Quantity = Quantity { nano: 0, notation: Notation::Decimal };

    pub const ONE: Quantity = Quantity { nano: NANO, notation: Notation::Decimal };

    /// A number of whole units (bytes, for storage) in binary notation.
    pub fn bytes(units: i64) -> Self {
        Self { nano: i128::from(units) * NANO, notation: Notation::Binary }
    }

    /// Reads a quantity; finer than a billionth is rounded up, away from zero.
    pub fn parse(text: &str) -> Result<Self, BadQuantity> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let digits_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(BadQuantity::Form);
        }
        let (notation, ten, two) = Self::scale(suffix)?;
        // value = digits * 10^(ten - fraction digits) * 2^two, in billionths
        let mut digits: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            digits = digits
                .checked_mul(10)
                .and_then(|d| d.checked_add(i128::from(digit - b'0')))
                .ok_or(BadQuantity::TooLarge)?;
        }
        let shifted = digits.checked_mul(1_i128 << two).ok_or(BadQuantity::TooLarge)?;
        let power = ten + 9 - i32::try_from(fraction.len()).map_err(|_| BadQuantity::TooLarge)?;
        let magnitude = if power >= 0 {
            match 10_i128.checked_pow(power.unsigned_abs()) {
                Some(factor) => shifted.checked_mul(factor).ok_or(BadQuantity::TooLarge)?,
                None if shifted == 0 => 0,
                None => return Err(BadQuantity::TooLarge),
            }
        } else {
            match 10_i128.checked_pow(power.unsigned_abs()) {
                Some(divisor) => shifted / divisor + i128::from(shifted % divisor != 0),
                None => i128::from(shifted != 0),
            }
        };
        Ok(Self { nano: if negative { -magnitude } else { magnitude }, notation })
    }

    /// Notation, power of ten, power of two of a suffix.
    fn scale(suffix: &str) -> Result<(Notation, i32, u32), BadQuantity> {
        if let Some((_, two)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            return Ok((Notation::Binary, 0, *two));
        }
        if let Some((_, ten)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Ok((Notation::Decimal, *ten, 0));
        }
        let exponent = suffix.strip_prefix(['e', 'E']).ok_or(BadQuantity::Suffix)?;
        let exponent: i32 = exponent.parse().map_err(|_| BadQuantity::Suffix)?;
        Ok((Notation::Exponent, exponent, 0))
    }

    /// Whole units, rounded up (away from zero).
    pub fn units(self) -> i128 {
        let whole = self.nano / NANO;
        whole + if self.nano % NANO == 0 { 0 } else { self.nano.signum() }
    }

    /// Thousandths of a unit, rounded up (away from zero).
    pub fn milli(self) -> i128 {
        const MICRO: i128 = NANO / 1000;
        let whole = self.nano / MICRO;
        whole + if self.nano % MICRO == 0 { 0 } else { self.nano.signum() }
    }

    /// The same amount rounded up to whole units, in its notation.
    pub fn rounded_up_to_units(self) -> Self {
        Self { nano: self.units() * NANO, ..self }
    }

    /// The sum, in the notation of the first amount that is not zero.
    pub fn plus(self, other: Self) -> Self {
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Self { nano: self.nano.saturating_add(other.nano), notation }
    }

    /// What is left when `other` is taken away, at least nothing.
    pub fn minus_or_zero(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_sub(other.nano).max(0), ..self }
    }

    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether the amount is no whole number of units.
    pub fn is_fractional(self) -> bool {
        self.nano % NANO != 0
    }

    /// The same amount rounded up to thousandths, as the API server stores
    /// storage quantities.
    pub fn rounded_up_to_milli(self) -> Self {
        const MICRO: i128 = NANO / 1000;
        let rest = self.nano.rem_euclid(MICRO);
        if rest == 0 { self } else { Self { nano: self.nano - rest + MICRO, ..self } }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl std::str::FromStr for Quantity {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that loses nothing,
    /// in the notation it was written in. Binary notation holds only for whole
    /// units from 1024 on; below and for fractions it turns decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let units = self.nano / NANO;
        let binary = self.notation == Notation::Binary
            && self.nano % NANO == 0
            && units.unsigned_abs() >= 1024;
        if binary {
            let two = units.trailing_zeros() / 10 * 10;
            let (suffix, two) = BINARY
                .iter()
                .rev()
                .find(|(_, power)| *power <= two)
                .map_or(("", 0), |(suffix, power)| (*suffix, *power));
            return write!(f, "{}{suffix}", units >> two);
        }
        let (mut mantissa, mut power) = (self.nano, -9_i32);
        while mantissa % 1000 == 0 && (power < 18 || self.notation == Notation::Exponent) {
            mantissa /= 1000;
            power += 3;
        }
        match self.notation {
            Notation::Exponent if power != 0 => write!(f, "{mantissa}e{power}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, ten)| *ten == power).map_or("", |(s, _)| *s);
                write!(f, "{mantissa}{suffix}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        assert_eq!(Quantity::parse(text).expect(text).to_string(), canonical, "{text}");
    }

    #[test]
    fn canonical_form_keeps_the_notation() {
        check("0.5Gi", "512Mi");
        check("1000m", "1");
        check("1024Mi", "1Gi");
        check("1500M", "1500M");
        check("2000M", "2G");
        check("1e3", "1e3");
        check("100Ki", "100Ki");
        check("512", "512");
        check("800E", "800E");
        check("-1", "-1");
        check("0Gi", "0");
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "Gi", "1gi", "1.2.3", "ten", "1 Gi", "1e", "--1"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn huge_sizes_compare_exactly() {
        let parse = |text| Quantity::parse(text).expect(text);
        assert!(parse("800E") > parse("200E"));
        assert!(parse("9223372036854775807") < parse("9223372036854775808"));
        assert_eq!(parse("1Gi"), parse("1073741824"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config {
            rng_seed: proptest::test_runner::RngSeed::Fixed(1),
            failure_persistence: None,
            ..Default::default()
        })]

        /// Order and equality are those of the numbers, whatever the suffixes.
        #[test]
        fn order_is_that_of_the_numbers(
            a in 0..5_000_000_i128, b in 0..5_000_000_i128, x in 0..8_usize, y in 0..8_usize,
        ) {
            let suffixes = [
                ("", 1), ("k", 1000), ("M", 1_000_000), ("Ki", 1 << 10), ("Mi", 1 << 20),
                ("Gi", 1 << 30), ("e3", 1000), ("E", 10_i128.pow(18)),
            ];
            let of = |n: i128, at: usize| {
                let (suffix, factor) = suffixes[at];
                (Quantity::parse(&format!("{n}{suffix}")).expect("a quantity"), n * factor)
            };
            let ((left, left_value), (right, right_value)) = (of(a, x), of(b, y));
            proptest::prop_assert_eq!(left.cmp(&right), left_value.cmp(&right_value));
            proptest::prop_assert_eq!(left == right, left_value == right_value);
        }

        /// The canonical form reads back as the same amount and does not change.
        #[test]
        fn canonical_form_is_exact_and_stable(
            n in 0..100_000_000_u64, decimals in 0..4_usize, suffix in 0..9_usize,
        ) {
            let suffix = ["", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "P"][suffix];
            let text = format!("{}.{:0decimals$}{suffix}", n / 7, n % 10_u64.pow(decimals as u32));
            let parsed = Quantity::parse(&text).expect("a quantity");
            let shown = parsed.to_string();
            let again = Quantity::parse(&shown).expect("a quantity");
            proptest::prop_assert_eq!(parsed, again, "{} {}", text, shown);
            proptest::prop_assert_eq!(again.to_string(), shown);
        }

        /// No text makes the parser panic.
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn rounding_goes_up_and_never_far(n in -1_000_000_000_i64..1_000_000_000) {
            let exact = Quantity::parse(&format!("{n}n")).expect("a quantity");
            let rounded = exact.rounded_up_to_milli();
            proptest::prop_assert!(rounded >= exact);
            let milli = Quantity::parse("1m").expect("a quantity");
            proptest::prop_assert!(rounded.nano - exact.nano < milli.nano);
        }
    }
}
