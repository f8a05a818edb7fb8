//! A radius for people.

use std::fmt;

/// A radius ε as people write it: `k/255`, levels of an 8-bit pixel, where that is shorter than its digits.
///
/// ```
/// use rankle_record::Epsilon;
///
/// assert_eq!(Epsilon(4.0 / 255.0).to_string(), "4/255");
/// assert_eq!(Epsilon(51.0 / 255.0).to_string(), "0.2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon(pub f64);

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = (self.0 * 255.0).round();
        let (digits, levels) = (self.0.to_string(), format!("{level}/255"));
        f.pad(if level / 255.0 == self.0 && levels.len() < digits.len() { &levels } else { &digits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_told_where_they_are_shorter() {
        for (epsilon, text) in [
            (0.0, "0"),
            (0.3, "0.3"),
            (1.0, "1"),
            (2.0, "2"),
            (102.0 / 255.0, "0.4"),
            (1.0 / 255.0, "1/255"),
            (8.0 / 255.0, "8/255"),
            (300.0 / 255.0, "300/255"),
            (0.031, "0.031"),
            (0.031_372_5, "0.0313725"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(Epsilon(epsilon).to_string(), text);
        }
        assert_eq!(format!("{:<7}|", Epsilon(8.0 / 255.0)), "8/255  |");
    }
}
