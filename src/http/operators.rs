//! Operators: who may act, on what, and under which name it is kept.
//!
//! An operator is a name, a token and scopes (`[[operators]]`). `http.admin_token` is the operator `admin` with every
//! scope; without any token whoever calls from this machine is `local`, with every scope too. A handler takes
//! [`Operator`] with the scope it needs in its type, so that nobody can forget to ask: without it the answer is 403
//! with the scope's name. Tokens are compared in constant time and are never logged.

use std::{collections::BTreeSet, future::ready, marker::PhantomData, net::IpAddr, sync::Arc};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload};
use keys::Secret;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::config::OperatorConfig;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Look at everything behind `/admin`.
    Read,
    /// Change thresholds.
    Tune,
    /// Take channels out of use and put them back.
    Channels,
    /// Act on single orders.
    Orders,
    /// Run reconciliations and confirm fixes.
    Reconcile,
    /// Send webhooks again.
    Webhooks,
}

impl Scope {
    const ALL: [Scope; 6] =
        [Scope::Read, Scope::Tune, Scope::Channels, Scope::Orders, Scope::Reconcile, Scope::Webhooks];

    /// The word in the configuration and in refusals.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Tune => "tune",
            Scope::Channels => "channels",
            Scope::Orders => "orders",
            Scope::Reconcile => "reconcile",
            Scope::Webhooks => "webhooks",
        }
    }
}

/// A scope as a type: what [`Operator`] asks for.
pub(crate) trait Asked {
    /// Which.
    const SCOPE: Scope;
}

macro_rules! asked {
    ($($name:ident),*) => { $(
        /// See [`Scope`].
        pub(crate) struct $name;
        impl Asked for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )* };
}

/// The scopes as types: `Operator<scope::Tune>`.
#[allow(dead_code, reason = "each scope has its type, whether a handler asks for it yet or not")]
pub(crate) mod scope {
    use super::{Asked, Scope};
    asked!(Read, Tune, Channels, Orders, Reconcile, Webhooks);
}

/// Who calls, once known. The door puts it into the request.
#[derive(Debug, Clone)]
pub(super) struct Known {
    name: Arc<str>,
    scopes: Arc<BTreeSet<Scope>>,
    ip: Option<IpAddr>,
}

impl Known {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    /// 403 with the scope's name.
    pub(super) fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        let detail = format!("{} lacks the scope \"{}\"; nothing changed.", self.name, scope.as_str());
        Err(Problem::new(403, "scope_missing", detail))
    }
}

/// An operator who has the scope `S`.
pub(crate) struct Operator<S> {
    known: Known,
    scope: PhantomData<S>,
}

impl<S> Operator<S> {
    /// The name from the configuration; acts are kept under it.
    pub(crate) fn name(&self) -> &str {
        self.known.name()
    }

    /// Name and address, for trails: `maria (10.0.0.7)`.
    pub(crate) fn by(&self) -> String {
        match self.known.ip {
            Some(ip) => format!("{} ({ip})", self.known.name),
            None => self.known.name.to_string(),
        }
    }
}

impl<S: Asked> FromRequest for Operator<S> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        // A route outside of the door's scope has nobody in its requests: then nobody may.
        let known = req.extensions().get::<Known>().cloned().ok_or_else(not_an_operator);
        let allowed = known.and_then(|known| known.needs(S::SCOPE).map(|()| known));
        ready(allowed.map(|known| Operator { known, scope: PhantomData }))
    }
}

pub(super) fn not_an_operator() -> Problem {
    let detail = "Operators only: send Authorization: Bearer with an operator's token.";
    Problem::new(401, "not_an_operator", detail)
}

/// Everyone with a token.
pub(super) struct Operators(Vec<(Secret, Known)>);

impl Operators {
    pub(super) fn new(admin_token: &Secret, configured: &[OperatorConfig]) -> Operators {
        let known = |name: &str, scopes: BTreeSet<Scope>| Known {
            name: name.into(),
            scopes: Arc::new(scopes),
            ip: None,
        };
        let named = configured.iter().map(|o| (o.token.clone(), known(&o.name, o.scopes.clone())));
        let admin = (!admin_token.expose().is_empty())
            .then(|| (admin_token.clone(), known("admin", Scope::ALL.into_iter().collect())));
        Operators(named.chain(admin).collect())
    }

    /// Who this is: by the token, or without any token configured by calling from this machine.
    pub(super) fn who(&self, bearer: Option<&str>, ip: Option<IpAddr>) -> Option<Known> {
        if self.0.is_empty() {
            let scopes = Arc::new(Scope::ALL.into_iter().collect());
            return ip?.is_loopback().then(|| Known { name: "local".into(), scopes, ip });
        }
        let given = bearer.unwrap_or_default().as_bytes();
        // Every token is compared, so that the time tells nothing about which one came close.
        let found = self.0.iter().fold(None, |found, (token, known)| {
            if keys::slices_equal(given, token.expose().as_bytes()) { Some(known) } else { found }
        });
        found.map(|known| Known { ip, ..known.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maria() -> OperatorConfig {
        let scopes = [Scope::Read, Scope::Reconcile].into_iter().collect();
        OperatorConfig { name: "maria".into(), token: Secret::new("maria-has-a-token"), scopes }
    }

    #[test]
    fn a_token_names_its_operator_and_nobody_else_may() {
        let all = Operators::new(&Secret::new("the-admin-token"), &[maria()]);
        let here: Option<IpAddr> = "127.0.0.1".parse().ok();
        assert_eq!(all.who(Some("maria-has-a-token"), here).unwrap().name(), "maria");
        assert_eq!(all.who(Some("the-admin-token"), None).unwrap().name(), "admin");
        for wrong in [None, Some(""), Some("maria"), Some("the-admin-token ")] {
            assert!(all.who(wrong, here).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn without_tokens_this_machine_is_the_operator() {
        let nobody = Operators::new(&Secret::default(), &[]);
        assert_eq!(nobody.who(None, "::1".parse().ok()).unwrap().name(), "local");
        assert!(nobody.who(Some("x"), "10.0.0.7".parse().ok()).is_none());
        assert!(nobody.who(None, None).is_none());
        let only_maria = Operators::new(&Secret::default(), &[maria()]);
        assert!(only_maria.who(None, "127.0.0.1".parse().ok()).is_none());
    }

    #[test]
    fn a_missing_scope_is_named() {
        let all = Operators::new(&Secret::default(), &[maria()]);
        let who = all.who(Some("maria-has-a-token"), None).unwrap();
        assert!(who.needs(Scope::Reconcile).is_ok());
        assert!(who.needs(Scope::Tune).unwrap_err().to_string().contains("\"tune\""));
    }
}
