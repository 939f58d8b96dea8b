//! A text that must not be printed: passwords and secrets on their way over the wire.
//!
//! Wiped when dropped; `Debug` shows nothing of it. Serialises as the plain text, because the wire needs it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A secret text. Compare secrets in constant time elsewhere; this type offers no equality on purpose.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. The caller must not print or log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SecretText(***)")
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::SecretText;

    #[test]
    fn debug_shows_nothing_and_json_is_the_text() {
        let secret = SecretText::from("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(
            serde_json::to_string(&secret).ok().as_deref(),
            Some("\"hunter2\"")
        );
    }
}
