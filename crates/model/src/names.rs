//! Lengths and characters of the names and texts that callers choose. Lengths count characters, not bytes.

use crate::{PlanId, VaultId, ids};

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
    /// It could be taken for the id of another thing.
    #[error(
        "{parameter} must not have the form of an id ({prefix} and 20 letters and digits), since commands take ids and names"
    )]
    IdForm {
        /// The parameter's name as on the wire.
        parameter: &'static str,
        /// What ids of the kind start with.
        prefix: &'static str,
    },
}

impl NameError {
    /// The parameter's name as on the wire.
    #[must_use]
    pub const fn parameter(&self) -> &'static str {
        match self {
            Self::Length { parameter, .. }
            | Self::Control { parameter }
            | Self::IdForm { parameter, .. } => parameter,
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

/// As [`check`], of a thing that has an id besides.
fn check_beside_id(
    parameter: &'static str,
    prefix: &'static str,
    name: &str,
) -> Result<(), NameError> {
    check(parameter, name, 1, 64)?;
    if ids::has_made_form(prefix, name) {
        return Err(NameError::IdForm { parameter, prefix });
    }
    Ok(())
}

/// A vault's name: 1 to 64 characters, and not the form of a vault's id.
pub fn check_vault_name(name: &str) -> Result<(), NameError> {
    check_beside_id("VaultName", VaultId::PREFIX, name)
}

/// A policy's name: 1 to 64 characters, and not the form of a policy's id.
pub fn check_policy_name(name: &str) -> Result<(), NameError> {
    check_beside_id("PolicyName", ids::POLICY_PREFIX, name)
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

/// The name of a job that runs once: 1 to 64 characters. Nobody looks for a job by it.
pub fn check_job_name(name: &str) -> Result<(), NameError> {
    check("JobName", name, 1, 64)
}

/// A plan's name: 1 to 64 characters, and not the form of a plan's id.
pub fn check_plan_name(name: &str) -> Result<(), NameError> {
    check_beside_id("PlanName", PlanId::PREFIX, name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_name_is_not_taken_for_an_id() {
        let check = |prefix: &str, check: fn(&str) -> Result<(), NameError>| {
            let id = ids::new_id(prefix, 1_767_225_600_000_000, 7);
            let error = check(&id).unwrap_err();
            assert!(
                error.to_string().contains(&format!("({prefix} and 20")),
                "{error}"
            );

            for name in [
                &id[1..],
                &id.to_uppercase(),
                &format!("{id}x"),
                &format!("{prefix}nightly"),
                "x-0000258iahwhmopsk32f",
            ] {
                assert_eq!(check(name), Ok(()), "{name}");
            }
        };
        check("v-", check_vault_name);
        check("plan-", check_plan_name);
        check("po-", check_policy_name);
    }

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
            assert_eq!(check_policy_name(name).is_ok(), is_good, "{name:?}");
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
