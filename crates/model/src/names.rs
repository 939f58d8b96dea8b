//! Lengths and characters of the names and texts that callers choose. Lengths count characters, not bytes.

/// The longest path that a Linux system call takes (`PATH_MAX`), in bytes. What a job protects is named by such a path;
/// what it finds below may lie deeper.
pub const LONGEST_PATH_BYTES: usize = 4096;

/// Why a name or text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Too short or too long.
    #[error("{parameter} must have {min} to {max} characters, not {found}")]
    Length {
        /// The parameter's name as on the wire.
        parameter: &'static str,
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
        /// How many it has.
        found: usize,
    },
    /// A control character, which would break logs and terminals.
    #[error("{parameter} must not hold control characters")]
    Control {
        /// The parameter's name as on the wire.
        parameter: &'static str,
    },
}

impl NameError {
    /// The parameter's name as on the wire.
    #[must_use]
    pub const fn parameter(&self) -> &'static str {
        match self {
            Self::Length { parameter, .. } | Self::Control { parameter } => parameter,
        }
    }
}

fn check(parameter: &'static str, text: &str, min: usize, max: usize) -> Result<(), NameError> {
    let found = text.chars().count();
    if found < min || found > max {
        return Err(NameError::Length {
            parameter,
            min,
            max,
            found,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control { parameter });
    }
    Ok(())
}

/// A vault's name: 1 to 64 characters.
pub fn check_vault_name(name: &str) -> Result<(), NameError> {
    check("VaultName", name, 1, 64)
}

/// A vault's description: at most 255 characters.
pub fn check_description(text: &str) -> Result<(), NameError> {
    let found = text.chars().count();
    if found > 255 {
        return Err(NameError::Length {
            parameter: "Description",
            min: 0,
            max: 255,
            found,
        });
    }
    Ok(())
}

/// A plan's name: 1 to 64 characters.
pub fn check_plan_name(name: &str) -> Result<(), NameError> {
    check("PlanName", name, 1, 64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn lengths_count_characters() {
        for (name, is_good) in [
            ("", false),
            ("a", true),
            ("金", true),
            ("a\nb", false),
            ("a\0", false),
        ] {
            assert_eq!(check_vault_name(name).is_ok(), is_good, "{name:?}");
            assert_eq!(check_plan_name(name).is_ok(), is_good, "{name:?}");
        }
        assert!(check_vault_name(&"金".repeat(64)).is_ok());
        let error = check_vault_name(&"a".repeat(65)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "VaultName must have 1 to 64 characters, not 65"
        );
        assert_eq!(error.parameter(), "VaultName");
        assert!(check_description("").is_ok());
        assert!(check_description(&"ä".repeat(255)).is_ok());
        assert!(check_description(&"a".repeat(256)).is_err());
    }
}
