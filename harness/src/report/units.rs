//! Numbers for people.

/// Three digits and a unit: `12.5 ns`, `310 ns`, `12.3 µs`.
pub(crate) fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 9_999.5 => (ns, "ns"),
        ns if ns < 9_999_500.0 => (ns / 1e3, "µs"),
        ns => (ns / 1e6, "ms"),
    };
    format!("{} {unit}", digits(value))
}

/// `1.00`, `12.5`, `310`
pub(crate) fn digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let texts = [1.0, 12.54, 310.4, 9_999.0, 12_345.0, 99_990_000.0].map(duration);
        assert_eq!(texts, ["1.00 ns", "12.5 ns", "310 ns", "9999 ns", "12.3 µs", "100 ms"]);
    }
}
