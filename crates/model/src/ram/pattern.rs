//! Texts with `*` (any number of characters) and `?` (one character).

/// Whether `text` has the form of `pattern`. Takes time in proportion to the product of both lengths at worst.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the last star did not fit.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((after, matched)) => {
                    at = after;
                    from = matched + 1;
                    star = Some((after, matched + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// As [`matches()`], without regard to the case of ASCII letters.
pub(super) fn matches_any_case(pattern: &str, text: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}
