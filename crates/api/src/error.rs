//! Every error code that the service answers, with its HTTP status: the one place where they are named.
//!
//! Every failure is an HTTP 4xx or 5xx, because two of the official SDKs read a 200 as success whatever the body says.
//! Permanent faults are 4xx: Terraform repeats a 5xx until its time-out.

use std::borrow::Cow;

use serde::Serialize;

/// What a caller is told about a failure: an HBR code, an HTTP status and a text for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// Code as SDKs match it, such as `VaultNotExist` or `InvalidParameter.PageSize`.
    pub code: Cow<'static, str>,
    /// 4xx or 5xx.
    pub http_status: u16,
    /// For a person. Never holds a secret.
    pub message: String,
    /// Sent as the header `x-acs-retry-after`, which SDKs and the CLI obey.
    pub retry_after_ms: Option<u64>,
    /// Of a 403: who was not allowed what.
    pub denied: Option<Box<AccessDenied>>,
}

/// `AccessDeniedDetail` of a 403, with the names that SDKs and consoles know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessDenied {
    /// `hbr:DeleteVault`.
    pub auth_action: String,
    /// `SubUser` or `AssumedRoleUser`.
    pub auth_principal_type: &'static str,
    /// The account.
    pub auth_principal_owner_id: String,
    /// The user's name, or `role:session`.
    pub auth_principal_display_name: String,
    /// `ImplicitDeny` (nothing allows it) or `ExplicitDeny`.
    pub no_permission_type: &'static str,
    /// Which kind of policy decided.
    pub policy_type: &'static str,
}

/// The JSON body of a failure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorBody<'a> {
    /// Upper-case UUID.
    pub request_id: &'a str,
    /// The host as the client named it.
    pub host_id: &'a str,
    /// See [`ApiError::code`].
    pub code: &'a str,
    /// See [`ApiError::message`].
    pub message: &'a str,
    /// Where to read on.
    pub recommend: &'a str,
    /// See [`ApiError::denied`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_denied_detail: Option<&'a AccessDenied>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $status:literal, $message:literal;)+) => {
        /// All fixed codes. Two families have a part that varies: [`ApiError::missing`] and [`ApiError::invalid`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, for tests and documents.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The text on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)+ }
            }

            /// HTTP status.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Code::$name => $status,)+ }
            }

            /// The usual message.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Code::$name => $message,)+ }
            }
        }
    };
}

codes! {
    /// No action is named.
    MissingAction = "MissingAction", 400, "Action is mandatory for this request.";
    /// No version is named.
    MissingVersion = "MissingVersion", 400, "Version is mandatory for this request.";
    /// HBR has no such action.
    InvalidActionNotFound = "InvalidAction.NotFound", 404, "Specified api is not found, please check your url and method.";
    /// Not 2017-09-08.
    InvalidVersion = "InvalidVersion", 400, "Specified parameter Version is not valid.";
    /// Neither GET nor POST.
    UnsupportedHttpMethod = "UnsupportedHTTPMethod", 405, "This http method is not supported.";
    /// HBR has it, this server does not (yet).
    OperationNotSupported = "OperationDenied.NotSupported", 400, "This operation is not supported by this server.";
    /// The body is larger than the limit.
    RequestTooLarge = "RequestBodyTooLarge", 413, "The body of the request is too large.";
    /// Query or body cannot be decoded.
    InvalidParameter = "InvalidParameter", 400, "A parameter is not valid.";
    /// Path of the URL is not `/`.
    InvalidPath = "InvalidPath.NotFound", 404, "The path of the request is not known; the API is at /.";

    /// No access key id.
    MissingAccessKeyId = "MissingAccessKeyId", 400, "AccessKeyId is mandatory for this request.";
    /// No signature.
    MissingSignature = "MissingSignature", 400, "Signature is mandatory for this request.";
    /// The signature header lacks a part.
    IncompleteSignature = "IncompleteSignature", 400, "The request signature does not conform to the standard.";
    /// No nonce.
    MissingSignatureNonce = "MissingSignatureNonce", 400, "SignatureNonce is mandatory for this request.";
    /// No time stamp.
    MissingTimestamp = "MissingTimestamp", 400, "Timestamp is mandatory for this request.";
    /// No such key.
    AccessKeyNotFound = "InvalidAccessKeyId.NotFound", 404, "Specified access key is not found.";
    /// Key is disabled.
    AccessKeyInactive = "InvalidAccessKeyId.Inactive", 403, "Specified access key is disabled.";
    /// Wrong signature.
    SignatureDoesNotMatch = "SignatureDoesNotMatch", 400, "Specified signature is not matched with our calculation.";
    /// An algorithm or version of signature that is not served.
    InvalidSignatureMethod = "InvalidSignatureMethod", 400, "Specified signature method is not supported.";
    /// Time stamp cannot be read.
    TimestampFormat = "InvalidTimeStamp.Format", 400, "Specified time stamp or date value is not well formatted.";
    /// Outside the window.
    TimestampExpired = "InvalidTimeStamp.Expired", 400, "Specified time stamp or date value is expired.";
    /// Replay.
    SignatureNonceUsed = "SignatureNonceUsed", 400, "Specified signature nonce was used already.";
    /// A temporary key without its token.
    MissingSecurityToken = "MissingSecurityToken", 400, "SecurityToken is mandatory for a temporary access key.";
    /// A security token that this service did not give out, or not with this access key.
    SecurityTokenMalformed = "InvalidSecurityToken.Malformed", 400, "The specified security token is not one of this service, or was changed.";
    /// A security token beside a lasting access key.
    SecurityTokenMismatch = "InvalidSecurityToken.MismatchWithAccessKey", 400, "The specified security token does not belong to the access key.";
    /// A security token whose time is over.
    SecurityTokenExpired = "InvalidSecurityToken.Expired", 400, "The specified security token is expired.";
    /// Not allowed.
    NoPermission = "NoPermission", 403, "You are not authorized to do this operation.";

    /// No such user, role or account.
    EntityNotExist = "EntityNotExist", 404, "The specified user, role or account does not exist.";
    /// A user, role or account of this name is there.
    EntityExists = "EntityAlreadyExists", 409, "A user, role or account of this name exists already.";

    /// Too many requests.
    Throttling = "Throttling.User", 429, "Request was denied due to user flow control.";
    /// Unexpected.
    InternalError = "InternalError", 500, "The request processing has failed due to some unknown error.";
    /// The catalog's disk is full or the server is stopping.
    ServiceUnavailable = "ServiceUnavailable", 503, "The request has failed due to a temporary failure of the server.";
    /// Same ClientToken, other content.
    IdempotentParameterMismatch = "IdempotentParameterMismatch", 400, "The same ClientToken was used with other parameters.";

    /// Already open.
    OrderOpened = "ORDER.OPEND", 400, "The service is already open for this account.";
    /// No such vault.
    VaultNotExist = "VaultNotExist", 404, "The specified vault does not exist.";
    /// The vault is not ready (any more).
    VaultNotReady = "VaultNotReady", 400, "The specified vault is not in the status CREATED.";
    /// Vault name or place is taken.
    VaultConflict = "VaultAlreadyExists", 409, "A vault with this name or storage exists already.";
    /// 100 vaults.
    VaultQuota = "VaultQuotaExceeded", 400, "An account can have at most 100 vaults.";
    /// Jobs run in the vault.
    VaultBusy = "VaultHasRunningJobs", 409, "The vault has running jobs.";
    /// No such plan.
    PlanNotExist = "PlanNotExist", 404, "The specified backup plan does not exist.";
    /// Plan name is taken.
    PlanConflict = "PlanNameAlreadyExists", 409, "A backup plan with this name exists already for this source type in this vault.";
    /// A job of the plan runs.
    PlanBusy = "PlanHasRunningJobs", 409, "The backup plan has running jobs.";
    /// Two agents claim to be one host.
    ClientConflict = "ClientIsRunning", 409, "Another agent with the identity of this host is running. A copied machine needs a machine id (/etc/machine-id) and a state folder of its own.";
    /// No such backup job.
    JobNotExist = "JobNotExist", 404, "The specified backup job does not exist.";
    /// No such restore job.
    RestoreJobNotExist = "RestoreJobNotExist", 404, "The specified restore job does not exist.";
    /// The job is over.
    JobAlreadyFinished = "JobAlreadyFinished", 400, "The specified job has ended already.";
    /// No such snapshot.
    SnapshotNotExist = "SnapshotNotExist", 404, "The specified snapshot does not exist.";
    /// A restore reads the snapshot.
    SnapshotBusy = "SnapshotInUse", 409, "The snapshot is used by a restore job.";
    /// No such client.
    ClientNotExist = "ClientNotExist", 404, "The specified backup client does not exist.";
    /// No such instance.
    InstanceNotExist = "InstanceNotExists", 404, "No backup client is registered for the specified instance.";
    /// No such task.
    TaskNotExist = "TaskNotExist", 404, "The specified task does not exist.";
    /// Somebody holds the snapshot.
    SnapshotHeld = "SnapshotHeld", 409, "The snapshot is held and cannot be deleted.";
    /// No such policy.
    PolicyNotExist = "PolicyNotExist", 404, "The specified policy does not exist.";
    /// No such rule.
    RuleNotExist = "RuleNotExist", 404, "The specified rule does not exist.";
    /// No such binding.
    PolicyBindingNotExist = "PolicyBindingNotExist", 404, "The specified data source is not bound to the policy.";
    /// The data source is bound already.
    PolicyBindingConflict = "PolicyBindingAlreadyExists", 409, "The data source is bound to a policy already.";
    /// A policy stores into the vault.
    VaultBound = "VaultBoundPolicyCannotBeDeleted", 409, "The vault is used by a policy and cannot be deleted.";
    /// The client was heard of too lately.
    ClientActive = "ClientActive", 409, "The backup client is active.";
    /// The agent of the client was uninstalled.
    ClientNotInstalled = "ClientNotInstalled", 409, "The backup client is uninstalled.";
    /// No such resource of another kind.
    ResourceNotExist = "InvalidResourceId.NotFound", 404, "The specified resource does not exist.";
    /// A resource with these features exists.
    ResourceConflict = "ResourceAlreadyExists", 409, "The resource exists already.";
    /// No such file, or the link has ended.
    TempFileNotExist = "TempFileNotExist", 404, "The specified file does not exist, or its link has ended.";
    /// Too many of something.
    QuotaExceeded = "QuotaExceeded", 400, "The account has as many of these as it can have.";
    /// A path inside a snapshot.
    PathNotExist = "PathNotExist", 404, "The specified path does not exist in the snapshot.";
    /// The vault cannot be read.
    VaultUnreadable = "VaultUnreadable", 400, "The storage of the vault cannot be read by the server.";
}

impl ApiError {
    /// A fixed code with its usual message.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Self::new(code, code.message())
    }

    /// A fixed code with a message of its own.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(code.as_str()),
            http_status: code.http_status(),
            message: message.into(),
            retry_after_ms: None,
            denied: None,
        }
    }

    /// `Missing<Param>`: a mandatory parameter is absent or empty.
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Self {
            code: Cow::Owned(format!("Missing{}", parameter.replace('.', ""))),
            http_status: 400,
            message: format!("{parameter} is mandatory for this action."),
            retry_after_ms: None,
            denied: None,
        }
    }

    /// `InvalidParameter.<Param>`: a parameter is there but wrong. The code carries the part of the name before the
    /// first dot, the message all of it.
    #[must_use]
    pub fn invalid(parameter: &str, why: impl std::fmt::Display) -> Self {
        let head = parameter.split('.').next().unwrap_or(parameter);
        Self {
            code: Cow::Owned(format!("InvalidParameter.{head}")),
            http_status: 400,
            message: format!("The specified parameter {parameter} is not valid: {why}"),
            retry_after_ms: None,
            denied: None,
        }
    }

    /// `SignatureDoesNotMatch` in the form that the SDKs parse: they split the message at the colon and compare the
    /// rest with their own string to sign.
    #[must_use]
    pub fn signature_mismatch(string_to_sign: &str) -> Self {
        Self::new(
            Code::SignatureDoesNotMatch,
            format!(
                "{} server string to sign is:{string_to_sign}",
                Code::SignatureDoesNotMatch.message()
            ),
        )
    }

    /// `NoPermission`, with who was not allowed what, and a text for a person: which policy says so of what.
    #[must_use]
    pub fn denied(detail: AccessDenied, why: &str) -> Self {
        let message = format!(
            "You are not authorized to do this operation: {why} ({}).",
            detail.no_permission_type
        );
        Self {
            denied: Some(Box::new(detail)),
            ..Self::new(Code::NoPermission, message)
        }
    }

    /// Adds the time after which the client may come again.
    #[must_use]
    pub fn retry_after(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, Code};

    #[test]
    fn every_code_is_a_failure_with_a_text() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!((400..600).contains(&code.http_status()), "{code:?}");
            assert!(!code.message().is_empty(), "{code:?}");
            assert!(seen.insert(code.as_str()), "{code:?} twice");
        }
        // Terraform repeats 5xx: only what may pass by itself is one.
        let fivexx: Vec<_> = Code::ALL
            .iter()
            .filter(|code| code.http_status() >= 500)
            .collect();
        assert_eq!(fivexx, [&Code::InternalError, &Code::ServiceUnavailable]);
    }

    #[test]
    fn codes_with_a_name_in_them() {
        assert_eq!(ApiError::missing("VaultName").code, "MissingVaultName");
        let error = ApiError::invalid("Filters.1.Key", "no such key");
        assert_eq!(error.code, "InvalidParameter.Filters");
        assert!(error.message.contains("Filters.1.Key"));
    }

    #[test]
    fn the_legacy_sdk_finds_a_colon() {
        let error = ApiError::signature_mismatch("POST&%2F&a");
        assert_eq!(error.http_status, 400);
        assert!(
            error
                .message
                .ends_with("server string to sign is:POST&%2F&a")
        );
    }
}
