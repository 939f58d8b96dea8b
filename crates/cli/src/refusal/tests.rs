//! What is said of refusals.

use super::{Call, advice, api_failure, call_failure};
use crate::exit::Exit;
use api::client::{ClientError, Denied};
use api::error::{ApiError, Code};

fn refused(code: &str, http_status: u16, denied: Option<Denied>) -> ClientError {
    ClientError::Api {
        code: code.into(),
        message: "m".into(),
        http_status,
        request_id: "REQ".into(),
        retry_after_ms: None,
        denied: denied.map(Box::new),
    }
}

#[test]
fn refusals_show_code_and_request_and_what_to_do() {
    let missing = ApiError::missing("RoleArn").code;
    for (code, http_status, exit) in [
        ("Forbidden.RAM", 403, Exit::Refused),
        ("Throttling.User", 400, Exit::Throttled),
        ("CannotDeleteReplicationSourceVault", 400, Exit::Conflict),
        ("InvalidParameter.PageSize", 400, Exit::Usage),
        (&missing, 400, Exit::Usage),
    ] {
        let failure = api_failure("Do", &refused(code, http_status, None));
        assert_eq!(failure.exit, exit, "{code}");
        assert!(
            failure.what.contains(code) && failure.what.contains("REQ") && !failure.next.is_empty()
        );
    }
}

/// Every code that the service has is of a class, so that a new one is thought about here.
#[test]
fn every_code_has_the_status_of_its_class() {
    let of = |exit: Exit| -> Vec<&str> {
        Code::ALL
            .iter()
            .filter(|code| advice(code.as_str(), code.http_status()).0 == exit)
            .map(|code| code.as_str())
            .collect()
    };
    assert_eq!(
        of(Exit::Failed),
        [
            "InvalidVersion",
            "UnsupportedHTTPMethod",
            "OperationDenied.NotSupported",
            "RequestBodyTooLarge",
            "InvalidPath.NotFound",
            "InternalError",
            "ServiceUnavailable",
            "VaultUnreadable",
        ]
    );
    assert_eq!(
        of(Exit::Usage),
        ["MissingAction", "MissingVersion", "InvalidParameter"]
    );
    assert_eq!(
        of(Exit::Refused),
        [
            "MissingAccessKeyId",
            "MissingSignature",
            "IncompleteSignature",
            "MissingSignatureNonce",
            "MissingTimestamp",
            "InvalidAccessKeyId.NotFound",
            "InvalidAccessKeyId.Inactive",
            "SignatureDoesNotMatch",
            "InvalidSignatureMethod",
            "InvalidTimeStamp.Format",
            "InvalidTimeStamp.Expired",
            "SignatureNonceUsed",
            "MissingSecurityToken",
            "InvalidSecurityToken.Malformed",
            "InvalidSecurityToken.MismatchWithAccessKey",
            "InvalidSecurityToken.Expired",
            "NoPermission",
        ]
    );
    assert_eq!(
        of(Exit::Conflict),
        [
            "EntityAlreadyExists",
            "IdempotentParameterMismatch",
            "ORDER.OPEND",
            "VaultNotReady",
            "VaultAlreadyExists",
            "VaultQuotaExceeded",
            "VaultHasRunningJobs",
            "PlanNameAlreadyExists",
            "PlanHasRunningJobs",
            "ClientIsRunning",
            "JobAlreadyFinished",
            "SnapshotInUse",
            "SnapshotHeld",
            "PolicyBindingAlreadyExists",
            "VaultBoundPolicyCannotBeDeleted",
            "ClientActive",
            "ClientNotInstalled",
            "ResourceAlreadyExists",
            "QuotaExceeded",
        ]
    );
    assert_eq!(of(Exit::Throttled), ["Throttling.User"]);
    assert!(of(Exit::NotFound).contains(&"VaultNotExist"));
}

#[test]
fn a_denial_names_the_policy_that_is_missing() {
    let denied = |kind: &str, name: &str, why: &str| {
        let detail = Denied {
            auth_action: "hbr:DeleteVault".into(),
            auth_principal_type: kind.into(),
            auth_principal_owner_id: "1".into(),
            auth_principal_display_name: name.into(),
            no_permission_type: why.into(),
        };
        let call = Call {
            action: "DeleteVault",
            parameters: &[("VaultId".into(), "v-1".into())],
        };
        call_failure(call, &refused("NoPermission", 403, Some(detail)))
    };
    let failure = denied("SubUser", "ops", "ImplicitDeny");
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(
        failure.next,
        "the policy of the user ops has no Allow for hbr:DeleteVault on what the message names: strongroom \
         user policy ops --policy FILE, by who may"
    );
    let next = denied("AssumedRoleUser", "see:me", "ExplicitDeny").next;
    assert_eq!(
        next,
        "the policy of the role see, or that of its session, has a Deny for hbr:DeleteVault, which wins over every Allow: \
         strongroom role create --help"
    );
}

#[test]
fn what_there_is_not_is_looked_for_where_it_is_listed() {
    let told = |name: &str, id: &str, code: &str, message: &str| {
        let call = Call {
            action: "Do",
            parameters: &[(name.into(), id.into())],
        };
        let error = ClientError::Api {
            code: code.into(),
            message: message.into(),
            http_status: 404,
            request_id: "REQ".into(),
            retry_after_ms: None,
            denied: None,
        };
        let failure = call_failure(call, &error);
        (failure.exit, failure.next)
    };
    for (name, code, command) in [
        ("UserName", "EntityNotExist", "user list"),
        ("RoleName", "EntityNotExist", "role list"),
        ("AccountId", "EntityNotExist", "account list"),
        ("UserAccessKeyId", "InvalidAccessKeyId.NotFound", "key list"),
        ("VaultId", "VaultNotExist", "vault list"),
        ("PlanId", "PlanNotExist", "plan list"),
        ("PolicyId", "PolicyNotExist", "policy list"),
        ("JobId", "JobNotExist", "strongroom jobs"),
        ("SnapshotId", "SnapshotNotExist", "strongroom snapshots"),
        ("TaskId", "TaskNotExist", "vault tasks"),
        ("InstanceId", "InstanceNotExists", "DescribeBackupClients"),
    ] {
        let (exit, next) = told(name, "x-1", code, "There is none (x-1)");
        assert_eq!(exit, Exit::NotFound, "{code}");
        assert!(next.contains(command), "{code}: {next}");
    }
    // The caller's own key is nobody's.
    let (exit, next) = told("UserAccessKeyId", "x-1", "InvalidAccessKeyId.NotFound", "m");
    assert_eq!(exit, Exit::Refused);
    assert!(next.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{next}");
}
