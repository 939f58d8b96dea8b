//! Numbers, times and names for people. Pure functions.

use std::fmt::Write;
use std::time::Duration;

/// Bytes with a binary unit, as `1.500 GiB`: restic's way, three digits after the point from MiB on.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    for (unit, size) in UNITS {
        if count >= size {
            let value = count as f64 / size as f64;
            return format!("{value:.3} {unit}");
        }
    }
    format!("{count} B")
}

/// Bytes in a time, as `12.3 MiB/s`; nothing to say for no time.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.001 {
        return "-".to_owned();
    }
    let per_second = count as f64 / seconds;
    for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if per_second >= size as f64 {
            return format!("{:.1} {unit}/s", per_second / size as f64);
        }
    }
    format!("{per_second:.0} B/s")
}

/// A count with groups of three: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, whose plural has an `s`: `1 snapshot`, `2,000 snapshots`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A time span: `0.4 s`, `12 s`, `2m03s`, `1h02m03s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 10 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}h{minutes:02}m{seconds:02}s")
    } else {
        format!("{minutes}m{seconds:02}s")
    }
}

/// UNIX seconds as local date and time; `-` for none.
pub(crate) fn clock(unix_seconds: i64) -> String {
    if unix_seconds <= 0 {
        return "-".to_owned();
    }
    match jiff::Timestamp::from_second(unix_seconds) {
        Ok(time) => time
            .to_zoned_datetime(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => unix_seconds.to_string(),
    }
}

/// A name that cannot do anything to a terminal: control characters and direction overrides are written as escapes.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        let tricky = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match letter {
            '\n' => clean.push_str("\\n"),
            '\t' => clean.push_str("\\t"),
            '\r' => clean.push_str("\\r"),
            _ if (letter as u32) < 0x20 || letter as u32 == 0x7f => {
                let _ = write!(clean, "\\x{:02x}", letter as u32);
            }
            _ if letter.is_control() || tricky => {
                let _ = write!(clean, "\\u{{{:x}}}", letter as u32);
            }
            _ => clean.push(letter),
        }
    }
    clean
}

/// The text as one word of a shell.
pub(crate) fn shell_quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{bytes, clock, count, counted, duration, printable, rate, shell_quoted};
    use std::time::Duration;

    #[test]
    fn sizes() {
        for (input, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.000 KiB"),
            (1536 * 1024, "1.500 MiB"),
            (5 << 30, "5.000 GiB"),
            (u64::MAX, "16777216.000 TiB"),
        ] {
            assert_eq!(bytes(input), expected);
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate(100, Duration::ZERO), "-");
        assert_eq!(rate(100, Duration::from_secs(1)), "100 B/s");
        assert_eq!(rate(3 << 20, Duration::from_secs(2)), "1.5 MiB/s");
    }

    #[test]
    fn counts() {
        for (input, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(input), expected);
        }
    }

    #[test]
    fn nouns() {
        assert_eq!(counted(0, "lock"), "0 locks");
        assert_eq!(counted(1, "lock"), "1 lock");
        assert_eq!(counted(2000, "lock"), "2,000 locks");
    }

    #[test]
    fn spans() {
        for (millis, expected) in [
            (0, "0.0 s"),
            (400, "0.4 s"),
            (12_900, "12 s"),
            (123_000, "2m03s"),
            (3_723_000, "1h02m03s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn no_time_is_a_dash() {
        assert_eq!(clock(0), "-");
        assert!(clock(1_700_000_000).starts_with("2023-11-1"));
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(
            printable("a\u{1b}[31mb\nc\u{7f}\u{202e}ä\u{9b}"),
            "a\\x1b[31mb\\nc\\x7f\\u{202e}ä\\u{9b}"
        );
    }

    #[test]
    fn words_survive_a_shell() {
        for (text, expected) in [
            ("/srv/v-1", "/srv/v-1"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(shell_quoted(text), expected);
        }
    }
}
