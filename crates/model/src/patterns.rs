//! `Include` and `Exclude`: a JSON array of path patterns as text, at most 255 characters, as the API sends them.

/// Most characters of the JSON text.
pub const MAX_CHARS: usize = 255;

/// Why a pattern list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternsError {
    /// More than [`MAX_CHARS`] characters.
    #[error("the list may have at most {MAX_CHARS} characters, not {found}")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// Not a JSON array of texts.
    #[error("the list must be a JSON array of paths such as [\"/home/*.pdf\", \"/var\"]")]
    Form,
    /// An empty pattern, or one with a NUL byte, which no path can hold.
    #[error("pattern {number} of the list is empty or holds a NUL character")]
    Pattern {
        /// Which one, counted from 1.
        number: usize,
    },
}

/// The patterns of a JSON array text; blank text is no patterns.
pub fn parse(text: &str) -> Result<Vec<String>, PatternsError> {
    let found = text.chars().count();
    if found > MAX_CHARS {
        return Err(PatternsError::Length { found });
    }
    parse_unbounded(text)
}

/// As [`parse`], without the limit of length: for the lists inside restore options.
pub fn parse_unbounded(text: &str) -> Result<Vec<String>, PatternsError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let patterns: Vec<String> = serde_json::from_str(text).map_err(|_| PatternsError::Form)?;
    check(&patterns)?;
    Ok(patterns)
}

pub(crate) fn check(patterns: &[String]) -> Result<(), PatternsError> {
    match patterns
        .iter()
        .position(|pattern| pattern.is_empty() || pattern.contains('\0'))
    {
        Some(position) => Err(PatternsError::Pattern {
            number: position + 1,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn lists() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let found = parse(text).ok();
            let found: Option<Vec<&str>> = found
                .as_ref()
                .map(|list| list.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("", Some(&[]));
        check("  ", Some(&[]));
        check("[]", Some(&[]));
        check(r#"["/home/*.pdf", "/var"]"#, Some(&["/home/*.pdf", "/var"]));
        check("\n [\"/home/exclude\"]\n", Some(&["/home/exclude"]));
        for bad in [
            "/var",
            "{}",
            "[1]",
            "[\"\"]",
            "[null]",
            "[\"a\\u0000b\"]",
            "[\"a\"",
            "[\"a\"] x",
            "\"a\"",
        ] {
            check(bad, None);
        }
        let at_limit = format!("[\"{}\"]", "a".repeat(251));
        assert_eq!(at_limit.len(), 255);
        assert!(parse(&at_limit).is_ok());
        let over = format!("[\"{}\"]", "a".repeat(252));
        assert_eq!(parse(&over), Err(PatternsError::Length { found: 256 }));
        assert!(parse_unbounded(&over).is_ok());
    }
}
