//! Figures as people read them.

/// A number with its thousands apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with a letter for thousands and more: `2.5 M`.
pub fn short(number: f64) -> String {
    for (unit, name) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= unit {
            return format!("{} {name}", three_digits(number / unit));
        }
    }
    three_digits(number)
}

/// A time given in microseconds: `850 µs`, `3.1 ms`, `2 s`.
pub fn time(micros: f64) -> String {
    for (unit, name) in [(1e6, "s"), (1e3, "ms"), (1.0, "µs")] {
        if micros >= unit {
            return format!("{} {name}", three_digits(micros / unit));
        }
    }
    format!("{} ns", three_digits(micros * 1e3))
}

fn three_digits(number: f64) -> String {
    let places = match number {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_right() {
        for (number, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (12_567_410.0, "12,567,410"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in [
            (0.5, "0.5"),
            (999.0, "999"),
            (2_513_482.0, "2.51 M"),
            (36_900_000.0, "36.9 M"),
        ] {
            assert_eq!(short(number), text);
        }
        for (micros, text) in [
            (0.25, "250 ns"),
            (1.0, "1 µs"),
            (850.0, "850 µs"),
            (3120.0, "3.12 ms"),
            (2_000_000.0, "2 s"),
        ] {
            assert_eq!(time(micros), text);
        }
    }
}
