//! Who calls, and whether his policies allow it.

use std::net::IpAddr;
use std::sync::Arc;

use api::error::{AccessDenied, ApiError, Code};
use catalog::User;
use model::ram::{Decision, Document, Request, evaluate};
use model::{AccountId, Timestamp};

/// What kind of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A root key: may do everything in its account.
    Root,
    /// A user.
    User {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// Somebody who has taken a role on.
    Role {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
        /// What the caller named the session.
        session: String,
    },
}

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    /// All its names; a `Resource` fits it that fits one of them.
    pub(crate) names: Vec<String>,
    /// How a refusal calls it. Not by a name that the caller may know nothing of, such as that of the vault of an id.
    pub(crate) shown: String,
}

impl Thing {
    /// A thing with one name, which the caller knows.
    pub(crate) fn named(name: String) -> Self {
        Self {
            shown: name.clone(),
            names: vec![name],
        }
    }
}

/// Somebody of an account.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) account: AccountId,
    pub(crate) kind: Kind,
    /// Each of these must allow a call; of a root key there are none.
    layers: Arc<[Document]>,
}

impl Principal {
    /// The account itself.
    pub(crate) fn root(account: AccountId) -> Self {
        Self {
            account,
            kind: Kind::Root,
            layers: Arc::new([]),
        }
    }

    /// A user with its policy.
    pub(crate) fn user(user: &User) -> Result<Self, ApiError> {
        Ok(Self {
            layers: Arc::new([document(user.policy.as_deref())?]),
            account: user.account_id.clone(),
            kind: Kind::User {
                name: user.user_name.clone(),
                id: user.user_id.clone(),
            },
        })
    }

    /// A session of a role: what the role may do, and of that what the session was cut down to.
    pub(crate) fn role(
        role: catalog::Role,
        session: String,
        session_policy: Option<&str>,
    ) -> Result<Self, ApiError> {
        let mut layers = vec![document(role.policy.as_deref())?];
        if session_policy.is_some() {
            layers.push(document(session_policy)?);
        }
        Ok(Self {
            layers: layers.into(),
            account: role.account_id,
            kind: Kind::Role {
                name: role.role_name,
                id: role.role_id,
                session,
            },
        })
    }

    /// `acs:ram::…`
    pub(crate) fn arn(&self) -> String {
        let account = &self.account;
        match &self.kind {
            Kind::Root => format!("acs:ram::{account}:root"),
            Kind::User { name, .. } => format!("acs:ram::{account}:user/{name}"),
            Kind::Role { name, session, .. } => {
                format!("acs:ram::{account}:assumed-role/{name}/{session}")
            }
        }
    }

    /// As it is shown in logs and refusals.
    pub(crate) fn display_name(&self) -> String {
        match &self.kind {
            Kind::Root => "root".to_owned(),
            Kind::User { name, .. } => name.clone(),
            Kind::Role { name, session, .. } => format!("{name}:{session}"),
        }
    }

    /// Whether policies say what it may; a root key may everything in its account.
    pub(crate) fn has_policies(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whose policy a layer is.
    fn whose(&self, layer: usize) -> String {
        match &self.kind {
            Kind::Root => "the account".to_owned(),
            Kind::User { name, .. } => format!("the user {name}"),
            Kind::Role { name, .. } if layer == 0 => format!("the role {name}"),
            Kind::Role { name, session, .. } => format!("the session {session} of the role {name}"),
        }
    }

    /// What kind of refusal a layer has for a request about a thing, and why; none if it allows it.
    fn refusal(
        &self,
        (layer, document): (usize, &Document),
        thing: &Thing,
        request: &Request<'_>,
    ) -> Option<(&'static str, String)> {
        let (whose, action, shown) = (self.whose(layer), request.action, &thing.shown);
        Some(match evaluate([document], request) {
            Decision::Allowed => return None,
            Decision::NotAllowed if document.statements.is_empty() => (
                "ImplicitDeny",
                format!("{whose} has no policy, so nothing allows {action} on {shown}"),
            ),
            Decision::NotAllowed => (
                "ImplicitDeny",
                format!("no statement in the policy of {whose} allows {action} on {shown}"),
            ),
            Decision::Denied => {
                // Of what the caller cannot name the number would tell where it lies.
                let statement = match document.denial(request) {
                    Some(number) if thing.names.contains(shown) => format!("statement {number}"),
                    _ => "a statement".to_owned(),
                };
                let why =
                    format!("{statement} in the policy of {whose} denies {action} on {shown}");
                ("ExplicitDeny", why)
            }
        })
    }

    /// Refuses what the policies do not allow of any of the things that a call is about.
    pub(crate) fn authorize(
        &self,
        action: &str,
        things: &[Thing],
        source_ip: IpAddr,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let asked = self
            .layers
            .iter()
            .enumerate()
            .flat_map(|layer| things.iter().map(move |thing| (layer, thing)));
        for ((layer, document), thing) in asked {
            let request = Request {
                action,
                resources: &thing.names,
                source_ip,
                now,
            };
            let Some((no_permission_type, why)) = self.refusal((layer, document), thing, &request)
            else {
                continue;
            };
            let detail = AccessDenied {
                auth_action: action.to_owned(),
                auth_principal_type: match self.kind {
                    Kind::Role { .. } => "AssumedRoleUser",
                    Kind::Root | Kind::User { .. } => "SubUser",
                },
                auth_principal_owner_id: self.account.to_string(),
                auth_principal_display_name: self.display_name(),
                no_permission_type,
                policy_type: "AccountLevelIdentityBasedPolicy",
            };
            return Err(ApiError::denied(detail, &why));
        }
        Ok(())
    }
}

/// The document, or one that allows nothing where there is none. One that cannot be read allows nothing at all.
fn document(text: Option<&str>) -> Result<Document, ApiError> {
    match text {
        None => Ok(Document {
            statements: Vec::new(),
        }),
        Some(text) => Document::parse(text).map_err(|error| {
            tracing::error!(%error, "a stored policy document cannot be read");
            ApiError::new(
                Code::NoPermission,
                "The policy of this identity cannot be read by this server.",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{Principal, Thing};
    use catalog::{IdentityStatus, Role, User};
    use model::{AccountId, Timestamp};

    fn policy(effect: &str, action: &str) -> String {
        format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"{effect}","Action":"{action}","Resource":"*"}}]}}"#
        )
    }

    fn user(policy: Option<String>) -> Principal {
        Principal::user(&User {
            account_id: AccountId::new(1),
            user_name: "ops".to_owned(),
            user_id: "3".to_owned(),
            status: IdentityStatus::Active,
            policy,
            created_time: Timestamp(0),
            updated_time: Timestamp(0),
        })
        .unwrap()
    }

    fn ask(principal: &Principal, action: &str) -> Result<(), String> {
        ask_about(principal, action, &[&["acs:hbr:r:1:*"]])
    }

    fn ask_about(principal: &Principal, action: &str, things: &[&[&str]]) -> Result<(), String> {
        let ip = "127.0.0.1".parse().unwrap();
        let thing = |names: &&[&str]| Thing {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            shown: "what the caller named".to_owned(),
        };
        let things: Vec<Thing> = things.iter().map(thing).collect();
        principal
            .authorize(action, &things, ip, Timestamp(0))
            .map_err(|error| {
                // Who may not know of a plan is not told which vault it is in.
                assert!(!error.message.contains("vault/"), "{}", error.message);
                error.denied.unwrap().no_permission_type.to_owned()
            })
    }

    #[test]
    fn root_may_and_a_user_without_a_policy_may_not() {
        assert_eq!(ask(&Principal::root(AccountId::new(1)), "hbr:Any"), Ok(()));
        assert_eq!(ask(&user(None), "hbr:Any"), Err("ImplicitDeny".to_owned()));
        let reader = user(Some(policy("Allow", "hbr:Describe*")));
        assert_eq!(ask(&reader, "hbr:DescribeVaults"), Ok(()));
        assert!(ask(&reader, "hbr:DeleteVault").is_err());
        let barred = user(Some(policy("Deny", "hbr:*")));
        assert_eq!(ask(&barred, "hbr:Any"), Err("ExplicitDeny".to_owned()));
    }

    #[test]
    fn everything_that_a_call_is_about_must_be_allowed() {
        let statement = |effect: &str, resource: &str| {
            format!(r#"{{"Effect":"{effect}","Action":"*","Resource":"{resource}"}}"#)
        };
        let with = |statements: &[String]| {
            let statements = statements.join(",");
            user(Some(format!(
                r#"{{"Version":"1","Statement":[{statements}]}}"#
            )))
        };
        let (one, two): (&[&str], &[&str]) = (&["vault/1", "plan/1"], &["vault/2"]);
        let of_one = with(&[statement("Allow", "vault/1")]);
        assert_eq!(ask_about(&of_one, "hbr:Any", &[one]), Ok(()));
        let implicit = Err("ImplicitDeny".to_owned());
        assert_eq!(ask_about(&of_one, "hbr:Any", &[one, two]), implicit);
        let but_two = with(&[statement("Allow", "*"), statement("Deny", "vault/2")]);
        assert_eq!(ask_about(&but_two, "hbr:Any", &[one]), Ok(()));
        let explicit = Err("ExplicitDeny".to_owned());
        assert_eq!(ask_about(&but_two, "hbr:Any", &[one, two]), explicit);
        assert!(but_two.has_policies() && !Principal::root(AccountId::new(1)).has_policies());
    }

    #[test]
    fn a_refusal_says_which_policy_says_no_to_what() {
        let said = |principal: &Principal, action: &str| {
            let things = [Thing {
                names: vec!["vault/1".to_owned(), "plan/1".to_owned()],
                shown: "plan/1".to_owned(),
            }];
            let ip = "127.0.0.1".parse().unwrap();
            let error = principal
                .authorize(action, &things, ip, Timestamp(0))
                .unwrap_err();
            let message = error.message;
            message
                .strip_prefix("You are not authorized to do this operation: ")
                .unwrap()
                .to_owned()
        };
        let denying = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
            {"Effect":"Deny","Action":"hbr:D*","Resource":"vault/2"},
            {"Effect":"Deny","Action":"hbr:D*","Resource":"vault/1"}]}"#;
        let allowing = policy("Allow", "hbr:D*");
        let session = |policy: &str, cut: &str| {
            Principal::role(role(policy), "me".to_owned(), Some(cut)).unwrap()
        };
        for (principal, expected) in [
            (
                user(None),
                "the user ops has no policy, so nothing allows hbr:Do on plan/1 (ImplicitDeny).",
            ),
            (
                user(Some(policy("Allow", "hbr:E*"))),
                "no statement in the policy of the user ops allows hbr:Do on plan/1 (ImplicitDeny).",
            ),
            (
                user(Some(denying.to_owned())),
                "statement 3 in the policy of the user ops denies hbr:Do on plan/1 (ExplicitDeny).",
            ),
            (
                session(denying, &allowing),
                "statement 3 in the policy of the role r denies hbr:Do on plan/1 (ExplicitDeny).",
            ),
            (
                session(&allowing, denying),
                "statement 3 in the policy of the session me of the role r denies hbr:Do on plan/1 (ExplicitDeny).",
            ),
        ] {
            assert_eq!(said(&principal, "hbr:Do"), expected);
        }
    }

    fn role(policy: &str) -> Role {
        Role {
            account_id: AccountId::new(1),
            role_name: "r".to_owned(),
            role_id: "3".to_owned(),
            trust: String::new(),
            policy: Some(policy.to_owned()),
            max_session_seconds: 3_600,
            created_time: Timestamp(0),
            updated_time: Timestamp(0),
        }
    }

    #[test]
    fn a_session_may_what_role_and_session_both_allow() {
        let role = role(&policy("Allow", "hbr:D*"));
        let cut = policy("Allow", "hbr:*e");
        let session = Principal::role(role.clone(), "s".to_owned(), Some(&cut)).unwrap();
        assert_eq!(ask(&session, "hbr:Delete"), Ok(()));
        assert!(
            ask(&session, "hbr:Describes").is_err(),
            "the session does not"
        );
        assert!(ask(&session, "hbr:Create").is_err(), "the role does not");
        let whole = Principal::role(role, "s".to_owned(), None).unwrap();
        assert_eq!(ask(&whole, "hbr:Describes"), Ok(()));
        assert_eq!(
            whole.arn(),
            format!("acs:ram::{}:assumed-role/r/s", AccountId::new(1))
        );
    }
}
